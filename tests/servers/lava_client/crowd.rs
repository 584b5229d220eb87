//! Many labs at once.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use kiln::lab::lava::{Availability, Lava, Unusable, survey_all};

use super::fake::{Fake, TOKEN, good_lab};

/// How often each kind of request was made. Pages of a list are one kind.
fn counts(fake: &Fake) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for seen in fake.seen() {
        assert_eq!(seen.authorization, format!("Token {TOKEN}"), "{seen:?}");
        let html = if seen.accept == "text/html" { " as a page" } else { "" };
        *counts.entry(format!("{}{html}", seen.kind())).or_default() += 1;
    }
    counts
}

#[test]
fn twenty_labs_are_asked_once_for_each_kind_of_thing_and_a_dead_one_holds_none_up() {
    let fakes: Vec<Fake> = (0..19).map(|_| Fake::start(good_lab(50, 200))).collect();
    // It takes a request, and never says a word.
    let dead = Fake::start(|_, _| thread::sleep(Duration::from_mins(5)));
    let patience = Duration::from_mins(1);
    let clients: Vec<Lava> = fakes.iter().chain([&dead]).map(|fake| fake.hasty_client(patience)).collect();
    let labs: Vec<&Lava> = clients.iter().collect();

    let began = Instant::now();
    let surveys = survey_all(&labs, Duration::from_secs(20));
    println!("20 labs with 10000 devices each, one of them dead: {:?}", began.elapsed());

    assert_eq!(surveys.len(), 20);
    assert!(matches!(surveys[19].state, Err(Unusable::Slow(_))), "{:?}", surveys[19].state);
    for (survey, fake) in surveys.iter().zip(&fakes) {
        let surveyed = survey.state.as_ref().unwrap();
        assert_eq!((surveyed.types.len(), surveyed.devices.len()), (50, 10_000));
        let tags = ["virtual".to_owned()];
        for kind in 0..50 {
            match surveyed.availability(&format!("type-{kind}"), &tags) {
                Availability::Now(devices) => assert_eq!(devices.len(), 200),
                other => panic!("type-{kind}: {other:?}"),
            }
        }
        let expected = [
            ("GET devices/", 10),
            ("GET devicetypes/", 1),
            ("GET permissions/devicetypes/", 1),
            ("GET system/whoami/", 1),
            ("GET system/whoami/ as a page", 1),
            ("GET tags/", 1),
            ("GET workers/", 1),
            ("OPTIONS devices/", 1),
            ("OPTIONS devices/device-0/", 1),
        ];
        let counts = counts(fake);
        assert_eq!(counts.iter().map(|(kind, count)| (&**kind, *count)).collect::<Vec<_>>(), expected);
    }
    assert_eq!(dead.seen().len(), 1, "it is asked no further");
}

#[test]
fn a_lab_of_usual_size_is_asked_once_for_its_devices() {
    let fake = Fake::start(good_lab(50, 18));
    assert!(fake.client().survey(Duration::from_mins(1)).state.is_ok());
    assert_eq!(counts(&fake)["GET devices/"], 1);
}
