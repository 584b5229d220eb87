//! Rules of users' own: what they can say, and what their steps find around them.

use crate::support::project::{Project, TOOLS};

/// A rule of one step in the shell. Its output is the file `made`.
fn shell(script: &str, fields: &str) -> String {
    let script = script.replace('{', "{{").replace('}', "}}").replace("{{out}}", "{out}");
    format!(
        "(version: 1, steps: [[\"sh\", \"-c\", {script:?}]], outputs: {{ \"made\": File(\"made\") }}, \
         tools: [{TOOLS}], export: \"it\", {fields})\n"
    )
}

#[test]
fn a_rule_and_its_actions_need_no_line_of_rust() {
    let project = Project::with_graph(
        r#"(
            version: 1,
            actions: {
                "words": (rule: "write", params: { "text": "to be or not to be", "extras": ["a", "b"] }),
                "count": (rule: "count", params: { "of": "write:words" }),
            },
        )"#,
    );
    project.write(
        "rules/write.ron",
        r#"(
            version: 1,
            params: { "text": (type: Str), "extras": (type: Strs, default: []), "mode": (type: Str, default: "755") },
            steps: [
                ["mkdir", "-p", "{out}/tree/sub"],
                ["sh", "-c", "for word; do echo $word; done >tree/sub/words", "sh", "{extras}", "{text}"],
                ["cp", "tree/sub/words", "some.txt"],
                ["chmod", "{mode}", "tree/sub/words"],
            ],
            outputs: {
                "tree": Tree("tree"),
                "texts": Glob("*.txt"),
                "absent": File(path: "absent", optional: true),
                "words": File(path: "tree/sub/words", name: "words.txt"),
            },
            tools: ["mkdir", "sh", "cp", "chmod"],
            export: "written",
        )"#,
    );
    project.write(
        "rules/count.ron",
        r#"(
            version: 1,
            params: { "of": (type: Node) },
            inputs: { "tree": Output(rule: "{of}", output: "tree") },
            steps: [["sh", "-c", "wc -l <{in.tree}/sub/words >{out}/lines"]],
            outputs: { "lines": File("lines") },
            tools: ["sh", "wc"],
            export: "counted",
        )"#,
    );
    project.build("").exits(0).runs(&["count:count", "write:words"]);
    assert_eq!(project.read("out/written/words.txt"), "a\nb\nto be or not to be\n");
    assert_eq!(project.read("out/written/tree/sub/words"), "a\nb\nto be or not to be\n");
    assert_eq!(project.read("out/counted/lines"), "3\n");
    assert!(project.exists("out/written/texts/some.txt"));
    assert!(!project.exists("out/written/absent"));

    project.edit("graph.ron", "to be or not", "to see or not");
    let build = project.build("").exits(0).runs(&["count:count", "write:words"]);
    assert_eq!(build.finished("count:count")["how"], "ran-unchanged");
    project.plan("").has_nothing_to_do();
}

#[test]
fn actions_that_do_the_same_run_once() {
    let project = Project::with_graph(
        r#"(version: 1, actions: { "one": (rule: "same"), "other": (rule: "same", params: { "dir": "2" }) })"#,
    );
    project.write(
        "rules/same.ron",
        r#"(
            version: 1,
            params: { "dir": (type: Str, default: "1") },
            steps: [["cp", "/proc/self/stat", "{out}/made"], ["sleep", "0.1"]],
            outputs: { "made": File("made") },
            tools: ["cp", "sleep"],
            export: "{dir}",
        )"#,
    );
    project.kiln("build -j2").exits(0).says("1 ran, 1 from the cache").never_says("another kiln");
    assert_eq!(project.read("out/1/made"), project.read("out/2/made"));
    project.plan("").has_nothing_to_do();
}

#[test]
fn an_output_that_is_not_made_is_a_failure() {
    let project = Project::with_rule("lazy", &shell("true", ""));
    project.kiln("build").exits(1).complains("output made was not made: there is no made");
    project.write("rules/lazy.ron", &shell("mkdir {out}/made", ""));
    project.kiln("build").exits(1).complains("output made is not a file");
    project.write("rules/lazy.ron", &shell("ln -s /etc/passwd {out}/made", ""));
    project.kiln("build").exits(1).complains("output made is not inside the output directory");
    assert!(!project.exists("out/it"));
}

#[test]
fn a_step_that_exits_otherwise_fails_and_is_run_again() {
    let project = Project::with_rule("bad", &shell("echo some words; exit 7", ""));
    let bad =
        || project.kiln("build").exits(1).complains("step 1 (sh) exited with 7").complains("| some words");
    bad();
    bad().complains("run  bad:it: its last run ended as fail");
}

