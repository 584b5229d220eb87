//! LAVA labs, from `graph.ron` to the result: against a real LAVA on this machine, which boots real kernels under QEMU.
//!
//! `make check-lab` brings one up and runs this. One test after the other: the lab has two devices, and some tests take
//! its server down.

mod crashes;
mod encrypted;
mod lab;
mod project;
mod published;
mod refusals;
mod repository;
mod rootfs;
mod terminal;
mod web;

use std::time::Duration;

use lab::Lab;
use project::{HANG, OK, PANIC, Project};

#[test]
#[ignore = "needs a LAVA: make check-lab"]
fn a_kernel_is_booted_once_and_never_again() {
    let lab = Lab::get();
    let project = Project::new(&lab, OK);
    let before = lab.jobs();
    let built = project.kiln(&["build"]);
    assert_eq!(built.code, 0, "{built}");
    assert!(built.out.contains("pass"), "{built}");
    assert_eq!(lab.jobs_since(before).len(), 1);
    let results = project.results("boot");
    assert_eq!((&results["version"], &results["outcome"]), (&1.into(), &"pass".into()), "{results}");
    assert!(project.out("boot/console.log").contains("KILN-BOOT-OK"));

    let again = project.kiln(&["build"]);
    assert_eq!(again.code, 0, "{again}");
    assert!(again.out.contains("everything is up to date"), "{again}");
    // Neither an empty out/ nor another name of the lab, nor another token is a reason to boot.
    std::fs::remove_dir_all(project.path("out")).unwrap();
    project.replace("graph.ron", "\"lab\": Lava", "\"other\": Lava");
    project.replace("graph.ron", "labs: [\"lab\"]", "labs: [\"other\"]");
    assert_eq!(project.kiln(&["build"]).code, 0);
    assert_eq!(lab.jobs_since(before).len(), 1);

    // Those who want to boot again can.
    let rerun = project.kiln(&["build", "--rerun", "lava:"]);
    assert_eq!(rerun.code, 0, "{rerun}");
    assert_eq!(lab.jobs_since(before).len(), 2);
}

#[test]
#[ignore = "needs a LAVA: make check-lab"]
fn the_example_builds_boots_and_tests_a_kernel() {
    let lab = Lab::get();
    let project = Project::example(&lab);
    let before = lab.jobs();
    // What an earlier run of this test has booted is known.
    let built = project.kiln(&["build", "--rerun", "lava:"]);
    assert_eq!(built.code, 0, "{built}");
    assert_eq!(lab.jobs_since(before).len(), 2, "{built}");
    let results = project.results("smoke");
    let suites = results["suites"].as_array().unwrap();
    let smoke = suites.iter().find(|suite| suite["name"] == "0_smoke").unwrap();
    assert!(smoke["cases"].as_array().unwrap().len() > 1, "{smoke}");

    let again = project.kiln(&["build"]);
    assert!(again.out.contains("everything is up to date"), "{again}");
    assert_eq!(lab.jobs_since(before).len(), 2);

    let junit = project.kiln(&["report", "--format", "junit"]);
    assert_eq!(junit.code, 0, "{junit}");
    assert!(junit.out.contains("0_smoke"), "{junit}");
    let kcidb = project.kiln(&["report", "--format", "kcidb", "--origin", "test"]);
    let kcidb: serde_json::Value =
        serde_json::from_str(&kcidb.out).unwrap_or_else(|error| panic!("{error}: {kcidb}"));
    assert!(kcidb["tests"].as_array().unwrap().len() > 2, "{kcidb}");
}

#[test]
#[ignore = "needs a LAVA: make check-lab"]
fn test_cases_decide_and_skips_count() {
    let lab = Lab::get();
    let project = Project::example(&lab);
    project.with_cases("skip: [(case: \"0_cases/known-bad\", reason: \"it never worked\")],");
    let before = lab.jobs();
    let built = project.kiln(&["build"]);
    assert_eq!(built.code, 0, "{built}");
    let results = project.results("cases");
    let suites = results["suites"].as_array().unwrap();
    let cases = &suites.iter().find(|suite| suite["name"] == "0_cases").unwrap()["cases"];
    let case =
        |name: &str| cases.as_array().unwrap().iter().find(|case| case["name"] == name).unwrap().clone();
    assert_eq!(case("known-bad")["skipped"], "it never worked", "{cases}");
    assert_eq!(case("measured")["measurement"], 1.5, "{cases}");
    assert_eq!(case("good")["result"], "pass", "{cases}");

    // Without the skip it is another job, and fails.
    project.replace("graph.ron", "skip: [(case: \"0_cases/known-bad\", reason: \"it never worked\")],", "");
    let built = project.kiln(&["build"]);
    assert_eq!(built.code, 3, "{built}");
    assert!(built.out.contains("0_cases/known-bad"), "{built}");
    // What failed is known, and is not booted again unless it is asked for.
    assert_eq!(project.kiln(&["build"]).code, 3);
    assert_eq!(lab.jobs_since(before).len(), 2);
    assert_eq!(project.kiln(&["build", "--rerun", "failed"]).code, 3);
    assert_eq!(lab.jobs_since(before).len(), 3);
}

