//! A `PostgreSQL` of the tests' own. One that is on this machine is left alone.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use tempfile::TempDir;

use crate::support::process::{Server, free_ports};

/// An ordinary user: `PostgreSQL` does not run as root.
const NOBODY: u32 = 65534;

/// A cluster that runs, and lets in whoever is on this machine.
pub struct Postgres {
    server: Server,
    port: u16,
    dir: TempDir,
}

/// Where Debian keeps the programs of the newest version that is installed.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|version| version.path()).max_by_key(number);
    let program = newest.map(|version| version.join("bin").join(name)).filter(|path| path.exists());
    program.unwrap_or_else(|| panic!("no PostgreSQL here: run scripts/check-remote.sh"))
}

/// What makes a program run as somebody who is not root, and end politely with this test.
fn as_nobody() -> Vec<String> {
    let ids = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".to_owned()];
    let ids = ids.into_iter().filter(|_| geteuid().is_root());
    ids.chain(["--pdeathsig".to_owned(), "INT".to_owned()]).collect()
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("it runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Postgres {
    pub fn start() -> Self {
        // Not below the target directory: nobody may be let in there.
        let dir = tempfile::Builder::new().prefix("kiln-postgres-").tempdir().unwrap();
        if geteuid().is_root() {
            chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let data = dir.path().join("data").display().to_string();
        let mut init = Command::new("setpriv");
        init.args(as_nobody()).arg(program("initdb")).args(["--pgdata", &data, "--username", "kiln"]);
        run(init.args(["--auth", "trust", "--no-sync", "--encoding", "UTF8", "--locale", "C"]));

        let [port] = free_ports();
        let port_number = port.to_string();
        let program = program("postgres").display().to_string();
        let mut arguments = as_nobody();
        arguments.extend([program, "-D".to_owned(), data, "-p".to_owned(), port_number]);
        // Nothing of it outlives the test, so nothing need be safe on disk.
        let settings =
            ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "max_connections=60"];
        arguments.extend(settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting.to_owned()]));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let log = dir.path().join("log");
        let server = Server::start(Path::new("setpriv"), &arguments, &log, &[port]);
        let postgres = Self { server, port, dir };
        // It listens before it lets anyone in.
        crate::support::process::wait_for("PostgreSQL to be ready", || {
            let mut ready = postgres.client("pg_isready");
            ready.stdout(Stdio::null()).status().is_ok_and(|status| status.success())
        });
        postgres
    }

    /// One of its programs that asks it something.
    fn client(&self, name: &str) -> Command {
        let mut client = Command::new(program(name));
        client.args(["--host", "127.0.0.1", "--port", &self.port.to_string(), "--username", "kiln"]);
        client.current_dir(self.dir.path());
        client
    }

    /// Makes a database: an empty one, or one like another.
    pub fn create(&self, name: &str, like: Option<&str>) {
        let template = like.map(|like| format!("--template={like}"));
        run(self.client("createdb").args(template).arg(name));
    }

    /// The address of a database, for those who know it by the name of a driver.
    pub fn address(&self, driver: &str, name: &str) -> String {
        format!("postgresql+{driver}://kiln@127.0.0.1:{}/{name}", self.port)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // At once, but with what belongs to it: its processes, and its shared memory.
        self.server.end(Signal::SIGQUIT);
    }
}
