//! The other commands, and how nodes are named on the command line.

use std::process::Stdio;

use crate::support::project::{BOOT, CONFIG, INITRAMFS, KERNEL, MATCH, Project, repository};

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

#[test]
fn targets_are_names_globs_rules_and_builds() {
    let project = Project::new();
    let wanted = |target: &str| {
        let verdicts = project.plan(target);
        verdicts.verdicts().into_keys().map(str::to_owned).collect::<Vec<_>>()
    };
    for target in [KERNEL, "kernel:*", "kernel:", "kern*:linux/x86_64/**"] {
        assert_eq!(wanted(target), [CONFIG, KERNEL], "{target}");
    }
    assert_eq!(wanted("initramfs: match:"), [CONFIG, INITRAMFS, MATCH]);
    let all = [CONFIG, INITRAMFS, "job:linux/x86_64/pc/fake/*", KERNEL, MATCH];
    assert_eq!(wanted("linux/x86_64/pc/fake"), all);
    assert_eq!(wanted(BOOT), all, "a boot that no match has named yet");
    project.build(BOOT).exits(0).runs(&[CONFIG, INITRAMFS, KERNEL, MATCH, BOOT]);
}

#[test]
fn a_target_that_means_nothing_gets_suggestions() {
    let project = Project::new();
    for command in ["build", "plan", "why", "log", "history", "query deps"] {
        project
            .kiln(&format!("{command} kernal:linux/x86_64/pc/fake"))
            .exits(2)
            .complains("no node is named \"kernal:linux/x86_64/pc/fake\"")
            .complains(&format!("did you mean {KERNEL}"));
    }
    project.kiln("build kernel:[").exits(2).complains("is not a glob");
    assert!(!project.exists("out"));
}

#[test]
fn a_forced_node_runs_and_what_is_below_does_not() {
    let project = Project::new();
    project.kiln("build -j2").exits(0);
    let build = project.build(&format!("--force {KERNEL}")).exits(0).runs(&[KERNEL]);
    assert_eq!(build.finished(KERNEL)["how"], "ran-unchanged");
    project.build(&format!("--force {BOOT}")).exits(0).runs(&[BOOT]);
    project.plan("").has_nothing_to_do();
}

#[test]
fn queries_answer_about_the_graph() {
    let project = Project::new();
    let ask = |question: &str| project.kiln(&format!("query {question}")).exits(0).out;
    assert_eq!(lines(&ask("nodes kernel: config:")), [CONFIG, KERNEL]);
    assert_eq!(lines(&ask("rdeps --direct kernel:")), ["job:linux/x86_64/pc/fake/*"]);

    project.kiln("build -j2").exits(0);
    assert_eq!(lines(&ask(&format!("deps {KERNEL}"))), [CONFIG, KERNEL]);
    assert_eq!(lines(&ask(&format!("deps --direct {BOOT}"))), [INITRAMFS, KERNEL, MATCH]);
    assert!(lines(&ask(&format!("rdeps {INITRAMFS}"))).contains(&BOOT));
    assert_eq!(lines(&ask(&format!("path {KERNEL} {CONFIG}"))), [KERNEL, CONFIG]);
    assert_eq!(lines(&ask(&format!("path {BOOT} {CONFIG}"))).len(), 3);
    project.kiln(&format!("query path {CONFIG} {KERNEL}")).exits(2).complains("does not depend on");
    project.kiln("query deps **").exits(2).complains("one is wanted");
}

#[test]
fn logs_are_found_by_name_and_by_glob() {
    let project = Project::new();
    project.kiln("build -j2").exits(0);
    project.kiln(&format!("log {KERNEL}")).exits(0).says("Kernel: arch/x86/boot/bzImage is ready");
    project.kiln("log job:*").exits(0).says("KILN-BOOT-OK");
    project.kiln("log *:linux/*").exits(2).complains("several nodes");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let project = Project::new();
    for command in ["plan", "query nodes", "doctor", "completions bash"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = project.command(command).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!text.contains("panicked"), "{command}: {text}");
        assert_eq!(output.status.code(), Some(0), "{command}: {text}");
    }
}

#[test]
fn a_project_is_found_from_below_and_from_elsewhere() {
    let project = Project::new();
    project.kiln("-C linux/init query nodes kernel:").exits(0).says(KERNEL);
    let elsewhere = Project::empty();
    elsewhere.kiln(&format!("-C {} query nodes kernel:", project.path("").display())).exits(0).says(KERNEL);
    elsewhere.kiln("-C nowhere plan").exits(2).complains("can't work in nowhere");
}

#[test]
fn init_starts_a_project_that_plans() {
    let empty = Project::empty();
    let source = repository("tests/fakelinux");
    empty.kiln(&format!("init --source {}", source.display())).exits(0).says("kiln build");
    assert!(empty.read("graph.ron").contains(&format!("Dir(\"{}\")", source.display())));
    empty.kiln("init").exits(2).complains("graph.ron is there already");
    // That it plans is all that is asked here: what it runs is the real kernel's, which this tree is not.
    let plan = empty.kiln("plan");
    assert!(plan.code == 0 || plan.code == 4 && plan.err.contains("is not installed"), "{plan}");

    empty.kiln("init another").exits(0).says("put a kernel tree at cache/sources/linux-6.1");
    assert!(empty.exists("another/rules/kernel.ron"));
}

#[test]
fn completions_are_there_for_common_shells() {
    let empty = Project::empty();
    for shell in ["bash", "zsh", "fish"] {
        empty.kiln(&format!("completions {shell}")).exits(0).says("kiln").says("keep-going");
    }
    empty.kiln("completions tcl").exits(2).complains("possible values");
}

#[test]
fn the_doctor_looks_after_what_the_project_needs() {
    let project = Project::new();
    project.kiln("doctor").exits(0).says("sandbox: namespaces").says("fake-qemu: ").says("source linux: ");
    let report = project.kiln("doctor --format json").exits(0).json();
    let findings = report["findings"].as_array().unwrap();
    let state =
        |what: &str| findings.iter().find(|finding| finding["what"] == what).unwrap()["state"].clone();
    assert_eq!(
        (state("make"), state("fake-qemu"), state("disk")),
        ("fine".into(), "fine".into(), "fine".into())
    );

    project.remove("toolchain/bin/fake-qemu");
    project.kiln("doctor").exits(4).says("missing  fake-qemu: not installed");
    Project::empty().kiln("doctor").exits(0).says("sandbox");
}

#[test]
fn the_command_line_is_explained() {
    let empty = Project::empty();
    empty.kiln("--help").exits(0).says("Exit codes:");
    empty.kiln("--version").exits(0).says("kiln 0.1.0");
    empty.kiln("").exits(2);
    empty.kiln("biuld").exits(2).complains("build");
    empty.kiln("build -j0").exits(2);
}

#[test]
fn quiet_says_only_what_went_wrong() {
    let project = Project::new();
    let said = project.kiln("build -q -j2").exits(0);
    assert_eq!((&*said.out, &*said.err), ("", ""));
    project.write("boot/init", "no marker\n");
    project.kiln("build -q -j2").exits(3).complains(&format!("fail {BOOT}")).never_says("run ");
}
