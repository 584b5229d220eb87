//! Publishing, and a real server that is asked for what was published.

use std::net::{SocketAddr, TcpListener};
use std::thread;

use super::*;
use crate::lab::serve::tests::start;

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// A file with this content and mode, and its digest.
    fn file(&self, name: &str, content: &str, mode: u32) -> (PathBuf, String) {
        let path = self.dir.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        (path, copy(&mut content.as_bytes(), &mut io::sink()).unwrap().1)
    }

    fn www(&self) -> PathBuf {
        self.dir.path().join("www")
    }

    fn publisher(&self) -> Publisher {
        Publisher::new(&self.www(), "http://ci.example/kiln")
    }
}

#[test]
fn what_cannot_be_written_is_linked_and_the_rest_is_copied() {
    let bench = Bench::new();
    for (mode, linked) in [(0o444, true), (0o644, false), (0o400, false), (0o555, true)] {
        let (path, sha256) = bench.file(&format!("kernel-{mode:o}"), &format!("kernel {mode}"), mode);
        let size = path.metadata().unwrap().len();
        let url = bench.publisher().put(&path, size, &sha256, "bzImage").unwrap();
        assert_eq!(url, format!("http://ci.example/kiln/{sha256}/bzImage"));
        let there = bench.www().join(&sha256).join("bzImage");
        let stat = there.metadata().unwrap();
        assert_eq!(stat.ino() == path.metadata().unwrap().ino(), linked, "{mode:o}");
        assert_eq!(stat.mode() & 0o222, 0, "{mode:o}");
        assert_eq!(stat.mode() & 0o444, 0o444, "{mode:o}");
        assert_eq!(path.metadata().unwrap().mode() & 0o777, mode, "its own mode stays");
        // Once more changes nothing.
        assert_eq!(bench.publisher().put(&path, size, &sha256, "bzImage").unwrap(), url);
        assert_eq!(there.metadata().unwrap().ino(), stat.ino());
        assert_eq!(fs::read_dir(there.parent().unwrap()).unwrap().count(), 1);
    }
    let mode = |path: &Path| path.metadata().unwrap().mode() & 0o777;
    assert_eq!(mode(&bench.www()), 0o755);
}

#[test]
fn what_is_wrong_there_is_put_right() {
    let bench = Bench::new();
    let (path, sha256) = bench.file("kernel", "kernel", 0o644);
    let there = bench.www().join(&sha256).join("bzImage");
    let put = || bench.publisher().put(&path, 6, &sha256, "bzImage").unwrap();
    put();
    for (content, mode) in [("kern", 0o444), ("KERNEL", 0o444), ("kernel", 0o644)] {
        fs::remove_file(&there).unwrap();
        fs::write(&there, content).unwrap();
        fs::set_permissions(&there, Permissions::from_mode(mode)).unwrap();
        put();
        assert_eq!(fs::read_to_string(&there).unwrap(), "kernel");
        assert_eq!(there.metadata().unwrap().mode() & 0o777, 0o444);
    }
    fs::remove_file(&there).unwrap();
    std::os::unix::fs::symlink(&path, &there).unwrap();
    put();
    assert!(there.symlink_metadata().unwrap().is_file());
}

#[test]
fn other_bytes_than_were_announced_are_not_published() {
    let bench = Bench::new();
    for mode in [0o444, 0o644] {
        let (path, sha256) = bench.file(&format!("kernel-{mode:o}"), "kernel", mode);
        let wrong = sha256.replace(&sha256[..1], if sha256.starts_with('0') { "1" } else { "0" });
        let error = bench.publisher().put(&path, 6, &wrong, "bzImage").unwrap_err();
        assert!(matches!(&error, PublishError::Content { found, .. } if *found == sha256), "{error}");
        let error = bench.publisher().put(&path, 7, &sha256, "bzImage").unwrap_err();
        assert!(matches!(error, PublishError::Content { .. }), "{error}");
        for dir in [&wrong, &sha256] {
            assert_eq!(fs::read_dir(bench.www().join(dir)).unwrap().count(), 0, "nothing is left of it");
        }
    }
    let (path, sha256) = bench.file("kernel", "kernel", 0o644);
    for (sha256, name) in [
        (sha256.as_str(), "../x"),
        (&sha256, ""),
        (&sha256, ".x"),
        (&sha256, "a/b"),
        (&sha256, "a b"),
        (&sha256, "a%20b"),
        ("..", "x"),
        ("", "x"),
        (&sha256.to_uppercase(), "x"),
    ] {
        let error = bench.publisher().put(&path, 6, sha256, name).unwrap_err();
        assert!(matches!(error, PublishError::Name { .. }), "{error}");
    }
    let error = bench.publisher().put(&bench.dir.path().join("none"), 6, &sha256, "x").unwrap_err();
    assert!(matches!(&error, PublishError::Io { path, .. } if path.ends_with("none")), "{error}");
}

