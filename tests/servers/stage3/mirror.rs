//! A mirror with stage3s, served by a real nginx; and one that lies, which no real server does.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use tempfile::TempDir;

use crate::support::process::{Server, configure, free_ports};

/// A build later than which none is published here, unless it is said.
pub const DATE: &str = "20260101T000000Z";

/// What `scripts/stage3-mirror.sh` has made: tarballs, keys.
pub fn made() -> PathBuf {
    let made = std::env::var_os("KILN_TEST_STAGE3").map(PathBuf::from);
    made.expect("KILN_TEST_STAGE3 is where scripts/stage3-mirror.sh has made a mirror: make check-stage3")
}

/// The fingerprint of a primary key: `release`, `ebuilds`, `other`, `expired` or `revoked`.
pub fn fingerprint(key: &str) -> String {
    let text = fs::read_to_string(made().join(format!("keys/{key}.fingerprint"))).unwrap();
    text.trim().to_owned()
}

/// A mirror, and the nginx that serves it.
pub struct Mirror {
    state: TempDir,
    port: u16,
    _server: Server,
}

impl Mirror {
    /// One with a build of [`DATE`] for each of these, signed by the release key.
    pub fn of(archs: &[&str]) -> Self {
        Self::signed_by("release", archs)
    }

    /// The same, signed by another key.
    pub fn signed_by(key: &str, archs: &[&str]) -> Self {
        // Tarballs are linked from where they were made: on the same file system.
        let state = tempfile::Builder::new().prefix("mirror-").tempdir_in(made()).unwrap();
        fs::create_dir(state.path().join("data")).unwrap();
        let [port] = free_ports();
        let configuration = state.path().join("nginx.conf");
        let user = if nix::unistd::geteuid().is_root() { "user root;" } else { "" };
        configure(
            "mirror.conf",
            &configuration,
            &[
                ("@STATE@", state.path().display().to_string()),
                ("@MIRROR@", state.path().join("data").display().to_string()),
                ("@PORT@", port.to_string()),
                ("@USER@", user.to_owned()),
            ],
        );
        let arguments = ["-c", configuration.to_str().unwrap(), "-p", state.path().to_str().unwrap()];
        let server =
            Server::start(Path::new("/usr/sbin/nginx"), &arguments, &state.path().join("output"), &[port]);
        let mirror = Self { state, port, _server: server };
        for arch in archs {
            mirror.publish(arch, DATE, key);
        }
        mirror
    }

    /// Puts the stage3 of an arch there as the build of a date, and the tree of ebuilds as that of the day: they are the latest
    /// from now on.
    pub fn publish(&self, arch: &str, date: &str, key: &str) {
        self.publish_with(arch, date, key, &[]);
    }

    /// The same, with variables for `scripts/stage3-mirror.sh`.
    pub fn publish_with(&self, arch: &str, date: &str, key: &str, variables: &[(&str, &str)]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/stage3-mirror.sh");
        let mut command = Command::new(script);
        command.arg(arch).arg(made()).args([date, key]).arg(self.data("")).envs(variables.iter().copied());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Where it has a file.
    pub fn data(&self, path: &str) -> PathBuf {
        self.state.path().join("data").join(path)
    }

    /// The text that names the latest build.
    pub fn latest(&self, arch: &str) -> PathBuf {
        self.data(&format!("releases/{arch}/autobuilds/latest-stage3-{arch}-openrc.txt"))
    }

    /// The tarball of [`DATE`], or with an ending what is beside it.
    pub fn tarball(&self, arch: &str, ending: &str) -> PathBuf {
        self.data(&format!("releases/{arch}/autobuilds/{DATE}/stage3-{arch}-openrc-{DATE}.tar.xz{ending}"))
    }

    /// The tree of ebuilds of the day of [`DATE`].
    pub fn ebuilds(&self) -> PathBuf {
        self.data(&format!("snapshots/squashfs/gentoo-{}.xz.sqfs", &DATE[..8]))
    }

    /// Changes a file of it, and of no other mirror.
    pub fn change(&self, path: &Path, change: impl FnOnce(&mut File)) {
        let copy = self.state.path().join("copy");
        fs::copy(path, &copy).unwrap();
        change(&mut File::options().read(true).write(true).open(&copy).unwrap());
        fs::rename(copy, path).unwrap();
    }

    /// Makes it answer everything with 503 (`gone`), or with a page (`portal`).
    pub fn is(&self, what: &str) {
        fs::write(self.state.path().join(what), "").unwrap();
    }

    /// Which files it was asked for, by their names, and how often each.
    pub fn asked(&self) -> BTreeMap<String, usize> {
        let log = fs::read_to_string(self.state.path().join("access.log")).unwrap();
        let mut asked = BTreeMap::new();
        for path in log.lines().filter_map(|line| line.split(' ').nth(1)) {
            let name = path.rsplit('/').next().unwrap().to_owned();
            *asked.entry(name).or_default() += 1;
        }
        asked
    }

    /// How often a tarball was asked for.
    pub fn tarballs_asked_for(&self) -> usize {
        self.asked().iter().filter(|(name, _)| name.ends_with(".tar.xz")).map(|(_, count)| count).sum()
    }
}

/// Turns the bits of one byte.
pub fn flip(file: &mut File, at: u64) {
    let mut byte = [0];
    file.seek(SeekFrom::Start(at)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&[!byte[0]]).unwrap();
}

/// A server before a mirror's files that announces another length of tarballs than they have, and then sends them.
pub struct Liar {
    port: u16,
}

impl Liar {
    /// `length` makes the lie out of the truth.
    pub fn before(mirror: &Mirror, length: fn(u64) -> u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let data = mirror.data("");
        // It ends with the test.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, data) = (stream.unwrap(), data.clone());
                thread::spawn(move || answer(stream, &data, length));
            }
        });
        Self { port }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }
}

/// One answer. Who asks may hang up at any time.
fn answer(mut stream: TcpStream, data: &Path, length: fn(u64) -> u64) {
    let mut head = String::new();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while reader.read_line(&mut head).is_ok_and(|read| read > 2) {}
    let path = head.split(' ').nth(1).unwrap_or("/");
    let Ok(content) = fs::read(data.join(path.trim_start_matches('/'))) else {
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        return;
    };
    let size = content.len() as u64;
    let size = if path.ends_with(".tar.xz") { length(size) } else { size };
    let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(&content);
}
