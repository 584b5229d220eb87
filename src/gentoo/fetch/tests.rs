//! A real nginx for what mirrors do, and small servers for the lies that none would tell.

use std::io::Read as _;
use std::path::PathBuf;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

use super::*;
use crate::gentoo::tests::{Fake, Nginx};

const PATH: &str = "releases/amd64/autobuilds/20250928T170227Z/stage3.tar.xz";

/// No test waits for as long unless something is wrong.
const PATIENT: TransferLimits = TransferLimits { timeout: Duration::from_mins(1), min_rate: 1000 };

/// For servers that are not worth waiting for.
const IMPATIENT: TransferLimits = TransferLimits { timeout: Duration::from_secs(3), min_rate: 1000 };

fn content() -> Vec<u8> {
    // Large enough to come in many pieces.
    (0..3_000_000_u32).map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect()
}

fn wanted(content: &[u8]) -> ExpectedFile {
    let (digests, size) = Hashing::of(content).unwrap();
    ExpectedFile::Sized { size, digests }
}

/// nginx with the file in it.
fn nginx(extra: &str) -> Nginx {
    let nginx = Nginx::new(extra);
    nginx.put(PATH, &content());
    nginx
}

/// A place for the file, and what came there.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn to(&self) -> PathBuf {
        self.dir.path().join("stage3.tar.xz")
    }

    fn part(&self) -> PathBuf {
        self.dir.path().join("stage3.tar.xz.part")
    }

    /// Gets the file, and sees that what was written meanwhile is what is there.
    fn get(&self, mirrors: &[&str]) -> Result<(), FetchError> {
        self.get_with(mirrors, PATIENT)
    }

    fn get_with(&self, mirrors: &[&str], limits: TransferLimits) -> Result<(), FetchError> {
        let mirrors = Mirrors::new(mirrors.iter().copied(), limits).unwrap();
        let seen = mirrors
            .file(PATH, &wanted(&content()), &self.to(), Vec::new, &mut |_| ControlFlow::Continue(()))?;
        assert!(seen == content(), "{} bytes were seen", seen.len());
        assert!(fs::read(self.to()).unwrap() == content());
        assert_eq!(fs::read_dir(self.dir.path()).unwrap().count(), 1, "something is left over");
        Ok(())
    }

    fn fails(&self, mirrors: &[&str], with: &str) {
        let error = self.get(mirrors).unwrap_err().to_string();
        assert!(error.contains(with), "{error} does not say {with:?}");
        assert!(!self.to().exists());
    }
}

#[test]
fn a_file_comes_and_is_not_asked_for_again() {
    let (nginx, place) = (nginx(""), Place::new());
    place.get(&[&nginx.address]).unwrap();
    place.get(&[&nginx.address]).unwrap();
    assert_eq!(nginx.log().lines().count(), 1, "{}", nginx.log());
    // What is there under that name is looked at all the same.
    fs::write(place.to(), b"other").unwrap();
    place.get(&[&nginx.address]).unwrap();
    assert_eq!(nginx.log().lines().count(), 2, "{}", nginx.log());
}

#[test]
fn what_is_there_is_not_fetched_again() {
    let (nginx, place) = (nginx(""), Place::new());
    fs::write(place.part(), &content()[..2_000_000]).unwrap();
    place.get(&[&nginx.address]).unwrap();
    let log = nginx.log();
    assert!(log.contains(" 206 1000000 "), "{log}");
}

#[test]
fn the_whole_that_was_not_put_in_place_is_not_fetched_again() {
    let place = Place::new();
    fs::write(place.part(), content()).unwrap();
    // A mirror that nobody listens at.
    place.get(&["http://127.0.0.1:1/"]).unwrap();
}

#[test]
fn a_part_that_is_not_the_files_is_given_up() {
    let (nginx, place) = (nginx(""), Place::new());
    fs::write(place.part(), vec![0; 1_000_000]).unwrap();
    place.get(&[&nginx.address]).unwrap();
    let place = Place::new();
    fs::write(place.part(), vec![0; 4_000_000]).unwrap();
    place.get(&[&nginx.address]).unwrap();
}

