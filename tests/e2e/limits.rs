//! Actions that exceed what their rules let them have.

use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::project::Project;

/// A rule `bomb` that runs a script with these resources.
fn bomb(script: &str, resources: &str) -> Project {
    Project::with_rule(
        "bomb",
        &format!(
            r#"(
                version: 1,
                steps: [["sh", "-c", "{script}"]],
                outputs: {{ "made": File("made") }},
                tools: ["sh", "head", "tail", "sleep"],
                resources: ({resources}),
                outcome: (cache_fail: true),
            )"#
        ),
    )
}

/// Whether memory and processes of an action as a whole can be limited here.
fn has_groups(project: &Project) -> bool {
    project.kiln("doctor").out.contains("control groups")
}

#[test]
fn an_action_that_takes_more_memory_than_it_declares_fails() {
    // `tail` holds what it may have to print.
    let project = bomb("head -c 400000000 /dev/zero | tail -c 300000000 >made", "memory: \"64MiB\"");
    if !has_groups(&project) {
        return;
    }
    let why = "exceeded its memory limit of 64.0 MiB: raise resources.memory in rules/bomb.ron";
    assert_eq!(project.build("").exits(1).finished("bomb:it")["message"], why);
    // The limit is in no key: a failure by it is kept by nobody, although the rule has failures kept.
    project.edit("rules/bomb.ron", "64MiB", "1GiB");
    project.build("").exits(0).runs(&["bomb:it"]);
    // And what has been made is not made again for another limit.
    project.edit("rules/bomb.ron", "1GiB", "65MiB");
    project.build("").exits(0).runs(&[]);
}

#[test]
fn an_action_that_starts_more_processes_than_it_may_fails() {
    let project =
        bomb("for i in 1 2 3 4 5 6 7 8 9; do sleep 30 & done; head -c 1 /dev/zero >made", "processes: 5");
    if has_groups(&project) {
        let why = "exceeded its process limit of 5: raise resources.processes in rules/bomb.ron";
        assert_eq!(project.build("").exits(1).finished("bomb:it")["message"], why);
    }
}

#[test]
fn an_action_that_writes_more_than_it_may_fails() {
    for (project, user) in [
        (bomb("head -c 3000000000 /dev/zero >made", "disk: \"20MiB\""), false),
        (bomb("head -c 3000000000 /dev/zero >made", "disk: \"20MiB\""), true),
    ] {
        let project = if user { project.of_ordinary_user() } else { project };
        let why = "exceeded its disk limit of 20.0 MiB: raise resources.disk in rules/bomb.ron";
        assert_eq!(project.build("").exits(1).finished("bomb:it")["message"], why);
    }
}

/// Without a control group, a process has a limit of its own.
#[test]
fn an_ordinary_user_is_limited_too() {
    let project = bomb("head -c 400000000 /dev/zero | tail -c 300000000 >made", "memory: \"64MiB\"");
    project.of_ordinary_user().build("").exits(1);
}

/// Groups go with their kiln; those of one that was killed are removed by the next.
#[test]
fn no_control_group_is_left_behind() {
    let project = bomb("sleep 1000", "processes: 100");
    if !has_groups(&project) {
        return;
    }
    let groups = |pid: u32| {
        let script = format!("find /sys/fs/cgroup -name 'kiln.{pid}.*' 2>/dev/null");
        let found = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        String::from_utf8(found.stdout).unwrap()
    };
    let short = bomb("head -c 1 /dev/zero >made", "");
    let mut ended = short.command("build -q").spawn().unwrap();
    assert!(ended.wait().unwrap().success());
    assert_eq!(groups(ended.id()), "");

    let mut running = project.command("build -q").stderr(Stdio::null()).spawn().unwrap();
    while groups(running.id()).is_empty() {
        assert!(running.try_wait().unwrap().is_none(), "kiln ended before its action ran");
        sleep(Duration::from_millis(20));
    }
    kill(Pid::from_raw(running.id().cast_signed()), Signal::SIGKILL).unwrap();
    running.wait().unwrap();
    assert!(!groups(running.id()).is_empty());
    // Until its sandbox is gone as well, which takes a moment, there is a process in it.
    while !groups(running.id()).is_empty() {
        project.kiln("doctor");
        sleep(Duration::from_millis(50));
    }
}
