//! Remotes against what they are made for: a directory, nginx, and `BuildGrid`, by itself and with `PostgreSQL` behind it.
//!
//! The servers are real, on ports of this machine's own, and end with the tests. `scripts/check-remote.sh` installs them
//! and runs this; plain `cargo test` runs what needs a directory alone.

mod buildgrid;
mod contract;
mod damage;
mod journeys;
mod machines;
mod nginx;
mod outages;
mod postgres;
mod pull_requests;
mod room;

use std::fs;
use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use kiln::remote::{Address, Remote, RemoteError, Secret, Settings, open};
use tempfile::TempDir;

use crate::support::process::{free_ports, wait_for};
use buildgrid::{BuildGrid, Guarded};
use contract::{LARGE, content, file, got, keeps_what_it_is_given, key, large, name};
use nginx::{Nginx, with_password};

/// Settings of somebody who has nothing to show. The time is generous, as machines that run tests are busy.
fn settings(address: Address) -> Settings {
    Settings {
        address,
        instance: String::new(),
        token: None,
        user: None,
        ca: None,
        identity: None,
        timeout: Duration::from_mins(1),
    }
}

/// The same for somebody who does not wait for long.
fn impatient(settings: Settings) -> Settings {
    Settings { timeout: Duration::from_secs(2), ..settings }
}

/// Takes what it is given, and does something at the first byte.
struct AtFirst<F: FnMut()> {
    act: Option<F>,
    written: u64,
}

impl<F: FnMut()> AtFirst<F> {
    fn new(act: F) -> Self {
        Self { act: Some(act), written: 0 }
    }
}

impl<F: FnMut()> Write for AtFirst<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(mut act) = self.act.take() {
            act();
        }
        self.written += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Asserts that nothing works, since nobody answers.
fn is_unreachable(remote: &dyn Remote) {
    let blob = name(&content(10));
    let bytes = content(10);
    let results = [
        remote.entry(&key()).map(|_| ()),
        remote.put_entry(&key(), b"entry", &[]),
        remote.missing(&[blob, name(&content(20))]).map(|_| ()),
        got(remote, &blob).map(|_| ()),
        remote.put(&name(&bytes), &mut file(&bytes)),
        remote.put_several(&[(name(&bytes), bytes.clone())]),
        remote.get_several(&[blob], &mut |_, _| {}),
    ];
    for (index, result) in results.into_iter().enumerate() {
        assert!(matches!(result, Err(RemoteError::Unreachable(_))), "{index}: {result:?}");
    }
}

fn is_denied<T: std::fmt::Debug>(result: Result<T, RemoteError>) {
    assert!(matches!(result, Err(RemoteError::Denied(_))), "{result:?}");
}

// ---- A directory ----

#[test]
fn a_directory_keeps_what_it_is_given() {
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let at = |instance: &str| {
        let address = Address::Dir(dir.path().join("not/there/yet"));
        open(&Settings { instance: instance.to_owned(), ..settings(address) }).unwrap()
    };
    keeps_what_it_is_given(&*at(""));
    // Another instance is another cache.
    let bytes = content(10);
    let blob = name(&bytes);
    at("").put_several(&[(blob, bytes)]).unwrap();
    assert_eq!(at("pr/1").missing(&[blob]).unwrap(), [blob]);
    // What is on its way is nowhere else, and nothing is left of it.
    assert_eq!(fs::read_dir(dir.path().join("not/there/yet/tmp")).unwrap().count(), 0);
}

// ---- A web server ----

#[test]
#[ignore = "needs nginx: scripts/check-remote.sh installs it"]
fn nginx_keeps_what_it_is_given() {
    let nginx = Nginx::start();
    keeps_what_it_is_given(&*open(&nginx.writer()).unwrap());

    let remote = open(&Settings { instance: "pr/1".to_owned(), ..nginx.writer() }).unwrap();
    let bytes = content(10);
    let blob = name(&bytes);
    remote.put_several(&[(blob, bytes)]).unwrap();
    assert!(nginx.data(&format!("pr/1/cas/{}", blob.sha256)).exists());
    assert_eq!(open(&nginx.reader("/")).unwrap().missing(&[blob]).unwrap(), [blob]);
}

