//! Job definitions, and the files that they name.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::thread;

use sha2::{Digest, Sha256};

/// A web server for the kernel and the root, for as long as the tests run.
pub struct Files {
    address: SocketAddr,
    kernel_sha256: String,
}

impl Files {
    pub fn serve(dir: &Path) -> Self {
        let kernel = fs::read(dir.join("vmlinuz")).unwrap();
        let kernel_sha256 = Sha256::digest(&kernel).iter().map(|byte| format!("{byte:02x}")).collect();
        let root = fs::read(dir.join("initramfs.cpio.gz")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let files = std::sync::Arc::new((kernel, root));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let files = files.clone();
                thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let mut lines = BufReader::new(&stream).lines();
                    let request = lines.next().and_then(Result::ok).unwrap_or_default();
                    while lines.next().and_then(Result::ok).is_some_and(|line| !line.is_empty()) {}
                    let file: Option<&[u8]> = match request.split(' ').nth(1) {
                        Some("/vmlinuz") => Some(&files.0),
                        Some("/initramfs.cpio.gz") => Some(&files.1),
                        _ => None,
                    };
                    let status = if file.is_some() { "200 OK" } else { "404 Not Found" };
                    let file = file.unwrap_or_default();
                    let length = file.len();
                    let head =
                        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                    let _ = stream.write_all(head.as_bytes());
                    if !request.starts_with("HEAD") {
                        let _ = stream.write_all(file);
                    }
                });
            }
        });
        Self { address, kernel_sha256 }
    }
}

/// A job definition in the making.
#[derive(Clone)]
pub struct Definition {
    pub name: String,
    pub device_type: String,
    /// More of the kernel's command line.
    pub append: String,
    pub kernel: String,
    pub sha256: String,
    /// How long to boot, in seconds.
    pub boot: u32,
    /// How long to test, in seconds.
    pub test: u32,
    /// How long to wait for a device, in seconds.
    pub queue: u32,
    /// The steps of the test; none at all where there are none.
    pub steps: Vec<String>,
    /// More keys, at the top.
    pub more: String,
    files: SocketAddr,
}

impl Definition {
    /// One that boots, and passes its tests.
    pub fn new(name: &str, files: &Files) -> Self {
        Self {
            name: name.to_owned(),
            device_type: "qemu".to_owned(),
            append: String::new(),
            kernel: "vmlinuz".to_owned(),
            sha256: files.kernel_sha256.clone(),
            boot: 120,
            test: 60,
            queue: 900,
            steps: vec!["lava-test-case kernel --shell uname -r".to_owned()],
            more: String::new(),
            files: files.address,
        }
    }

    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// In YAML.
    pub fn text(&self) -> String {
        let Self { name, device_type, append, kernel, sha256, boot, test, queue, steps, more, files } = self;
        let mut text = format!(
            "job_name: {name}
device_type: {device_type}
priority: medium
visibility: public
timeouts:
  job: {{minutes: 6}}
  action: {{minutes: 4}}
  connection: {{minutes: 2}}
  queue: {{seconds: {queue}}}
context: {{arch: amd64}}
{more}
actions:
- deploy:
    timeout: {{minutes: 1}}
    to: tmpfs
    os: oe
    images:
      kernel:
        image_arg: -kernel {{kernel}} -append \"console=ttyS0,115200 rdinit=/init {append}\"
        url: http://{files}/{kernel}
        sha256sum: {sha256}
      ramdisk:
        image_arg: -initrd {{ramdisk}}
        url: http://{files}/initramfs.cpio.gz
        compression: gz
        format: cpio.newc
"
        );
        // LAVA breaks off where there is an overlay to add and no test to add.
        if !steps.is_empty() {
            text += "        overlays: {lava: true}\n";
        }
        text += &format!(
            "- boot:\n    timeout: {{seconds: {boot}}}\n    method: qemu\n    media: tmpfs\n    \
             prompts: ['kiln-dut:/# ']\n"
        );
        if !steps.is_empty() {
            let steps = serde_json::to_string(steps).unwrap();
            text += &format!(
                "- test:
    timeout: {{seconds: {test}}}
    definitions:
    - from: inline
      name: smoke
      path: inline/smoke.yaml
      repository:
        metadata: {{format: Lava-Test Test Definition 1.0, name: smoke, description: boots and answers}}
        run: {{steps: {steps}}}
"
            );
        }
        text
    }
}
