//! nginx, as it serves what kiln publishes, and as it gives a lab TLS.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::lab::Lab;
use crate::support::certificates::Certificates;
use crate::support::process::{Server, configure, free_ports};

/// An nginx that runs.
pub struct Web {
    _server: Server,
    pub certificates: Certificates,
    files: u16,
    tls: u16,
    strange: u16,
    state: TempDir,
}

impl Web {
    /// One that serves a directory, and stands before the lab.
    pub fn start(lab: &Lab, published: &Path) -> Self {
        let state = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let certificates = Certificates::make(state.path().join("certificates"));
        let [files, tls, strange] = free_ports();
        let configuration = state.path().join("nginx.conf");
        configure(
            "lab.conf",
            &configuration,
            &[
                ("@STATE@", state.path().display().to_string()),
                ("@PUBLISHED@", published.display().to_string()),
                ("@LAB@", lab.url().trim_end_matches('/').to_owned()),
                ("@EVENTS@", lab.events().replace("ws://", "http://")),
                ("@FILES@", files.to_string()),
                ("@TLS@", tls.to_string()),
                ("@STRANGE@", strange.to_string()),
                ("@USER@", if nix::unistd::geteuid().is_root() { "user root;" } else { "" }.to_owned()),
            ],
        );
        let arguments = ["-c", configuration.to_str().unwrap(), "-p", state.path().to_str().unwrap()];
        let output = state.path().join("output");
        let server = Server::start(Path::new("/usr/sbin/nginx"), &arguments, &output, &[files, tls, strange]);
        Self { _server: server, certificates, files, tls, strange, state }
    }

    /// Where the directory is served.
    pub fn files(&self) -> String {
        format!("http://127.0.0.1:{}/", self.files)
    }

    /// The lab, encrypted.
    pub fn lab(&self) -> String {
        format!("https://localhost:{}/", self.tls)
    }

    /// Its events, encrypted.
    pub fn events(&self) -> String {
        format!("wss://127.0.0.1:{}/ws/", self.tls)
    }

    /// The lab, with a certificate of another authority.
    pub fn strange(&self) -> String {
        format!("https://127.0.0.1:{}/", self.strange)
    }

    /// Its events, likewise.
    pub fn strange_events(&self) -> String {
        format!("wss://127.0.0.1:{}/ws/", self.strange)
    }

    /// What it has been asked, line by line. A websocket is in it once it is closed.
    pub fn asked(&self) -> Vec<String> {
        let log = fs::read_to_string(self.state.path().join("access.log")).unwrap();
        log.lines().map(str::to_owned).collect()
    }
}
