//! `kiln why`: what differs, from what to what, and along which way.

use std::process::Command;

use crate::support::project::{BOOT, CONFIG, KERNEL, KilnOutput, MATCH, Project};

fn built() -> Project {
    let project = Project::new();
    project.kiln("build -j2").exits(0);
    project
}

fn why(project: &Project, node: &str) -> KilnOutput {
    project.kiln(&format!("why {node}")).exits(0)
}

#[test]
fn a_file_is_named_with_both_digests() {
    let project = built();
    project.edit("linux/init/main.c", "Hello", "Goodbye");
    let said =
        why(&project, KERNEL).says(&format!("{KERNEL} is stale")).says("- linux: init/main.c changed (");
    let digests = said.out.split_once("main.c changed (").unwrap().1.split_once(')').unwrap().0;
    let (old, new) = digests.split_once(" -> ").unwrap();
    assert!(old.len() == 12 && new.len() == 12 && old != new, "{digests}");
}

#[test]
fn a_fixup_is_shown_as_it_was_and_as_it_is() {
    let project = built();
    project.edit("graph.ron", "HZ=100", "HZ=1000");
    why(&project, CONFIG).says("- input fragment changed ([\"CONFIG_HZ=100\"] -> [\"CONFIG_HZ=1000\"])");
}

#[test]
fn a_rule_that_changed_is_said_part_by_part() {
    let project = built();
    project.edit("rules/kernel.ron", "\"KBUILD_BUILD_USER\": \"kiln\"", "\"KBUILD_BUILD_USER\": \"oven\"");
    why(&project, KERNEL).says("- the rule's env").says("oven").never_says("the rule's steps");
    project.build("").exits(0).runs(&[KERNEL, BOOT]);
}

#[test]
fn a_tool_that_changed_is_named_by_its_file() {
    let project = built();
    project.script("toolchain/bin/fake-ld", "#!/bin/sh\n# another\n");
    let file = project.path("toolchain/bin/fake-ld").canonicalize().unwrap();
    why(&project, CONFIG).says(&format!("- host file {} changed (", file.display()));
}

#[test]
fn the_way_from_a_boot_to_an_edited_file_is_told() {
    let project = built();
    project.edit("linux/init/main.c", "Hello", "Goodbye");
    why(&project, BOOT)
        .says(&format!("{BOOT} is unknown until {KERNEL}"))
        .says(&format!("{KERNEL} is stale"))
        .says("init/main.c changed");

    // Half way: the kernel has run, so the boot is stale for its image, and the kernel for the file.
    project.build("kernel:").exits(0).runs(&[KERNEL]);
    why(&project, BOOT)
        .says(&format!("{BOOT} is stale"))
        .says(&format!("- image of {KERNEL} changed ("))
        .says(&format!("{KERNEL} ran "))
        .says("- linux: init/main.c changed (");
}

#[test]
fn a_fresh_node_says_so_and_why_it_last_ran() {
    let project = built();
    why(&project, KERNEL).says(&format!("{KERNEL} is fresh")).says("last run: ").says("- never ran");
    project.edit("linux/init/main.c", "Hello", "Goodbye");
    project.build("").exits(0);
    // Nothing of this is kept in a process: each command is one of its own.
    why(&project, KERNEL).says("is fresh").says("- linux: init/main.c changed (");
}

#[test]
fn a_cached_node_says_where_its_result_is_from() {
    let project = built();
    project.edit("graph.ron", "HZ=100", "HZ=1000");
    project.build("").exits(0);
    project.edit("graph.ron", "HZ=1000", "HZ=100");
    why(&project, KERNEL).says("is cached").says("- the same inputs as in an earlier run");
}

#[test]
fn all_that_a_key_is_made_of_can_be_listed() {
    let project = built();
    project
        .kiln(&format!("why --verbose {KERNEL}"))
        .exits(0)
        .says("action key ")
        .says("  {arch.make}: [\"ARCH=x86_64\"]")
        .says("  tool fake-ld: ")
        .says("  source linux: ")
        .says("files of the host's tools");
    project.kiln(&format!("why --verbose {MATCH}")).exits(0).says("  CONFIG_SERIAL_8250_CONSOLE: \"y\"");
}

