//! Several kilns on one cache.

use nix::sys::signal::Signal;

use super::project::{GATE, Node, Project, Running, node};

fn slow() -> Node {
    node("slow", format!("{GATE}; echo made >o"))
}

#[test]
fn the_second_kiln_waits_for_what_the_first_is_running() {
    let project = Project::new([slow(), node("after", "cat /kiln/in/slow >o").reads("slow")]);
    let first = project.start();
    let gate = project.gate("slow");
    let second = project.start();
    second.until_says("slow:slow: another kiln runs it");
    gate.open();
    first.end().exits(0);
    second.end().exits(0).complains("done slow:slow from the cache");
    assert_eq!(project.runs("slow", "pass"), 1);
    assert_eq!(project.read("out/after/o"), "made\n");
    project.assert_fresh();
}

#[test]
fn the_second_kiln_takes_over_from_a_killed_one() {
    let project = Project::new([slow()]);
    let first = project.start();
    let abandoned = project.gate("slow");
    let second = project.start();
    second.until_says("slow:slow: another kiln runs it");
    first.signal(Signal::SIGKILL);
    first.end();
    project.other_gate("slow", Some(&abandoned)).open();
    second.end().exits(0);
    assert_eq!(project.runs("slow", "pass"), 1);
    project.assert_fresh();
}

#[test]
fn the_second_kiln_tries_what_failed_in_the_first() {
    let project = Project::new([node("slow", format!("{GATE}; exit 1"))]);
    let first = project.start();
    let gate = project.gate("slow");
    let second = project.start();
    second.until_says("slow:slow: another kiln runs it");
    gate.open();
    first.end().exits(1);
    project.other_gate("slow", Some(&gate)).open();
    second.end().exits(1);
    assert_eq!(project.runs("slow", "fail"), 2);
}

#[test]
fn a_kiln_that_waits_can_be_interrupted() {
    let project = Project::new([slow()]);
    let first = project.start();
    let gate = project.gate("slow");
    let second = project.start();
    second.until_says("slow:slow: another kiln runs it");
    second.signal(Signal::SIGINT);
    second.end().exits(130);
    gate.open();
    first.end().exits(0);
}

#[test]
fn projects_that_share_a_cache_share_what_is_in_it() {
    let cache = tempfile::tempdir().unwrap();
    let nodes = || [slow(), node("file", "cat /kiln/in/file >o").reads_file("input")];
    let projects = [(); 2].map(|()| Project::new(nodes()).with_cache(&cache.path().join("cache")));
    let [one, other] = &projects;
    for project in &projects {
        project.write("input", "the same\n");
    }
    let first = one.start();
    let gate = one.gate("slow");
    let second = other.start();
    second.until_says("slow:slow: another kiln runs it");
    gate.open();
    first.end().exits(0);
    second.end().exits(0);
    assert_eq!((one.runs("slow", "pass"), one.runs("file", "pass")), (1, 1));
    assert_eq!(one.outputs(), other.outputs());

    // What differs is kept apart.
    one.write("input", "another\n");
    one.build().exits(0);
    assert_eq!((one.read("out/file/o"), other.read("out/file/o")), ("another\n".into(), "the same\n".into()));
    projects.iter().for_each(Project::assert_fresh);
}

#[test]
fn a_crowd_of_kilns_runs_everything_once() {
    let mut nodes = vec![node("n0", "echo 0 >o")];
    for number in 1..10 {
        let before = format!("n{}", number - 1);
        nodes.push(
            node(&format!("n{number}"), format!("cat /kiln/in/{before} >o; echo {number} >>o")).reads(before),
        );
    }
    let project = Project::new(nodes);
    // The directory is not there yet: they also meet in making it.
    let crowd: Vec<Running> = (0..4).map(|_| project.start()).collect();
    for running in crowd {
        running.end().exits(0);
    }
    for number in 0..10 {
        assert_eq!(project.runs(&format!("n{number}"), "pass"), 1, "n{number}");
    }
    project.assert_as_if_clean();
    // Each of them put the outputs in place, and another may have been the last to write that down.
    project.build().exits(0);
    project.assert_fresh();
}

#[test]
fn equal_actions_of_one_build_run_once() {
    let project = Project::new((0..5).map(|number| node(&format!("n{number}"), "echo the same >o")));
    project.build().exits(0);
    let runs: u32 = (0..5).map(|number| project.runs(&format!("n{number}"), "pass")).sum();
    assert_eq!((runs, project.outputs().len()), (1, 5));
    project.assert_fresh();
}
