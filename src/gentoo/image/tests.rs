use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::process::{Command, Stdio};
use std::thread;

use super::*;

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn sh(dir: &Path, script: &str) {
    let status = Command::new("bash").args(["-ec", script]).current_dir(dir).status().unwrap();
    assert!(status.success(), "{script}");
}

/// Runs something on a thread with mounts of its own.
fn apart<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        scope
            .spawn(|| {
                own_mounts().unwrap();
                run()
            })
            .join()
            .unwrap()
    })
}

/// Whether a loop device of a file below `dir` is left.
fn has_devices(dir: &Path) -> bool {
    fs::read_dir("/sys/block").unwrap().any(|device| {
        let file = device.unwrap().path().join("loop/backing_file");
        fs::read_to_string(file).is_ok_and(|file| Path::new(file.trim()).starts_with(dir))
    })
}

/// Devices go a moment after the last mount: it is waited for, however long it takes.
fn devices_go(dir: &Path) {
    while has_devices(dir) {
        thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// A base with some files, and an empty mount point.
struct Roots {
    dir: tempfile::TempDir,
}

impl Roots {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        sh(
            dir.path(),
            "mkdir -p base/usr/bin base/etc base/dev; echo one > base/etc/one; echo two > base/etc/two; \
             echo bin > base/usr/bin/tool; chmod 4755 base/usr/bin/tool; mknod base/dev/null c 1 3; \
             setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 base/usr/bin/tool; \
             head -c 100000 /dev/urandom > base/etc/two; mkdir at; chmod 711 base",
        );
        pack(&dir.path().join("base"), &dir.path().join("base.img"), 2).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn scratch(&self) -> Scratch {
        Scratch::new(&self.path("scratch")).unwrap()
    }
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
        pack(&tree, &dir.path().join(format!("{name}.img")), if name == "one" { 1 } else { 4 }).unwrap();
    }
    let image = |name: &str| fs::read(dir.path().join(name)).unwrap();
    assert!(image("one.img") == image("other.img"));
    sh(&dir.path().join("other"), "echo 41 > etc/1; touch -d @1000000000 etc/1 etc");
    pack(&dir.path().join("other"), &dir.path().join("changed.img"), 2).unwrap();
    assert!(image("one.img") != image("changed.img"));
}

#[test]
fn a_root_is_there_and_goes_without_a_trace() {
    if !is_root() {
        return;
    }
    let roots = Roots::new();
    let layers = Layers::new(roots.path("base.img"), []);
    let delta = roots.path("delta.img");
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    apart(|| {
        let (scratch, at) = (roots.scratch(), roots.path("at"));
        let layer = scratch.dir("mounts").unwrap();
        layers.mount(&layer, &at).unwrap();
        assert_eq!(fs::read_to_string(at.join("etc/one")).unwrap(), "one\n");
        assert_eq!(fs::metadata(&at).unwrap().mode() & 0o7777, 0o711);
        assert_eq!(fs::metadata(at.join("usr/bin/tool")).unwrap().mode() & 0o7777, 0o4755);
        assert!(xattr::get(at.join("usr/bin/tool"), "security.capability").unwrap().is_some());
        assert!(fs::metadata(at.join("dev/null")).unwrap().file_type().is_char_device());
        assert!(File::open(at.join("dev/null")).is_err(), "a device of a root opens nothing");
        // What is installed: something new, something else, something gone, and a directory that hides its namesake.
        sh(
            &at,
            "echo new > etc/new; echo changed > etc/one; rm etc/two; rm -r usr/bin; mkdir usr/bin; echo b > usr/bin/b",
        );
        pack(&layer.join("upper"), &delta, 2).unwrap();
    });
    devices_go(roots.dir.path());
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
    assert_eq!(fs::read_dir(roots.path("at")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(roots.path("scratch")).unwrap().count(), 0);
    assert!(fs::metadata(&delta).unwrap().len() < 10_000);

    // The base is what it was, and the delta makes the rest.
    apart(|| {
        let (scratch, at) = (roots.scratch(), roots.path("at"));
        layers.mount(&scratch.dir("mounts").unwrap(), &at).unwrap();
        assert_eq!(fs::read_to_string(at.join("etc/one")).unwrap(), "one\n");
        assert!(at.join("etc/two").exists() && !at.join("etc/new").exists());
    });
    let both = Layers::new(roots.path("base.img"), [delta]);
    apart(|| {
        let (scratch, at) = (roots.scratch(), roots.path("at"));
        both.mount(&scratch.dir("mounts").unwrap(), &at).unwrap();
        assert_eq!(fs::read_to_string(at.join("etc/one")).unwrap(), "changed\n");
        assert!(!at.join("etc/two").exists() && at.join("etc/new").exists());
        let tools: Vec<_> =
            fs::read_dir(at.join("usr/bin")).unwrap().map(|tool| tool.unwrap().file_name()).collect();
        assert_eq!(tools, ["b"]);
        assert_eq!(fs::metadata(&at).unwrap().mode() & 0o7777, 0o711);
    });
    devices_go(roots.dir.path());
}

#[test]
fn later_deltas_lie_over_earlier_ones() {
    if !is_root() {
        return;
    }
    let roots = Roots::new();
    let mut deltas = Vec::new();
    for (index, script) in
        ["echo 1 > etc/a; echo 1 > etc/b; mkdir d; echo 1 > d/x", "echo 2 > etc/a; rm etc/b; rm -r d"]
            .iter()
            .enumerate()
    {
        let scratch = roots.scratch();
        let mounts = scratch.dir("mounts").unwrap();
        apart(|| {
            let layers = Layers::new(roots.path("base.img"), deltas.clone());
            layers.mount(&mounts, &roots.path("at")).unwrap();
            sh(&roots.path("at"), script);
        });
        let delta = roots.path(&format!("delta-{index}.img"));
        pack(&mounts.join("upper"), &delta, 2).unwrap();
        deltas.push(delta);
    }
    let scratch = roots.scratch();
    let mounts = scratch.dir("mounts").unwrap();
    apart(|| {
        let at = roots.path("at");
        Layers::new(roots.path("base.img"), deltas.clone()).mount(&mounts, &at).unwrap();
        assert_eq!(fs::read_to_string(at.join("etc/a")).unwrap(), "2\n");
        assert_eq!(fs::read_to_string(at.join("etc/one")).unwrap(), "one\n");
        assert!(!at.join("etc/b").exists() && !at.join("d").exists());
    });
    drop(scratch);
    devices_go(roots.dir.path());
}

#[test]
fn two_at_once_see_nothing_of_each_other() {
    if !is_root() {
        return;
    }
    let roots = Roots::new();
    let layers = Layers::new(roots.path("base.img"), []);
    let barrier = std::sync::Barrier::new(2);
    let one = |name: &str| {
        own_mounts().unwrap();
        let (scratch, at) = (roots.scratch(), roots.path("at"));
        layers.mount(&scratch.dir("mounts").unwrap(), &at).unwrap();
        fs::write(at.join("etc").join(name), name).unwrap();
        barrier.wait();
        let names = fs::read_dir(at.join("etc")).unwrap().count();
        barrier.wait();
        names
    };
    let counts = thread::scope(|scope| {
        let (a, b) = (scope.spawn(|| one("a")), scope.spawn(|| one("b")));
        (a.join().unwrap(), b.join().unwrap())
    });
    assert_eq!(counts, (3, 3));
    devices_go(roots.dir.path());
}

/// Names for the process that is killed: where it mounts.
const VICTIM: &str = "KILN_TEST_VICTIM";

#[test]
fn what_a_killed_one_leaves_is_swept() {
    if !is_root() {
        return;
    }
    let roots = Roots::new();
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "gentoo::image::tests::victim", "--ignored", "--nocapture"])
        .env(VICTIM, roots.dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(victim.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("mounted") {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "it ended before it had mounted anything");
    }
    assert!(has_devices(roots.dir.path()));
    // As long as it lives, what it uses stays.
    assert_eq!(sweep(&roots.path("scratch")).unwrap(), 0);
    victim.kill().unwrap();
    victim.wait().unwrap();
    let _ = output.read_to_string(&mut line);
    devices_go(roots.dir.path());
    assert_eq!(fs::read_dir(roots.path("scratch")).unwrap().count(), 1);
    assert_eq!(sweep(&roots.path("scratch")).unwrap(), 1);
    assert_eq!(fs::read_dir(roots.path("scratch")).unwrap().count(), 0);
    assert_eq!(sweep(&roots.path("nothing")).unwrap(), 0);
}

#[test]
#[ignore = "what `what_a_killed_one_leaves_is_swept` starts and kills"]
fn victim() {
    let Some(dir) = std::env::var_os(VICTIM).map(PathBuf::from) else { return };
    own_mounts().unwrap();
    let scratch = Scratch::new(&dir.join("scratch")).unwrap();
    let layers = Layers::new(dir.join("base.img"), []);
    layers.mount(&scratch.dir("mounts").unwrap(), &dir.join("at")).unwrap();
    fs::write(dir.join("at/etc/written"), "x").unwrap();
    println!("mounted");
    thread::sleep(std::time::Duration::from_mins(10));
}

#[test]
fn images_that_are_none_say_so_and_leave_no_device() {
    if !is_root() {
        return;
    }
    let roots = Roots::new();
    let whole = fs::read(roots.path("base.img")).unwrap();
    fs::write(roots.path("none.img"), vec![b'x'; 8192]).unwrap();
    fs::write(roots.path("cut.img"), &whole[..whole.len() / 3]).unwrap();
    apart(|| {
        for name in ["none.img", "cut.img", "missing.img"] {
            let scratch = roots.scratch();
            let layers = Layers::new(roots.path(name), []);
            let error =
                layers.mount(&scratch.dir("mounts").unwrap(), &roots.path("at")).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    });
    devices_go(roots.dir.path());
}

#[test]
fn a_disk_that_is_full_leaves_no_image() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    sh(dir.path(), "mkdir tree small; head -c 3000000 /dev/urandom > tree/random");
    apart(|| {
        let small = dir.path().join("small");
        let flags = nix::mount::MsFlags::empty();
        nix::mount::mount(Some("t"), &small, Some("tmpfs"), flags, Some("size=1m")).unwrap();
        let error = pack(&dir.path().join("tree"), &small.join("image"), 2).unwrap_err().to_string();
        assert!(error.contains("space"), "{error}");
        assert_eq!(fs::read_dir(&small).unwrap().count(), 0);
    });
    let error = pack(&dir.path().join("missing"), &dir.path().join("image"), 2).unwrap_err().to_string();
    assert!(error.contains("missing"), "{error}");
    assert!(File::open(dir.path().join("image")).is_err());
}
