//! Jobs at a real lab, from the first look at their definition to their verdict.

use std::time::{Duration, SystemTime};

use kiln::lab::lava::{Events, Health, JobId, LavaError, State, SubmitError, Verdict};

use super::definitions::{Definition, Files};
use super::lab::{Lab, PATIENCE, ended, log, verdict};

/// A name that no job before had.
fn fresh(name: &str) -> String {
    format!("kiln-{name}-{}", SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos())
}

#[test]
#[ignore = "needs a LAVA lab: scripts/lava.sh"]
fn the_lab_says_what_it_would_not_take() {
    let lab = Lab::take();
    let files = Files::serve(&lab.boot_files());
    let lava = lab.client("submitter");
    let good = Definition::new("kiln-valid", &files);
    lava.validate(&good.text()).unwrap();

    let refused = |definition: &str| match lava.validate(definition) {
        Err(LavaError::Invalid(why)) => why,
        other => panic!("{other:?}"),
    };
    let unknown = good.clone().with(|definition| definition.more = "no_such_key: 1".to_owned());
    assert_eq!(refused(&unknown.text()), "Job invalid: extra keys not allowed");
    assert_eq!(refused(&good.text().replace("prompts:", "prompt:")), "Job invalid: extra keys not allowed");
    let urgent = good.text().replace("priority: medium", "priority: 101");
    assert_eq!(refused(&urgent), "Job invalid: not a valid value");
    assert_eq!(refused("job_name: x\n"), "Job invalid: required key not provided");
    assert_eq!(refused(""), "definition: Test job definition is required.");
    // Its own error, not ours.
    assert!(matches!(lava.validate("job_name: [unclosed"), Err(LavaError::Failed(_))));
}

#[test]
#[ignore = "needs a LAVA lab: scripts/lava.sh"]
fn what_is_refused_makes_no_job() {
    let lab = Lab::take();
    let files = Files::serve(&lab.boot_files());
    let lava = lab.client("submitter");
    let name = fresh("refused");
    let good = Definition::new(&name, &files);
    let refused = |definition: &str| match lava.submit(definition) {
        Err(SubmitError::Refused(LavaError::Invalid(why))) => why,
        other => panic!("{other:?}"),
    };
    let nowhere = good.clone().with(|definition| definition.device_type = "nowhere".to_owned());
    assert_eq!(refused(&nowhere.text()), "Devices unavailable: Device type 'nowhere' is unavailable.");
    let unknown = good.clone().with(|definition| definition.more = "no_such_key: 1".to_owned());
    assert!(refused(&unknown.text()).contains("extra keys not allowed @ data['no_such_key']"));
    assert!(refused("job_name: [unclosed").contains("while parsing"));

    // A tag that the lab has never heard of breaks it, and nobody could tell from that alone.
    let tagged = good.with(|definition| definition.more = "tags: [nowhere]".to_owned());
    assert!(matches!(lava.submit(&tagged.text()), Err(SubmitError::Unconfirmed(LavaError::Failed(_)))));
    assert_eq!(lab.script(&["jobs", "submitter", &name]), "0");
    assert_eq!(lava.find(&name, SystemTime::now()).unwrap(), []);
}

