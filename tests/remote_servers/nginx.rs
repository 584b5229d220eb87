//! nginx, as a remote.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kiln::remote::{Address, Secret, Settings};
use tempfile::TempDir;

use crate::certificates::{Certificates, run};
use crate::process::{Server, configure, free_ports};
use crate::settings;

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
        let arguments = ["-c", configuration.to_str().unwrap(), "-p", state.path().to_str().unwrap()];
        let log = state.path().join("output");
        let server = Server::start(Path::new("/usr/sbin/nginx"), &arguments, &log, &[plain, tls, mutual]);
        Self { server, certificates, plain, tls, mutual, state }
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

pub fn with_password(settings: Settings, password: &str) -> Settings {
    let token = Some(Secret::new(password.to_owned()));
    Settings { user: Some(USER.to_owned()), token, ..settings }
}
