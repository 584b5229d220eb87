//! Two kilns on one cache, and one that is interrupted.

use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::project::{BOOT, Build, CONFIG, INITRAMFS, KERNEL, KilnOutput, MATCH, Project};

#[test]
fn what_one_kiln_runs_the_other_waits_for() {
    let project = Project::new();
    let start = || {
        let mut command = project.command("build -j2 --format json-lines");
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let both = [start(), start()].map(|child| {
        let output = child.wait_with_output().unwrap();
        Build::new(KilnOutput::new("one of two builds", &output)).exits(0)
    });
    let mut ran: Vec<&str> = both.iter().flat_map(Build::ran).collect();
    ran.sort_unstable();
    assert_eq!(ran, [CONFIG, INITRAMFS, BOOT, KERNEL, MATCH], "each once, by one of them");
    project.plan("").has_nothing_to_do();
}

#[test]
fn a_build_that_is_interrupted_ends_at_once_and_is_taken_up_again() {
    let project = Project::new();
    let building = project.start_reader();
    project.kiln("clean --cache").exits(4).complains("another kiln is using the cache");

    kill(Pid::from_raw(building.id().cast_signed()), Signal::SIGINT).unwrap();
    let output = building.wait_with_output().unwrap();
    KilnOutput::new("kiln build, interrupted", &output).exits(130);
    assert_eq!(project.plan("reader:").reasons("reader:linux"), "its last run ended as cancelled\n");

    project.write("linux/go", "");
    project.build("reader:").exits(0).runs(&["reader:linux"]);
}

#[test]
fn a_kiln_that_is_killed_leaves_nothing_to_mend() {
    let project = Project::new();
    let building = project.start_reader();
    kill(Pid::from_raw(building.id().cast_signed()), Signal::SIGKILL).unwrap();
    assert_eq!(building.wait_with_output().unwrap().status.code(), None);

    project.write("linux/go", "");
    project.build("reader:").exits(0).runs(&["reader:linux"]);
    project.build("").exits(0).runs(&[CONFIG, INITRAMFS, KERNEL, MATCH, BOOT]);
}
