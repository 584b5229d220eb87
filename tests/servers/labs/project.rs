//! A project that boots the demo's kernel at the lab. The kernel is built once for all tests, by kiln.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::lab::Lab;
pub use crate::support::output::KilnOutput;

/// Kernel command lines: one that boots, one that panics, one that says nothing.
pub const OK: &str = "console=ttyS0";
pub const PANIC: &str = "console=ttyS0 rdinit=/none root=/dev/none";
pub const HANG: &str = "console=none";

/// The demo's kernel and its user space, built by kiln with the project's own graph.
static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("lab-kernel");
    fs::create_dir_all(&dir).unwrap();
    for part in ["graph.ron", "rules", "configs", "boot"] {
        run(Command::new("cp")
            .args(["-r", "--no-target-directory"])
            .arg(root.join(part))
            .arg(dir.join(part)));
    }
    let source = format!("Dir(\"{}\")", root.join("cache/sources/linux-6.1").display());
    let graph = fs::read_to_string(dir.join("graph.ron")).unwrap();
    fs::write(dir.join("graph.ron"), graph.replace("Dir(\"cache/sources/linux-6.1\")", &source)).unwrap();
    // The user space stays in the cache otherwise.
    let rule = fs::read_to_string(dir.join("rules/initramfs.ron")).unwrap();
    let rule = rule.replace("    time_limit:", "    export: \"initramfs\",\n    time_limit:");
    fs::write(dir.join("rules/initramfs.ron"), rule).unwrap();
    run(Command::new(env!("CARGO_BIN_EXE_kiln")).args(["build", "kernel:", "initramfs:"]).current_dir(&dir));
    dir.join("out")
});

fn run(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

/// A project in a directory of its own.
pub struct Project {
    dir: PathBuf,
    /// Where its boots appear, below `out/`.
    board: &'static str,
    token: String,
    _temporary: Option<TempDir>,
    server: Option<Child>,
}

const GRAPH: &str = r#"(
    version: 1,
    sources: { "none": Dir("source") },
    archs: { "x86_64": (image: "bzImage") },
    toolchains: { "none": Gcc(targets: { "x86_64": "" }) },
    builds: [(sources: ["none"], archs: ["x86_64"], defconfigs: ["defconfig"], toolchains: ["none"])],
    boards: { "pc": (
        requires: "X86_64", device_type: "qemu", job: "job.yaml", rootfs: "rootfs", labs: ["lab"], tests: ["boot"],
        attrs: { "arguments": "CMDLINE" },
    ) },
    labs: { "lab": Lava(url: "URL", user: "submitter", token: Env("LAB_TOKEN"), slots: 2, events: "EVENTS", queue: "2min") },
    publish: (dir: "published", url: "http://127.0.0.1:PORT/"),
    tests: { "boot": Console(marker: "KILN-BOOT-OK", time_limit: "40s") },
)
"#;

const JOB: &str = "\
timeouts:
  job: {minutes: 3}
  action: {minutes: 2}
  connection: {minutes: 1}
context: {arch: amd64}
actions:
- deploy:
    timeout: {minutes: 1}
    to: tmpfs
    images:
      kernel:
        image_arg: '-kernel {kernel} -append \"{{ board.arguments }}\"'
        url: {{ image.url }}
        sha256sum: {{ image.sha256 }}
      ramdisk:
        image_arg: '-initrd {ramdisk}'
        url: {{ rootfs.url }}
        sha256sum: {{ rootfs.sha256 }}
- boot:
    timeout: {seconds: {{ test.seconds }}}
    method: qemu
    media: tmpfs
    prompts: {{ test.prompts|tojson }}
";

/// A rule that copies a file of the project to where a build would have made it.
fn copies(file: &str, output: &str, name: &str) -> String {
    format!(
        "(version: 1, per: [\"source\", \"arch\", \"defconfig\", \"toolchain\"], inputs: {{ \"file\": File(\"{file}\") }}, \
         steps: [[\"cp\", \"{{in.file}}\", \"{{out}}/{name}\"]], outputs: {{ \"{output}\": File(\"{name}\") }}, tools: [\"cp\"])\n"
    )
}

impl Project {
    /// One whose board is booted with that command line, by an ordinary user of the lab.
    pub fn new(lab: &Lab, cmdline: &str) -> Self {
        let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        // The lab's server and its worker are other users.
        fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let project = Self {
            dir: dir.path().to_owned(),
            board: "none/x86_64/defconfig/none/pc",
            token: lab.token("SUBMITTER"),
            _temporary: Some(dir),
            server: None,
        };
        let port = free_port();
        let graph = GRAPH
            .replace("URL", lab.url())
            .replace("EVENTS", lab.events())
            .replace("PORT", &port.to_string())
            .replace("CMDLINE", cmdline);
        project.write("graph.ron", &graph);
        project.write("job.yaml", JOB);
        project.write("kernel.config", "CONFIG_X86_64=y\n");
        project.write("source/Makefile", "");
        fs::copy(BUILT.join("linux-6.1/x86_64/tiny-pc/gcc/bzImage"), project.path("bzImage")).unwrap();
        fs::copy(BUILT.join("initramfs/initramfs.cpio.gz"), project.path("initramfs.cpio.gz")).unwrap();
        fs::create_dir(project.path("rules")).unwrap();
        project.write("rules/config.ron", &copies("kernel.config", "config", "kernel.config"));
        let kernel = copies("bzImage", "image", "bzImage");
        project.write(
            "rules/kernel.ron",
            &kernel.replace("outputs: {", "outputs: { \"dtbs\": Tree(path: \"dtbs\", optional: true),"),
        );
        project.write("rules/rootfs.ron", &copies("initramfs.cpio.gz", "rootfs", "initramfs.cpio.gz"));
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
        fs::copy(own.join("match.ron"), project.path("rules/match.ron")).unwrap();
        let lava = fs::read_to_string(own.join("lava.ron")).unwrap();
        let lava = lava.lines().filter(|line| !line.contains("\"modules\"")).collect::<Vec<_>>().join("\n");
        project.write("rules/lava.ron", &lava);
        project.serve(port)
    }

