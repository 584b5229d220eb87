//! A project on the fake kernel tree, and kiln run in it.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use kiln::store::{Artifact, Store};
use tempfile::TempDir;

pub use super::output::KilnOutput;
pub use super::plan::{Build, Plan};
pub use super::tools::TOOLS;

/// The nodes of the project that [`Project::new`] makes.
pub const CONFIG: &str = "config:linux/x86_64/pc/fake";
pub const KERNEL: &str = "kernel:linux/x86_64/pc/fake";
pub const MATCH: &str = "match:linux/x86_64/pc/fake";
pub const INITRAMFS: &str = "initramfs:x86_64";
pub const BOOT: &str = "job:linux/x86_64/pc/fake/qemu-pc/boot";

/// Where that project's kernel appears.
pub const OUT: &str = "out/linux/x86_64/pc/fake";

/// A project in a directory of its own.
pub struct Project {
    dir: TempDir,
    /// What runs kiln, such as `setpriv ..`, and ends in executing it.
    behind: Vec<String>,
    /// What is in the environment of kiln, beside what is in ours.
    variables: BTreeMap<String, String>,
}

impl Project {
    /// A project that configures, builds, matches and boots a fake kernel, by the rules that real ones are built by.
    pub fn new() -> Self {
        let project = Self::with_graph(include_str!("project/graph.ron"));
        copy_tree(&repository("tests/fakelinux"), &project.path("linux"));
        for rule in ["config", "kernel", "match", "job"] {
            let rule = format!("rules/{rule}.ron");
            project.write(&rule, &lean(&fs::read_to_string(repository(&rule)).unwrap()));
        }
        project.write("rules/initramfs.ron", include_str!("project/initramfs.ron"));
        project.write("boot/init", "KILN-BOOT-OK\n");
        project.write("configs/pc.config", "CONFIG_SMP=y\n");
        project.script("toolchain/bin/fake-ld", "#!/bin/sh\n");
        project.script("toolchain/bin/fake-qemu", include_str!("project/fake-qemu"));
        project
    }

    /// A project of nothing but a `graph.ron`.
    pub fn with_graph(graph: &str) -> Self {
        let project = Self::empty();
        project.write("graph.ron", graph);
        project
    }

    /// A project of one rule and one action of it, `RULE:it`.
    pub fn with_rule(rule: &str, text: &str) -> Self {
        let project = Self::with_graph(&format!("(version: 1, actions: {{ \"it\": (rule: \"{rule}\") }})\n"));
        project.write(&format!("rules/{rule}.ron"), text);
        project
    }

    /// An empty directory.
    pub fn empty() -> Self {
        Self::in_directory(tempfile::Builder::new().prefix("kiln-e2e-").tempdir().unwrap())
    }

    /// A project in that directory.
    pub fn in_directory(dir: TempDir) -> Self {
        Self { dir, behind: Vec::new(), variables: BTreeMap::new() }
    }

