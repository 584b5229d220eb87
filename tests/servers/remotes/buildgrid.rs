//! `BuildGrid`, as a remote.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kiln::remote::{Address, Secret, Settings};
use tempfile::TempDir;

use super::machines::Access;
use super::postgres::Postgres;
use super::settings;
use crate::support::certificates::{Certificates, token};
use crate::support::process::{Server, configure, free_ports};

/// A `BuildGrid` that runs.
pub struct BuildGrid {
    pub server: Server,
    port: u16,
    _state: TempDir,
    /// Where its index is. After the server, as that goes first.
    _index: Option<Postgres>,
}

/// One that wants tokens, over TLS.
pub struct Guarded {
    pub certificates: Certificates,
    tls: u16,
    mutual: u16,
    state: TempDir,
    _server: Server,
}

/// Where `scripts/check-remote.sh` put it.
fn program() -> PathBuf {
    let program = std::env::var_os("KILN_TEST_BUILDGRID").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/remote-servers/venv/bin/bgd"),
        PathBuf::from,
    );
    assert!(program.exists(), "no BuildGrid at {}: run scripts/check-remote.sh", program.display());
    program
}

fn start(template: &str, state: &TempDir, names: &[(&str, String)], ports: &[u16]) -> Server {
    let configuration = state.path().join(template);
    configure(template, &configuration, names);
    let arguments = ["server", "start", configuration.to_str().unwrap()];
    Server::start(&program(), &arguments, &state.path().join("output"), ports)
}

/// The driver for `PostgreSQL` that it comes with: old versions need another.
fn driver() -> &'static str {
    let python = program().with_file_name("python");
    let newer = Command::new(python).args(["-c", "import psycopg"]).stderr(Stdio::null()).status();
    if newer.expect("its python runs").success() { "psycopg" } else { "psycopg2" }
}

impl BuildGrid {
    /// Does something with each kind there is: what holds for one holds for all.
    pub fn each(mut test: impl FnMut(Self)) {
        for (kind, start) in [("in files", Self::start as fn() -> Self), ("indexed", Self::start_indexed)] {
            println!("BuildGrid, {kind}");
            test(start());
        }
    }

    /// With blobs in files, and no database.
    fn start() -> Self {
        Self::start_with("buildgrid.yml", Vec::new(), None)
    }

    /// With an index of blobs in `PostgreSQL`.
    fn start_indexed() -> Self {
        let (postgres, driver) = (Postgres::start(), driver());
        let (main, other) = (postgres.address(driver, "main"), postgres.address(driver, "other"));
        postgres.create("main", None);
        let migrated = Command::new(program()).args(["migrate", "apply", &main]).output().unwrap();
        assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
        postgres.create("other", Some("main"));
        Self::start_with("buildgrid-indexed.yml", vec![("@MAIN@", main), ("@OTHER@", other)], Some(postgres))
    }

    fn start_with(template: &str, mut names: Vec<(&str, String)>, index: Option<Postgres>) -> Self {
        let state = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let [port] = free_ports();
        names.extend([("@STATE@", state.path().display().to_string()), ("@PLAIN@", port.to_string())]);
        let server = start(template, &state, &names, &[port]);
        Self { server, port, _state: state, _index: index }
    }

    /// Its address, and one of its instances.
    pub fn settings(&self, instance: &str) -> Settings {
        let address = Address::Grpc(format!("grpc://127.0.0.1:{}", self.port));
        Settings { instance: instance.to_owned(), ..settings(address) }
    }

    /// For everybody.
    pub fn access(&self) -> Access {
        let fields = format!("url: \"grpc://127.0.0.1:{}\"", self.port);
        Access { fields, writer: None, reader: None }
    }
}

impl Guarded {
    pub fn start() -> Self {
        let state = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let certificates = Certificates::make(state.path().join("certificates"));
        fs::write(state.path().join("secret"), "a secret of the tests, long enough for its purpose").unwrap();
        configure("acl.yml", &state.path().join("acl.yml"), &[]);
        let [tls, mutual] = free_ports();
        let names = [
            ("@STATE@", state.path().display().to_string()),
            ("@TLS@", tls.to_string()),
            ("@MUTUAL@", mutual.to_string()),
        ];
        let server = start("buildgrid-tls.yml", &state, &names, &[tls, mutual]);
        Self { certificates, tls, mutual, state, _server: server }
    }

    /// Its address, for somebody with a token of that subject.
    pub fn settings(&self, subject: &str) -> Settings {
        let ca = Some(self.certificates.path("ca.pem"));
        let token = Some(Secret::new(token(subject, &self.state.path().join("secret"))));
        Settings { ca, token, ..settings(Address::Grpc(format!("grpcs://127.0.0.1:{}", self.tls))) }
    }

    /// Where it keeps blobs.
    pub fn data(&self) -> PathBuf {
        self.state.path().join("main")
    }

    /// For builds of the main line and of pull requests.
    pub fn access(&self) -> Access {
        let ca = self.certificates.path("ca.pem");
        let fields = format!("url: \"grpcs://127.0.0.1:{}\", ca: \"{}\"", self.tls, ca.display());
        let token = |subject| Some(token(subject, &self.state.path().join("secret")));
        Access { fields, writer: token("main-1"), reader: token("pr-17") }
    }

    /// The same where a certificate is wanted as well.
    pub fn mutual(&self, subject: &str, client: Option<&str>) -> Settings {
        let address = Address::Grpc(format!("grpcs://localhost:{}", self.mutual));
        let identity = client.map(|client| self.certificates.identity(client));
        Settings { address, identity, ..self.settings(subject) }
    }
}
