//! Inputs that change while an action runs.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use super::project::{GATE, Project, node};

/// Reads when the gate is opened, and not before.
fn reader(of: &str) -> String {
    format!("{GATE}; cat {of} >o; ls -R /kiln/in >>o")
}

fn reader_of_tree() -> Project {
    let project = Project::new([node("slow", reader("/kiln/in/tree/dir/file")).reads_source("tree")]);
    project.write("tree/dir/file", "old\n");
    project.write("tree/dir/other", "other\n");
    symlink("file", project.path("tree/dir/link")).unwrap();
    project.with_source("tree")
}

fn reader_of_file() -> Project {
    let project = Project::new([node("slow", reader("/kiln/in/file")).reads_file("input")]);
    project.write("input", "old\n");
    project
}

/// Builds, with the edit made while the node `slow` runs.
fn build_during(project: &Project, edit: impl FnOnce()) {
    let running = project.start();
    let gate = project.gate("slow");
    edit();
    gate.open();
    running.end().exits(0);
    let made = project.read("out/slow/o");
    assert!(made.starts_with("old\n") && !made.contains("another"), "{made}");
}

/// Builds once more, and sees that `slow` runs, as it was made from what is not there any more.
fn build_again(project: &Project, content: &str) {
    let running = project.start();
    project.gate("slow").open();
    running.end().exits(0);
    let made = project.read("out/slow/o");
    assert!(made.contains(content), "{made}");
    project.assert_fresh();
}

#[test]
fn a_source_changes_during_a_run_that_has_a_copy() {
    let project = reader_of_tree();
    build_during(&project, || project.write("tree/dir/file", "new\n"));
    build_again(&project, "new\n");

    let project = reader_of_tree();
    build_during(&project, || project.write("tree/dir/another", "new\n"));
    build_again(&project, "another");

    let project = reader_of_tree();
    build_during(&project, || {
        fs::rename(project.path("tree"), project.path("elsewhere")).unwrap();
        project.write("tree/dir/file", "new\n");
    });
    build_again(&project, "new\n");

    let project = reader_of_tree();
    build_during(&project, || fs::rename(project.path("tree"), project.path("elsewhere")).unwrap());
    project.build().exits(4).complains("does not exist");
}

#[test]
fn a_file_of_the_project_changes_during_a_run_that_has_a_copy() {
    let project = reader_of_file();
    build_during(&project, || project.write("input", "new\n"));
    build_again(&project, "new\n");

    let project = Project::new([node("slow", reader("/kiln/in/file/a")).reads_file("input")]);
    project.write("input/a", "old\n");
    build_during(&project, || project.write("input/a", "new\n"));
    build_again(&project, "new\n");
}

#[test]
fn what_changes_and_changes_back_leaves_a_result_of_what_is_there() {
    type Edit = fn(&Project);
    let edits: [Edit; 7] = [
        |project| project.write("tree/dir/file", "new\n"),
        |project| {
            fs::rename(project.path("tree/dir/file"), project.path("aside")).unwrap();
            project.write("tree/dir/file", "new\n");
        },
        |project| fs::remove_file(project.path("tree/dir/file")).unwrap(),
        |project| project.write("tree/dir/another", "new\n"),
        |project| {
            fs::remove_file(project.path("tree/dir/link")).unwrap();
            symlink("other", project.path("tree/dir/link")).unwrap();
        },
        |project| {
            fs::set_permissions(project.path("tree/dir/file"), Permissions::from_mode(0o755)).unwrap();
        },
        |project| {
            fs::rename(project.path("tree"), project.path("aside-tree")).unwrap();
            project.write("tree/dir/file", "new\n");
        },
    ];
    for edit in edits {
        let project = reader_of_tree();
        let running = project.start();
        let gate = project.gate("slow");
        let copied =
            Command::new("cp").arg("-a").args([project.path("tree"), project.path("saved")]).status();
        assert!(copied.unwrap().success());
        edit(&project);
        gate.open();
        running.end().exits(0);
        fs::remove_dir_all(project.path("tree")).unwrap();
        fs::rename(project.path("saved"), project.path("tree")).unwrap();
        project.assert_fresh();
        let made = project.read("out/slow/o");
        assert!(made.starts_with("old\n") && !made.contains("another"), "{made}");
    }
}

