//! `kiln cache` on a project of two actions.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use kiln::digest::Digest;
use rusqlite::Connection;

use crate::support::project::{KilnOutput, Project};
use crate::support::tools::TOOLS;

/// A project of two actions, `one` and `two`; `limit` is a field of its cache.
fn two_actions(limit: &str) -> Project {
    let project = Project::with_graph(&graph(limit));
    for (name, script, inputs) in [
        ("one", "cat /kiln/in/file >o; head -c 300000 /dev/zero >>o", r#""file": File("input")"#),
        ("two", "cp /kiln/in/one o", r#""one": Output(rule: "one:one", output: "o")"#),
    ] {
        add_rule(&project, name, script, inputs);
    }
    project.write("input", "at first\n");
    project
}

fn graph(limit: &str) -> String {
    format!(
        "(version: 1, actions: {{\"one\": (rule: \"one\"), \"two\": (rule: \"two\")}}, cache: (path: \"cache\"{limit}))"
    )
}

fn add_rule(project: &Project, name: &str, script: &str, inputs: &str) {
    let rule = format!(
        "(version: 1, inputs: {{{inputs}}}, steps: [[\"sh\", \"-c\", {script:?}]], tools: [{TOOLS}], \
         outputs: {{\"o\": File(\"o\")}}, export: {name:?})"
    );
    project.write(&format!("rules/{name}.ron"), &rule);
}

/// The same project, built with one input after the other, so that there are results that nothing needs.
fn with_old_results(limit: &str) -> Project {
    let project = two_actions("");
    project.kiln("build").exits(0);
    project.write("input", "then\n");
    project.kiln("build").exits(0);
    project.write("graph.ron", &graph(limit));
    project
}

fn results(project: &Project) -> i64 {
    let index = Connection::open(project.path("cache/index.sqlite")).unwrap();
    index.query_row("SELECT count(*) FROM result", [], |row| row.get(0)).unwrap()
}

#[test]
fn gc_takes_what_the_graph_does_not_need_and_all_if_it_is_forced() {
    let project = with_old_results("");
    assert_eq!(results(&project), 4);
    let out = project.kiln("cache gc").exits(0).out;
    assert!(out.contains("nothing has to go"), "{out}");
    let KilnOutput { out, err, .. } = project.kiln("cache gc --size 0 --dry-run").exits(0);
    assert!(out.contains("2 results") && out.contains("would go"), "{out}");
    assert!(err.contains("more should have gone, but this graph needs it"), "{err}");
    assert_eq!(results(&project), 4);
    project.kiln("cache gc --size 0").exits(0);
    assert_eq!(results(&project), 2);
    assert!(project.kiln("build").exits(0).out.contains("everything is up to date"));

    // What is in place is up to date without its blobs; and what is not runs again.
    project.kiln("cache gc --size 0 --force").exits(0);
    assert_eq!(results(&project), 0);
    assert!(project.kiln("build").exits(0).out.contains("everything is up to date"));
    fs::remove_file(project.path("out/two/o")).unwrap();
    let out = project.kiln("build").exits(0).out;
    assert!(out.contains("2 ran"), "what is read and what is missing: {out}");
    assert!(project.kiln("cache gc --size much").exits(2).err.contains("expected such as 512MiB"));
}

#[test]
fn a_build_that_comes_over_the_bound_collects() {
    let project = with_old_results(", limit: (size: \"1MiB\")");
    project.write("input", "and then\n");
    let err = project.kiln("build").exits(0).err;
    assert!(err.contains("the cache took"), "{err}");
    assert!(err.contains("result"), "{err}");
    let left = results(&project);
    assert!((2..6).contains(&left), "{left}");
    assert!(project.kiln("build").exits(0).out.contains("everything is up to date"));
    // A build that does nothing does not look.
    let err = project.kiln("build").exits(0).err;
    assert!(!err.contains("the cache"), "{err}");
}

#[test]
fn stat_counts_all_that_is_there() {
    let project = with_old_results("");
    let out = project.kiln("cache stat --format json").exits(0).out;
    let figures: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(figures["version"], 1);
    let bytes = |part: &str| {
        let parts = figures["parts"].as_array().unwrap();
        parts.iter().find(|found| found["part"] == part).map_or(0, |found| found["bytes"].as_u64().unwrap())
    };
    // Two contents of some 300,000 bytes: what `two` makes is what `one` made.
    assert!((600_000..700_000).contains(&bytes("files")), "{figures:#}");
    assert_eq!(bytes("unreachable"), 0);
    let sum: u64 = ["files", "trees", "logs", "kept", "sources", "index", "damaged", "unreachable"]
        .into_iter()
        .map(bytes)
        .sum();
    assert_eq!(figures["total"].as_u64().unwrap(), sum);
    let nodes = figures["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 2);
    assert!(nodes.iter().all(|node| node["results"] == 2));
    let needed = figures["needed"].as_u64().unwrap();
    assert!((300_000..400_000).contains(&needed), "{needed}");
    let out = project.kiln("cache stat").exits(0).out;
    assert!(out.contains("results: files") && out.contains("two:two"), "{out}");
}

#[test]
fn verify_exits_with_1_where_something_was_damaged() {
    let project = with_old_results("");
    assert!(project.kiln("cache verify").exits(0).out.contains("all is well"));
    let made = fs::read(project.path("out/one/o")).unwrap();
    let hex = Digest::of_bytes(&made).to_string();
    let path = project.path("cache/cas").join(&hex[..2]).join(&hex);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&path, vec![0; made.len()]).unwrap();
    assert!(project.kiln("cache verify --quick").exits(0).out.contains("all is well"));
    let out = project.kiln("cache verify").exits(1).out;
    assert!(out.contains(&format!("blob {hex} has another content")), "{out}");
    assert!(out.contains("has lost o"), "{out}");
    assert!(project.kiln("cache verify").exits(0).out.contains("all is well"));
}

#[test]
fn why_kept_names_who_has_it() {
    let project = with_old_results("");
    let made = fs::read(project.path("out/one/o")).unwrap();
    let hex = Digest::of_bytes(&made).to_string();
    let out = project.kiln(&format!("cache why-kept {}", &hex[..10])).exits(0).out;
    assert!(out.contains(&format!("blob {hex}: 293.0 KiB")), "{out}");
    for node in ["one:one", "two:two"] {
        let line = out
            .lines()
            .find(|line| line.contains(&format!("of {node}: o")))
            .unwrap_or_else(|| panic!("{out}"));
        assert!(line.contains("this graph needs it"), "{line}");
    }
    let out = project.kiln("cache why-kept two:two").exits(0).out;
    assert_eq!(out.lines().filter(|line| line.starts_with("result")).count(), 2, "{out}");
    assert_eq!(out.matches("this graph needs it").count(), 1, "{out}");
    assert!(project.kiln("cache why-kept 0123456789").exits(0).out.contains("is not in the cache"));
}

/// Waits until an action has made the file `begun` in its output directory, and gives that directory.
fn begun(project: &Project, running: &mut Child) -> PathBuf {
    loop {
        let mut dirs = vec![project.path("cache/work")];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                if entry.file_name() == "begun" {
                    return entry.path().parent().unwrap().to_owned();
                }
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    dirs.push(entry.path());
                }
            }
        }
        assert!(running.try_wait().unwrap().is_none(), "kiln ended before its action ran");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_running_build_finds_what_it_planned_with_whatever_is_forced_meanwhile() {
    let project = two_actions("");
    let slow = "touch begun; until [ -e go ]; do sleep 0.02; done; cat /kiln/in/file >o";
    for (name, script, inputs) in [
        ("slow", slow, r#""file": File("trigger")"#),
        (
            "two",
            "cat /kiln/in/one /kiln/in/slow >o",
            r#""one": Output(rule: "one:one", output: "o"), "slow": Output(rule: "slow:slow", output: "o")"#,
        ),
    ] {
        add_rule(&project, name, script, inputs);
    }
    let actions = ["one", "slow", "two"].map(|name| format!("{name:?}: (rule: {name:?})")).join(", ");
    project.write("graph.ron", &format!("(version: 1, actions: {{{actions}}})"));
    // Of the first build all runs; of the second `one` is fresh, and what it made is read when `slow` is done.
    for (trigger, counts) in [("first", "3 ran in"), ("second", "2 ran, 1 fresh in")] {
        project.write("trigger", trigger);
        let mut running =
            project.command("build -j2").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let gate = begun(&project, &mut running);
        project.kiln("cache gc --size 0 --age 1ms --force").exits(0);
        fs::write(gate.join("go"), "").unwrap();
        let ended = running.wait_with_output().unwrap();
        let out = String::from_utf8(ended.stdout).unwrap();
        assert!(ended.status.success() && out.contains(counts), "{out}");
        let made = fs::read(project.path("out/two/o")).unwrap();
        assert!(made.ends_with(trigger.as_bytes()));
    }
}
