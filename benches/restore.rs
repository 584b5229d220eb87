//! What a restore costs: from a directory, and from nginx on loopback, against `cp` and `curl` of the same files plus
//! hashing them; and a restore with nothing to do, against the plan.
//!
//! `cargo bench --bench restore`; `KILN_BENCH_MIB` is how much is restored (2048), `KILN_BENCH_PAIRS` how often each is
//! measured (5). The part with nginx is left out where nginx or curl is not installed.

mod common;

use std::fs::{self, File};
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use common::{Target, in_turns, kiln, run_well, scratch, setting, time};
use kiln::digest::Digest;
use rayon::prelude::*;

/// How large each file is.
const MIB_A_FILE: usize = 64;

fn main() {
    let mib = setting("KILN_BENCH_MIB", 2048);
    let pairs = setting("KILN_BENCH_PAIRS", 5);
    let dir = scratch("restore");
    let _ = fs::remove_dir_all(&dir);
    let project = dir.join("project");
    fs::create_dir_all(project.join("rules")).expect("a directory");
    fs::write(project.join("rules/large.ron"), rule(mib / MIB_A_FILE)).expect("it is written");

    let shared = dir.join("shared");
    graph(&project, &format!("dir:{}", shared.display()));
    run_well(&mut kiln(&project, &["build", "--quiet"]));
    let what = format!("{mib} MiB from a directory");
    let copied = dir.join("copied");
    let by_cp = || {
        let _ = fs::remove_dir_all(&copied);
        nix::unistd::sync();
        time(|| {
            run_well(Command::new("cp").arg("-r").arg(shared.join("cas")).arg(&copied));
            hash_all(&copied);
        })()
    };
    let restored = || restore(&project);
    in_turns(pairs, restored, by_cp).report(&what, "kiln restore", "cp and hashing", &Target::AtMost(1.2));
    let _ = fs::remove_dir_all(&copied);

    let again = || run_well(&mut kiln(&project, &["restore", "--quiet"])).wall;
    let planned = || run_well(&mut kiln(&project, &["plan", "--quiet"])).wall;
    let what = "a restore with nothing to do";
    in_turns(pairs.max(15), again, planned).report(what, "kiln restore", "kiln plan", &Target::AtMost(1.2));

    let Some(nginx) = Nginx::start(&dir.join("nginx")) else {
        println!("nginx or curl is not installed: the part with a web server is left out");
        return;
    };
    graph(&project, &nginx.url);
    run_well(&mut kiln(&project, &["push", "--quiet"]));
    let urls: Vec<String> = files(&nginx.root.join("cas"))
        .iter()
        .map(|path| {
            format!("{}/{}", nginx.url, path.strip_prefix(&nginx.root).expect("it is below").display())
        })
        .collect();
    let by_curl = || {
        let _ = fs::remove_dir_all(&copied);
        fs::create_dir_all(&copied).expect("a directory");
        nix::unistd::sync();
        time(|| {
            run_well(
                Command::new("curl")
                    .args(["--silent", "--fail", "--remote-name-all"])
                    .args(&urls)
                    .current_dir(&copied),
            );
            hash_all(&copied);
        })()
    };
    let what = format!("{mib} MiB from nginx");
    in_turns(pairs, || restore(&project), by_curl).report(
        &what,
        "kiln restore",
        "curl and hashing",
        &Target::AtMost(1.2),
    );
}

/// Restores all into an empty project.
fn restore(project: &Path) -> Duration {
    for made in ["cache", "out"] {
        let _ = fs::remove_dir_all(project.join(made));
    }
    nix::unistd::sync();
    let took = run_well(&mut kiln(project, &["restore", "--quiet"])).wall;
    assert!(project.join("out/large/it/files/0").exists(), "it was restored");
    took
}

/// A rule that makes so many large files.
fn rule(files: usize) -> String {
    let make = format!(
        "mkdir $1/files; for n in $(seq 0 {}); do head -c {MIB_A_FILE}M /dev/urandom >$1/files/$n; done",
        files - 1
    );
    format!(
        "(version: 1, steps: [[\"sh\", \"-c\", \"{make}\", \"sh\", \"{{out}}\"]], outputs: {{ \"files\": Tree(\"files\") }}, \
         export: \"large/it\", tools: [\"sh\", \"mkdir\", \"seq\", \"head\"])\n"
    )
}

fn graph(project: &Path, url: &str) {
    let remote = format!("(name: \"bench\", url: \"{url}\", write: true, unsigned: true)");
    let text = format!("(version: 1, remotes: [{remote}], actions: {{ \"it\": (rule: \"large\") }})\n");
    fs::write(project.join("graph.ron"), text).expect("it is written");
}

/// Hashes every file, on all cores.
fn hash_all(dir: &Path) {
    files(dir).par_iter().for_each(|path| {
        let mut file = File::open(path).expect("it is there");
        let mut piece = vec![0; 1 << 20];
        let mut hasher = blake3::Hasher::new();
        loop {
            let count = file.read(&mut piece).expect("it can be read");
            if count == 0 {
                break;
            }
            hasher.update(&piece[..count]);
        }
        std::hint::black_box(Digest::from_bytes(*hasher.finalize().as_bytes()));
    });
}

/// All files below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { dirs.push(path) } else { found.push(path) }
        }
    }
    found
}

/// An nginx of ours, which ends with this.
struct Nginx {
    child: Child,
    url: String,
    root: PathBuf,
}

impl Nginx {
    fn start(dir: &Path) -> Option<Self> {
        let there = |program: &str, arg: &str| {
            Command::new(program).arg(arg).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
        };
        if !there("nginx", "-v") || !there("curl", "--version") {
            return None;
        }
        let root = dir.join("root");
        fs::create_dir_all(&root).expect("a directory");
        fs::create_dir_all(dir.join("temp")).expect("a directory");
        let port = TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
        let d = dir.display();
        let user = if nix::unistd::geteuid().is_root() { "user root;" } else { "" };
        let config = format!(
            "{user} daemon off; pid {d}/pid; error_log {d}/error.log; worker_processes 2; events {{}}\n\
             http {{ access_log off; sendfile on; client_max_body_size 0; client_body_temp_path {d}/temp;\n\
             server {{ listen 127.0.0.1:{port}; root {d}/root; location / {{ dav_methods PUT; create_full_put_path on; }} }} }}\n"
        );
        fs::write(dir.join("nginx.conf"), config).expect("it is written");
        let child =
            Command::new("nginx").arg("-c").arg(dir.join("nginx.conf")).stderr(Stdio::null()).spawn().ok()?;
        let mut nginx = Self { child, url: format!("http://127.0.0.1:{port}"), root };
        for _ in 0..100 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(nginx);
            }
            sleep(Duration::from_millis(50));
        }
        let _ = nginx.child.kill();
        None
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(self.child.id().cast_signed()),
            nix::sys::signal::Signal::SIGTERM,
        );
        let _ = self.child.wait();
    }
}
