//! SIGKILL at any moment.

use std::thread::sleep;

use nix::sys::signal::Signal;

use super::project::{Node, Project, entries, node};
use crate::support::random::Random;

const ROUNDS: usize = 25;

/// Three layers of five nodes; the first reads files of a source tree, each further one two nodes of the one before.
fn layers() -> Vec<Node> {
    let mut nodes = Vec::new();
    for place in 0..5 {
        let script = format!("cat /kiln/in/tree/dir/{place} >o; sleep 0.02; echo first {place} >>o");
        nodes.push(node(&format!("first{place}"), script).reads_source("tree"));
    }
    for (layer, before) in [("second", "first"), ("third", "second")] {
        for place in 0..5 {
            let (one, other) = (format!("{before}{place}"), format!("{before}{}", (place + 1) % 5));
            let script = format!("sleep 0.02; cat /kiln/in/{one} /kiln/in/{other} | tee log.txt >o");
            nodes.push(node(&format!("{layer}{place}"), script).reads(one).reads(other));
        }
    }
    nodes
}

#[test]
fn killed_at_any_moment_the_next_run_is_right() {
    let project = Project::new(layers()).with_source("tree");
    for place in 0..5 {
        project.write(&format!("tree/dir/{place}"), "at first\n");
    }
    let mut random = Random::from_variable_or_time("KILN_FAULTS_SEED");
    for round in 0..ROUNDS {
        // Something new every time, so that there is work to be killed at.
        project.write(&format!("tree/dir/{}", random.below(5)), &format!("in round {round}\n"));
        let running = project.start();
        sleep(random.milliseconds(700));
        running.signal(Signal::SIGKILL);
        running.end();
        project.until_none_sandboxed();
    }
    project.build().exits(0);
    project.assert_as_if_clean();
    project.assert_fresh();

    let verdict: String = project.index().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
    for left in ["tmp", "work", "cas/damaged"] {
        let entries = entries(&project.cache.join(left));
        assert!(entries.is_empty(), "{entries:?}");
    }
}
