//! nginx, as a remote.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kiln::remote::{Address, Secret, Settings};
use tempfile::TempDir;

use super::machines::Access;
use super::settings;
use crate::support::certificates::{Certificates, run};
use crate::support::process::{Server, configure, free_ports};

pub const USER: &str = "builder";
pub const PASSWORD: &str = "a password: with a colon";

/// An nginx that runs.
pub struct Nginx {
    pub server: Server,
    pub certificates: Certificates,
    plain: u16,
    tls: u16,
    mutual: u16,
    state: TempDir,
}

impl Nginx {
    pub fn start() -> Self {
        let state = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let certificates = Certificates::make(state.path().join("certificates"));
        fs::create_dir(state.path().join("data")).unwrap();
        let hash = run(Command::new("openssl").args(["passwd", "-apr1", PASSWORD]));
        let hash = String::from_utf8(hash).unwrap();
        fs::write(state.path().join("passwords"), format!("{USER}:{hash}")).unwrap();
        let [plain, tls, mutual] = free_ports();
        let configuration = state.path().join("nginx.conf");
        configure(
            "nginx.conf",
            &configuration,
            &[
                ("@STATE@", state.path().display().to_string()),
                ("@PLAIN@", plain.to_string()),
                ("@TLS@", tls.to_string()),
                ("@MUTUAL@", mutual.to_string()),
                ("@USER@", if nix::unistd::geteuid().is_root() { "user root;" } else { "" }.to_owned()),
            ],
        );
        let server = run_in(state.path(), &[plain, tls, mutual]);
        Self { server, certificates, plain, tls, mutual, state }
    }

    /// Starts it again where it was, after it has been killed.
    pub fn start_again(&mut self) {
        self.server = run_in(self.state.path(), &[self.plain, self.tls, self.mutual]);
    }

    /// Makes it `busy` or `limiting` (503 and 429, come again in two seconds), `failing` (500), `slow` (8 MiB a second) or
    /// `standing` (hardly any bytes), or not any more.
    pub fn is(&self, what: &str, so: bool) {
        let switch = self.state.path().join(what);
        if so { fs::write(switch, "").unwrap() } else { fs::remove_file(switch).unwrap() }
    }

    /// What it has been asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        let log = fs::read_to_string(self.state.path().join("access.log")).unwrap();
        log.lines().map(Asked::of).collect()
    }

    /// In the open, for who has the password, and for who has none.
    pub fn access(&self) -> Access {
        let fields = format!("url: \"http://127.0.0.1:{}/\", user: \"{USER}\"", self.plain);
        Access { fields, writer: Some(PASSWORD.to_owned()), reader: None }
    }

    /// The same over TLS.
    pub fn tls_access(&self) -> Access {
        let ca = self.certificates.path("ca.pem");
        let fields =
            format!("url: \"https://127.0.0.1:{}/\", user: \"{USER}\", ca: \"{}\"", self.tls, ca.display());
        Access { fields, writer: Some(PASSWORD.to_owned()), reader: None }
    }

    /// Its address for everybody, with some path.
    pub fn reader(&self, path: &str) -> Settings {
        settings(Address::Http(format!("http://127.0.0.1:{}{path}", self.plain)))
    }

    /// In by password.
    pub fn writer(&self) -> Settings {
        with_password(self.reader("/"), PASSWORD)
    }

    /// In by password, over TLS.
    pub fn tls_writer(&self) -> Settings {
        let address = Address::Http(format!("https://127.0.0.1:{}", self.tls));
        let ca = Some(self.certificates.path("ca.pem"));
        with_password(Settings { ca, ..settings(address) }, PASSWORD)
    }

    /// In by certificate.
    pub fn mutual(&self, client: Option<&str>) -> Settings {
        let address = Address::Http(format!("https://localhost:{}/", self.mutual));
        let ca = Some(self.certificates.path("ca.pem"));
        let identity = client.map(|client| self.certificates.identity(client));
        Settings { ca, identity, ..settings(address) }
    }

    /// Where the file is that it serves under that path.
    pub fn data(&self, path: &str) -> PathBuf {
        self.state.path().join("data").join(path)
    }

    /// Whether some of a body has arrived that is not complete.
    pub fn is_receiving(&self) -> bool {
        let coming = fs::read_dir(self.state.path().join("coming")).into_iter().flatten().flatten();
        coming.into_iter().any(|file| file.metadata().is_ok_and(|stat| stat.len() > 0))
    }
}

fn run_in(state: &Path, ports: &[u16]) -> Server {
    let configuration = state.join("nginx.conf");
    let arguments = ["-c", configuration.to_str().unwrap(), "-p", state.to_str().unwrap()];
    Server::start(Path::new("/usr/sbin/nginx"), &arguments, &state.join("output"), ports)
}

/// One request, as the log has it.
#[derive(Debug)]
pub struct Asked {
    pub method: String,
    pub status: u16,
    /// How much of a body was sent.
    pub sent: u64,
}

impl Asked {
    fn of(line: &str) -> Self {
        let mut parts = line.split('"').skip(1);
        let (request, answer) = (parts.next().unwrap(), parts.next().unwrap());
        let mut answer = answer.split_whitespace();
        Self {
            method: request.split(' ').next().unwrap().to_owned(),
            status: answer.next().unwrap().parse().unwrap(),
            sent: answer.next().unwrap().parse().unwrap(),
        }
    }
}

pub fn with_password(settings: Settings, password: &str) -> Settings {
    let token = Some(Secret::new(password.to_owned()));
    Settings { user: Some(USER.to_owned()), token, ..settings }
}
