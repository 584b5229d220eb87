//! What a web server that works never does. What one does that works is in `tests/servers/remotes/mod.rs`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::digest::Digest;
use crate::remote::{Address, Name, Remote, RemoteError, Secret, Settings, Sha256, open};

const CONTENT: &[u8] = b"0123456789";

/// A server that gives every request the same bytes, and remembers what it was asked.
struct Fake {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

/// What becomes of a connection after the bytes.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Close,
    StandStill,
    /// The content follows, a byte at a time.
    Dribble,
}

impl Fake {
    fn new(answer: impl Into<Vec<u8>>, then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (answer, told) = (answer.into(), Arc::clone(&heads));
        // It ends with the test's process.
        thread::spawn(move || {
            let mut open = Vec::new();
            for connection in listener.incoming().flatten() {
                let Some(connection) = serve(connection, &answer, &told) else { continue };
                match then {
                    Then::Close => {}
                    Then::StandStill => open.push(connection),
                    Then::Dribble => dribble(connection),
                }
            }
        });
        Self { port, heads }
    }

    fn settings(&self) -> Settings {
        Settings {
            address: Address::Http(format!("http://127.0.0.1:{}/cache", self.port)),
            instance: String::new(),
            token: None,
            user: None,
            ca: None,
            identity: None,
            timeout: Duration::from_secs(30),
        }
    }