#[test]
fn many_at_once_publish_the_same() {
    let bench = Bench::new();
    let (linked, of_linked) = bench.file("linked", &"x".repeat(100_000), 0o444);
    let (copied, of_copied) = bench.file("copied", &"y".repeat(100_000), 0o644);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    bench.publisher().put(&linked, 100_000, &of_linked, "a").unwrap();
                    bench.publisher().put(&copied, 100_000, &of_copied, "b").unwrap();
                    // Nothing is old enough to go.
                    assert_eq!(
                        bench.publisher().sweep(Duration::from_hours(1), SystemTime::now()).unwrap(),
                        0
                    );
                }
            });
        }
    });
    for (sha256, name) in [(&of_linked, "a"), (&of_copied, "b")] {
        let dir = bench.www().join(sha256);
        assert_eq!(fs::read(dir.join(name)).unwrap().len(), 100_000);
        assert_eq!(fs::read_dir(dir).unwrap().count(), 1, "no temporary file is left");
    }
}

#[test]
fn what_is_old_is_swept_and_what_is_not_ours_stays() {
    let bench = Bench::new();
    assert_eq!(
        bench.publisher().sweep(Duration::ZERO, SystemTime::now()).unwrap(),
        0,
        "there is nothing yet"
    );
    let (path, sha256) = bench.file("kernel", "kernel", 0o444);
    let (other, of_other) = bench.file("other", "other", 0o444);
    bench.publisher().put(&path, 6, &sha256, "a").unwrap();
    bench.publisher().put(&path, 6, &sha256, "b").unwrap();
    bench.publisher().put(&other, 5, &of_other, "c").unwrap();
    fs::write(bench.www().join("index.html"), "theirs").unwrap();
    fs::create_dir(bench.www().join("theirs")).unwrap();
    let days = |days: u64| SystemTime::now() + Duration::from_hours(24 * days);
    let age = Duration::from_hours(14 * 24);
    assert_eq!(bench.publisher().sweep(age, days(13)).unwrap(), 0);
    // One of them is asked for again: here by setting its time, as a test can't wait for two weeks.
    File::open(bench.www().join(&of_other)).unwrap().set_modified(days(10)).unwrap();
    assert_eq!(bench.publisher().sweep(age, days(15)).unwrap(), 2);
    assert!(!bench.www().join(&sha256).exists());
    assert!(bench.www().join(&of_other).join("c").exists());
    assert!(bench.www().join("index.html").exists() && bench.www().join("theirs").exists());
    assert_eq!(fs::read_to_string(&path).unwrap(), "kernel", "what it was linked to stays");
    bench.publisher().put(&path, 6, &sha256, "a").unwrap();
    assert!(bench.www().join(&sha256).join("a").exists());
}

const PATIENCE: Duration = Duration::from_secs(20);

#[track_caller]
fn unserved(publisher: &Publisher, url: &str, size: u64, timeout: Duration) -> Unserved {
    match publisher.check(url, size, timeout).unwrap_err() {
        PublishError::Unserved { why, .. } => why,
        other => panic!("{other}"),
    }
}

#[test]
fn an_address_is_asked_for_what_was_published() {
    let bench = Bench::new();
    let (path, sha256) = bench.file("kernel", "kernel", 0o444);
    fs::create_dir(bench.www()).unwrap();
    let address = start(&bench.www(), "/kiln");
    let publisher = Publisher::new(&bench.www(), &format!("http://{address}/kiln/"));
    let url = publisher.put(&path, 6, &sha256, "bzImage").unwrap();
    publisher.check(&url, 6, PATIENCE).unwrap();
    let why = unserved(&publisher, &url, 7, PATIENCE);
    assert_eq!(why, Unserved::Length { expected: 7, found: Some(6) });

    // Served, but elsewhere.
    let elsewhere = Publisher::new(&bench.www(), &format!("http://{address}/"));
    let url = elsewhere.put(&path, 6, &sha256, "bzImage").unwrap();
    assert_eq!(unserved(&elsewhere, &url, 6, PATIENCE), Unserved::Missing);
    let error = elsewhere.check(&url, 6, PATIENCE).unwrap_err().to_string();
    assert!(error.contains("see `publish` in graph.ron, which says that"), "{error}");
    assert!(error.contains(bench.www().to_str().unwrap()), "{error}");
}

/// A server that answers everything with the same.
fn answering(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            if answer.is_empty() {
                // Neither answers nor ends.
                std::mem::forget(stream);
            } else {
                stream.write_all(answer.as_bytes()).unwrap();
            }
        }
    });
    address
}

#[test]
fn whatever_else_answers_is_told_of() {
    let publisher = Publisher::new(Path::new("/srv/www"), "http://x/");
    let why = |answer: &'static str, timeout| {
        unserved(&publisher, &format!("http://{}/a/b", answering(answer)), 6, timeout)
    };
    assert_eq!(why("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", PATIENCE), Unserved::Forbidden);
    let moved = "HTTP/1.1 301 Moved\r\nLocation: http://169.254.0.1/\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(why(moved, PATIENCE), Unserved::Redirected(301));
    assert_eq!(why("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", PATIENCE), Unserved::Status(500));
    let endless = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(why(endless, PATIENCE), Unserved::Length { expected: 6, found: None });
    assert!(matches!(why("SSH-2.0-OpenSSH\r\n", PATIENCE), Unserved::Unreachable(_)));
    assert_eq!(why("", Duration::from_secs(1)), Unserved::Slow(1));
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{nobody}/a/b");
    assert!(matches!(unserved(&publisher, &url, 6, PATIENCE), Unserved::Unreachable(_)));
    assert!(matches!(unserved(&publisher, "not an address", 6, PATIENCE), Unserved::Address(_)));
}
