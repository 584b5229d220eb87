//! A real server, and requests as they go over the wire.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::thread;

use super::*;

/// A server of a directory, which ends with the process.
pub(in crate::lab) fn start(dir: &Path, prefix: &str) -> SocketAddr {
    let server = Server::bind(dir, prefix, "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = server.address().unwrap();
    thread::spawn(move || server.run());
    address
}

/// The answer to a request, head and body.
fn ask(address: SocketAddr, head: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{head}\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    (String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase(), answer[end + 4..].to_vec())
}

fn status(address: SocketAddr, head: &str) -> u16 {
    let (head, _) = ask(address, head);
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn files_heads_and_ranges_are_served() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("ab")).unwrap();
    fs::write(dir.path().join("ab/kernel"), "0123456789").unwrap();
    let address = start(dir.path(), "");
    let (head, body) = ask(address, "GET /ab/kernel HTTP/1.1");
    assert!(head.starts_with("http/1.1 200") && body == b"0123456789", "{head}");
    let (head, body) = ask(address, "HEAD /ab/kernel HTTP/1.1");
    assert!(
        head.starts_with("http/1.1 200") && head.contains("content-length: 10") && body.is_empty(),
        "{head}"
    );
    let (head, body) = ask(address, "GET /ab/kernel HTTP/1.1\r\nRange: bytes=4-");
    assert!(head.starts_with("http/1.1 206") && body == b"456789", "{head}");
    assert!(head.contains("content-range: bytes 4-9/10"), "{head}");
    assert_eq!(status(address, "GET /ab/kernel HTTP/1.1\r\nRange: bytes=10-"), 416);
}

#[test]
fn nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "x").unwrap();
    fs::create_dir(dir.path().join("www")).unwrap();
    fs::create_dir(dir.path().join("www/ab")).unwrap();
    fs::write(dir.path().join("beside"), "x").unwrap();
    fs::write(dir.path().join("www/.hidden"), "x").unwrap();
    fs::write(dir.path().join("www/ab/index.html"), "x").unwrap();
    symlink(outside.path().join("secret"), dir.path().join("www/link")).unwrap();
    symlink(outside.path(), dir.path().join("www/way")).unwrap();
    symlink("ab/index.html", dir.path().join("www/inside")).unwrap();
    let address = start(&dir.path().join("www"), "/kiln/");
    assert_eq!(status(address, "GET /kiln/ab/index.html HTTP/1.1"), 200);
    assert_eq!(status(address, "GET /kiln/inside HTTP/1.1"), 200);
    for path in [
        "/",
        "/kiln",
        "/kiln/",
        "/kiln/ab",
        "/kiln/ab/",
        "/ab/index.html",
        "/kilnab/index.html",
        "/kiln/.hidden",
        "/kiln/link",
        "/kiln/way/secret",
        "/kiln/../beside",
        "/kiln/%2e%2e/beside",
        "/kiln/ab/../../beside",
        "/kiln//ab/index.html",
        "/kiln/ab//index.html",
        "/kiln/./ab/index.html",
        "/kiln/ab%2findex.html",
        "/kiln/none",
    ] {
        assert_eq!(status(address, &format!("GET {path} HTTP/1.1")), 404, "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        assert_eq!(status(address, &format!("{method} /kiln/ab/index.html HTTP/1.1")), 405, "{method}");
    }
}

#[test]
fn a_client_that_says_nothing_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("kernel"), "x").unwrap();
    let address = start(dir.path(), "");
    let silent: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut broken = TcpStream::connect(address).unwrap();
    broken.write_all(b"\xff\xfe\0\r\n\r\n").unwrap();
    assert_eq!(status(address, "GET /kernel HTTP/1.1"), 200);
    drop(silent);
}