#[test]
#[ignore = "needs nginx: scripts/check-remote.sh installs it"]
fn nginx_over_tls_keeps_what_it_is_given() {
    let nginx = Nginx::start();
    keeps_what_it_is_given(&*open(&nginx.tls_writer()).unwrap());

    // Its certificate is of an authority that nobody else knows.
    let ca = Some(nginx.certificates.path("other-ca.pem"));
    for ca in [None, ca] {
        is_unreachable(&*open(&Settings { ca, ..nginx.tls_writer() }).unwrap());
    }
    // The server there lets those in who have a certificate; nginx says so in HTTP.
    let bytes = content(10);
    let blob = (name(&bytes), bytes);
    open(&nginx.mutual(Some("client"))).unwrap().put_several(std::slice::from_ref(&blob)).unwrap();
    for client in [None, Some("stranger")] {
        let remote = open(&nginx.mutual(client)).unwrap();
        let result = remote.put_several(std::slice::from_ref(&blob));
        assert!(matches!(result, Err(RemoteError::Refused(_) | RemoteError::Unreachable(_))), "{result:?}");
    }
}

#[test]
#[ignore = "needs nginx: scripts/check-remote.sh installs it"]
fn who_has_no_password_reads_and_does_not_write() {
    let nginx = Nginx::start();
    let bytes = content(100);
    let blob = name(&bytes);
    let key = key();
    let writer = open(&nginx.writer()).unwrap();
    writer.put_several(&[(blob, bytes.clone())]).unwrap();
    writer.put_entry(&key, b"entry", &[blob]).unwrap();

    let other = content(100);
    let wrong = with_password(nginx.reader("/"), "another password");
    let bearer = Settings { token: Some(Secret::new("token".to_owned())), ..nginx.reader("/") };
    for settings in [nginx.reader("/"), wrong, bearer] {
        let remote = open(&settings).unwrap();
        assert_eq!(got(&*remote, &blob).unwrap(), bytes);
        assert_eq!(remote.entry(&key).unwrap().as_deref(), Some(&b"entry"[..]));
        is_denied(remote.put_several(&[(name(&other), other.clone())]));
        is_denied(remote.put_entry(&key, b"another", &[]));
        // It says so before it has read all of a large one.
        let (mut file, large) = large();
        is_denied(remote.put(&large, &mut file));
    }
    assert_eq!(writer.entry(&key).unwrap().as_deref(), Some(&b"entry"[..]));
}

#[test]
#[ignore = "needs nginx: scripts/check-remote.sh installs it"]
fn nginx_hands_out_wrong_content_as_it_is() {
    let nginx = Nginx::start();
    let remote = open(&nginx.writer()).unwrap();
    let (bytes, other) = (content(1000), content(1000));
    let blob = name(&bytes);
    // It takes anything under any name, so that whoever reads must hash.
    remote.put_several(&[(blob, other.clone())]).unwrap();
    assert_eq!(got(&*remote, &blob).unwrap(), other);

    // What has another length is told at once, and missing, so that a put mends it.
    let path = nginx.data(&format!("cas/{}", blob.sha256));
    for length in [0, 10, 5000] {
        fs::write(&path, content(length)).unwrap();
        let mut written = Vec::new();
        let result = remote.get(&blob, 0, &mut written);
        assert!(matches!(result, Err(RemoteError::Nonsense(_))), "{result:?}");
        assert!(written.is_empty());
        let result = remote.get(&blob, 500, &mut written);
        assert!(matches!(result, Err(RemoteError::Nonsense(_))), "{result:?}");
        assert_eq!(remote.missing(&[blob]).unwrap(), [blob]);
    }
    remote.put_several(&[(blob, bytes.clone())]).unwrap();
    assert_eq!(got(&*remote, &blob).unwrap(), bytes);

    let key = key();
    remote.put_entry(&key, b"entry", &[]).unwrap();
    fs::write(nginx.data(&format!("ac/{key}")), vec![0; (1 << 20) + 1]).unwrap();
    let result = remote.entry(&key);
    assert!(matches!(result, Err(RemoteError::Nonsense(_))), "{result:?}");
}

#[test]
#[ignore = "needs nginx: scripts/check-remote.sh installs it"]
fn nginx_refuses_what_is_too_large_and_what_it_does_not_take() {
    let nginx = Nginx::start();
    let bytes = content(5000);
    let result = open(&nginx.reader("/small")).unwrap().put(&name(&bytes), &mut file(&bytes));
    assert!(matches!(result, Err(RemoteError::Refused(_))), "{result:?}");
    let remote = open(&nginx.reader("/Nothing/here")).unwrap();
    let result = remote.put(&name(&bytes), &mut file(&bytes));
    assert!(matches!(result, Err(RemoteError::Refused(_))), "{result:?}");
    assert_eq!(remote.entry(&key()).unwrap(), None);
    let result = open(&nginx.reader("/broken")).unwrap().entry(&key());
    assert!(matches!(result, Err(RemoteError::Busy { after: None, .. })), "{result:?}");
}

