//! `kiln verify`: what has a result runs again from nothing, and what it makes is held against the record.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::project::{BOOT, CONFIG, INITRAMFS, KERNEL, KilnOutput, MATCH, Project};

/// A rule of one step in the shell, whose output is the file `made`.
fn shell(script: &str) -> String {
    format!(
        "(version: 1, steps: [[\"sh\", \"-c\", {script:?}]], outputs: {{ \"made\": File(\"made\") }}, \
         tools: [\"sh\", \"cat\", \"nice\"], export: \"it\")\n"
    )
}

/// All files below a directory, with their content.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let list = Command::new("find").args([".", "-type", "f"]).current_dir(dir).output().unwrap();
    let mut names: Vec<String> = String::from_utf8(list.stdout).unwrap().lines().map(str::to_owned).collect();
    names.sort();
    names.into_iter().map(|name| (name.clone(), fs::read(dir.join(&name)).unwrap())).collect()
}

/// What is kept of output directories, as it was made.
fn kept(project: &Project) -> String {
    let list = ["cache/kept", "-printf", "%p %i %T@ %C@\n"];
    let list = Command::new("find").args(list).current_dir(project.path("")).output().unwrap();
    String::from_utf8(list.stdout).unwrap()
}

#[test]
fn what_is_made_again_is_the_same_and_nothing_is_touched() {
    let project = Project::new();
    project.kiln("build -j2").exits(0);
    let (placed, kept_then) = (files(&project.path("out")), kept(&project));
    let said = project.kiln("verify -j2").exits(0);
    let said = said.says(&format!("same    {KERNEL} in ")).says(&format!("same    {CONFIG} in "));
    let said = said.says(&format!("same    {INITRAMFS} in ")).says("3 same, 2 skipped");
    let said = said.says(&format!("skipped {BOOT}: boots are not verified"));
    said.says(&format!("skipped {MATCH}: kiln works it out itself")).complains("same outputs as before");
    assert!(files(&project.path("out")) == placed);
    project.plan("").has_nothing_to_do();
    // No run of it is recorded: what is known of the last one are its reasons.
    project.kiln(&format!("why {KERNEL}")).exits(0).says("because\n  - never ran");
    // Nor did it take what is kept for the next build.
    assert_eq!(kept_then, kept(&project));
}

#[test]
fn one_node_is_verified_if_one_is_asked_for() {
    let project = Project::new();
    project.kiln("build -j2").exits(0);
    let said = project.kiln(&format!("verify {CONFIG}")).exits(0).says("1 same\n").never_says(KERNEL);
    said.never_says(INITRAMFS);
    project.kiln("verify nothing:").exits(2).complains("no node is named \"nothing:\"");
}

#[test]
fn a_difference_is_shown_where_it_begins_and_the_record_is_left_alone() {
    let project =
        Project::with_rule("dice", &shell("echo thrown: >made; cat /proc/sys/kernel/random/uuid >>made"));
    project.kiln("build").exits(0);
    let before = project.read("out/it/made");
    for _ in 0..2 {
        let said = project.kiln("verify").exits(1).says("differs dice:it in ").says("        made\n");
        let said = said.says("differs from byte 0x").says(" on (both of 45 bytes)");
        // What was thrown may begin alike. The bytes of the recorded one.
        let at = said.out.split_once("byte 0x").unwrap().1.split_once(' ').unwrap().0;
        let at = usize::from_str_radix(at, 16).unwrap();
        assert!((8..44).contains(&at), "{at}");
        let bytes: Vec<String> = before.bytes().skip(at).take(8).map(|byte| format!("{byte:02x}")).collect();
        said.says(&format!("recorded  {}\n", bytes.join(" ")))
            .says("`kiln build --clean --force dice:it` replaces it")
            .complains("other outputs than before");
    }
    assert_eq!(project.read("out/it/made"), before);
    project.plan("").has_nothing_to_do();
    project.kiln("build --clean --force dice:it").exits(0);
    assert_ne!(project.read("out/it/made"), before);
}

#[test]
fn the_paths_of_a_tree_that_differ_are_named() {
    let rule = shell(
        "mkdir -p tree/sub && cd tree && echo same >same && cat /proc/sys/kernel/random/uuid >sub/id && \
         touch $(cat sub/id)",
    );
    let project = Project::with_rule(
        "dice",
        &rule.replace("File(\"made\")", "Tree(\"tree\")").replace("\"nice\"", "\"mkdir\", \"touch\""),
    );
    project.kiln("build").exits(0);
    let said = project.kiln("verify").exits(1).says("sub/id: differs from byte 0x").never_says("same:");
    said.says(": was not made\n").says(": is not recorded\n");
}