    fn remote(&self) -> Box<dyn Remote> {
        open(&self.settings()).unwrap()
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// Reads a request, and answers.
fn serve(connection: TcpStream, answer: &[u8], heads: &Mutex<Vec<String>>) -> Option<TcpStream> {
    let mut reader = BufReader::new(connection);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
    heads.lock().unwrap().push(head);
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    let mut connection = reader.into_inner();
    connection.write_all(answer).ok()?;
    Some(connection)
}

/// Sends the content in two seconds.
fn dribble(mut connection: TcpStream) {
    for byte in CONTENT {
        thread::sleep(Duration::from_millis(200));
        if connection.write_all(&[*byte]).is_err() {
            return;
        }
    }
}

fn blob() -> Name {
    Name { blake3: Digest::of_bytes(CONTENT), sha256: Sha256([7; 32]), size: CONTENT.len() as u64 }
}

/// What a get comes to, and what it wrote.
fn got(fake: &Fake, offset: u64) -> (Result<(), RemoteError>, Vec<u8>) {
    let mut bytes = Vec::new();
    (fake.remote().get(&blob(), offset, &mut bytes), bytes)
}

fn kind(result: &Result<(), RemoteError>) -> &'static str {
    match result {
        Ok(()) => "ok",
        Err(RemoteError::Nonsense(_)) => "nonsense",
        Err(RemoteError::Unreachable(_)) => "unreachable",
        Err(_) => "other",
    }
}

#[test]
fn a_blob_of_another_length_is_nonsense_and_one_that_breaks_off_is_not() {
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n";
    for (offset, rest, expected, written) in [
        (0, "Content-Length: 10\r\n\r\n0123456789", "ok", &b"0123456789"[..]),
        (0, "\r\n0123456789", "ok", b"0123456789"),
        (0, "Content-Length: 11\r\n\r\n0123456789X", "nonsense", b""),
        (0, "Content-Length: 9\r\n\r\n012345678", "nonsense", b""),
        (0, "Content-Length: 10\r\n\r\n0123", "unreachable", b"0123"),
        (0, "\r\n0123", "unreachable", b"0123"),
        (0, "Transfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n", "unreachable", b"0123"),
        (0, "Transfer-Encoding: chunked\r\n\r\n4\r\n0123\r\nzz\r\n", "unreachable", b"0123"),
        (0, "Content-Encoding: gzip\r\nContent-Length: 10\r\n\r\n0123456789", "nonsense", b""),
        // It knows no ranges, and sends all.
        (4, "Content-Length: 10\r\n\r\n0123456789", "ok", b"456789"),
        (4, "Content-Length: 6\r\n\r\n456789", "nonsense", b""),
        (4, "\r\n01", "unreachable", b""),
    ] {
        let fake = Fake::new(format!("{head}{rest}"), Then::Close);
        let (result, bytes) = got(&fake, offset);
        assert_eq!((kind(&result), &bytes[..]), (expected, written), "{offset} {rest:?}: {result:?}");
    }
    // More than was asked for, without a length: what is beyond the end is not written.
    let fake = Fake::new(format!("{head}\r\n0123456789X"), Then::Close);
    let (result, bytes) = got(&fake, 0);
    assert_eq!(kind(&result), "nonsense");
    assert!(CONTENT.starts_with(&bytes));
}

#[test]
fn a_part_of_a_blob_must_be_the_one_that_was_asked_for() {
    for (range, length, expected) in [
        ("bytes 4-9/10", 6, "ok"),
        ("bytes 4-9/*", 6, "ok"),
        ("bytes 3-9/10", 7, "nonsense"),
        ("bytes 4-9/10", 5, "nonsense"),
        ("4-9/10", 6, "nonsense"),
    ] {
        let head =
            format!("HTTP/1.1 206 Partial\r\nContent-Range: {range}\r\nContent-Length: {length}\r\n\r\n");
        let fake = Fake::new([head.as_bytes(), &CONTENT[10 - length..]].concat(), Then::Close);
        let (result, bytes) = got(&fake, 4);
        assert_eq!(kind(&result), expected, "{range}: {result:?}");
        assert_eq!(bytes, if expected == "ok" { &b"456789"[..] } else { b"" });
        assert!(fake.heads()[0].contains("range: bytes=4-\r\n"), "{:?}", fake.heads());
    }
    let fake =
        Fake::new("HTTP/1.1 416 No\r\nContent-Range: bytes */3\r\nContent-Length: 0\r\n\r\n", Then::Close);
    assert_eq!(kind(&got(&fake, 4).0), "nonsense");
}

#[test]
fn a_server_that_stands_still_is_unreachable() {
    for answer in ["", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123"] {
        let fake = Fake::new(answer, Then::StandStill);
        let remote = open(&Settings { timeout: Duration::from_millis(300), ..fake.settings() }).unwrap();
        let result = remote.get(&blob(), 0, &mut Vec::new());
        assert_eq!(kind(&result), "unreachable", "{result:?}");
        let result = remote.entry(&blob().blake3).map(|_| ());
        assert_eq!(kind(&result), "unreachable", "{result:?}");
    }
    let fake = Fake::new("", Then::StandStill);
    let remote = open(&Settings { timeout: Duration::from_millis(300), ..fake.settings() }).unwrap();
    assert_eq!(kind(&remote.missing(&[blob()]).map(|_| ())), "unreachable");
    assert_eq!(kind(&remote.put_several(&[(blob(), CONTENT.to_vec())])), "unreachable");
}

#[test]
fn a_server_that_all_but_stands_still_is_left() {
    let fake = Fake::new("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", Then::Dribble);
    let remote = open(&Settings { timeout: Duration::from_secs(1), ..fake.settings() }).unwrap();
    let result = remote.get(&blob(), 0, &mut Vec::new());
    assert_eq!(kind(&result), "unreachable", "{result:?}");
}

#[test]
fn a_server_that_wants_patience_says_for_how_long() {
    let fake = Fake::new("HTTP/1.1 429 Slowly\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", Then::Close);
    let results = [
        fake.remote().entry(&blob().blake3).map(|_| ()),
        fake.remote().missing(&[blob()]).map(|_| ()),
        fake.remote().put_entry(&blob().blake3, b"entry", &[]),
        got(&fake, 0).0,
    ];
    for result in results {
        let Err(RemoteError::Busy { after, .. }) = result else { panic!("{result:?}") };
        assert_eq!(after, Some(Duration::from_secs(7)));
    }
}

#[test]
fn what_lets_us_in_goes_to_no_other_server() {
    let other = Fake::new(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10\r\n\r\n0123456789",
        Then::Close,
    );
    let elsewhere = format!("http://127.0.0.1:{}/x", other.port);
    let fake = Fake::new(
        format!(
            "HTTP/1.1 302 There\r\nLocation: {elsewhere}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        ),
        Then::Close,
    );
    let token = Some(Secret::new("s3cret".to_owned()));
    let remote = open(&Settings { token, ..fake.settings() }).unwrap();
    remote.get(&blob(), 0, &mut Vec::new()).unwrap();
    assert_eq!(remote.missing(&[blob()]).unwrap(), []);
    for head in fake.heads() {
        assert!(head.contains("authorization: bearer s3cret\r\n"), "{head}");
    }
    assert_eq!(other.heads().len(), 2);
    for head in other.heads() {
        assert!(!head.contains("authorization") && !head.contains("s3cret"), "{head}");
    }
    // What is put is put here or not at all.
    let result = remote.put_several(&[(blob(), CONTENT.to_vec())]);
    assert_eq!(kind(&result), "nonsense", "{result:?}");
    assert_eq!(other.heads().len(), 2);
}

#[test]
fn who_sends_us_in_circles_is_left() {
    let fake = Fake::new(
        "HTTP/1.1 302 There\r\nLocation: again\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        Then::Close,
    );
    let (result, _) = got(&fake, 0);
    assert_eq!(kind(&result), "nonsense", "{result:?}");
    assert_eq!(fake.heads().len(), super::REDIRECTS + 1);
    let fake = Fake::new(
        "HTTP/1.1 302 There\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
        Then::Close,
    );
    assert_eq!(kind(&got(&fake, 0).0), "nonsense");
}

#[test]
fn an_entry_that_never_ends_is_not_waited_for() {
    let endless = vec![b'x'; usize::try_from(crate::remote::MAX_ENTRY).unwrap() + 1];
    let fake = Fake::new([&b"HTTP/1.1 200 OK\r\n\r\n"[..], &endless].concat(), Then::StandStill);
    let result = fake.remote().entry(&blob().blake3).map(|_| ());
    assert_eq!(kind(&result), "nonsense", "{result:?}");
}

#[test]
fn what_is_put_has_a_length_and_goes_where_it_belongs() {
    let fake = Fake::new("HTTP/1.1 201 Made\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", Then::Close);
    let token = Some(Secret::new("s3cret".to_owned()));
    let settings =
        Settings { token, user: Some("me".to_owned()), instance: "pr/1".to_owned(), ..fake.settings() };
    let remote = open(&settings).unwrap();
    remote.put_several(&[(blob(), CONTENT.to_vec())]).unwrap();
    remote.put_entry(&blob().blake3, b"an entry", &[]).unwrap();
    let heads = fake.heads();
    assert!(
        heads[0].starts_with(&format!("put /cache/pr/1/cas/{} http/1.1\r\n", "07".repeat(32))),
        "{}",
        heads[0]
    );
    assert!(heads[0].contains("content-length: 10\r\n"), "{}", heads[0]);
    // `me:s3cret`, in lower case as all of the head is here.
    assert!(heads[0].contains("authorization: basic bwu6cznjcmv0\r\n"), "{}", heads[0]);
    assert!(heads[1].starts_with(&format!("put /cache/pr/1/ac/{} ", blob().blake3)), "{}", heads[1]);
    assert!(heads[1].contains("content-length: 8\r\n"), "{}", heads[1]);
}

#[test]
fn a_blob_without_bytes_needs_no_server() {
    let fake = Fake::new("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", Then::Close);
    let (remote, empty) = (fake.remote(), Name { size: 0, ..blob() });
    remote.put(&empty, &mut tempfile::tempfile().unwrap()).unwrap();
    remote.put_several(&[(empty, Vec::new())]).unwrap();
    remote.get(&empty, 0, &mut Vec::new()).unwrap();
    assert_eq!(remote.missing(&[empty]).unwrap(), []);
    assert!(fake.heads().is_empty());
}
