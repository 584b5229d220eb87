//! `kiln report`: what is known of builds and boots, and how it is told.

use crate::support::project::{BOOT, KERNEL, MATCH, Project};

/// A rule that leaves what a lab's job leaves.
const LAB: &str = r#"
(
    version: 1,
    doc: "Leaves a lab's results",
    per: ["source", "arch", "defconfig", "toolchain", "board", "test"],
    expand: (rule: "match", output: "boards"),
    inputs: {
        "image": Output(rule: "kernel", output: "{board.image}"),
        "given": File("lab/results.json"),
    },
    steps: [["cp", "{in.given}", "results.json"], ["cp", "{in.given}", "console.log"]],
    outputs: { "results": File("results.json"), "console": File("console.log") },
    tools: ["cp"],
)
"#;

/// A project whose kernel is booted here and at a lab.
pub fn with_a_lab() -> Project {
    let project = Project::new();
    project.write("rules/lava.ron", LAB);
    project.write("lab/results.json", include_str!("../../src/report/testdata/passed.json"));
    project
}

#[test]
fn nothing_is_known_before_anything_ran() {
    let project = Project::new();
    project.kiln("report").exits(0).says("unknown").says("never ran").never_says("pass\n");
    let standing = project.kiln("report --format json").exits(0).json();
    let build = &standing["builds"]["linux/x86_64/pc/fake"];
    assert!(build["nodes"].as_array().unwrap().iter().all(|node| node["state"] == "unknown"), "{standing:#}");
    assert_eq!(build["open"], format!("not known before {MATCH} has passed"));
    project.kiln("report --format junit").exits(0).says("<skipped").never_says("out/");
    let told = project.kiln("report --format kcidb --origin test").exits(0).json();
    assert_eq!((&told["builds"], &told["tests"]), (&serde_json::json!([]), &serde_json::json!([])));
}

#[test]
fn what_passed_is_reported_and_nothing_runs() {
    let project = with_a_lab();
    project.kiln("build -j2").exits(0);
    let said = project.kiln("report").exits(0);
    let said = said.says("linux/x86_64/pc/fake").says("3 passed, 2 skipped");
    let said = said.says("skipped 0_smoke/expected-fail: lab-less network (it failed)");
    let said = said.says("passed at try 2; first: qemu03: the device did not");
    said.says("https://lava.example/scheduler/job/4711").says("1 build: 1 pass; 2 boots: 2 pass");
    project.plan("").has_nothing_to_do();

    let standing = project.kiln("report --format json").exits(0).json();
    let build = &standing["builds"]["linux/x86_64/pc/fake"];
    let kernel = build["nodes"].as_array().unwrap().iter().find(|node| node["name"] == KERNEL).unwrap();
    assert_eq!(kernel["log"], "linux/x86_64/pc/fake/build.log");
    assert!(kernel["seconds"].as_f64().unwrap() > 0.0 && kernel["messages"]["errors"] == 0, "{kernel:#}");
    assert_eq!(build["boots"].as_array().unwrap().len(), 2);

    // Equal results have equal ids.
    let kcidb = "report --format kcidb --origin gentoo";
    let told = project.kiln(kcidb).exits(0).json();
    assert_eq!(project.kiln(kcidb).exits(0).json(), told);
    // Of another kernel they are others.
    project.edit("graph.ron", "HZ=100", "HZ=250");
    project.kiln("report").exits(0).says("stale").never_says("in 0.");
    project.kiln("build -j2").exits(0);
    let then = project.kiln(kcidb).exits(0).json();
    assert_eq!(then["checkouts"], told["checkouts"]);
    assert_ne!(then["builds"][0]["id"], told["builds"][0]["id"]);
    assert_ne!(then["tests"][0]["id"], told["tests"][0]["id"]);
}

#[test]
fn a_build_that_failed_is_told_with_its_first_error() {
    let project = Project::new();
    project.edit("graph.ron", "HZ=100", "BROKEN=y");
    project.kiln("build -j2").exits(1);
    let error = "drivers/broken.c:2: #error this driver does not compile";
    let said = project.kiln("report").exits(1).says(error).says("1 error");
    said.says("1 build: 1 fail").says("skipped");
    let xml = project.kiln("report --format junit").exits(1);
    xml.says("<failure message=\"drivers/broken.c:2: #error").says("<system-out>").says("failures=\"1\"");
    let told = project.kiln("report --format kcidb --origin gentoo").exits(1).json();
    assert_eq!(told["builds"][0]["status"], "FAIL");
    assert!(told["builds"][0]["log_excerpt"].as_str().unwrap().contains("does not compile"));
    assert_eq!(told["tests"], serde_json::json!([]));

    // That was another kernel.
    project.edit("graph.ron", "BROKEN=y", "BROKEN=n");
    project.kiln("report").exits(0).says("stale").never_says("does not compile");
}