#[test]
fn what_is_kept_can_be_looked_at_with_other_tools() {
    let project = Project::with_graph(
        "(version: 1, actions: { \"a\": (rule: \"dice\"), \"b\": (rule: \"constant\") })\n",
    );
    project.write("rules/dice.ron", &shell("cat /proc/sys/kernel/random/uuid >made"));
    project.write("rules/constant.ron", &shell("echo always >made; echo said").replace("\"it\"", "\"c\""));
    project.kiln("build").exits(0);
    for _ in 0..2 {
        project.kiln("verify --keep look").exits(1).says("the outputs of the clean runs are in look");
        assert_eq!(project.read("look/dice_a/recorded/made"), project.read("out/it/made"));
        assert_ne!(project.read("look/dice_a/clean/made"), project.read("out/it/made"));
        assert_eq!(project.read("look/constant_b/clean/made"), "always\n");
        assert_eq!(project.read("look/constant_b/log"), "said\n");
        assert!(!project.exists("look/constant_b/recorded"));
    }
}

#[test]
fn json_says_the_same() {
    let project = Project::with_rule("dice", &shell("cat /proc/sys/kernel/random/uuid >made"));
    project.kiln("build").exits(0);
    let said = project.kiln("verify --format json").exits(1).json();
    assert_eq!(said["version"], 1);
    assert_eq!(said["totals"]["differs"], 1);
    let node = &said["nodes"][0];
    assert_eq!((&node["name"], &node["result"]), (&"dice:it".into(), &"differs".into()));
    let output = &node["outputs"][0];
    assert_eq!(output["name"], "made");
    assert_ne!(output["recorded"], output["clean"]);
    assert_eq!(output["differences"]["count"], 1);
    let first = &output["differences"]["first"][0];
    assert_eq!((&first["path"], &first["how"]), (&"".into(), &"content".into()));
    assert_eq!((&first["recorded-size"], &first["clean-size"]), (&37.into(), &37.into()));
}

#[test]
fn what_is_stale_can_t_be_compared() {
    let project = Project::with_rule("constant", &shell("echo one >made"));
    project.kiln("verify").exits(4).says("nothing to verify");
    project.kiln("verify constant:").exits(4).says("stale   constant:it: it has no result: build it first");
    project.kiln("build").exits(0);
    project.write("rules/constant.ron", &shell("echo other >made"));
    project.kiln("verify").exits(4).says("stale   constant:it: build it first");
    project.kiln("build").exits(0);
    project.kiln("verify").exits(0);
    // It is the result that counts, not whether it is in place.
    project.remove("out/it/made");
    project.kiln("verify").exits(0).says("1 same");
    assert!(!project.exists("out/it/made"));
}

#[test]
fn a_recorded_output_that_is_lost_can_t_be_compared() {
    let project = Project::with_rule("dice", &shell("cat /proc/sys/kernel/random/uuid >made"));
    project.kiln("build").exits(0);
    let recorded = project.kiln("verify --format json").exits(1).json();
    let digest = recorded["nodes"][0]["outputs"][0]["recorded"].as_str().unwrap().to_owned();
    project.remove(&format!("cache/cas/{}/{digest}", &digest[..2]));
    project.kiln("verify").exits(4).says("infra   dice:it in ").says("an output is lost from the cache");
}

#[test]
fn an_action_that_fails_this_time_is_shown_with_its_log() {
    // Something that no key knows of: how many files kiln may have open.
    let project = Project::with_rule(
        "moody",
        &shell("echo made >made; echo files $(ulimit -Sn); test $(ulimit -Sn) -ne 511"),
    );
    project.kiln("build").exits(0);
    let mut verify = Command::new("sh");
    verify.args(["-c", "ulimit -Sn 511 && exec $0 verify", env!("CARGO_BIN_EXE_kiln")]);
    let verify = verify.current_dir(project.path("")).env("NO_COLOR", "1");
    let said = KilnOutput::new("ulimit -Sn 511; kiln verify", &verify.output().unwrap());
    let said = said.exits(1).says("failed  moody:it in ").says("exited with 1").says("| files 511");
    said.says("1 failed");
    project.plan("").has_nothing_to_do();
}

#[test]
fn it_is_no_concern_of_another_kiln_that_runs_the_same() {
    let project = Project::with_graph(
        "(version: 1, sources: { \"linux\": Dir(\"tree\") }, archs: { \"x\": () }, \
         toolchains: { \"t\": Gcc(targets: { \"x\": \"\" }) }, builds: [(sources: [\"linux\"], archs: [\"x\"], \
         defconfigs: [\"defconfig\"], toolchains: [\"t\"])])\n",
    );
    project.write("tree/go", "");
    project.write("rules/reader.ron", include_str!("../support/project/reader.ron"));
    project.kiln("build reader:").exits(0);
    // A forced run of it holds the lock until there is a file again.
    project.remove("tree/go");
    let mut other = project.start_reader();
    project.kiln("verify reader:").exits(4).says("stale");
    project.write("tree/go", "");
    project.kiln("verify reader:").exits(0).never_says("another kiln");
    project.release_reader();
    other.wait().unwrap();
}