/// An edit after kiln has decided, before the run begins. It is seen at once, whether it is taken back later or not.
#[test]
fn a_change_between_the_decision_and_the_first_read_is_seen() {
    let slow = |of: &str| node("slow", reader(of)).reads("first");
    // What `slow` reads is looked at when `early` is decided on.
    let (first, early) = (node("first", format!("{GATE}; echo >o")), node("early", "echo >o"));
    let of_tree = slow("/kiln/in/tree/dir/file").reads_source("tree");
    let of_tree = Project::new([first.clone(), early.clone().reads_source("tree"), of_tree]);
    let of_file = slow("/kiln/in/file").reads_file("input");
    let of_file = Project::new([first, early.reads_file("input"), of_file]);
    of_tree.write("tree/dir/file", "old\n");
    of_file.write("input", "old\n");
    let of_tree = of_tree.with_source("tree");
    for (project, path, what) in [(&of_tree, "tree/dir/file", "source tree"), (&of_file, "input", "input")] {
        let running = project.start();
        let first = project.gate("first");
        running.until_says("done early:early");
        project.write(path, "new\n");
        first.open();
        running.end().exits(4).complains(&format!("{what} changed before this ran: nothing is recorded"));
        assert_eq!(project.runs("slow", "pass"), 0, "nothing is recorded");
        assert!(!project.path("out/slow/o").exists(), "nothing is put in place");
        project.write(path, "old\n");
        build_again(project, "old\n");
    }
}

#[test]
fn what_a_run_left_that_read_something_else_is_not_continued() {
    let make = |body: &str| format!("[ -e kept ] && echo continued; touch kept; {body}; rm -f begun go");
    let read = format!("cat /kiln/in/tree/dir/file >o; {GATE}");
    let project = Project::new([node("slow", make(&read)).reads_source("tree").continues()]);
    project.write("tree/dir/file", "old\n");
    let project = project.with_source("tree");
    let running = project.start();
    let gate = project.gate("slow");
    project.write("tree/dir/file", "new\n");
    project.write("tree/dir/file", "old\n");
    gate.open();
    running.end().exits(4).complains("changed while this ran");
    let kept = project.cache.join("kept");
    assert_eq!(fs::read_dir(kept).into_iter().flatten().count(), 0, "no output directory is kept");
}

#[test]
fn a_tool_is_another_for_a_while() {
    let project = Project::new([node("slow", format!("tool >o; {GATE}"))]);
    let tool = |says: &str| {
        project.write("tools/tool", &format!("#!/bin/sh\necho {says}\n"));
        fs::set_permissions(project.path("tools/tool"), Permissions::from_mode(0o755)).unwrap();
    };
    tool("old");
    let declare = |rule: &Path| {
        let path = project.path("tools/tool").canonicalize().unwrap();
        let text = fs::read_to_string(rule).unwrap();
        assert!(text.contains("tools: [") && text.contains("tool >o"), "{text}");
        let text = text.replace("tools: [", &format!("tools: [\"{}\", ", path.display()));
        fs::write(rule, text.replace("tool >o", &format!("{} >o", path.display()))).unwrap();
    };
    declare(&project.path("rules/slow.ron"));
    let running = project.start();
    let gate = project.gate("slow");
    tool("new");
    tool("old");
    gate.open();
    running.end().exits(4).complains("tools/tool changed while this ran");
    assert_eq!(project.runs("slow", "pass"), 0, "nothing is recorded");
    let running = project.start();
    project.gate("slow").open();
    running.end().exits(0);
    assert_eq!(project.read("out/slow/o"), "old\n");
}

#[test]
fn a_rule_changes_during_a_run() {
    let mut project = Project::new([node("slow", format!("{GATE}; echo old >o"))]);
    let running = project.start();
    let gate = project.gate("slow");
    project.replace(node("slow", "echo new >o"));
    gate.open();
    running.end().exits(0);
    assert_eq!(project.read("out/slow/o"), "old\n");
    project.build().exits(0);
    assert_eq!(project.read("out/slow/o"), "new\n");
    project.assert_fresh();
}

/// What a run reads in place is what was decided on, also where the host shows something else by the time it begins.
#[test]
fn something_is_mounted_on_a_source_before_a_run_begins() {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("skipped: needs root");
    }
    let read = format!("cat /kiln/in/tree/dir/file >o; {GATE}");
    let slow = node("slow", read).reads_source("tree").continues().reads("first");
    let early = node("early", "echo >o").reads_source("tree");
    let project = Project::new([node("first", format!("{GATE}; echo >o")), early, slow]);
    project.write("tree/dir/file", "old\n");
    project.write("other/file", "new\n");
    let project = project.with_source("tree");
    let running = project.start();
    let first = project.gate("first");
    running.until_says("done early:early");
    let at = project.path("tree/dir");
    let mounted = Command::new("mount").arg("--bind").arg(project.path("other")).arg(&at).status().unwrap();
    if !mounted.success() {
        return eprintln!("skipped: nothing can be mounted here");
    }
    first.open();
    let ended = running.end();
    assert!(Command::new("umount").arg(&at).status().unwrap().success());
    ended.exits(4).complains("source tree: dir changed while this ran: nothing is recorded");
    assert_eq!(project.runs("slow", "pass"), 0, "nothing is recorded");
}
