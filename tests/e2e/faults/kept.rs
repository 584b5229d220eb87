//! Builds that go on where the last one ended, and are killed while they do.

use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;

use nix::sys::signal::Signal;

use super::project::{GATE, Project, entries, node};
use crate::support::output::KilnOutput;
use crate::support::random::Random;

/// A project that configures and builds the fake kernel, and does `more` when it has.
fn kernel(more: &str) -> Project {
    let make = "make -C /kiln/in/linux O=/kiln/out ARCH=x86_64";
    let config = node("config", format!("{make} x86_64_defconfig && mv .config o")).reads_source("linux");
    let build = format!("cp /kiln/in/config .config && {make} -j2 all && {more} && cp vmlinux o");
    let kernel = node("kernel", build).reads_source("linux").reads("config").continues();
    let project = Project::new([config, kernel]);
    let tree = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fakelinux");
    let copied = Command::new("cp").args(["-r", tree]).arg(project.path("linux")).status().unwrap();
    assert!(copied.success());
    project.with_source("linux")
}

fn edit(project: &Project, path: &str, line: &str) {
    let path = format!("linux/{path}");
    project.write(&path, &(project.read(&path) + line));
}

fn kept(project: &Project) -> Vec<PathBuf> {
    entries(&project.cache.join("kept"))
}

/// Builds, and tells whether the kernel went on where its last run ended.
fn continued(project: &Project) -> bool {
    let KilnOutput { out, .. } = project.run(["build", "-j2", "--format", "json-lines"]).exits(0);
    let finished = |line: &&str| line.contains("\"finished\"") && line.contains("kernel:kernel");
    let kernel = out.lines().find(finished).unwrap_or_else(|| panic!("the kernel did not run:\n{out}"));
    kernel.contains("\"continued\":true")
}

/// Where it is stopped the directory is none to go on in: an object is empty, and newer than what it is made from. The
/// first run in a directory is not stopped, so one that went on in such a one would be.
const HALF: &str = "if [ -e again ]; then cp -p init/main.o half && : >init/main.o && rm -f begun go && { GATE; } \
                    && cp -p half init/main.o; fi && : >again";

#[test]
fn what_a_stopped_build_leaves_is_never_gone_on_from() {
    for (signal, code) in [(Signal::SIGKILL, 128 + 9), (Signal::SIGINT, 130)] {
        let project = kernel(&HALF.replace("GATE", GATE));
        project.build().exits(0);
        assert_eq!(kept(&project).len(), 1);

        edit(&project, "lib/string.c", "int more;\n");
        let running = project.start();
        let gate = project.gate("kernel");
        assert!(kept(&project).is_empty(), "it is where it is gone on in, and nowhere else");
        running.signal(signal);
        let ended = running.end();
        assert_eq!(ended.code, code, "{signal}: {}", ended.err);
        project.until_none_sandboxed();
        drop(gate);

        assert!(!continued(&project), "{signal}");
        project.assert_as_if_clean();
        project.assert_fresh();
        assert_eq!(kept(&project).len(), 1);
        let work = entries(&project.cache.join("work"));
        assert!(work.is_empty(), "{signal}: {work:?}");

        // That one was not stopped, and is gone on from.
        edit(&project, "lib/string.c", "int still_more;\n");
        let running = project.start();
        project.gate("kernel").open();
        running.end().exits(0).complains("continued from its last run: 1 file differs");
        project.assert_as_if_clean();
    }
}

#[test]
fn killed_at_any_moment_the_next_build_goes_on_from_a_whole_one_only() {
    const ROUNDS: usize = 8;
    let files =
        ["init/main.c", "lib/string.c", "include/linux/kernel.h", "include/linux/virtio.h", "drivers/8250.c"];
    let project = kernel(":");
    project.build().exits(0);
    let mut random = Random::from_variable_or_time("KILN_FAULTS_SEED");
    for round in 0..ROUNDS {
        let mut something_new = || {
            let file = files[random.below(5)];
            edit(&project, file, &format!("int n{round};\n"));
        };
        something_new();
        let running = project.start();
        sleep(random.milliseconds(700));
        running.signal(Signal::SIGKILL);
        running.end();
        project.until_none_sandboxed();

        // Nothing but what is there now can be gone on from; and there is something to run, whatever was done.
        let whole = !kept(&project).is_empty();
        edit(&project, "drivers/virtio.c", &format!("int round{round};\n"));
        assert_eq!(continued(&project), whole, "in round {round}");
        project.assert_as_if_clean();
        assert_eq!(kept(&project).len(), 1);
    }
    project.assert_fresh();
}