#[test]
#[ignore = "needs a LAVA: make check-lab"]
fn a_kernel_that_panics_or_hangs_fails() {
    let lab = Lab::get();
    // A panic is the kernel's own word. A time limit takes a second job to be a failure.
    for (cmdline, said, jobs) in [(PANIC, "panic", 1), (HANG, "timed out", 2)] {
        let project = Project::new(&lab, cmdline);
        let before = lab.jobs();
        let built = project.kiln(&["build", "lava:*/boot"]);
        assert_eq!(built.code, 3, "{built}");
        assert!(built.out.contains(said), "{built}");
        let results = project.results("boot");
        assert_eq!(results["outcome"], "fail", "{results}");
        assert_eq!(project.kiln(&["build", "lava:*/boot"]).code, 3);
        assert_eq!(lab.jobs_since(before).len(), jobs, "a fail is a result, and is not booted again");
    }
}

#[test]
#[ignore = "needs a LAVA: make check-lab"]
fn a_job_is_shown_and_not_sent() {
    let lab = Lab::get();
    let project = Project::new(&lab, OK);
    let before = lab.jobs();
    let early = project.kiln(&["job", "show", "lava:*/boot"]);
    assert_ne!(early.code, 0, "the image is not there yet: {early}");
    assert_eq!(project.kiln(&["build", "kernel:", "rootfs:", "match:"]).code, 0);
    let shown = project.kiln(&["job", "show", "lava:*/boot"]);
    assert_eq!(shown.code, 0, "{shown}");
    for part in ["device_type: qemu", "sha256sum", "timeouts:", "queue:", "http://127.0.0.1"] {
        assert!(shown.out.contains(part), "{part}: {shown}");
    }
    assert!(!shown.out.contains(&lab.token("SUBMITTER")), "{shown}");
    assert!(lab.jobs_since(before).is_empty());
    let unknown = project.kiln(&["job", "show", "lava:*/nothing"]);
    assert_eq!(unknown.code, 2, "{unknown}");
}

#[test]
#[ignore = "needs a LAVA: make check-lab"]
fn who_interrupts_leaves_jobs_to_the_next_build_or_cancels_them() {
    let lab = Lab::get();
    let project = Project::new(&lab, OK);
    let before = lab.jobs();
    let left = project.interrupted(&["build"], Duration::from_secs(4));
    assert_eq!(left.code, 130, "{left}");
    assert_eq!(lab.jobs_since(before).len(), 1, "{left}");
    let listed = project.kiln(&["cancel", "--dry-run"]);
    assert!(listed.out.contains("lava:"), "{listed}");
    // The next one takes it up.
    let built = project.kiln(&["build"]);
    assert_eq!(built.code, 0, "{built}");
    assert_eq!(lab.jobs_since(before).len(), 1, "{built}");
    assert!(project.kiln(&["cancel"]).out.contains("no job"));

    let before = lab.jobs();
    let project = Project::new(&lab, HANG);
    let cancelled = project.interrupted(&["build", "--on-interrupt", "cancel"], Duration::from_secs(6));
    assert_eq!(cancelled.code, 130, "{cancelled}");
    let jobs = lab.jobs_since(before);
    assert_eq!(jobs.len(), 1);
    lab.wait_for(jobs[0], "Canceled");

    let before = lab.jobs();
    project.interrupted(&["build", "--on-interrupt", "leave"], Duration::from_secs(6));
    let cancelled = project.kiln(&["cancel"]);
    assert!(cancelled.out.contains("was cancelled"), "{cancelled}");
    lab.wait_for(lab.jobs_since(before)[0], "Canceled");
}