#[test]
fn a_server_without_ranges_sends_all_of_it() {
    let (nginx, place) = (nginx("max_ranges 0;"), Place::new());
    fs::write(place.part(), &content()[..2_000_000]).unwrap();
    place.get(&[&nginx.address]).unwrap();
    assert!(nginx.log().contains(" 200 3000000 "), "{}", nginx.log());
}

#[test]
fn a_file_that_has_changed_on_the_mirror_is_begun_anew() {
    let (nginx, place) = (nginx(""), Place::new());
    let url = format!("{}{PATH}", nginx.address);
    fs::write(place.part(), vec![0; 1_000_000]).unwrap();
    // The mark of what the mirror had before.
    fs::write(place.dir.path().join("stage3.tar.xz.from"), format!("{url}\n\"older\"\n")).unwrap();
    place.get(&[&nginx.address]).unwrap();
    let log = nginx.log();
    assert!(log.contains(" 200 3000000 ") && log.lines().count() == 1, "{log}");
}

#[test]
fn a_connection_that_breaks_off_is_gone_on_with() {
    // Each answer ends after a megabyte.
    let fake = Fake::new(|_, head, stream| {
        let from = head.lines().find_map(|line| line.strip_prefix("range: bytes=")?.strip_suffix('-'));
        let from: usize = from.map_or(0, |from| from.parse().unwrap());
        let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
        let rest = &content()[from..];
        let _ = write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nETag: \"one\"\r\nContent-Range: bytes {from}-2999999/3000000\r\n\r\n",
            rest.len()
        );
        let _ = stream.write_all(&rest[..rest.len().min(1_000_000)]);
    });
    Place::new().get(&[&fake.address]).unwrap();
    let requests = fake.requests();
    assert_eq!(requests.len(), 3, "{requests:?}");
    assert!(requests[1].contains("if-range: \"one\""), "{requests:?}");
}

#[test]
fn the_next_mirror_goes_on_with_what_came() {
    let place = Place::new();
    // It breaks off, and is gone then.
    let fake = Fake::new(|number, _, stream| {
        if number == 0 {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n");
            let _ = stream.write_all(&content()[..1_000_000]);
        }
    });
    let nginx = nginx("");
    place.get(&[&fake.address, &nginx.address]).unwrap();
    assert!(nginx.log().contains(" 206 "), "{}", nginx.log());
}

#[test]
fn lies_are_seen_and_the_next_mirror_is_asked() {
    let nginx = nginx("");
    let body = content();
    let mut other = content();
    other[1_500_000] ^= 1;
    let liars = [
        (
            Fake::answering(
                "200 OK\r\nContent-Type: text/html\r\nContent-Length: 15",
                b"<html>no</html>".to_vec(),
            ),
            "answers with a page",
        ),
        (
            Fake::answering("200 OK\r\nContent-Length: 2999999", body[..2_999_999].to_vec()),
            "has 2999999 bytes where there should be 3000000",
        ),
        (Fake::answering("200 OK\r\nContent-Length: 99999999999", body.clone()), "has 99999999999 bytes"),
        (Fake::answering("200 OK\r\nContent-Length: 3000000", other), "has other digests"),
        // Without a length: it may end early, or go on.
        (Fake::answering("200 OK", body[..5].to_vec()), "broke off after 5 bytes"),
        (Fake::answering("200 OK", [&body[..], b"more"].concat()), "sends more than 3000000 bytes"),
        (
            Fake::answering("206 Partial Content\r\nContent-Range: bytes 7-8/3000000", b"xx".to_vec()),
            "another part",
        ),
        (Fake::answering("206 Partial Content", b"xx".to_vec()), "without saying which"),
        (
            Fake::answering("302 Found\r\nLocation: http://elsewhere.invalid/x", Vec::new()),
            "redirects to http://elsewhere.invalid/x",
        ),
        (Fake::answering("404 Not Found", Vec::new()), "does not have the file"),
        (Fake::answering("503 Busy", Vec::new()), "answers 503"),
        (Fake::answering("416 Range Not Satisfiable", Vec::new()), "answers 416"),
        (Fake::answering("nonsense", Vec::new()), "can't be reached"),
        (Fake::new(|_, _, _| {}), "can't be reached"),
    ];
    for (liar, problem) in liars {
        Place::new().fails(&[&liar.address], problem);
        Place::new()
            .get(&[&liar.address, &nginx.address])
            .unwrap_or_else(|error| panic!("{problem}: {error}"));
    }
    let gone = "http://127.0.0.1:1/";
    Place::new().fails(&[gone], "can't be reached");
    Place::new().get(&[gone, &nginx.address]).unwrap();
    // All are named when none has it.
    let missing = Fake::answering("404 Not Found", Vec::new());
    let error = Place::new().get(&[gone, &missing.address]).unwrap_err().to_string();
    assert!(error.contains(gone) && error.contains(&missing.address) && error.contains(PATH), "{error}");
}

