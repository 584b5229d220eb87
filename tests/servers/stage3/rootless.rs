//! Roots for who is not root of the host, and has ids that are granted.

use std::fs;
use std::os::unix::fs::chown;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::mirror::Mirror;
use super::project::{ANSWER, ASK, BINPKG, Project, STAGE3};
use super::roots::{left_over, sleeps_in_a_root, until};

/// `nobody`.
const NOBODY: u32 = 65534;

/// A project of nobody's, who runs kiln in it; `None` where that can't be had, with the reason in the output.
fn of_nobody(mirror: &Mirror) -> Option<Project> {
    for (check, what) in [
        ("command -v newuidmap newgidmap", "newuidmap is not installed"),
        ("command -v squashfuse", "squashfuse is not installed"),
        ("test -c /dev/fuse", "there is no /dev/fuse"),
        ("test -e /etc/subuid -a -e /etc/subgid", "no ids can be granted"),
    ] {
        let script = format!("{{ {check}; }} >/dev/null 2>&1");
        if !Command::new("sh").args(["-c", &script]).status().unwrap().success() {
            println!("skipped: {what}");
            return None;
        }
    }
    let project = Project::new(&[&mirror.url()]);
    project.write("granted", "nobody:700000:65536\n");
    let all =
        Command::new("chown").args(["-R", &format!("{NOBODY}:{NOBODY}")]).arg(project.path("")).status();
    assert!(all.unwrap().success());
    let granted = project.path("granted");
    let granted = granted.display();
    let user = format!(
        "mount --bind {granted} /etc/subuid && mount --bind {granted} /etc/subgid && \
         exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups \"$@\""
    );
    Some(project.behind(&format!("exec unshare -m sh -c '{user}' sh \"$@\"")))
}

/// The digests of the stage3's image, as a cache has it.
fn stage3(project: &Project) -> Vec<String> {
    let blobs =
        fs::read_dir(project.cache.join("cas")).unwrap().flatten().flat_map(|dir| fs::read_dir(dir.path()));
    let large = blobs.flatten().flatten().filter(|blob| blob.metadata().unwrap().len() > 20 << 20);
    large.map(|blob| blob.file_name().into_string().unwrap()).collect()
}

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn who_is_not_root_has_the_same_roots() {
    let mirror = Mirror::of(&["amd64"]);
    let Some(project) = of_nobody(&mirror) else { return };
    project.kiln("update").exits(0);
    project.build("").exits(0).runs(&[STAGE3, BINPKG, ASK]);
    let answer = project.read(ANSWER);
    assert!(answer.contains("buildbot\n") && answer.contains("/usr/bin/bc"), "{answer}");
    project.assert_fresh();
    assert_eq!(stage3(&project), stage3(&Project::prepared(&mirror)));
    assert_eq!(left_over(&project), "");
}

#[test]
#[ignore = "needs a mirror: make check-stage3"]
fn files_of_other_ids_do_not_stay_in_the_way() {
    let mirror = Mirror::of(&["amd64"]);
    let Some(project) = of_nobody(&mirror) else { return };
    project.kiln("update").exits(0);
    project.wants(&["app-misc/slow"]);
    chown(project.path("graph.ron"), Some(NOBODY), Some(NOBODY)).unwrap();
    let interrupted = |signal| {
        let mut child = project.start("build");
        until("the slow package is being made", || {
            assert!(child.try_wait().unwrap().is_none(), "it ended before it could be interrupted");
            sleeps_in_a_root(&child)
        });
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        child.wait().unwrap();
        until("nothing is mounted and no process is left", || left_over(&project).is_empty());
    };
    // Who has had enough leaves nothing behind.
    interrupted(Signal::SIGINT);
    for place in ["tmp", "work"] {
        assert_eq!(fs::read_dir(project.cache.join(place)).unwrap().count(), 0, "{place}");
    }
    // What a killed run leaves is nobody's to remove; all goes on.
    interrupted(Signal::SIGKILL);
    project.kiln("plan").exits(0).mentions("can't be removed");
    project.edit("graph.ron", ", \"app-misc/slow\"", "");
    project.build("").exits(0).runs(&[BINPKG, ASK]);
}
