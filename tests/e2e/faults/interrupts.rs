//! Ctrl-C and a polite kill.

use nix::sys::signal::Signal;

use super::project::{GATE, Gate, Project, node};

/// A finished node, and one that waits with a process of its own session beside it.
fn quick_and_slow() -> Project {
    let slow = format!("setsid sleep 1000 & (trap '' INT TERM; {GATE}); cat /kiln/in/quick >o");
    Project::new([node("quick", "echo done >o"), node("slow", slow).reads("quick")])
}

#[test]
fn an_interrupted_build_ends_whole_and_is_gone_on_with() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let project = quick_and_slow();
        let running = project.start();
        project.gate("slow");
        assert!(project.sandboxed().len() >= 3, "the test sees what is in the sandbox");
        running.signal(signal);
        running.end().exits(130).complains("cancelled");
        assert_eq!(project.sandboxed(), [0; 0], "nothing outlives kiln");

        let running = project.start();
        project.gate("slow").open();
        running.end().exits(0);
        assert_eq!(project.read("out/slow/o"), "done\n");
        assert_eq!((project.runs("quick", "pass"), project.runs("slow", "pass")), (1, 1));
        project.assert_fresh();
    }
}

#[test]
fn a_second_interrupt_ends_kiln_at_once() {
    let project = quick_and_slow();
    let running = project.start();
    let abandoned = project.gate("slow");
    for _ in 0..2 {
        running.signal(Signal::SIGINT);
        std::thread::yield_now();
    }
    running.end().exits(130);
    project.until_none_sandboxed();

    let running = project.start();
    project.other_gate("slow", Some(&abandoned)).open();
    running.end().exits(0);
    assert_eq!(project.read("out/slow/o"), "done\n");
    assert_eq!(project.runs("quick", "pass"), 1);
    project.assert_fresh();
}

#[test]
fn an_interrupt_keeps_what_is_ready_from_starting() {
    let ready: Vec<_> =
        (0..20).map(|number| node(&format!("n{number}"), format!("{GATE}; echo {number} >o"))).collect();
    let project = Project::new(ready);
    let running = project.start();
    project.gate("n0");
    running.signal(Signal::SIGINT);
    let ended = running.end().exits(130);
    assert!(ended.err.matches("run  ").count() <= 2, "{}", ended.err);
}

/// As when the cache fails: nothing can be recorded any more, and what runs is let end.
#[test]
fn a_cache_that_fails_under_way_ends_the_build() {
    let project = Project::new(["one", "other"].map(|name| node(name, format!("{GATE}; echo {name} >o"))));
    let running = project.start();
    let gates = ["one", "other"].map(|name| project.gate(name));
    project.index().execute_batch("DROP TABLE run").unwrap();
    gates.iter().for_each(Gate::open);
    running.end().exits(4).complains("index");
    assert_eq!(project.sandboxed(), [0; 0]);
}
