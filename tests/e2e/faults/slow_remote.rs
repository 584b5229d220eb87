//! A remote that takes its time: only what it is asked for waits for it.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use super::project::{GATE, Project, node, until};

/// A web server that has nothing. It can be told to keep the next who asks waiting.
struct Slow {
    port: u16,
    hold: Arc<AtomicBool>,
    held: Arc<Mutex<Option<TcpStream>>>,
}

impl Slow {
    /// One that the project asks, and has the patience to wait for.
    fn of(project: &Project) -> Self {
        let slow = Self::start();
        let url = format!("http://127.0.0.1:{}/", slow.port);
        let remote =
            format!("(version: 1, remotes: [(name: \"slow\", url: \"{url}\", timeout: \"10min\")], ");
        project.write("graph.ron", &project.read("graph.ron").replace("(version: 1, ", &remote));
        slow
    }

    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (hold, held) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None)));
        let (slow, kept) = (Arc::clone(&hold), Arc::clone(&held));
        // It ends with the test's process.
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (slow, kept) = (Arc::clone(&slow), Arc::clone(&kept));
                thread::spawn(move || serve(connection, &slow, &kept));
            }
        });
        Self { port, hold, held }
    }

    fn hold_the_next(&self) {
        self.hold.store(true, Ordering::SeqCst);
    }

    fn is_holding(&self) -> bool {
        self.held.lock().unwrap().is_some()
    }

    fn let_go(&self) {
        answer(self.held.lock().unwrap().take().expect("one is kept waiting"));
    }
}

fn serve(connection: TcpStream, hold: &AtomicBool, held: &Mutex<Option<TcpStream>>) {
    let mut lines = BufReader::new(&connection).lines().map_while(Result::ok);
    // A connection that is made and never used is no question.
    if !lines.any(|line| line.is_empty()) {
        return;
    }
    if hold.swap(false, Ordering::SeqCst) {
        *held.lock().unwrap() = Some(connection);
    } else {
        answer(connection);
    }
}

fn answer(mut connection: TcpStream) {
    let answer = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let _ = connection.write_all(answer.as_bytes());
}

#[test]
fn what_a_slow_remote_is_asked_for_holds_nothing_else_up() {
    let project = Project::new([
        node("first", format!("{GATE}; echo first >o")),
        node("asked", "cat /kiln/in/first >o").reads("first"),
        node("other", format!("{GATE}; echo other >o")),
        node("after", "cat /kiln/in/other >o").reads("other"),
        node("last", "cat /kiln/in/after >o").reads("after"),
    ]);
    let slow = Slow::of(&project);
    let build = project.start();
    let (first, other) = (project.gate("first"), project.gate("other"));
    slow.hold_the_next();
    first.open();
    until("it is asked for what reads the first", || slow.is_holding());
    other.open();
    build.until_says("done last:last");
    assert!(slow.is_holding() && !build.err().contains("asked:asked"), "{}", build.err());
    slow.let_go();
    build.end().exits(0).complains("done asked:asked");
    assert_eq!(project.read("out/asked/o"), "first\n");
    project.assert_fresh();
}

#[test]
fn a_build_that_fails_meanwhile_ends_when_it_has_its_answer() {
    let project = Project::new([
        node("first", format!("{GATE}; echo first >o")),
        node("asked", "cat /kiln/in/first >o").reads("first"),
        node("other", format!("{GATE}; exit 1")),
    ]);
    let slow = Slow::of(&project);
    let build = project.start();
    let (first, other) = (project.gate("first"), project.gate("other"));
    slow.hold_the_next();
    first.open();
    until("it is asked for what reads the first", || slow.is_holding());
    other.open();
    build.until_says("fail other:other");
    slow.let_go();
    let ended = build.end().exits(1);
    assert!(!ended.err.contains("asked:asked"), "nothing is begun after a failure: {}", ended.err);
}
