//! Ordinary users, and hosts that allow no sandbox.

use std::process::Command;

use super::project::{Project, is_root, node};

/// A project that configures and builds the fake kernel.
fn kernel() -> Project {
    let make = "make -C /kiln/in/linux O=/kiln/out ARCH=x86_64";
    let config = node("config", format!("{make} x86_64_defconfig && mv .config o")).reads_source("linux");
    let kernel = node("kernel", format!("cp /kiln/in/config .config && {make} -j2 all && mv vmlinux o"));
    let project = Project::new([config, kernel.reads_source("linux").reads("config")]);
    let tree = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fakelinux");
    let copied = Command::new("cp").args(["-r", tree]).arg(project.path("linux")).status().unwrap();
    assert!(copied.success());
    project.with_source("linux")
}

#[test]
fn an_ordinary_user_builds_as_root_does() {
    let project = kernel().of_ordinary_user();
    project.build().exits(0);
    project.assert_fresh();
    project.assert_as_if_clean();
}

/// What keeps kiln from making a sandbox, and what it has to say then.
#[test]
fn without_a_sandbox_nothing_runs() {
    if !is_root("a host that allows no sandbox") {
        return;
    }
    let no_namespaces = "unshare -Ur sh -c 'echo 0 >/proc/sys/user/max_user_namespaces; exec \"$@\"' sh \
                         setpriv --bounding-set=-all";
    let hidden_proc = "unshare -m sh -c 'mount -t tmpfs x /proc/sys && exec \"$@\"' sh \
                       setpriv --reuid=65534 --regid=65534 --clear-groups";
    for (behind, missing, remedy) in [
        (no_namespaces, "create a user namespace", "user.max_"),
        (hidden_proc, "mount a fresh /proc", "systempaths=unconfined"),
    ] {
        let mut project = Project::new([node("n", "echo >o; echo >>/kiln/in/file")]);
        if behind == hidden_proc {
            project = project.of_ordinary_user();
        }
        let script = format!("exec {behind} \"$@\"");
        project = project.behind(&["sh", "-c", &script, "sh"]);
        project.build().exits(4).complains("cannot set up the sandbox").complains(missing).complains(remedy);
        assert_eq!(project.runs("n", "infra"), 1);
        assert_eq!((project.runs("n", "pass"), project.outputs().len()), (0, 0));
    }
}