#[test]
#[ignore = "needs a LAVA lab: scripts/lava.sh"]
fn every_way_to_end_has_its_verdict() {
    let lab = Lab::take();
    let files = Files::serve(&lab.boot_files());
    let lava = lab.client("submitter");
    let define = |name: &str| Definition::new(&format!("kiln-{name}"), &files);
    let submit = |definition: Definition| lava.submit(&definition.text()).unwrap();
    let steps = |steps: &[&str]| steps.iter().map(|step| (*step).to_owned()).collect::<Vec<_>>();

    // All at once: two devices take turns.
    let passes = submit(define("passes"));
    let boots = submit(define("boots").with(|job| job.steps.clear()));
    let fails = submit(define("fails").with(|job| {
        job.steps = steps(&["lava-test-case good --result pass", "lava-test-case bad --result fail"]);
    }));
    let silent = submit(define("silent").with(|job| job.steps = steps(&["true"])));
    let panics = submit(define("panics").with(|job| job.append = "try=panic".to_owned()));
    let hangs = submit(define("hangs").with(|job| {
        job.append = "try=hang".to_owned();
        job.boot = 40;
    }));
    let stays = submit(define("stays").with(|job| {
        job.steps = steps(&["lava-test-case first --result pass", "sleep 1000"]);
        job.test = 20;
    }));
    let no_kernel = submit(define("no-kernel").with(|job| job.kernel = "nowhere".to_owned()));
    let changed = submit(define("changed").with(|job| job.sha256 = "0".repeat(64)));
    let waits = submit(define("waits").with(|job| {
        job.device_type = "qemu-aarch64".to_owned();
        job.queue = 1;
    }));

    for (id, expected, message) in [
        (passes, Verdict::Pass, "it booted, and 1 test cases passed"),
        (boots, Verdict::Pass, "it booted"),
        (fails, Verdict::Fail, "1 test case failed: 0_smoke/bad"),
        (silent, Verdict::Fail, "it booted, and its tests reported nothing"),
        (panics, Verdict::Fail, "the kernel panicked: Kernel panic - not syncing: "),
        (hangs, Verdict::Fail, "the kernel did not boot: "),
        (stays, Verdict::TimedOut, "the tests did not end in time: lava-test-shell timed out"),
        (no_kernel, Verdict::Infra, "the lab broke it off, with an error of kind Job: Invalid job data: "),
        (
            changed,
            Verdict::Infra,
            "the lab broke it off while it deployed, with an error of kind Job: sha256",
        ),
        (waits, Verdict::Infra, "no device was free for it within 1s"),
    ] {
        let judged = verdict(&lava, id);
        println!("job {id}: {:?}: {}", judged.verdict, judged.message);
        assert_eq!(judged.verdict, expected, "{message}: {}", judged.message);
        assert!(judged.message.starts_with(message), "{message}: {}", judged.message);
    }

    let (job, results) = ended(&lava, passes);
    assert!(job.device.is_some_and(|device| device.starts_with("qemu-")));
    assert_eq!((job.name.as_str(), job.queue), ("kiln-passes", Some(Duration::from_mins(15))));
    assert_eq!(results.suites.iter().map(|suite| &*suite.name).collect::<Vec<_>>(), ["lava", "0_smoke"]);
    let text = log(&lava, passes);
    assert!(text.contains("[    0.000000] Linux version 6."), "{text}");
    assert!(text.contains("lava info: start: 0 validate\n"), "{text}");
    assert!(text.contains("Run /init as init process"), "{text}");
    assert!(!text.contains("\"lvl\""), "every line is read: {text}");
    assert!(log(&lava, panics).contains("Kernel panic - not syncing"));
    assert_eq!(log(&lava, waits), "", "it never began");
    assert!(lava.page(passes).ends_with(&format!("/scheduler/job/{passes}")));
}

#[test]
#[ignore = "needs a LAVA lab: scripts/lava.sh"]
fn jobs_are_found_by_name_among_many() {
    let lab = Lab::take();
    let files = Files::serve(&lab.boot_files());
    let (lava, other) = (lab.client("submitter"), lab.client("other"));
    let name = fresh("found");
    let definition = |name: &str| {
        let waits = Definition::new(name, &files).with(|job| job.device_type = "qemu-aarch64".to_owned());
        waits.text()
    };
    let submit = |name: &str| lava.submit(&definition(name)).unwrap();
    let first = submit(&name);
    let like_it = [submit(&format!("{name}-2")), submit(&format!("a-{name}"))];
    let theirs = other.submit(&definition(&name)).unwrap();
    // More than a page of them.
    let mut all: Vec<JobId> = (0..60).map(|_| submit(&name)).collect();
    all.insert(0, first);
    all.reverse();

    let began = SystemTime::now() - Duration::from_mins(10);
    assert_eq!(lava.find(&name, began).unwrap(), all);
    assert_eq!(other.find(&name, began).unwrap(), [theirs]);
    assert_eq!(lava.find(&format!("{name}-2"), began).unwrap(), like_it[..1]);
    assert_eq!(lava.find(&name[..name.len() - 1], began).unwrap(), []);
    assert_eq!(lava.find(&name, SystemTime::now() + Duration::from_hours(2)).unwrap(), []);

    for id in all.into_iter().chain(like_it) {
        lava.cancel(id).unwrap();
    }
    other.cancel(theirs).unwrap();
}