#[test]
#[ignore = "needs nginx: scripts/check-remote.sh installs it"]
fn readers_are_sent_elsewhere_and_writers_are_not() {
    let nginx = Nginx::start();
    let bytes = content(5000);
    let blob = name(&bytes);
    open(&nginx.writer()).unwrap().put_several(&[(blob, bytes.clone())]).unwrap();
    let moved = open(&with_password(nginx.reader("/moved"), nginx::PASSWORD)).unwrap();
    assert_eq!(got(&*moved, &blob).unwrap(), bytes);
    assert_eq!(moved.missing(&[blob]).unwrap(), []);
    let result = moved.put(&blob, &mut file(&bytes));
    assert!(matches!(result, Err(RemoteError::Nonsense(_))), "{result:?}");
    // Nobody who came encrypted goes on in the open.
    let moved = open(&Settings { instance: "moved".to_owned(), ..nginx.tls_writer() }).unwrap();
    let result = got(&*moved, &blob);
    assert!(matches!(result, Err(RemoteError::Nonsense(_))), "{result:?}");
}

#[test]
#[ignore = "needs nginx: scripts/check-remote.sh installs it"]
fn an_nginx_that_dies_breaks_off_and_is_unreachable() {
    let mut nginx = Nginx::start();
    let remote = open(&impatient(nginx.writer())).unwrap();
    let (mut file, blob) = large();
    remote.put(&blob, &mut file).unwrap();
    let mut sink = AtFirst::new(|| nginx.server.kill());
    let result = remote.get(&blob, 0, &mut sink);
    assert!(matches!(result, Err(RemoteError::Unreachable(_))), "{result:?}");
    assert!((1..LARGE).contains(&sink.written), "{}", sink.written);
    is_unreachable(&*remote);
}

#[test]
#[ignore = "needs nginx: scripts/check-remote.sh installs it"]
fn a_put_to_an_nginx_that_dies_breaks_off() {
    let nginx = Nginx::start();
    let remote = open(&impatient(nginx.writer())).unwrap();
    let (mut file, blob) = large();
    thread::scope(|scope| {
        let put = scope.spawn(|| remote.put(&blob, &mut file));
        wait_for("a part of the body", || nginx.is_receiving());
        nginx.server.freeze();
        let result = put.join().unwrap();
        assert!(matches!(result, Err(RemoteError::Unreachable(_))), "{result:?}");
    });
    // It still takes connections, but never answers.
    is_unreachable(&*remote);
    nginx.server.thaw();
    assert_eq!(remote.missing(&[blob]).unwrap(), [blob]);
}

#[test]
#[ignore = "belongs to the tests with servers: scripts/check-remote.sh runs it"]
fn a_port_on_which_nobody_listens_is_unreachable() {
    let [port] = free_ports();
    for address in [
        Address::Http(format!("http://127.0.0.1:{port}/")),
        Address::Http(format!("https://127.0.0.1:{port}/")),
        Address::Grpc(format!("grpc://127.0.0.1:{port}")),
        Address::Grpc(format!("grpcs://127.0.0.1:{port}")),
    ] {
        is_unreachable(&*open(&impatient(settings(address))).unwrap());
    }
}

// ---- A Remote Execution API server ----

#[test]
#[ignore = "needs BuildGrid: scripts/check-remote.sh installs it"]
fn buildgrid_keeps_what_it_is_given() {
    BuildGrid::each(|buildgrid| {
        let remote = open(&buildgrid.settings("")).unwrap();
        assert!((512 << 10..=1 << 20).contains(&remote.together()), "{}", remote.together());
        keeps_what_it_is_given(&*remote);
    });
}

#[test]
#[ignore = "needs BuildGrid: scripts/check-remote.sh installs it"]
fn buildgrid_tells_instances_apart_and_gives_no_entry_whose_blobs_are_gone() {
    BuildGrid::each(|buildgrid| {
        let remote = open(&buildgrid.settings("")).unwrap();
        let bytes = content(100);
        let blob = name(&bytes);
        remote.put_several(&[(blob, bytes.clone())]).unwrap();

        let other = open(&buildgrid.settings("pr/1")).unwrap();
        assert_eq!(other.missing(&[blob]).unwrap(), [blob]);
        other.put(&blob, &mut file(&bytes)).unwrap();
        assert_eq!(got(&*other, &blob).unwrap(), bytes);
        let result = other.put_entry(&key(), b"entry", &[blob]);
        assert!(matches!(result, Err(RemoteError::Refused(_))), "{result:?}");
        let result = open(&buildgrid.settings("unknown")).unwrap().entry(&key());
        assert!(matches!(result, Err(RemoteError::Refused(_))), "{result:?}");

        let key = key();
        remote.put_entry(&key, b"entry", &[blob]).unwrap();
        assert_eq!(remote.entry(&key).unwrap().as_deref(), Some(&b"entry"[..]));
        // One of a blob that never came: some servers refuse it, this one forgets it.
        let _ = remote.put_entry(&key, b"another", &[name(&content(50))]);
        assert_eq!(remote.entry(&key).unwrap(), None);
    });
}