#[test]
fn a_failure_is_kept_where_the_rule_says_so() {
    let project = Project::with_rule("bad", &shell("exit 7", "outcome: (cache_fail: true)"));
    project.build("").exits(1).runs(&["bad:it"]);
    project.build("").exits(1).runs(&[]);
    assert!(project.kiln("build").exits(1).says("1 failed").out.contains("0 ran"));
    project.write("rules/bad.ron", &shell("exit 8", "outcome: (cache_fail: true)"));
    project.build("").exits(1).runs(&["bad:it"]);
}

#[test]
fn exit_codes_that_are_nobodys_fault_are_tried_again() {
    let project = Project::with_rule("flaky", &shell("exit 75", "retries: 2, outcome: (infra_codes: [75])"));
    let build = project.build("").exits(4).runs(&["flaky:it"]);
    assert_eq!(build.finished("flaky:it")["outcome"], "infra");
    assert_eq!(build.count("infra"), 1);
    assert_eq!(project.plan("").reasons("flaky:it"), "its last run ended as infra\n");

    // Nothing of a try outlives it, so chance has to tell one from the next: all 61 fail once in a million million
    // million times.
    let now_and_then = "test $(od -An -N1 -tu1 /dev/urandom) -lt 128 && echo done >{out}/made || exit 75";
    project.write("rules/flaky.ron", &shell(now_and_then, "retries: 60, outcome: (infra_codes: [75])"));
    project.build("").exits(0).runs(&["flaky:it"]);
}

#[test]
fn a_step_past_its_time_limit_is_killed_whole() {
    let project = Project::with_rule("slow", &shell("sleep 1000 & sleep 1000", "time_limit: \"200ms\""));
    let build = project.build("").exits(4).runs(&["slow:it"]);
    assert_eq!(build.finished("slow:it")["outcome"], "infra");
    assert_eq!(build.finished("slow:it")["message"], "killed after its time limit of 200ms");
}

#[test]
fn the_environment_is_what_is_documented_and_no_more() {
    let rule = "(version: 1, steps: [[\"env\"]], outputs: {}, tools: [\"env\"], \
                env: { \"GREETING\": \"hello\", \"TZ\": \"CET\" })\n";
    let project = Project::with_rule("look", rule);
    let run = project.command("build").env("SECRET", "1").env("LANG", "de_DE.UTF-8").output().unwrap();
    assert!(run.status.success(), "{run:?}");
    let mut variables: Vec<String> =
        project.kiln("log look:it").exits(0).out.lines().map(str::to_owned).collect();
    variables.sort();
    assert_eq!(
        variables,
        [
            "GREETING=hello",
            "HOME=/tmp",
            "LC_ALL=C",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "PERL_HASH_SEED=0",
            "PYTHONHASHSEED=0",
            "SOURCE_DATE_EPOCH=315532800",
            "TZ=CET"
        ]
    );
}

#[test]
fn there_is_no_network_unless_asked_for() {
    let count = "grep -c : /proc/net/dev; ls /sys/class/net 2>/dev/null; cat /proc/net/dev >{out}/made";
    let project = Project::with_rule("net", &shell(count, ""));
    project.kiln("build").exits(0);
    let devices = project.read("out/it/made");
    let names: Vec<&str> =
        devices.lines().skip(2).map(|line| line.split_once(':').unwrap().0.trim()).collect();
    assert_eq!(names, ["lo"]);

    project.write("rules/net.ron", &shell(count, "sandbox: (network: true)"));
    project.kiln("why net:it").exits(0).says("the rule's network changed (\"no\" -> \"yes\")");
    project.kiln("build").exits(0);
}

#[test]
fn a_source_can_not_be_written_to() {
    let project = Project::new();
    project.write(
        "rules/vandal.ron",
        r#"(
            version: 1,
            per: ["source"],
            inputs: { "source": Source("{source}") },
            steps: [["sh", "-c", "echo gone >{in.source}/Makefile"]],
            outputs: {},
            tools: ["sh"],
        )"#,
    );
    let makefile = project.read("linux/Makefile");
    project.kiln("build vandal:").exits(1).complains("Read-only file system");
    assert_eq!(project.read("linux/Makefile"), makefile);
}

#[test]
fn a_source_that_changes_under_a_build_does_not_reach_a_run_that_has_a_copy() {
    let project = Project::new();
    let building = project.start_reader();
    project.write("linux/go", "");
    project.release_reader();
    let output = building.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    // What it was made from is not there any more.
    project.build("reader:").exits(0).runs(&["reader:linux"]);
    project.plan("reader:").has_nothing_to_do();
}

#[test]
fn a_parameter_without_a_value_is_the_specs_fault() {
    let rule =
        "(version: 1, params: { \"text\": (type: Str) }, steps: [[\"echo\", \"{text}\"]], outputs: {})\n";
    Project::with_rule("say", rule).kiln("plan").exits(2).complains("text");
}
