use std::fs;
use std::process::Command;
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::*;

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn sh(dir: &Path, script: &str) {
    let status = Command::new("bash").args(["-ec", script]).current_dir(dir).status().unwrap();
    assert!(status.success(), "{script}");
}

/// Runs something on a thread with mounts of its own, which go with it.
pub(super) fn apart<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let inner = || {
            unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).unwrap();
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
            run()
        };
        scope.spawn(inner).join().unwrap()
    })
}

/// A file system that holds a megabyte.
pub(super) fn mount_small(at: &Path) {
    mount(Some("t"), at, Some("tmpfs"), MsFlags::empty(), Some("size=1m")).unwrap();
}

fn pack(tree: &Path, to: &Path, processors: usize) {
    let argv = packer(tree, to, processors);
    let output = Command::new(&argv[0]).args(&argv[1..]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn equal_trees_give_equal_images() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let parts = [
        "head -c 300000 /dev/zero | tr '\\0' 'a' > usr/lib/large",
        "for n in $(seq 40); do echo $n > etc/$n; done",
        "head -c 300000 /dev/zero | tr '\\0' 'a' > usr/lib/hard; ln -f usr/lib/hard usr/lib/large",
        "ln -s ../lib usr/bin/link",
        "mknod dev/null c 1 3",
        "echo x > usr/bin/cap; setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 usr/bin/cap",
        "echo y > etc/attr; setfattr -n user.a -v 1 etc/attr; setfattr -n user.b -v 2 etc/attr",
    ];
    for (name, order) in [("one", [0, 1, 2, 3, 4, 5, 6]), ("other", [6, 4, 2, 1, 3, 5, 0])] {
        let tree = dir.path().join(name);
        fs::create_dir(&tree).unwrap();
        let script: Vec<_> = order.iter().map(|&part| parts[part]).collect();
        sh(&tree, &format!("mkdir -p usr/lib usr/bin etc dev\n{}", script.join("\n")));
        sh(
            &tree,
            "[ usr/lib/large -ef usr/lib/hard ] || ln -f usr/lib/large usr/lib/hard; find . -exec touch -h -d @1000000000 {} +",
        );
        pack(&tree, &dir.path().join(format!("{name}.img")), if name == "one" { 1 } else { 4 });
    }
    let image = |name: &str| fs::read(dir.path().join(name)).unwrap();
    assert!(image("one.img") == image("other.img"));
    sh(&dir.path().join("other"), "echo 41 > etc/1; touch -d @1000000000 etc/1 etc");
    pack(&dir.path().join("other"), &dir.path().join("changed.img"), 2);
    assert!(image("one.img") != image("changed.img"));
}
