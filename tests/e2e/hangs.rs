//! Boots that come to no end: what says something of the kernel, and what says nothing.

use std::fs;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::project::{BOOT, KilnOutput, Project};

/// A project whose machine runs this script, and may take so long.
fn machine(script: &str, limit: &str) -> Project {
    let project = Project::new();
    project.script("toolchain/bin/fake-qemu", &format!("#!/bin/sh\n{script}\n"));
    project.edit("graph.ron", "time_limit: \"10s\"", &format!("time_limit: \"{limit}\""));
    project
}

#[test]
fn silence_in_two_tries_is_a_hang_and_is_kept() {
    let project = machine("echo 'Run /init as init process'\nexec sleep 60", "4s");
    let said = project.kiln("build").exits(3).complains("hangs: silent for ");
    said.complains("after \"Run /init as init process\"");
    // A fail that is kept: it does not run again.
    project.kiln("build").exits(3).never_says("run  job:");
    assert_eq!(project.plan("").verdict(BOOT), "fresh");
}

#[test]
fn silence_that_no_other_try_can_confirm_is_no_verdict() {
    let project = machine("exec sleep 60", "2s");
    project.edit("rules/job.ron", "    retries: 1,\n", "");
    project.kiln("build").exits(4).complains("it hangs if another try is silent, too");
    assert_eq!(project.plan("").verdict(BOOT), "stale");
}

#[test]
fn a_machine_that_still_prints_at_its_limit_has_not_failed() {
    let project = machine("while :; do echo tick; sleep 0.1; done", "2s");
    project.kiln("build").exits(4).complains("but it was still printing: \"tick\"");
    assert_eq!(project.plan("").verdict(BOOT), "stale");
}

#[test]
fn a_marker_is_found_whatever_is_printed_in_the_middle_of_it() {
    for printed in [
        r"KILN-BO[   12.345678] usb 1-1: new device\r\nOT-OK\r\n",
        r"\033[6n\033[1;32mKILN-\033[0mBOOT-\033[6nOK\n",
        r"KILN-[    1.000001] a\r\n[    1.000002] b\r\nBOOT-OK",
    ] {
        let project = machine(&format!("printf '{printed}'\nexec sleep 60"), "10s");
        project.kiln("build").exits(0);
    }
}

/// The number of the process of that name that descends from a kiln.
fn descendant(of: &Child, name: &str) -> Pid {
    loop {
        let mut parents = vec![of.id().to_string()];
        while let Some(parent) = parents.pop() {
            for process in fs::read_dir("/proc").unwrap().flatten() {
                let Ok(stat) = fs::read_to_string(process.path().join("stat")) else { continue };
                let (command, rest) = stat.rsplit_once(") ").unwrap();
                if rest.split(' ').nth(1) != Some(&parent) {
                    continue;
                }
                let number = process.file_name().into_string().unwrap();
                if command.ends_with(&format!("({name}")) {
                    return Pid::from_raw(number.parse().unwrap());
                }
                parents.push(number);
            }
        }
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_machine_that_could_not_run_is_tried_again() {
    let project = machine("echo Booting\nsleep 5\necho KILN-BOOT-OK\nexec sleep 60", "12s");
    let kiln = project.command("build").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It is stopped for all of its first try.
    kill(descendant(&kiln, "fake-qemu"), Signal::SIGSTOP).unwrap();
    let said = KilnOutput::new("kiln build", &kiln.wait_with_output().unwrap());
    said.exits(0).complains("passed at try 2");

    // And here for both.
    let project = machine("echo Booting\nsleep 5\necho KILN-BOOT-OK\nexec sleep 60", "7s");
    project.edit("rules/job.ron", "    retries: 1,\n", "");
    let kiln = project.command("build").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    kill(descendant(&kiln, "fake-qemu"), Signal::SIGSTOP).unwrap();
    let said = KilnOutput::new("kiln build", &kiln.wait_with_output().unwrap());
    said.exits(4).complains("so this host is too busy");
    assert_eq!(project.plan("").verdict(BOOT), "stale");
}