#[test]
fn the_answer_as_json_is_the_nodes_part_of_the_plan() {
    let project = built();
    project.edit("linux/init/main.c", "Hello", "Goodbye");
    let answer = project.kiln(&format!("why --format json {KERNEL}")).exits(0).json();
    let planned = project.plan("");
    assert_eq!(answer["node"]["reasons"], planned.node(KERNEL)["reasons"]);
    assert_eq!(answer["node"]["reasons"][0]["path"], "init/main.c");
    assert_eq!((&answer["version"], &answer["node"]["verdict"]), (&1.into(), &"stale".into()));
    assert_eq!(answer["last-run"]["outcome"], "pass");
    assert_eq!(answer["last-run"]["reasons"][0]["reason"], "never-ran");
}

/// A rule that reads one file of a git repository.
fn in_git() -> (Project, impl Fn(&[&str]) -> String) {
    let project = Project::with_graph(
        r#"(version: 1, sources: { "tree": Git(path: "tree") }, actions: { "it": (rule: "read") })"#,
    );
    project.write(
        "rules/read.ron",
        r#"(
            version: 1,
            inputs: { "tree": Source("tree") },
            discover: (inputs: ["tree"], by: [Fanotify]),
            steps: [["cp", "{in.tree}/read", "{out}/copy"]],
            outputs: { "copy": File("copy") },
            tools: ["cp"],
        )"#,
    );
    let tree = project.path("tree");
    let git = move |args: &[&str]| {
        let who = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"];
        let output = Command::new("git").arg("-C").arg(&tree).args(who).args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    project.write("tree/read", "1\n");
    project.write("tree/other", "1\n");
    git(&["init", "--quiet"]);
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message", "First things"]);
    (project, git)
}

#[test]
fn the_commits_that_brought_a_change_are_named() {
    let (project, git) = in_git();
    project.kiln("build").exits(0);
    let then = git(&["rev-parse", "HEAD"]);
    let commit = |message: &str| git(&["commit", "--quiet", "--all", "--allow-empty", "--message", message]);

    // Another commit, and the same files: it is part of no key.
    commit("Nothing at all");
    project.write("tree/other", "2\n");
    commit("Something else");
    project.plan("").has_nothing_to_do();

    project.write("tree/read", "2\n");
    why(&project, "read:it").says("tree: read changed (").says("has these changes; they are not committed");
    commit("What counts");
    let now = git(&["rev-parse", "HEAD"]);
    let said = why(&project, "read:it")
        .says(&format!("tree: commits {}..{} with these changes:\n", &then[..12], &now[..12]))
        .says(" What counts\n")
        .never_says("Something else")
        .never_says("Nothing at all")
        .never_says("commit of tree changed");
    assert!(said.out.contains(&git(&["rev-parse", "--short", "HEAD"])), "{said}");
    let answer = project.kiln("why --format json read:it").exits(0).json();
    assert_eq!((&answer["commits"][0]["from"], &answer["commits"][0]["to"]), (&then.into(), &now.into()));
    assert_eq!(answer["commits"][0]["commits"][0]["subject"], "What counts");
    assert_eq!(answer["node"]["reasons"].as_array().unwrap().len(), 1);
    let digests = &answer["node"]["reasons"][0]["change"]["content"];
    assert!(digests["old"].is_string() && digests["new"].is_string() && digests["old"] != digests["new"]);

    project.kiln("build").exits(0);
    project.write("tree/read", "3\n");
    why(&project, "read:it").says("tree: still at commit ").says("the changes are not committed");
}

#[test]
fn a_commit_that_git_has_lost_is_one_line_and_no_error() {
    let (project, git) = in_git();
    project.kiln("build").exits(0);
    std::fs::remove_dir_all(project.path("tree/.git")).unwrap();
    project.write("tree/read", "2\n");
    // No repository at all.
    why(&project, "read:it").says("tree: read changed (").never_says("commit");
    git(&["init", "--quiet"]);
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message", "Begun anew"]);
    let said = why(&project, "read:it").says("tree: read changed (").says("can't be listed: ");
    assert_eq!(said.out.lines().filter(|line| line.contains("can't be listed")).count(), 1, "{said}");
}

#[test]
fn many_changed_files_are_counted() {
    let project = built();
    for number in 0..15 {
        project.write(&format!("linux/drivers/{number:02}.c"), "");
    }
    why(&project, CONFIG)
        .says("linux: drivers/00.c is new")
        .says("linux: 5 more files differ")
        .never_says("14.c");
}
