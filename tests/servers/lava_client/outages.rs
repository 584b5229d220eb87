//! A real lab that goes away and comes back.

use std::time::{Duration, SystemTime};

use kiln::lab::lava::{Events, LavaError, SubmitError, Unusable, Verdict};

use super::definitions::{Definition, Files};
use super::lab::{Lab, verdict};

/// Brings the server back, however the test ends.
struct Stopped<'a>(&'a Lab);

impl<'a> Stopped<'a> {
    fn new(lab: &'a Lab) -> Self {
        lab.script(&["stop-server"]);
        Self(lab)
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.0.script(&["start-server"]);
    }
}

#[test]
#[ignore = "needs a LAVA lab: scripts/lava.sh"]
fn a_job_goes_on_while_its_lab_is_away() {
    let lab = Lab::take();
    let files = Files::serve(&lab.boot_files());
    let lava = lab.client("submitter");
    let events = Events::open(&lab.settings("submitter")).unwrap();
    let definition = Definition::new("kiln-outage", &files).text();
    let began = SystemTime::now();
    let id = lava.submit(&definition).unwrap();

    let stopped = Stopped::new(&lab);
    let gone = |outcome: Result<(), LavaError>| match outcome {
        Err(LavaError::Unreachable(_)) => {}
        other => panic!("{other:?}"),
    };
    gone(lava.job(id).map(drop));
    gone(lava.cancel(id));
    gone(lava.results(id).map(drop));
    gone(lava.log(id, &mut Vec::new()));
    gone(lava.find("kiln-outage", began).map(drop));
    gone(lava.validate(&definition));
    assert!(matches!(lava.submit(&definition), Err(SubmitError::NotSent(LavaError::Unreachable(_)))));
    assert!(matches!(lava.survey(Duration::from_mins(1)).state, Err(Unusable::Unreachable(_))));
    assert!(!events.wait(id, Duration::from_millis(1)) || !events.wait(id, Duration::from_millis(1)));
    drop(stopped);

    let judged = verdict(&lava, id);
    assert_eq!(judged.verdict, Verdict::Pass, "{}", judged.message);
    assert!(lava.find("kiln-outage", began).unwrap().contains(&id));

    // The line comes back by itself.
    let waits =
        Definition::new("kiln-outage", &files).with(|job| job.device_type = "qemu-aarch64".to_owned());
    let told = (0..40).any(|_| {
        let id = lava.submit(&waits.text()).unwrap();
        let told = events.wait(id, Duration::from_secs(3));
        lava.cancel(id).unwrap();
        told
    });
    assert!(told, "the lab tells of jobs again");
}