#[test]
fn a_boot_that_failed_is_told_with_the_end_of_its_console() {
    let project = Project::new();
    project.write("boot/init", "no marker here\n");
    project.kiln("build -j2").exits(3);
    project.kiln("report").exits(3).says("its log ends with: ").says("1 boot: 1 fail");
    project.kiln("report --format junit").exits(3).says("no marker here").says("<failure");
    let told = project.kiln("report --format kcidb --origin gentoo").exits(3).json();
    let test = &told["tests"][0];
    assert_eq!((&test["path"], &test["status"]), (&"boot".into(), &"FAIL".into()), "{told:#}");
    assert_eq!(told["builds"][0]["status"], "PASS");
    assert_eq!(test["build_id"], told["builds"][0]["id"]);
}

#[test]
fn what_the_machine_lacks_is_no_failure_of_the_kernel() {
    let project = Project::new();
    project.remove("toolchain/bin/fake-ld");
    project.kiln("report").exits(4).says("infra").says("`fake-ld` is not installed");
}

#[test]
fn a_part_can_be_reported() {
    let project = Project::new();
    project.kiln("build -j2").exits(0);
    project.kiln("report config:").exits(0).says("1 build: 1 pass; 0 boots").never_says("qemu-pc");
    let told = project.kiln("report config: --format kcidb --origin gentoo").exits(0).json();
    assert_eq!(told["builds"], serde_json::json!([]));
    // The same kernel, with and without what is around it.
    let boot = project.kiln(&format!("report {BOOT} --format kcidb --origin gentoo")).exits(0).json();
    let all = project.kiln("report --format kcidb --origin gentoo").exits(0).json();
    assert_eq!((&boot["builds"][0]["id"], &boot["tests"]), (&all["builds"][0]["id"], &all["tests"]));
    project.kiln("report nonsense").exits(2);
}

#[test]
fn a_file_is_written_whole_or_not_at_all() {
    let project = Project::new();
    project.kiln("build -j2").exits(0);
    let said = project.kiln("report --format junit --output report.xml").exits(0);
    said.says("1 build: 1 pass; 1 boot: 1 pass").never_says("<testsuite");
    assert!(project.read("report.xml").starts_with("<?xml"));
    project.kiln("report --output missing/report.txt").exits(4).complains("can't write missing/report.txt");
    let left = std::fs::read_dir(project.path("")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!left.iter().any(|name| name.starts_with(".kiln-report-")), "{left:?}");
}

#[test]
fn results_that_can_not_be_read_are_no_results() {
    let project = with_a_lab();
    project.write("lab/results.json", "{}");
    project.kiln("build -j2").exits(0);
    project.kiln("report").exits(0).says("its results can't be read: missing field");
    assert!(project.kiln("report --format json").exits(0).out.contains(BOOT));
}

#[test]
fn kcidb_has_to_know_whose_it_is() {
    let project = Project::new();
    project.kiln("report --format kcidb").exits(2).complains("--origin");
    project.kiln("report --format kcidb --origin A-b").exits(2).complains("small letters, digits and `_`");
}

/// A checkout's commit is told; that a working tree is just that commit is not claimed.
#[test]
fn a_commit_is_told() {
    let project = Project::new();
    project.edit("graph.ron", "Dir(\"linux\")", "Git(path: \"linux\")");
    let git = |args: &[&str]| {
        let who = ["-c", "user.name=n", "-c", "user.email=n@example.org", "-C", "linux"];
        let mut git = std::process::Command::new("git");
        let output = git.args(who).args(args).current_dir(project.path("")).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "all"]);
    let commit = git(&["rev-parse", "HEAD"]);
    project.kiln("build -j2").exits(0);
    let kcidb = "report --format kcidb --origin gentoo";
    let told = project.kiln(kcidb).exits(0).json();
    assert_eq!(told["checkouts"][0]["git_commit_hash"], *commit);
    assert!(told["checkouts"][0].get("patchset_hash").is_none(), "{told:#}");

    project.edit("graph.ron", "Git(path: \"linux\")", &format!("Git(path: \"linux\", rev: \"{commit}\")"));
    project.kiln("build -j2").exits(0);
    let told = project.kiln(kcidb).exits(0).json();
    assert_eq!(told["checkouts"][0]["git_commit_hash"], *commit);
    assert_eq!(told["checkouts"][0]["patchset_hash"], "");
}
