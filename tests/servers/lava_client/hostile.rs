//! Labs that answer in LAVA's form, with content that is meant to do harm.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use kiln::lab::lava::{CaseResult, JobId, LavaError, Unusable};
use serde_json::json as value;

use super::fake::{Fake, good_lab, json, reply};

/// A page of a list.
fn page(results: &serde_json::Value, next: Option<&str>) -> serde_json::Value {
    value!({"count": 1, "next": next, "previous": null, "results": results})
}

#[test]
fn a_list_that_goes_round_in_a_circle_ends() {
    let fake = Fake::start(|_, stream| {
        let job = value!([{"id": 1, "submitter": "kiln", "description": "x"}]);
        json(stream, 200, &page(&job, Some("http://127.0.0.1/api/v0.2/jobs/?offset=1")));
    });
    let error = fake.client().find("x", SystemTime::UNIX_EPOCH).unwrap_err();
    assert!(matches!(error, LavaError::Unexpected(_)), "{error}");
    assert_eq!(fake.seen().len(), 2);
}

#[test]
fn a_list_without_end_ends() {
    let fake = Fake::start(|seen, stream| {
        let offset: u64 = seen.parameter("offset").map_or(0, |offset| offset.parse().unwrap());
        let job = value!([{"id": offset, "submitter": "kiln", "description": "x"}]);
        json(stream, 200, &page(&job, Some("http://127.0.0.1/")));
    });
    let error = fake.client().find("x", SystemTime::UNIX_EPOCH).unwrap_err();
    assert!(matches!(&error, LavaError::Unexpected(text) if text.contains("does not end")), "{error}");
    assert_eq!(fake.seen().len(), 200);
}

