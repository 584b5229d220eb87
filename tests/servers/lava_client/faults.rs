//! Labs that fail in every call: each says how, none panics, and none makes it go on for ever.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, SystemTime};

use kiln::lab::lava::{JobId, Lava, LavaError, SubmitError, Unusable};

use super::fake::{Fake, TOKEN, json, reply, reset};

/// A job that the lab never sees.
const DEFINITION: &str = "job_name: x\n";

/// What each call comes to that reads JSON, submissions left out.
fn every_call(lava: &Lava) -> Vec<(&'static str, LavaError)> {
    let id = JobId(7);
    vec![
        ("validate", lava.validate(DEFINITION).unwrap_err()),
        ("find", lava.find("x", SystemTime::UNIX_EPOCH).unwrap_err()),
        ("job", lava.job(id).unwrap_err()),
        ("cancel", lava.cancel(id).unwrap_err()),
        ("results", lava.results(id).unwrap_err()),
        ("administers", lava.administers("a").unwrap_err()),
    ]
}

/// What reading a log comes to.
fn log(lava: &Lava) -> LavaError {
    lava.log(JobId(7), &mut Vec::new()).unwrap_err()
}

fn survey(lava: &Lava) -> Unusable {
    lava.survey(Duration::from_mins(1)).state.unwrap_err()
}

#[test]
fn html_with_200_is_no_lab() {
    let page = b"<!DOCTYPE html><title>Welcome</title>".as_slice();
    let fake = Fake::start(move |_, stream| reply(stream, 200, "text/html", page));
    let lava = fake.client();
    for (call, error) in every_call(&lava) {
        assert!(matches!(error, LavaError::Unexpected(_)), "{call}: {error}");
    }
    assert!(matches!(log(&lava), LavaError::Unexpected(_)));
    // It may be a page in front of a lab that took the job.
    assert!(matches!(lava.submit(DEFINITION), Err(SubmitError::Unconfirmed(LavaError::Unexpected(_)))));
    assert!(matches!(survey(&lava), Unusable::Unexpected(_)));
}

#[test]
fn nothing_is_no_answer() {
    let fake = Fake::start(|_, stream| reply(stream, 200, "application/json", b""));
    let lava = fake.client();
    for (call, error) in every_call(&lava) {
        assert!(matches!(error, LavaError::Unexpected(_)), "{call}: {error}");
    }
    assert!(matches!(lava.submit(DEFINITION), Err(SubmitError::Unconfirmed(_))));
    assert!(matches!(survey(&lava), Unusable::Unexpected(_)));
}

#[test]
fn a_connection_that_is_closed_at_once_is_a_lab_that_cant_be_reached() {
    let fake = Fake::start(|_, _| {});
    let lava = fake.client();
    for (call, error) in every_call(&lava) {
        assert!(matches!(error, LavaError::Unreachable(_)), "{call}: {error}");
    }
    assert!(matches!(log(&lava), LavaError::Unreachable(_)));
    assert!(matches!(survey(&lava), Unusable::Unreachable(_)));
}

#[test]
fn a_redirect_is_never_followed() {
    let elsewhere = Fake::start(|_, stream| json(stream, 200, &serde_json::json!({"user": "kiln"})));
    for status in [301, 302, 307, 308] {
        let location = elsewhere.url();
        let fake = Fake::start(move |_, stream| {
            let head = format!(
                "HTTP/1.1 {status} X\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            let _ = stream.write_all(head.as_bytes());
        });
        let lava = fake.client();
        for (call, error) in every_call(&lava) {
            assert!(matches!(error, LavaError::Unexpected(_)), "{call}: {error}");
        }
        assert!(matches!(log(&lava), LavaError::Unexpected(_)));
        assert!(matches!(lava.submit(DEFINITION), Err(SubmitError::Refused(_))));
        let Unusable::Unexpected(text) = survey(&lava) else { panic!("{status}") };
        assert!(text.contains("elsewhere"), "{text}");
    }
    assert!(elsewhere.seen().is_empty(), "the token was taken elsewhere");
}

#[test]
fn one_that_answers_500_has_failed() {
    let fake = Fake::start(|_, stream| reply(stream, 500, "text/html", b"<h1>HTTP 500</h1>"));
    let lava = fake.client();
    for (call, error) in every_call(&lava) {
        assert!(matches!(error, LavaError::Failed(_)), "{call}: {error}");
        assert!(error.may_pass(), "{call}");
    }
    assert!(matches!(log(&lava), LavaError::Failed(_)));
    assert!(matches!(lava.submit(DEFINITION), Err(SubmitError::Unconfirmed(LavaError::Failed(_)))));
    assert!(matches!(survey(&lava), Unusable::Unexpected(_)));
}

#[test]
fn a_byte_now_and_then_is_too_slow() {
    let fake = Fake::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
        while stream.write_all(b" ").is_ok() {
            thread::sleep(Duration::from_millis(100));
        }
    });
    let lava = fake.hasty_client(Duration::from_secs(1));
    for (call, error) in every_call(&lava) {
        assert!(matches!(error, LavaError::Slow(_)), "{call}: {error}");
    }
    assert!(matches!(log(&lava), LavaError::Slow(_)));
    assert!(matches!(lava.submit(DEFINITION), Err(SubmitError::Unconfirmed(LavaError::Slow(_)))));
    assert!(matches!(survey(&lava), Unusable::Slow(_)));
}