#[test]
fn who_stands_still_or_crawls_is_left() {
    let nginx = nginx("");
    let left = |fake: &Fake, with: &str| {
        let error = Place::new().get_with(&[&fake.address], IMPATIENT).unwrap_err().to_string();
        assert!(error.contains(with), "{error} does not say {with:?}");
    };
    let silent = Fake::new(|_, _, stream| {
        let _ = stream.read(&mut [0]);
    });
    left(&silent, "nothing came");
    let stalls = Fake::new(|_, _, stream| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\nabc");
        let _ = stream.read(&mut [0]);
    });
    left(&stalls, "nothing came");
    let crawls = Fake::new(|_, _, stream| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    left(&crawls, "slower than 1000 bytes a second");
    Place::new().get_with(&[&silent.address, &nginx.address], IMPATIENT).unwrap();
}

#[test]
fn a_file_of_unknown_size_comes_by_its_digest() {
    let (digests, _) = Hashing::of(&*content()).unwrap();
    let sha512 = Sha512Sum::from_hex(&digests.sha512()).unwrap();
    let get = |place: &Place, most, mirrors: &[&str]| {
        let wanted = ExpectedFile::Bounded { most, sha512: sha512.clone() };
        let mirrors = Mirrors::new(mirrors.iter().copied(), PATIENT).unwrap();
        let got = mirrors.file(PATH, &wanted, &place.to(), Vec::new, &mut |_| ControlFlow::Continue(()));
        assert!(got.is_err() || fs::read(place.to()).unwrap() == content());
        got.map(|seen| assert!(seen == content()))
    };
    let nginx = nginx("");
    get(&Place::new(), 3_000_000, &[&nginx.address]).unwrap();
    // What came before is gone on with, be it all of it; and what is wrong is given up.
    let place = Place::new();
    fs::write(place.part(), &content()[..2_000_000]).unwrap();
    get(&place, 3_000_000, &[&nginx.address]).unwrap();
    assert!(nginx.log().contains(" 206 1000000 "), "{}", nginx.log());
    let place = Place::new();
    fs::write(place.part(), content()).unwrap();
    get(&place, 3_000_000, &["http://127.0.0.1:1/"]).unwrap();
    for wrong in [1_000_000, 3_000_000, 4_000_000] {
        let place = Place::new();
        fs::write(place.part(), vec![0; wrong]).unwrap();
        get(&place, 5_000_000, &[&nginx.address]).unwrap();
    }

    let too_much = get(&Place::new(), 2_999_999, &[&nginx.address]).unwrap_err().to_string();
    assert!(too_much.contains("sends more than 2999999 bytes"), "{too_much}");
    let endless = Fake::answering("200 OK", [content(), content()].concat());
    let error = get(&Place::new(), 4_000_000, &[&endless.address]).unwrap_err().to_string();
    assert!(error.contains("sends more than 4000000 bytes"), "{error}");
    // Without a length, whatever ends is whole until its digest tells.
    let short = Fake::answering("200 OK", content()[..5].to_vec());
    let error = get(&Place::new(), 4_000_000, &[&short.address]).unwrap_err().to_string();
    assert!(error.contains("has other digests"), "{error}");
    get(&Place::new(), 4_000_000, &[&short.address, &endless.address, &nginx.address]).unwrap();
}