#[test]
#[ignore = "needs BuildGrid: scripts/check-remote.sh installs it"]
fn buildgrid_refuses_content_under_a_wrong_name() {
    BuildGrid::each(|buildgrid| {
        let remote = open(&buildgrid.settings("")).unwrap();
        for size in [1000, 5 << 20] {
            let (bytes, other) = (content(size), content(size));
            let blob = name(&bytes);
            let result = remote.put(&blob, &mut file(&other));
            assert!(matches!(result, Err(RemoteError::Refused(_))), "{result:?}");
            let result = remote.put_several(&[(blob, other)]);
            assert!(matches!(result, Err(RemoteError::Refused(_))), "{result:?}");
            assert_eq!(remote.missing(&[blob]).unwrap(), [blob]);
        }
    });
}

#[test]
#[ignore = "needs BuildGrid: scripts/check-remote.sh installs it"]
fn buildgrid_lets_in_by_token_and_by_certificate() {
    let buildgrid = Guarded::start();
    let bytes = content(5000);
    let blob = (name(&bytes), bytes.clone());
    let key = key();
    let trusted = open(&buildgrid.settings("main-1")).unwrap();
    trusted.put_several(std::slice::from_ref(&blob)).unwrap();
    trusted.put_entry(&key, b"entry", &[blob.0]).unwrap();

    let reader = open(&buildgrid.settings("pr-17")).unwrap();
    assert_eq!(got(&*reader, &blob.0).unwrap(), bytes);
    assert_eq!(reader.entry(&key).unwrap().as_deref(), Some(&b"entry"[..]));
    let other = content(5000);
    is_denied(reader.put_several(&[(name(&other), other.clone())]));
    is_denied(reader.put(&name(&other), &mut file(&other)));
    is_denied(reader.put_entry(&key, b"another", &[]));

    is_denied(open(&buildgrid.settings("stranger")).unwrap().entry(&key));
    is_denied(open(&Settings { token: None, ..buildgrid.settings("") }).unwrap().entry(&key));
    let forged = Some(Secret::new("a.forged.token".to_owned()));
    let result = open(&Settings { token: forged, ..buildgrid.settings("") }).unwrap().entry(&key);
    assert!(!format!("{result:?}").contains("a.forged.token"), "{result:?}");
    is_denied(result);

    let mutual = open(&buildgrid.mutual("main-1", Some("client"))).unwrap();
    assert_eq!(got(&*mutual, &blob.0).unwrap(), bytes);
    for client in [None, Some("stranger")] {
        let result = open(&impatient(buildgrid.mutual("main-1", client))).unwrap().entry(&key);
        assert!(matches!(result, Err(RemoteError::Unreachable(_))), "{result:?}");
    }
    let ca = Some(buildgrid.certificates.path("other-ca.pem"));
    let result = open(&impatient(Settings { ca, ..buildgrid.settings("main-1") })).unwrap().entry(&key);
    assert!(matches!(result, Err(RemoteError::Unreachable(_))), "{result:?}");
}

#[test]
#[ignore = "needs BuildGrid: scripts/check-remote.sh installs it"]
fn a_buildgrid_that_stands_still_or_dies_is_unreachable() {
    BuildGrid::each(|mut buildgrid| {
        let patient = open(&buildgrid.settings("")).unwrap();
        let (mut file, blob) = large();
        patient.put(&blob, &mut file).unwrap();

        let remote = open(&impatient(buildgrid.settings(""))).unwrap();
        let mut sink = AtFirst::new(|| buildgrid.server.freeze());
        let result = remote.get(&blob, 0, &mut sink);
        assert!(matches!(result, Err(RemoteError::Unreachable(_))), "{result:?}");
        assert!((1..LARGE).contains(&sink.written), "{}", sink.written);
        is_unreachable(&*remote);
        is_unreachable(&*open(&impatient(buildgrid.settings(""))).unwrap());

        buildgrid.server.thaw();
        assert_eq!(patient.missing(&[blob]).unwrap(), []);
        let mut sink = AtFirst::new(|| buildgrid.server.kill());
        let result = patient.get(&blob, 0, &mut sink);
        assert!(matches!(result, Err(RemoteError::Unreachable(_))), "{result:?}");
        assert!((1..LARGE).contains(&sink.written), "{}", sink.written);
        is_unreachable(&*patient);
    });
}
