//! Verdicts on jobs that a real LAVA 2023.01 ran, and what there was to boot on there: recorded as they were told, with
//! addresses changed. The lab is that of `scripts/lava.sh`.

use jiff::civil::{Date, date};
use serde::Deserialize;
use serde_json::Value;

use super::job::Wire;
use super::results::gather;
use super::*;

const TODAY: Date = date(2026, 11, 22);

fn text(name: &str) -> String {
    let path = format!("{}/src/lab/lava/testdata/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A job and what it reported, as the lab told them.
fn recorded(name: &str) -> (Job, Results) {
    #[derive(Deserialize)]
    struct List {
        results: Value,
    }
    #[derive(Deserialize)]
    struct Recorded {
        job: Wire,
        suites: List,
        tests: List,
    }
    let recorded: Recorded = serde_json::from_str(&text(name)).unwrap();
    let suites = serde_json::from_value(recorded.suites.results).unwrap();
    let cases = serde_json::from_value(recorded.tests.results).unwrap();
    (recorded.job.into(), gather(suites, cases))
}

fn judged(name: &str) -> Judgement {
    let (job, results) = recorded(name);
    judge(&job, &results, &[], TODAY)
}

#[test]
fn every_end_of_a_job_has_its_verdict() {
    for (name, verdict, message) in [
        ("complete", Verdict::Pass, "it booted, and 2 test cases passed"),
        ("test-fails", Verdict::Fail, "1 test case failed: 0_smoke/expected-fail"),
        ("nothing-reported", Verdict::Fail, "it booted, and its tests reported nothing"),
        ("panic", Verdict::Fail, "the kernel panicked: Kernel panic - not syncing: sysrq triggered crash"),
        (
            "panic-reboots",
            Verdict::TimedOut,
            "the kernel did not boot in time: login-action timed out after 39 seconds",
        ),
        ("hang", Verdict::TimedOut, "the kernel did not boot in time: wait for prompt timed out"),
        (
            "test-hangs",
            Verdict::TimedOut,
            "the tests did not end in time: lava-test-shell timed out after 15 seconds",
        ),
        (
            "test-panics",
            Verdict::TimedOut,
            "the tests did not end in time: lava-test-shell timed out after 20 seconds",
        ),
        (
            "no-kernel",
            Verdict::Infra,
            "the lab broke it off, with an error of kind Job: Invalid job data: [\"Resource unavailable at \
             'http://ci.example/kiln/no-such' (404)\"]",
        ),
        (
            "wrong-sha256",
            Verdict::Infra,
            "the lab broke it off while it deployed, with an error of kind Job: sha256 for \
             'http://ci.example/kiln/vmlinuz' does not match.",
        ),
        (
            "lab-bug",
            Verdict::Infra,
            "the lab broke it off while it deployed, with an error of kind Bug: nothing to open",
        ),
        (
            "connection-closed",
            Verdict::Infra,
            "the lab broke it off while it booted, with an error of kind Infrastructure: Connection closed",
        ),
        ("queue", Verdict::Infra, "no device was free for it within 5s"),
    ] {
        let judged = judged(name);
        assert_eq!((judged.verdict, &*judged.message), (verdict, message), "{name}");
    }
}

#[test]
fn a_job_is_read_as_it_is_told() {
    let (job, results) = recorded("complete");
    assert_eq!(
        (job.state, job.health, job.name.as_str()),
        (State::Finished, Health::Complete, "rec-complete")
    );
    assert_eq!(job.device.as_deref(), Some("qemu01"));
    assert!(job.submitted < job.started && job.started < job.ended);
    let phases: Vec<_> = job.actions.iter().map(|action| (action.phase, action.defines_tests)).collect();
    assert_eq!(phases, [(Phase::Deploy, false), (Phase::Boot, false), (Phase::Test, true)]);
    assert_eq!(results.fault, None);
    let names: Vec<_> = results.suites.iter().map(|suite| &*suite.name).collect();
    assert_eq!(names, ["lava", "0_smoke"]);
    let seconds = &results.suites[1].cases[1];
    assert_eq!((&*seconds.name, seconds.measurement, &*seconds.unit), ("seconds", Some(1.5), "seconds"));
    assert_eq!(seconds.result, CaseResult::Pass);
}

#[test]
fn a_skip_takes_a_failed_case_away_until_its_day_is_over() {
    let (job, results) = recorded("test-fails");
    let skip =
        |case: &str, until: Option<Date>| Skip { case: case.into(), reason: "no network".into(), until };
    let judge = |skips: &[Skip]| judge(&job, &results, skips, TODAY);

    for until in [None, Some(TODAY), Some(date(2027, 1, 31))] {
        let judged = judge(&[skip("0_smoke/expected-fail", until)]);
        assert_eq!(judged.verdict, Verdict::Pass, "{until:?}");
        assert_eq!(judged.message, "it booted, 1 test cases passed, and 1 that failed are skipped");
        let skipped = SkippedCase {
            suite: "0_smoke".into(),
            case: "expected-fail".into(),
            reason: "no network".into(),
        };
        assert_eq!(judged.skipped, [skipped]);
    }

    let old = skip("0_smoke/expected-fail", Some(date(2026, 11, 21)));
    let judged = judge(std::slice::from_ref(&old));
    assert_eq!((judged.verdict, judged.expired), (Verdict::Fail, vec![old.clone()]));
    // Another that holds counts.
    assert_eq!(judge(&[old, skip("0_smoke/expected-fail", None)]).verdict, Verdict::Pass);

    for other in ["expected-fail", "0_smoke/expected", "0_smoke/*", "smoke/expected-fail", "0_smoke/good"] {
        assert_eq!(judge(&[skip(other, None)]).verdict, Verdict::Fail, "{other}");
    }
}

#[test]
fn a_time_limit_is_told_by_the_lab_and_not_by_the_console() {
    let (job, mut results) = recorded("hang");
    let judged = |results: &Results| judge(&job, results, &[], TODAY).verdict;
    assert_eq!(judged(&results), Verdict::TimedOut);
    let fault = results.fault.as_mut().unwrap();
    fault.message = "matched a bug:\nata1: command timed out after 5 seconds".to_owned();
    assert_eq!(judged(&results), Verdict::Fail);
}

#[test]
fn a_skip_saves_no_job_that_broke_off() {
    let (job, results) = recorded("test-hangs");
    let skip = Skip { case: "lava/0_smoke".into(), reason: String::new(), until: None };
    assert_eq!(judge(&job, &results, &[skip], TODAY).verdict, Verdict::TimedOut);
}

#[test]
fn five_failed_cases_are_named() {
    let (job, mut results) = recorded("test-fails");
    let failed = results.suites[1].cases.iter().find(|case| case.result == CaseResult::Fail).unwrap().clone();
    results.suites[1].cases = (0..7).map(|n| Case { name: format!("c{n}"), ..failed.clone() }).collect();
    let message = judge(&job, &results, &[], TODAY).message;
    assert_eq!(
        message,
        "7 test cases failed: 0_smoke/c0, 0_smoke/c1, 0_smoke/c2, 0_smoke/c3, 0_smoke/c4 and 2 more"
    );
}

#[test]
fn what_is_unknown_is_never_a_fail() {
    let (job, results) = recorded("hang");
    // A phase that nobody can tell.
    let judged = judge(&Job { actions: Vec::new(), ..job.clone() }, &results, &[], TODAY);
    assert_eq!(judged.verdict, Verdict::Infra);
    // No reason at all.
    let judged = judge(&job, &Results { fault: None, ..results.clone() }, &[], TODAY);
    assert_eq!(judged.verdict, Verdict::Infra);
    // A kind of error that LAVA may get one day.
    let fault = Some(Fault { kind: "Weather".into(), message: "rain".into() });
    let judged = judge(&job, &Results { fault, ..results.clone() }, &[], TODAY);
    assert_eq!(judged.verdict, Verdict::Infra);
    // One that still runs.
    let judged = judge(&Job { state: State::Running, ..job.clone() }, &results, &[], TODAY);
    assert_eq!(judged.verdict, Verdict::Infra);
    let judged = judge(&Job { health: Health::Canceled, ..job }, &results, &[], TODAY);
    assert_eq!(judged.verdict, Verdict::Cancelled);
}

#[test]
fn a_panic_is_one_even_where_the_lab_then_lost_its_connection() {
    let (job, mut results) = recorded("panic");
    results.fault.as_mut().unwrap().kind = "Infrastructure".into();
    let judged = judge(&job, &results, &[], TODAY);
    assert_eq!(judged.verdict, Verdict::Fail);
    assert_eq!(judged.message, "the kernel panicked: Kernel panic - not syncing: sysrq triggered crash");
}

/// The lab as the recorded answers tell of it.
fn surveyed() -> LabInventory {
    #[derive(Deserialize)]
    struct Recorded {
        types: Vec<survey::WireType>,
        devices: Vec<survey::WireDevice>,
        workers: Vec<survey::WireWorker>,
        tags: Vec<survey::WireTag>,
    }
    let Recorded { types, devices, workers, tags } = serde_json::from_str(&text("survey")).unwrap();
    survey::surveyed("submitter".to_owned(), types, devices, workers, tags)
}

#[test]
fn a_lab_has_what_would_run_a_job() {
    let lab = surveyed();
    let there = |kind: &str, tags: &[&str]| {
        lab.availability(kind, &tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>())
    };
    let now = Availability::Now(vec!["qemu-1".to_owned(), "qemu-2".to_owned()]);
    assert_eq!(there("qemu", &[]), now);
    assert_eq!(there("qemu", &["virtual"]), now);
    let none = |device: Option<&str>, why: UnavailableReason| {
        Availability::None(vec![Unavailable { device: device.map(str::to_owned), why }])
    };
    assert_eq!(there("nowhere", &[]), none(None, UnavailableReason::NoType("nowhere".into())));
    assert_eq!(there("empty", &[]), none(None, UnavailableReason::NoDevice("empty".into())));
    assert_eq!(
        there("qemu-aarch64", &["virtual"]),
        none(Some("aarch64-1"), UnavailableReason::Health("Bad".into()))
    );
    // A good device does not make up for a type that is not displayed.
    assert_eq!(there("hidden", &[]), none(None, UnavailableReason::Hidden("hidden".into())));
    let (name, state, health) = ("kiln-far-worker".to_owned(), "Offline".to_owned(), "Active".to_owned());
    assert_eq!(there("far", &[]), none(Some("far-1"), UnavailableReason::Worker { name, state, health }));
}

#[test]
fn a_busy_device_will_be_free_and_an_unknown_state_is_none() {
    let mut lab = surveyed();
    let mut set = |name: &str, state: &str| state.clone_into(&mut lab.devices.get_mut(name).unwrap().state);
    set("qemu-1", "Running");
    set("qemu-2", "Reserved");
    let both = vec!["qemu-1".to_owned(), "qemu-2".to_owned()];
    assert_eq!(lab.availability("qemu", &[]), Availability::Queued(both));
    let mut set = |name: &str, state: &str| state.clone_into(&mut lab.devices.get_mut(name).unwrap().state);
    set("qemu-1", "Asleep");
    set("qemu-2", "Idle");
    assert_eq!(lab.availability("qemu", &[]), Availability::Now(vec!["qemu-2".to_owned()]));
    let asleep = ("qemu-1", Err(UnavailableReason::State("Asleep".into())));
    assert_eq!(lab.readiness("qemu", &[]).next(), Some(asleep));
    lab.workers.clear();
    let Availability::None(refusals) = lab.availability("qemu", &[]) else { panic!() };
    assert_eq!(refusals[1].why, UnavailableReason::NoWorker, "a worker that we don't see is none");
}

#[test]
fn all_tags_are_needed_on_one_device() {
    let mut lab = surveyed();
    lab.devices.get_mut("qemu-1").unwrap().tags = vec!["unused".into()];
    let tags = ["virtual".to_owned(), "unused".to_owned()];
    let Availability::None(refusals) = lab.availability("qemu", &tags) else { panic!() };
    assert_eq!(refusals[0].why, UnavailableReason::Tags(vec!["virtual".into()]));
    assert_eq!(refusals[1].why, UnavailableReason::Tags(vec!["unused".into()]));
    // The lab would break over a tag that it has never heard of.
    let tags = ["virtual".to_owned(), "nowhere".to_owned()];
    let Availability::None(refusals) = lab.availability("qemu", &tags) else { panic!() };
    assert_eq!((&refusals[0].device, &refusals[0].why), (&None, &UnavailableReason::NoTag("nowhere".into())));
}