#[test]
#[ignore = "needs a LAVA lab: scripts/lava.sh"]
fn a_job_is_cancelled_wherever_it_stands() {
    let lab = Lab::take();
    let files = Files::serve(&lab.boot_files());
    let (lava, other) = (lab.client("submitter"), lab.client("other"));
    let waits =
        Definition::new("kiln-cancelled", &files).with(|job| job.device_type = "qemu-aarch64".to_owned());
    let waits = lava.submit(&waits.text()).unwrap();
    assert!(matches!(other.cancel(waits), Err(LavaError::Denied(_))));
    lava.cancel(waits).unwrap();
    let judged = verdict(&lava, waits);
    assert_eq!((judged.verdict, &*judged.message), (Verdict::Cancelled, "it was cancelled at the lab"));

    let runs = Definition::new("kiln-cancelled", &files).with(|job| {
        job.steps = vec!["sleep 1000".to_owned()];
        job.test = 200;
    });
    let runs = lava.submit(&runs.text()).unwrap();
    let began = std::time::Instant::now();
    while lava.job(runs).unwrap().state != State::Running {
        assert!(began.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(200));
    }
    lava.cancel(runs).unwrap();
    lava.cancel(runs).unwrap();
    let judged = verdict(&lava, runs);
    assert_eq!(judged.verdict, Verdict::Cancelled, "{}", judged.message);
    assert_eq!(lava.job(runs).unwrap().health, Health::Canceled);

    // It has ended, and stays as it is.
    lava.cancel(runs).unwrap();
    let nowhere = JobId(999_999_999);
    assert!(matches!(lava.cancel(nowhere), Err(LavaError::Gone)));
    assert!(matches!(lava.job(nowhere), Err(LavaError::Gone)));
    assert!(matches!(lava.results(nowhere), Err(LavaError::Gone)));
    assert!(matches!(lava.log(nowhere, &mut Vec::new()), Err(LavaError::Gone)));
}

#[test]
#[ignore = "needs a LAVA lab: scripts/lava.sh"]
fn a_job_that_only_some_may_see_is_gone_for_others() {
    let lab = Lab::take();
    let files = Files::serve(&lab.boot_files());
    let (lava, other) = (lab.client("submitter"), lab.client("other"));
    let text = Definition::new("kiln-personal", &files)
        .with(|job| job.device_type = "qemu-aarch64".to_owned())
        .text()
        .replace("visibility: public", "visibility: personal");
    let id = lava.submit(&text).unwrap();
    assert_eq!(lava.job(id).unwrap().state, State::Submitted);
    assert!(matches!(other.job(id), Err(LavaError::Gone)));
    assert!(matches!(other.results(id), Err(LavaError::Gone)));
    lava.cancel(id).unwrap();
}

#[test]
#[ignore = "needs a LAVA lab: scripts/lava.sh"]
fn the_lab_tells_when_a_job_changes() {
    let lab = Lab::take();
    let files = Files::serve(&lab.boot_files());
    let lava = lab.client("submitter");
    let events = Events::open(&lab.settings("submitter")).unwrap();
    let definition =
        Definition::new("kiln-events", &files).with(|job| job.device_type = "qemu-aarch64".to_owned()).text();
    // The line takes its time to come up.
    let mut told = None;
    for _ in 0..20 {
        let id = lava.submit(&definition).unwrap();
        if events.wait(id, Duration::from_secs(3)) {
            told = Some(id);
            break;
        }
        lava.cancel(id).unwrap();
    }
    let id = told.expect("the lab told of a job");
    assert!(!events.wait(JobId(999_999_999), Duration::from_millis(100)));
    lava.cancel(id).unwrap();
    assert!(events.wait(id, Duration::from_mins(1)), "it was cancelled");
}
