//! A web server that answers as a test wants it to, wrong answers included.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use kiln::lab::lava::{Lava, Settings, Token};
use serde_json::Value;

/// The token that everybody shows here.
pub const TOKEN: &str = "0123456789abcdef-token";

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    /// With what follows the `?`.
    pub path: String,
    pub accept: String,
    pub authorization: String,
    pub body: String,
}

impl Seen {
    /// `GET devices/`: without the query and where the API is mounted.
    pub fn kind(&self) -> String {
        let path = self.path.split('?').next().unwrap();
        format!("{} {}", self.method, path.trim_start_matches("/api/v0.2/"))
    }

    /// A parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let (_, query) = self.path.split_once('?')?;
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }
}

/// A server that runs until it is dropped.
pub struct Fake {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    over: Arc<AtomicBool>,
}

impl Fake {
    /// Each request is answered on a thread of its own, and its connection closed.
    pub fn start(answer: impl Fn(&Seen, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (all, ended, answer) = (seen.clone(), over.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                let (all, answer) = (all.clone(), answer.clone());
                thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    if let Some(request) = read(&stream) {
                        all.lock().unwrap().push(request.clone());
                        answer(&request, &mut stream);
                    }
                });
            }
        });
        Self { address, seen, over }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// What was asked so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// A client for it, with little patience.
    pub fn client(&self) -> Lava {
        Lava::new("fake", self.settings(Duration::from_secs(20))).unwrap()
    }

    /// One that waits for no longer than this.
    pub fn hasty_client(&self, timeout: Duration) -> Lava {
        Lava::new("fake", self.settings(timeout)).unwrap()
    }

    /// How to get to it.
    pub fn settings(&self, timeout: Duration) -> Settings {
        Settings {
            url: self.url(),
            user: "kiln".to_owned(),
            token: Token::new(TOKEN.to_owned()),
            timeout,
            ca: None,
            events: None,
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

fn read(stream: &TcpStream) -> Option<Seen> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut accept, mut authorization, mut length) = (String::new(), String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        match &*name.to_ascii_lowercase() {
            "accept" => value.clone_into(&mut accept),
            "authorization" => value.clone_into(&mut authorization),
            "content-length" => length = value.parse().unwrap(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Seen { method, path, accept, authorization, body: String::from_utf8(body).unwrap() })
}

/// Sends an answer. Whoever asked may be gone already.
pub fn reply(stream: &mut TcpStream, status: u16, kind: &str, body: &[u8]) {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

/// Sends JSON.
pub fn json(stream: &mut TcpStream, status: u16, body: &Value) {
    reply(stream, status, "application/json", body.to_string().as_bytes());
}

/// Breaks the connection off so that the other side gets an error, not an end.
pub fn reset(stream: &TcpStream) {
    // With unread bytes, the system sends a reset by itself; with this, it does in any case.
    nix::sys::socket::setsockopt(
        stream,
        nix::sys::socket::sockopt::Linger,
        &nix::libc::linger { l_onoff: 1, l_linger: 0 },
    )
    .unwrap();
}

/// What a lab answers that is as it should be, with this many devices of each of so many types: all that a survey asks.
pub fn good_lab(types: usize, devices: usize) -> impl Fn(&Seen, &mut TcpStream) + Send + Sync + 'static {
    use serde_json::json as value;
    move |seen, stream| {
        let page = |count: usize, each: &dyn Fn(usize) -> Value| {
            let limit: usize = seen.parameter("limit").map_or(50, |limit| limit.parse().unwrap());
            let offset: usize = seen.parameter("offset").map_or(0, |offset| offset.parse().unwrap());
            let end = count.min(offset + limit);
            let next = (end < count).then(|| format!("http://internal.example/{}", seen.path));
            value!({"count": count, "next": next, "results": (offset..end).map(each).collect::<Vec<_>>()})
        };
        let options = value!({"name": "Device", "renders": ["application/json"], "parses": []});
        let kind = seen.kind();
        match &*kind {
            "GET system/whoami/" if seen.accept == "text/html" => {
                reply(stream, 200, "text/html; charset=utf-8", b"<a href=\"/accounts/logout/\">out</a>");
            }
            "GET system/whoami/" => json(stream, 200, &value!({"user": "kiln"})),
            "GET permissions/devicetypes/" => {
                let detail = "You do not have permission to perform this action.";
                json(stream, 403, &value!({ "detail": detail }));
            }
            "GET devicetypes/" => {
                let each = |n: usize| value!({"name": format!("type-{n}"), "display": true});
                json(stream, 200, &page(types, &each));
            }
            "GET devices/" => {
                let each = |n: usize| {
                    value!({"hostname": format!("device-{n}"), "device_type": format!("type-{}", n % types),
                        "health": "Good", "state": "Idle", "tags": [1], "worker_host": "worker",
                        "description": "x".repeat(100)})
                };
                json(stream, 200, &page(types * devices, &each));
            }
            "GET workers/" => {
                let each = |_| value!({"hostname": "worker", "health": "Active", "state": "Online"});
                json(stream, 200, &page(1, &each));
            }
            "GET tags/" => json(stream, 200, &page(1, &|_| value!({"id": 1, "name": "virtual"}))),
            kind if kind.starts_with("OPTIONS devices/") => json(stream, 200, &options),
            _ => json(stream, 404, &value!({"detail": "Not found."})),
        }
    }
}