    /// The same project with nothing but these variables in the environment of kiln, beside what is in ours.
    pub fn with_variables<'a>(mut self, variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let variables = variables.into_iter();
        self.variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        self
    }

    /// As an ordinary user's, if the tests run as root; to be called when all files are there.
    pub fn of_ordinary_user(mut self) -> Self {
        if nix::unistd::geteuid().is_root() {
            let owned = Command::new("chown").args(["-hR", "65534:65534"]).arg(self.dir.path()).status();
            assert!(owned.unwrap().success());
            let user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
            self.behind = user.map(str::to_owned).to_vec();
        }
        self
    }

    /// As an ordinary user's on a machine that allows no fanotify.
    pub fn that_can_not_trace(self) -> Self {
        let mut project = self.of_ordinary_user();
        let none = "echo 0 >/proc/sys/user/max_fanotify_groups && exec setpriv --ambient-caps=-all --inh-caps=-all \"$@\"";
        let words = ["unshare", "--user", "--map-current-user", "--keep-caps", "sh", "-c", none, "sh"];
        project.behind.extend(words.map(str::to_owned));
        project
    }

    /// The same project, with kiln run by these words, which end in executing their arguments.
    pub fn behind(mut self, words: &[&str]) -> Self {
        self.behind = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// As root's again, if the tests run as root: on the same machine, with the same cache.
    pub fn that_can_trace(mut self) -> Self {
        self.behind.clear();
        self
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root().join(path)
    }

    pub fn exists(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    #[track_caller]
    pub fn read(&self, path: &str) -> String {
        let bytes = fs::read(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        String::from_utf8(bytes).unwrap()
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn script(&self, path: &str, text: &str) {
        self.write(path, text);
        self.chmod(path, 0o755);
    }

    pub fn chmod(&self, path: &str, mode: u32) {
        fs::set_permissions(self.path(path), Permissions::from_mode(mode)).unwrap();
    }

    /// Replaces a text that is there exactly once.
    #[track_caller]
    pub fn edit(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert_eq!(text.matches(from).count(), 1, "{from:?} in {path}:\n{text}");
        self.write(path, &text.replace(from, to));
    }

    pub fn remove(&self, path: &str) {
        fs::remove_file(self.path(path)).unwrap();
    }

    /// Runs kiln; arguments are parted by spaces.
    pub fn kiln(&self, args: &str) -> KilnOutput {
        KilnOutput::new(format!("kiln {args}"), &self.command(args).output().unwrap())
    }

    /// A kiln that has yet to be started.
    pub fn command(&self, args: &str) -> Command {
        let mut words = self.behind.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_kiln")]);
        let mut command = Command::new(words.next().expect("kiln itself, at least"));
        command.args(words).args(args.split_whitespace()).current_dir(self.root()).stdin(Stdio::null());
        command.env_remove("MAKEFLAGS").env("NO_COLOR", "1").env("COLUMNS", "100").env("TZ", "UTC");
        command.envs(&self.variables);
        command
    }

    /// Starts a build of `reader:linux`, which runs until it is released, and waits until it is under way.
    pub fn start_reader(&self) -> Child {
        self.write("rules/reader.ron", include_str!("project/reader.ron"));
        let mut child = self.command("build reader: -q").stderr(Stdio::piped()).spawn().unwrap();
        // The log is made just before the sandbox is.
        while !self.work_dirs().any(|work| work.join("log").exists()) {
            assert!(child.try_wait().unwrap().is_none(), "kiln ended before its action ran");
            sleep(Duration::from_millis(10));
        }
        child
    }

    /// Lets a running `reader:linux` end.
    pub fn release_reader(&self) {
        for work in self.work_dirs() {
            fs::write(work.join("out/go"), "").unwrap();
        }
    }

    /// The directories of actions that run.
    fn work_dirs(&self) -> impl Iterator<Item = PathBuf> {
        let sessions = fs::read_dir(self.path("cache/work")).into_iter().flatten().flatten();
        let work = sessions.filter_map(|session| fs::read_dir(session.path()).ok()).flatten().flatten();
        work.map(|work| work.path())
    }

    /// Records other bits for a result that it has, as a machine would that does not make the same twice.
    pub fn has_made_other_bits(&self, node: &str, output: &str) {
        let store = Store::open(&self.path("cache")).unwrap();
        let project = store.project(&self.path("")).unwrap();
        let state = store.node(project, node).unwrap().unwrap();
        let key = state.strong_key.unwrap();
        let mut result = store.result(&key).unwrap().unwrap();
        let other = store.put_bytes(b"other bits").unwrap();
        let made = result.outputs.iter_mut().find(|(name, _)| name == output).unwrap();
        made.1 = Artifact::file(other, false);
        let set = store.path_set(&state.path_set.unwrap()).unwrap().unwrap();
        let set = set.resolve(&store.entries().unwrap()).unwrap();
        store.batch(|batch| batch.record(&key, &set, &result)).unwrap();
    }

    /// What kiln plans to do.
    pub fn plan(&self, args: &str) -> Plan {
        let said = self.kiln(&format!("plan --format json {args}"));
        // 4: of some rows this machine lacks a program.
        assert!([0, 4].contains(&said.code), "{said}");
        Plan(said.json())
    }

    /// Plans, builds, and holds the build to the plan.
    #[track_caller]
    pub fn build(&self, args: &str) -> Build {
        let plan = self.plan(&args.replace("--keep-going", "").replace("--clean", ""));
        let build = Build::new(self.kiln(&format!("build -j2 --format json-lines {args}")));
        build.keeps(&plan);
        build
    }
}

/// A path in kiln's own repository.
pub fn repository(path: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The tree of a real kernel: that of `KILN_TEST_TREE`, or else the example project's.
pub fn kernel_tree() -> PathBuf {
    let tree = std::env::var_os("KILN_TEST_TREE").unwrap_or_else(|| "cache/sources/linux-6.1".into());
    let tree = repository("").join(tree);
    assert!(tree.join("Kconfig").is_file(), "{} is no kernel tree: run scripts/source.sh", tree.display());
    tree
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy_tree(&entry.path(), &to);
        } else if kind.is_symlink() {
            symlink(fs::read_link(entry.path()).unwrap(), to).unwrap();
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A rule with less of the host in it: what a real kernel's build runs and reads takes seconds to hash for the first
/// time, and each test is a first time.
fn lean(rule: &str) -> String {
    let without = |rule: &str, field: &str, instead: &str| match rule.split_once(&format!("    {field}: [\n"))
    {
        Some((before, rest)) => {
            let (_, after) = rest.split_once("\n    ],\n").unwrap();
            format!("{before}{instead}{after}")
        }
        None => rule.to_owned(),
    };
    let tools = format!("    tools: [\"make\", \"{{toolchain.prefix}}ld\", {TOOLS}],\n");
    let rule = without(rule, "tools", &tools);
    let rule = rule.replace("[\"{board.qemu}\"]", &format!("[\"{{board.qemu}}\", {TOOLS}]"));
    let rule = without_line(&rule, "host");
    // To be looked at; nothing packs them here.
    let modules = "\"installed/lib/modules\", optional: true";
    rule.replace(&format!("{modules}, export: false"), modules)
}

/// A rule without a field that is on one line.
fn without_line(rule: &str, field: &str) -> String {
    let start = format!("    {field}: ");
    rule.lines().filter(|line| !line.starts_with(&start)).map(|line| format!("{line}\n")).collect()
}