    /// `examples/lava`, with what was built of it before: its kernel takes minutes.
    pub fn example(lab: &Lab) -> Self {
        let (project, port) = Self::copy_of_example(lab, "lava", "linux-6.1/x86_64/lava-pc/gcc/qemu-lava");
        project.serve(port)
    }

    /// A copy of an example, with its cache of earlier runs, and the port on which it expects to be served. `board` is the
    /// directory below `out/` in which its boots appear. The caller completes the project, then calls [`serve`](Self::serve).
    pub fn copy_of_example(lab: &Lab, name: &str, board: &'static str) -> (Self, u16) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("lab-example-{name}"));
        fs::create_dir_all(&dir).unwrap();
        let example = root.join("examples").join(name);
        run(Command::new("cp").arg("-rL").arg("--no-target-directory").arg(example).arg(&dir));
        let port = free_port();
        let token = lab.token("SUBMITTER");
        let project = Self { dir, board, token, _temporary: None, server: None };
        let source = root.join("cache/sources/linux-6.1").display().to_string();
        project.replace("graph.ron", "../../cache/sources/linux-6.1", &source);
        project.replace("graph.ron", "http://127.0.0.1:28100/", lab.url());
        project.replace("graph.ron", "LAVA_TOKEN", "LAB_TOKEN");
        project.replace("graph.ron", "http://127.0.0.1:8080/", &format!("http://127.0.0.1:{port}/"));
        (project, port)
    }

    /// Starts `kiln serve`, which reads the whole project.
    pub fn serve(mut self, port: u16) -> Self {
        fs::create_dir_all(self.path("published")).unwrap();
        let address = format!("127.0.0.1:{port}");
        let mut kiln = Command::new(env!("CARGO_BIN_EXE_kiln"));
        kiln.args(["serve", "--listen", &address]).current_dir(&self.dir).stdout(Stdio::null());
        self.server = Some(kiln.spawn().unwrap());
        for _ in 0..100 {
            if std::net::TcpStream::connect(&address).is_ok() {
                return self;
            }
            sleep(Duration::from_millis(50));
        }
        panic!("kiln serve does not listen");
    }

    /// Leaves it to another web server to serve what is published.
    pub fn served_at(mut self, url: &str) -> Self {
        self.stop_serving();
        let graph = fs::read_to_string(self.path("graph.ron")).unwrap();
        let (_, publish) = graph.split_once("publish: (dir: \"published\", url: \"").unwrap();
        let (own, _) = publish.split_once('"').unwrap();
        self.replace("graph.ron", own, url);
        self
    }

    fn stop_serving(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// Has the example run these cases, and nothing else. No other run of the tests has had the same.
    pub fn with_cases(&self, skip: &str) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        self.write(
            "cases.yaml",
            &format!(
                "# {now}\nrun:\n  steps:\n  - lava-test-case good --result pass\n  \
                 - lava-test-case known-bad --result fail\n  \
                 - lava-test-case measured --result pass --measurement 1.5 --units seconds\n"
            ),
        );
        self.with_definition("Inline(name: \"cases\", path: \"cases.yaml\")", skip);
    }

    /// Has the example run this definition, and nothing else, as its test `cases`.
    pub fn with_definition(&self, definition: &str, skip: &str) {
        self.replace("graph.ron", "tests: [\"boot\", \"smoke\"]", "tests: [\"cases\"]");
        let cases =
            format!("tests: {{ \"cases\": Lava(definitions: [{definition}], {skip} time_limit: \"2min\"),");
        self.replace("graph.ron", "tests: {", &cases);
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.dir.join(relative)
    }

    pub fn write(&self, relative: &str, text: &str) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn replace(&self, relative: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(relative)).unwrap();
        assert!(text.contains(from), "{from} is not in {relative}");
        self.write(relative, &text.replace(from, to));
    }

    /// Shows the lab another token.
    pub fn with_token(mut self, token: &str) -> Self {
        token.clone_into(&mut self.token);
        self
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut kiln = Command::new(env!("CARGO_BIN_EXE_kiln"));
        kiln.args(args).current_dir(&self.dir).env("LAB_TOKEN", &self.token).stdin(Stdio::null());
        kiln
    }

    pub fn kiln(&self, args: &[&str]) -> KilnOutput {
        ran(self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// A kiln that is interrupted after some time.
    pub fn interrupted(&self, args: &[&str], after: Duration) -> KilnOutput {
        let child = self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        sleep(after);
        signal(&child, nix::sys::signal::Signal::SIGINT);
        ran(child)
    }

    /// A kiln that is killed after some time. Whether it was still running.
    pub fn killed(&self, args: &[&str], after: Duration) -> bool {
        let mut child = self.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        sleep(after);
        let running = child.try_wait().unwrap().is_none();
        signal(&child, nix::sys::signal::Signal::SIGKILL);
        child.wait().unwrap();
        running
    }

    pub fn out(&self, relative: &str) -> String {
        let path = self.path("out").join(self.board).join(relative);
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub fn results(&self, test: &str) -> Value {
        serde_json::from_str(&self.out(&format!("{test}/results.json"))).unwrap()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        self.stop_serving();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn signal(child: &Child, signal: nix::sys::signal::Signal) {
    // One that has ended needs none.
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id().cast_signed()), signal);
}

fn ran(child: Child) -> KilnOutput {
    KilnOutput::of_any("kiln", &child.wait_with_output().unwrap())
}
