//! `kiln history`: all that a node has run, and what for.

use crate::support::project::{BOOT, CONFIG, KERNEL, Project};

/// A project whose kernel ran for the first time, for an edit, for a failure, and because it was told to.
fn eventful() -> Project {
    let project = Project::new();
    project.kiln("build -j2").exits(0);
    project.edit("linux/init/main.c", "Hello", "Goodbye");
    project.edit("linux/lib/string.c", "return *text", "return text[0]");
    project.kiln("build -j2").exits(0);
    project.edit("rules/kernel.ron", "\"{arch.targets}\"]", "\"{arch.targets}\", \"nothing\"]");
    project.kiln("build -j2").exits(1);
    project.edit("rules/kernel.ron", ", \"nothing\"]", "]");
    project.kiln(&format!("build -j2 --force {KERNEL}")).exits(0);
    project
}

#[test]
fn runs_are_listed_newest_first_with_what_made_them_run() {
    let project = eventful();
    let said = project.kiln(&format!("history {KERNEL}")).exits(0);
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!(lines.len(), 5, "{said}");
    assert!(lines[0].starts_with("STARTED") && lines[0].ends_with("WHY"), "{said}");
    assert!(lines[1].contains("  pass, continued  ") && lines[1].ends_with("  forced"), "{said}");
    assert!(lines[2].contains("  fail  ") && lines[2].contains("the rule's steps changed"), "{said}");
    assert!(
        lines[3].contains("  pass, continued  ") && lines[3].contains("linux: init/main.c changed ("),
        "{said}"
    );
    assert!(lines[3].ends_with("; and 1 more"), "{said}");
    assert!(lines[4].ends_with("  never ran"), "{said}");
    // In local time, which the tests say is UTC.
    assert!(lines[4].as_bytes()[..19].iter().all(|byte| b"0123456789-: ".contains(byte)), "{said}");

    let first = project.kiln(&format!("history --limit 1 {KERNEL}")).exits(0);
    assert_eq!(first.out.lines().count(), 2, "{first}");
    project.kiln("history job:*").exits(0).says("never ran").says("changed");
}

#[test]
fn runs_as_json_have_their_keys_and_all_reasons() {
    let project = eventful();
    let history = project.kiln(&format!("history --format json {KERNEL}")).exits(0).json();
    assert_eq!((&history["version"], &history["node"]), (&1.into(), &KERNEL.into()));
    let runs = history["runs"].as_array().unwrap();
    let outcomes: Vec<&str> = runs.iter().map(|run| run["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["pass", "fail", "pass", "pass"]);
    assert_eq!(runs[2]["reasons"][0]["path"], "init/main.c");
    assert_eq!(runs[2]["reasons"][1]["path"], "lib/string.c");
    assert_eq!(runs[3]["reasons"][0]["reason"], "never-ran");
    // Only the failure was told to do anything else.
    assert_eq!(runs[0]["action-key"], runs[2]["action-key"]);
    assert_ne!(runs[1]["action-key"], runs[2]["action-key"]);
    assert_ne!(runs[2]["strong-key"], runs[3]["strong-key"]);
    assert!(runs.iter().all(|run| run["seconds"].is_number() && run["started"].is_string()), "{history:#}");

    let planned = project.plan("");
    assert_eq!(runs[0]["strong-key"], planned.node(KERNEL)["strong-key"]);
}

#[test]
fn a_node_without_runs_has_no_history() {
    let project = Project::new();
    project.kiln(&format!("history {CONFIG}")).exits(2).complains("has not run yet");
    project.kiln("history kernal:").exits(2).complains("no node is named");
    project.kiln(&format!("history --limit 0 {CONFIG}")).exits(2);
    project.kiln("build -j2").exits(0);
    project.kiln("history *:linux/*").exits(2).complains("several nodes");
    project.kiln(&format!("history {BOOT}")).exits(0).says("never ran");
}
