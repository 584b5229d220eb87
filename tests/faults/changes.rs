//! Inputs that change while an action reads them.

use std::fs;

use crate::project::{GATE, Project, node};

/// Builds, edits while the node `slow` runs, and sees that the run counts for nothing and the next one is right.
fn changes_under_a_run(project: &Project, names: &str, edit: impl FnOnce()) {
    let running = project.start();
    let gate = project.gate("slow");
    edit();
    gate.open();
    running.end().exits(4).says(&format!("{names} changed while this ran")).says("run kiln again");
    assert_eq!(project.runs("slow", "pass"), 0, "nothing is recorded");
    assert!(!project.path("out/slow/o").exists(), "nothing is put in place");
    let results: u32 =
        project.index().query_row("SELECT count(*) FROM result", [], |row| row.get(0)).unwrap();
    assert_eq!(results, 0, "nothing is cached");

    let running = project.start();
    project.gate("slow").open();
    running.end().exits(0);
    project.assert_fresh();
}

/// It reads first, so that what it makes is of the old state.
fn reader(of: &str) -> String {
    format!("cat {of} >o; ls -R /kiln/in >>o; {GATE}")
}

fn project_with_tree() -> Project {
    let project = Project::new([node("slow", reader("/kiln/in/tree/dir/file")).reads_source("tree")]);
    project.write("tree/dir/file", "old\n");
    project.with_source("tree")
}

#[test]
fn a_source_file_changes() {
    let project = project_with_tree();
    changes_under_a_run(&project, "source tree", || project.write("tree/dir/file", "new\n"));
    assert!(project.read("out/slow/o").starts_with("new\n"));
}

#[test]
fn a_source_file_appears() {
    let project = project_with_tree();
    changes_under_a_run(&project, "source tree", || project.write("tree/dir/another", "new\n"));
    assert!(project.read("out/slow/o").contains("another"));
}

#[test]
fn a_source_tree_is_replaced() {
    let project = project_with_tree();
    changes_under_a_run(&project, "source tree", || {
        fs::rename(project.path("tree"), project.path("elsewhere")).unwrap();
        project.write("tree/dir/file", "new\n");
    });
    assert!(project.read("out/slow/o").starts_with("new\n"));
}

#[test]
fn a_source_tree_disappears() {
    let project = project_with_tree();
    let running = project.start();
    let gate = project.gate("slow");
    fs::rename(project.path("tree"), project.path("elsewhere")).unwrap();
    gate.open();
    running.end().exits(4).says("source tree changed while this ran");
    project.build().exits(4).says("does not exist");
}

#[test]
fn a_file_of_the_project_changes() {
    let project = Project::new([node("slow", reader("/kiln/in/file")).reads_file("input")]);
    project.write("input", "old\n");
    changes_under_a_run(&project, "input", || project.write("input", "new\n"));
    assert!(project.read("out/slow/o").starts_with("new\n"));
}

#[test]
fn a_directory_of_the_project_changes() {
    let project = Project::new([node("slow", reader("/kiln/in/file/a")).reads_file("input")]);
    project.write("input/a", "old\n");
    changes_under_a_run(&project, "input", || project.write("input/a", "new\n"));
    assert!(project.read("out/slow/o").starts_with("new\n"));
}

#[test]
fn a_step_that_fails_on_a_tree_that_changed_has_not_failed() {
    let fails_on_old = format!("{GATE}; ! grep -q broken /kiln/in/tree/file && echo well >o");
    let project = Project::new([node("slow", fails_on_old).reads_source("tree")]);
    project.write("tree/file", "well\n");
    let project = project.with_source("tree");
    let running = project.start();
    let gate = project.gate("slow");
    project.write("tree/file", "broken\n");
    gate.open();
    running.end().exits(4).says("source tree changed while this ran");
    assert_eq!(project.runs("slow", "fail"), 0);
}
