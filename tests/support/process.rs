//! Servers as child processes that end with the test, however that ends.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// How long a server may take to start, and a file to come up. Machines that run tests are busy.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// A server that runs.
pub struct Server {
    child: Child,
    group: Pid,
}

impl Server {
    /// Starts it, with its output in a file, and waits until it listens on all of these ports.
    pub fn start(program: &Path, arguments: &[&str], log: &Path, ports: &[u16]) -> Self {
        // It is told to end with this test even if that is killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program).args(arguments);
        let output = File::create(log).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let child = command.process_group(0).spawn().expect("setpriv runs");
        let group = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let mut server = Self { child, group };
        let listens = |port: &u16| TcpStream::connect(("127.0.0.1", *port)).is_ok();
        wait_for("the server to listen", || {
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended: {}", fs::read_to_string(log).unwrap_or_default());
            ports.iter().all(listens)
        });
        server
    }

    /// Ends it at once, as a power cut would.
    pub fn kill(&mut self) {
        let _ = killpg(self.group, Signal::SIGKILL);
        let _ = self.child.wait();
    }

    /// Asks it to end by a signal, and waits until it has.
    pub fn end(&mut self, by: Signal) {
        let _ = kill(self.group, by);
        let _ = self.child.wait();
    }

    /// Makes it stand still, with its connections open.
    pub fn freeze(&self) {
        killpg(self.group, Signal::SIGSTOP).unwrap();
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        killpg(self.group, Signal::SIGCONT).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until that is so.
pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Ports on which nothing listens.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let sockets = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    sockets.map(|socket| socket.local_addr().unwrap().port())
}

/// Writes a template of `tests/servers/templates/` with its names replaced.
pub fn configure(template: &str, to: &Path, names: &[(&str, String)]) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/templates").join(template);
    let mut text = fs::read_to_string(from).unwrap();
    for (name, value) in names {
        text = text.replace(name, value);
    }
    fs::write(to, text).unwrap();
}
