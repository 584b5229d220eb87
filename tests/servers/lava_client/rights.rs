//! Who we are at a real lab, and what there is to boot on.

use std::net::TcpListener;
use std::time::Duration;

use kiln::lab::lava::{
    Availability, LabInventory, Lava, LavaError, Token, Unavailable, UnavailableReason, Unusable,
};

use super::lab::Lab;

const WITHIN: Duration = Duration::from_mins(1);

fn survey(lava: &Lava) -> Result<LabInventory, Unusable> {
    lava.survey(WITHIN).state
}

#[test]
#[ignore = "needs a LAVA lab: scripts/lava.sh"]
fn only_ordinary_users_may_submit_for_us() {
    let lab = Lab::take();
    for user in ["submitter", "other"] {
        let surveyed = survey(&lab.client(user)).unwrap();
        assert_eq!(surveyed.user, user);
    }
    assert_eq!(survey(&lab.client("staff")).unwrap_err(), Unusable::Staff);
    assert_eq!(survey(&lab.client("superuser")).unwrap_err(), Unusable::Superuser);
    assert_eq!(survey(&lab.client("admin")).unwrap_err(), Unusable::Superuser);
    match survey(&lab.client("operator")).unwrap_err() {
        Unusable::DeviceAdministrator(what) => assert_eq!(what, "change the device aarch64-1"),
        other => panic!("{other:?}"),
    }
}

#[test]
#[ignore = "needs a LAVA lab: scripts/lava.sh"]
fn a_token_is_that_of_its_user() {
    let lab = Lab::take();
    let mut settings = lab.settings("submitter");
    settings.token = Token::new("0".repeat(48));
    let lava = Lava::new("real", settings).unwrap();
    assert_eq!(survey(&lava).unwrap_err(), Unusable::BadToken("Invalid token.".to_owned()));
    assert!(matches!(lava.find("x", std::time::UNIX_EPOCH), Err(LavaError::Denied(_))));

    let mut settings = lab.settings("submitter");
    settings.user = "other".to_owned();
    let expected = Unusable::OtherUser { is: "submitter".to_owned(), expected: "other".to_owned() };
    assert_eq!(survey(&Lava::new("real", settings).unwrap()).unwrap_err(), expected);

    // Nobody is there.
    let mut settings = lab.settings("submitter");
    settings.url = format!("http://{}/", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    assert!(matches!(survey(&Lava::new("real", settings).unwrap()), Err(Unusable::Unreachable(_))));
    // Something else is there.
    let mut settings = lab.settings("submitter");
    settings.url += "elsewhere/";
    assert!(matches!(survey(&Lava::new("real", settings).unwrap()), Err(Unusable::Unexpected(_))));
}

#[test]
#[ignore = "needs a LAVA lab: scripts/lava.sh"]
fn whether_we_administer_a_device_is_told() {
    let lab = Lab::take();
    assert!(!lab.client("submitter").administers("qemu-1").unwrap());
    assert!(lab.client("operator").administers("qemu-1").unwrap());
    assert!(lab.client("admin").administers("qemu-1").unwrap());
    assert!(lab.client("submitter").administers("no-such-device").is_ok_and(|may| !may));
}

/// Why there is nothing, as the user reads it.
fn refusals(availability: Availability) -> Vec<String> {
    let Availability::None(refusals) = availability else { panic!("{availability:?}") };
    let text = |refusal: &Unavailable| match &refusal.device {
        Some(device) => format!("{device}: {}", refusal.why),
        None => refusal.why.to_string(),
    };
    refusals.iter().map(text).collect()
}

#[test]
#[ignore = "needs a LAVA lab: scripts/lava.sh"]
fn what_there_is_to_boot_on_is_what_would_run_a_job() {
    let lab = Lab::take();
    lab.script(&["device", "qemu-1", "Good", "Idle"]);
    lab.script(&["device", "qemu-2", "Good", "Idle"]);
    let lava = lab.client("submitter");
    let there = |device_type: &str, tags: &[&str]| {
        let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        survey(&lava).unwrap().availability(device_type, &tags)
    };
    let both = ["qemu-1".to_owned(), "qemu-2".to_owned()];
    assert_eq!(there("qemu", &[]), Availability::Now(both.to_vec()));
    assert_eq!(there("qemu", &["virtual"]), Availability::Now(both.to_vec()));

    assert_eq!(refusals(there("nowhere", &[])), ["no device type nowhere"]);
    assert_eq!(refusals(there("empty", &[])), ["no device of type empty"]);
    assert_eq!(refusals(there("qemu-aarch64", &[])), ["aarch64-1: health Bad"]);
    assert_eq!(refusals(there("hidden", &[])), ["the device type hidden is not displayed"]);
    assert_eq!(
        refusals(there("far", &[])),
        ["far-1: worker kiln-far-worker is Offline, Active"],
        "a good device on a dead worker looks fine"
    );
    let four = [
        "qemu-1: without tag unused",
        "qemu-2: without tag unused",
        "qemu-3: health Bad",
        "qemu-4: health Maintenance",
    ];
    assert_eq!(refusals(there("qemu", &["virtual", "unused"])), four);
    assert_eq!(refusals(there("qemu", &["nowhere"]))[0], "no tag nowhere");

    // Busy, and nothing else is left.
    lab.script(&["device", "qemu-1", "Good", "Running"]);
    lab.script(&["device", "qemu-2", "Good", "Reserved"]);
    let busy = there("qemu", &[]);
    lab.script(&["device", "qemu-1", "Good", "Idle"]);
    assert_eq!(busy, Availability::Queued(both.to_vec()));
    assert_eq!(there("qemu", &[]), Availability::Now(vec!["qemu-1".to_owned()]));

    for health in ["Unknown", "Looping", "Bad", "Maintenance"] {
        lab.script(&["device", "qemu-1", health, "Idle"]);
        assert_eq!(there("qemu", &[]), Availability::Queued(vec!["qemu-2".to_owned()]), "{health}");
    }
    lab.script(&["device", "qemu-1", "Retired"]);
    lab.script(&["device", "qemu-2", "Unknown", "Idle"]);
    let left = ["qemu-2: health Unknown", "qemu-3: health Bad", "qemu-4: health Maintenance"];
    assert_eq!(refusals(there("qemu", &[])), left, "LAVA does not show retired ones");

    lab.script(&["device", "qemu-1", "Good", "Idle"]);
    lab.script(&["device", "qemu-2", "Good", "Idle"]);
    lab.script(&["worker", "kiln-worker", "Maintenance"]);
    let maintained = refusals(there("qemu", &[]));
    lab.script(&["worker", "kiln-worker", "Active"]);
    assert_eq!(maintained[0], "qemu-1: worker kiln-worker is Online, Maintenance");
    assert_eq!(there("qemu", &[]), Availability::Now(both.to_vec()));
}

/// A reason is a value, too, for those who count them.
#[test]
#[ignore = "needs a LAVA lab: scripts/lava.sh"]
fn a_reason_is_typed() {
    let lab = Lab::take();
    let surveyed = survey(&lab.client("submitter")).unwrap();
    let expected = Unavailable {
        device: Some("aarch64-1".to_owned()),
        why: UnavailableReason::Health("Bad".to_owned()),
    };
    assert_eq!(surveyed.availability("qemu-aarch64", &[]), Availability::None(vec![expected]));
}
