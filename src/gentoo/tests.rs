//! What several tests need: keys of gpg, servers that do what they should, and servers that do not.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::signed::{Keyring, Pin};

/// A home of gpg with one primary key that certifies, and a subkey that signs.
pub struct Home {
    pub dir: TempDir,
    pub primary: Pin,
}

impl Home {
    pub fn new() -> Self {
        Self::made(&[], ["ed25519", "ed25519"], ["never", "never"])
    }

    /// With options for gpg while the keys are made, such as one that gives it another time.
    pub fn made(options: &[&str], kinds: [&str; 2], ends: [&str; 2]) -> Self {
        let home = Self::primary(options, kinds[0], ends[0]);
        home.subkey(options, kinds[1], ends[1]);
        home
    }

    pub fn primary(options: &[&str], kind: &str, ends: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("gpg").tempdir_in("/tmp").unwrap();
        let mut home = Self { dir, primary: "0".repeat(40).parse().unwrap() };
        let user = "Test Releases <releases@test.invalid>";
        home.gpg(&[options, &["--quick-generate-key", user, kind, "cert", ends]].concat());
        home.primary = home.fingerprints().remove(0);
        home
    }

    pub fn subkey(&self, options: &[&str], kind: &str, ends: &str) -> Pin {
        let primary = self.primary.to_string();
        self.gpg(&[options, &["--quick-add-key", &primary, kind, "sign", ends]].concat());
        self.fingerprints().pop().unwrap()
    }

    pub fn fingerprints(&self) -> Vec<Pin> {
        let listed = String::from_utf8(self.gpg(&["--with-colons", "--list-keys"])).unwrap();
        let lines = listed.lines().filter(|line| line.starts_with("fpr"));
        lines.map(|line| line.split(':').nth(9).unwrap().parse().unwrap()).collect()
    }

    pub fn gpg(&self, arguments: &[&str]) -> Vec<u8> {
        self.gpg_with(arguments, b"")
    }

    pub fn gpg_with(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let mut child = Command::new("gpg")
            .args(["--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""])
            .args(arguments)
            .env("GNUPGHOME", self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("gpg is installed");
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "gpg: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    pub fn keys(&self) -> Vec<u8> {
        self.gpg(&["--armor", "--export"])
    }

    pub fn ring(&self) -> Keyring {
        Keyring::new(&self.keys(), std::slice::from_ref(&self.primary)).unwrap()
    }

    pub fn clear_signed(&self, options: &[&str], text: &str) -> Vec<u8> {
        self.gpg_with(&[options, &["--clearsign"]].concat(), text.as_bytes())
    }

    pub fn detached(&self, options: &[&str], data: &[u8]) -> Vec<u8> {
        self.gpg_with(&[options, &["--detach-sign"]].concat(), data)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let home = self.dir.path();
        let _ = Command::new("gpgconf").args(["--kill", "all"]).env("GNUPGHOME", home).status();
    }
}

/// What a small server does with a connection: it has read the request's head.
type Script = dyn Fn(usize, &str, &mut TcpStream) + Send + Sync;

/// A server that does what a closure says, and knows what it was asked.
pub struct Fake {
    pub address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    pub fn new(script: impl Fn(usize, &str, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (script, noted): (Arc<Script>, _) = (Arc::new(script), Arc::clone(&requests));
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let (script, noted) = (Arc::clone(&script), Arc::clone(&noted));
                std::thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let mut head = String::new();
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    while reader.read_line(&mut head).is_ok_and(|read| read > 2) {}
                    noted.lock().unwrap().push(head.clone());
                    script(number, &head, &mut stream);
                });
            }
        });
        Self { address, requests }
    }

    /// One that always gives the same answer.
    pub fn answering(head: &str, body: Vec<u8>) -> Self {
        let head = format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n");
        Self::new(move |_, _, stream| {
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(&body);
        })
    }

    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// nginx, on a port of its own.
pub struct Nginx {
    process: Child,
    pub dir: TempDir,
    pub address: String,
}

impl Nginx {
    pub fn new(extra: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let at = dir.path().display();
        let conf = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/error.log;\n\
             events {{}}\n\
             http {{ access_log {at}/access.log; server {{ listen 127.0.0.1:{port}; root {at}/www; {extra} }}\n\
             client_body_temp_path {at}/t1; proxy_temp_path {at}/t2; fastcgi_temp_path {at}/t3;\n\
             uwsgi_temp_path {at}/t4; scgi_temp_path {at}/t5; }}\n"
        );
        fs::write(dir.path().join("nginx.conf"), conf).unwrap();
        fs::create_dir(dir.path().join("www")).unwrap();
        let process = Command::new("nginx")
            .arg("-p")
            .arg(dir.path())
            .arg("-c")
            .arg(dir.path().join("nginx.conf"))
            .arg("-e")
            .arg(dir.path().join("error.log"))
            .spawn()
            .expect("nginx is installed");
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "nginx does not come up");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { process, dir, address: format!("http://127.0.0.1:{port}/") }
    }

    /// Serves a file.
    pub fn put(&self, path: &str, content: &[u8]) {
        let file = self.dir.path().join("www").join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("access.log")).unwrap()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