#[test]
fn a_list_that_goes_on_at_another_host_goes_on_here() {
    let elsewhere = Fake::start(|_, stream| json(stream, 200, &page(&value!([]), None)));
    let url = elsewhere.url();
    let fake = Fake::start(move |seen, stream| {
        let first = seen.parameter("offset").is_none();
        let id = if first { 2 } else { 1 };
        let job = value!([{"id": id, "submitter": "kiln", "description": "x"}]);
        json(stream, 200, &page(&job, first.then_some(&url)));
    });
    let found = fake.client().find("x", SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(found, [JobId(2), JobId(1)]);
    assert!(elsewhere.seen().is_empty());
}

#[test]
fn jobs_of_others_and_of_other_names_are_not_found_where_the_lab_filters_nothing() {
    let fake = Fake::start(|_, stream| {
        let job = |id: u64, who: &str, name: &str, hour: u32| {
            let time = format!("2026-11-22T{hour:02}:00:00.123456Z");
            value!({"id": id, "submitter": who, "description": name, "submit_time": time})
        };
        let jobs = [
            job(9, "kiln", "kiln-a", 20),
            job(8, "other", "kiln-a", 19),
            job(7, "kiln", "kiln-ab", 18),
            job(6, "kiln", "kiln-a", 17),
            job(5, "kiln", "kiln-a", 9),
            job(4, "kiln", "kiln-a", 8),
        ];
        json(stream, 200, &page(&value!(jobs), None));
    });
    // An hour more than was asked for, as clocks differ.
    let since: jiff::Timestamp = "2026-11-22T10:30:00Z".parse().unwrap();
    let found = fake.client().find("kiln-a", SystemTime::from(since)).unwrap();
    assert_eq!(found, [JobId(9), JobId(6)]);
    let asked = &fake.seen()[0];
    assert_eq!(asked.parameter("description"), Some("kiln-a"));
    assert_eq!(asked.parameter("submitter__username"), Some("kiln"));
    assert_eq!(asked.parameter("ordering"), Some("-id"));
}

#[test]
fn names_with_slashes_quotes_and_line_breaks_are_names() {
    let fake = Fake::start(|seen, stream| match &*seen.kind() {
        "GET jobs/7/suites/" => {
            let suites = value!([{"id": 1, "name": "lava"}, {"id": 2, "name": "0_a/b \"c\" \u{1b}[2J"}]);
            json(stream, 200, &page(&suites, None));
        }
        "GET jobs/7/tests/" => {
            let case = |id: u64, suite: u64, name: &str, metadata: &str| {
                value!({"id": id, "suite": suite, "name": name, "result": "fail", "unit": "", "measurement": "x",
                    "metadata": metadata})
            };
            let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n\
                        c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n\
                        e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\nlevel: '2'\n";
            let cases = [
                case(3, 2, "../../etc/passwd\n\"'", "no: [yaml"),
                case(1, 1, "job", "case: job\nerror_type: Job\nerror_msg: \"a\\eb\\n\"\n"),
                case(2, 1, "boot", bomb),
                case(4, 99, "nowhere", ""),
            ];
            json(stream, 200, &page(&value!(cases), None));
        }
        other => panic!("{other}"),
    });
    let results = fake.client().results(JobId(7)).unwrap();
    let names: BTreeMap<_, Vec<_>> = results
        .suites
        .iter()
        .map(|suite| (&*suite.name, suite.cases.iter().map(|case| &*case.name).collect()))
        .collect();
    assert_eq!(names["0_a/b \"c\"  [2J"], ["../../etc/passwd \"'"]);
    assert_eq!(names["lava"], ["job", "boot"]);
    assert_eq!(names["suite 99"], ["nowhere"]);
    let boot = &results.suites[0].cases[1];
    assert_eq!((boot.result, &boot.level, boot.measurement), (CaseResult::Fail, &None, None));
    assert_eq!(results.fault.unwrap().kind, "Job");
}

#[test]
fn a_log_without_end_is_cut() {
    let fake = Fake::start(|_, stream| {
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/yaml\r\nConnection: close\r\n\r\n");
        let entry = |text: &str| {
            format!(
                "- {{\"dt\": \"2026-11-22T21:52:52.605918\", \"lvl\": \"target\", \"msg\": \"{text}\"}}\n"
            )
        };
        // The escape is one that YAML has and JSON has not.
        let many = entry("[    2.4] \\e[0mline") + &entry("[    2.4] line").repeat(1000);
        while stream.write_all(many.as_bytes()).is_ok() {}
    });
    let mut log = Vec::new();
    let began = std::time::Instant::now();
    fake.client().log(JobId(7), &mut log).unwrap();
    println!("64 MiB of log: {:?}, {} bytes of text", began.elapsed(), log.len());
    let text = String::from_utf8(log).unwrap();
    assert!(text.starts_with("[    2.4] \u{1b}[0mline\n[    2.4] line\n"));
    assert!(text.ends_with("(the log goes on: this is its first 64 MiB)\n"));
}

#[test]
fn a_log_of_any_bytes_is_handed_on() {
    let log = b"\xff\xfe\x00 no yaml\n- {\"lvl\": \"target\", \"msg\": \"ok\"}\n- &a [*a]\n".as_slice();
    let fake = Fake::start(move |_, stream| reply(stream, 200, "application/yaml", log));
    let mut written = Vec::new();
    fake.client().log(JobId(7), &mut written).unwrap();
    assert_eq!(written, b"\xff\xfe\x00 no yaml\nok\n- &a [*a]\n");
}

#[test]
fn a_device_whose_name_is_a_path_is_asked_after_by_its_name() {
    let lab = good_lab(1, 1);
    let fake = Fake::start(move |seen, stream| {
        if seen.kind() == "GET devices/" {
            let device = value!([{"hostname": "../jobs/7/cancel?x=\"", "device_type": "type-0", "health": "Good",
                "state": "Idle", "tags": [], "worker_host": null}]);
            return json(stream, 200, &page(&device, None));
        }
        lab(seen, stream);
    });
    assert!(fake.client().survey(Duration::from_mins(1)).state.is_ok());
    let asked: Vec<_> =
        fake.seen().iter().filter(|seen| seen.method == "OPTIONS").map(|s| s.path.clone()).collect();
    assert_eq!(asked, ["/api/v0.2/devices/", "/api/v0.2/devices/..%2Fjobs%2F7%2Fcancel%3Fx=%22/"]);
}

/// Each probe of what we are has to show that it works: else somebody with rights might pass for one without.
#[test]
fn what_is_not_proven_counts_as_a_refusal() {
    type Answer = fn(&mut TcpStream);
    let no_control: Answer = |stream| reply(stream, 200, "text/html", b"<a href=\"/help/\">help</a>");
    let as_json: Answer = |stream| json(stream, 200, &value!({"user": "kiln"}));
    let other_refusal: Answer = |stream| json(stream, 403, &value!({"detail": "Come back later."}));
    let gone: Answer = |stream| json(stream, 404, &value!({"detail": "Not found."}));
    let nothing: Answer = |stream| json(stream, 200, &value!({}));
    let denied: Answer = |stream| json(stream, 403, &value!({"detail": "Invalid token."}));
    let many: Answer = |stream| json(stream, 200, &page(&value!([1]), None));
    for (kind, accept, answer) in [
        ("GET system/whoami/", "text/html", no_control),
        ("GET system/whoami/", "text/html", as_json),
        ("GET system/whoami/", "text/html", gone),
        ("GET system/whoami/", "application/json", nothing),
        ("GET permissions/devicetypes/", "application/json", other_refusal),
        ("GET permissions/devicetypes/", "application/json", gone),
        ("GET permissions/devicetypes/", "application/json", denied),
        ("OPTIONS devices/", "application/json", nothing),
        ("OPTIONS devices/device-0/", "application/json", gone),
        ("OPTIONS devices/device-0/", "application/json", denied),
        ("GET devices/", "application/json", many),
        ("GET workers/", "application/json", denied),
        ("GET tags/", "application/json", nothing),
    ] {
        let lab = good_lab(2, 2);
        let fake = Fake::start(move |seen, stream| {
            if seen.kind() == kind && seen.accept == accept { answer(stream) } else { lab(seen, stream) }
        });
        let state = fake.client().survey(Duration::from_mins(1)).state;
        assert!(matches!(state, Err(Unusable::Unexpected(_))), "{kind} {accept}: {state:?}");
    }
}

#[test]
fn rights_that_show_are_told_apart() {
    type Answer = fn(&mut TcpStream);
    let staff: Answer = |stream| {
        let page =
            b"<a href=\"/accounts/logout/\">out</a> <a class='x' href='/lab/admin/'>Administration</a>";
        reply(stream, 200, "text/html; charset=utf-8", page);
    };
    let superuser: Answer = |stream| json(stream, 200, &page(&value!([]), None));
    let adds: Answer = |stream| json(stream, 200, &value!({"renders": [], "actions": {"POST": {}}}));
    let changes: Answer = |stream| json(stream, 200, &value!({"renders": [], "actions": {"PUT": {}}}));
    let administrator = |what: &str| Unusable::DeviceAdministrator(what.to_owned());
    for (kind, accept, answer, expected) in [
        ("GET system/whoami/", "text/html", staff, Unusable::Staff),
        ("GET permissions/devicetypes/", "application/json", superuser, Unusable::Superuser),
        ("OPTIONS devices/", "application/json", adds, administrator("add devices")),
        (
            "OPTIONS devices/device-0/",
            "application/json",
            changes,
            administrator("change the device device-0"),
        ),
    ] {
        let lab = good_lab(2, 2);
        let fake = Fake::start(move |seen, stream| {
            if seen.kind() == kind && seen.accept == accept { answer(stream) } else { lab(seen, stream) }
        });
        assert_eq!(fake.client().survey(Duration::from_mins(1)).state.unwrap_err(), expected, "{kind}");
    }
}