#[test]
fn it_can_be_ended_and_gone_on_with() {
    let (nginx, place) = (nginx(""), Place::new());
    let mirrors = Mirrors::new([&*nginx.address], PATIENT).unwrap();
    let wanted = wanted(&content());
    let mut told = Vec::new();
    let ended = mirrors.file(PATH, &wanted, &place.to(), io::sink, &mut |progress| {
        assert_eq!(progress.mirror, &*nginx.address);
        told.push(progress.done);
        if progress.done > 1_000_000 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(ended, Err(FetchError::Cancelled)));
    assert!(told.is_sorted() && told.len() > 1);
    assert_eq!(fs::metadata(place.part()).unwrap().len(), *told.last().unwrap());
    place.get(&[&nginx.address]).unwrap();
    assert!(nginx.log().contains(" 206 "), "{}", nginx.log());
}

#[test]
fn two_at_once_fetch_once() {
    let (nginx, place) = (nginx("limit_rate 4m;"), Place::new());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| place.get(&[&nginx.address]).unwrap_or_else(|error| panic!("{error}")));
        }
    });
    assert_eq!(nginx.log().lines().count(), 1, "{}", nginx.log());
}

#[test]
fn a_disk_that_is_full_is_no_mirrors_fault() {
    let (nginx, place) = (nginx(""), Place::new());
    let full = std::thread::spawn({
        let address = nginx.address.clone();
        // A small file system that this thread alone sees, and that goes with it.
        move || {
            unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).ok()?;
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(None::<&str>, "/", None::<&str>, private, None::<&str>).ok()?;
            mount(Some("t"), place.dir.path(), Some("tmpfs"), MsFlags::empty(), Some("size=1m")).ok()?;
            let error = place.get(&[&address]).unwrap_err();
            assert!(matches!(error, FetchError::Local { .. }), "{error}");
            Some(error.to_string())
        }
    });
    // Only root may mount.
    if let Some(error) = full.join().unwrap() {
        assert!(error.contains("No space left"), "{error}");
    }
}

#[test]
fn the_first_text_that_can_be_read_counts() {
    let page = Fake::answering("200 OK\r\nContent-Type: text/html", b"<html>".to_vec());
    let wrong = Fake::answering("200 OK", b"wrong".to_vec());
    let endless = Fake::new(|_, _, stream| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 1000]).is_ok() {}
    });
    let announced = Fake::answering("200 OK\r\nContent-Length: 1000000", b"right".to_vec());
    let right = Fake::answering("200 OK\r\nContent-Length: 5", b"right".to_vec());
    let read = |bytes: &[u8]| {
        if bytes == b"right" { Ok(1) } else { Err("its signature is missing".to_owned()) }
    };
    let bad = [&*page.address, &wrong.address, &endless.address, &announced.address];
    let mirrors = Mirrors::new([&bad[..], &[&right.address]].concat(), PATIENT).unwrap();
    assert_eq!(mirrors.text("a/latest.txt", 100, read).unwrap(), 1);
    let error = Mirrors::new(bad, PATIENT).unwrap().text("a/latest.txt", 100, read).unwrap_err().to_string();
    for part in ["a page", "its signature is missing", "more than 100 bytes"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn addresses_hold_no_secrets_and_paths_stay_inside() {
    for address in [
        "ftp://mirror.invalid/",
        "mirror.invalid",
        "http://me:s3cret@mirror.invalid/",
        "http://m.invalid/?a=b",
    ] {
        let error = Mirrors::new([address], PATIENT).err().unwrap().to_string();
        assert!(!error.contains("s3cret"), "{error}");
    }
    assert!(Mirrors::new([], PATIENT).is_err());
    let fake = Fake::answering("200 OK", Vec::new());
    let mirrors = Mirrors::new([&*format!("{}/gentoo", fake.address)], PATIENT).unwrap();
    for path in
        ["../x", "/etc/passwd", "a/../../x", "http://elsewhere.invalid/x", "//elsewhere.invalid/x", "a//b"]
    {
        assert!(mirrors.text(path, 10, |_| Ok(())).is_err(), "{path}");
    }
    assert!(fake.requests().is_empty());
    mirrors.text("a/b.txt", 10, |_| Ok(())).unwrap();
    assert!(fake.requests()[0].starts_with("GET /gentoo/a/b.txt "), "{:?}", fake.requests());
}