#[test]
fn one_that_says_nothing_is_too_slow() {
    let fake = Fake::start(|_, _| thread::sleep(Duration::from_mins(1)));
    let lava = fake.hasty_client(Duration::from_millis(500));
    for (call, error) in every_call(&lava) {
        assert!(matches!(error, LavaError::Slow(_)), "{call}: {error}");
    }
    assert!(matches!(log(&lava), LavaError::Slow(_)));
    assert!(matches!(lava.submit(DEFINITION), Err(SubmitError::Unconfirmed(LavaError::Slow(_)))));
    // Whoever asks may be more hasty still.
    let lava = fake.client();
    let state = lava.survey(Duration::from_millis(500)).state;
    assert!(matches!(state, Err(Unusable::Slow(_))));
}

#[test]
fn ten_megabytes_are_not_read() {
    let fake = Fake::start(|_, stream| {
        let body = format!("{{\"results\": [{}1]}}", "1,".repeat(5 << 20));
        reply(stream, 200, "application/json", body.as_bytes());
    });
    let lava = fake.client();
    for (call, error) in every_call(&lava) {
        assert!(matches!(&error, LavaError::Unexpected(text) if text.contains("larger")), "{call}: {error}");
    }
    assert!(matches!(survey(&lava), Unusable::Unexpected(_)));
}

#[test]
fn a_job_may_be_there_when_the_connection_breaks_after_it_was_sent() {
    let fake = Fake::start(|seen, stream| {
        assert!(seen.body.contains("job_name"), "the request came as a whole");
        reset(stream);
    });
    match fake.client().submit(DEFINITION) {
        Err(SubmitError::Unconfirmed(LavaError::Unreachable(_))) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(fake.seen().len(), 1, "it is not sent again");
}

#[test]
fn no_job_is_there_when_there_was_no_connection() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let fake = Fake::start(|_, _| {});
    let mut settings = fake.settings(Duration::from_secs(10));
    settings.url = format!("http://{free}/");
    let lava = Lava::new("gone", settings).unwrap();
    for (call, error) in every_call(&lava) {
        assert!(
            matches!(&error, LavaError::Unreachable(text) if text.contains("refused")),
            "{call}: {error}"
        );
    }
    assert!(matches!(lava.submit(DEFINITION), Err(SubmitError::NotSent(LavaError::Unreachable(_)))));
    assert!(matches!(survey(&lava), Unusable::Unreachable(_)));
}

#[test]
fn no_job_is_there_when_encryption_could_not_be_agreed_on() {
    let fake = Fake::start(|_, _| {});
    let mut settings = fake.settings(Duration::from_secs(10));
    settings.url = settings.url.replace("http:", "https:");
    let lava = Lava::new("plain", settings).unwrap();
    assert!(matches!(lava.submit(DEFINITION), Err(SubmitError::NotSent(_))));
}

#[test]
fn a_job_whose_number_does_not_come_may_be_there() {
    for answer in [r#"{"message":"ok"}"#, r#"{"job_ids":[]}"#, r#"{"job_ids":[1,2]}"#, r#"{"job_ids":["x"]}"#]
    {
        let fake = Fake::start(move |_, stream| reply(stream, 201, "application/json", answer.as_bytes()));
        assert!(matches!(fake.client().submit(DEFINITION), Err(SubmitError::Unconfirmed(_))), "{answer}");
    }
    let fake = Fake::start(|_, stream| reply(stream, 201, "application/json", br#"{"job_ids":[7]}"#));
    assert_eq!(fake.client().submit(DEFINITION).unwrap(), JobId(7));
}

#[test]
fn no_error_tells_the_token() {
    let fake = Fake::start(|seen, stream| {
        let text = format!("you sent {} for {}", seen.authorization, seen.path);
        json(stream, 403, &serde_json::json!({ "detail": text }));
    });
    let lava = fake.client();
    let mut texts: Vec<String> =
        every_call(&lava).iter().map(|(_, error)| format!("{error} {error:?}")).collect();
    texts.push(log(&lava).to_string());
    texts.push(format!("{:?}", lava.submit(DEFINITION)));
    texts.push(format!("{:?}", lava.survey(Duration::from_mins(1))));
    texts.push(format!("{:?}", fake.settings(Duration::ZERO)));
    for text in texts {
        assert!(!text.contains(TOKEN), "{text}");
    }
}

/// Something is there, and does not speak HTTP.
#[test]
fn what_does_not_speak_http_is_no_lab() {
    let fake = Fake::start(|_, stream: &mut TcpStream| {
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2p1\r\n");
    });
    for (call, error) in every_call(&fake.client()) {
        assert!(matches!(error, LavaError::Unreachable(_)), "{call}: {error}");
    }
}
