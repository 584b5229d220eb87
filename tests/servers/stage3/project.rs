//! A project with roots, and kiln run in it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::UNIX_EPOCH;

use nix::fcntl::{Flock, FlockArg};
use serde_json::Value;
use tempfile::TempDir;

use super::mirror::{self, Mirror};

const KILN: &str = env!("CARGO_BIN_EXE_kiln");

/// The nodes of the project that [`Project::new`] makes.
pub const STAGE3: &str = "stage3:amd64";
pub const BINPKG: &str = "binpkg:amd64";
pub const ASK: &str = "ask:none/x86_64/defconfig/gentoo";

/// What that project asks its root, and where the answer is.
pub const QUESTION: &str = "uname -m; id -un; \"${CHOST-gcc}\" --version | head -n 1; for program in bc hello; do \
    command -v $program || echo no $program; done; ls /usr/include/gelf.h";
pub const ANSWER: &str = "out/x86_64/defconfig/gentoo/answer";

const GRAPH: &str = r#"(
    version: 1,
    GENTOO,
    roots: { "amd64": (stage3: "amd64-openrc") },
    sources: { "none": Dir("source") },
    archs: { "x86_64": (image: "none") },
    toolchains: { "gentoo": Root(targets: { "x86_64": "amd64" }, mode: Emulated) },
    builds: [(sources: ["none"], archs: ["x86_64"], defconfigs: ["defconfig"], toolchains: ["gentoo"])],
    cache: (path: "CACHE"),
)
"#;

const GENTOO: &str = r#"gentoo: (
        mirrors: [MIRRORS],
        keys: "release.asc",
        signers: ["SIGNER"],
        ebuilds: (keys: "ebuilds.asc", signers: ["EBUILDS"]),
    )"#;

const RULE: &str = r#"(
    version: 1,
    per: ["source", "arch", "defconfig", "toolchain"],
    sandbox: (root: Toolchain),
    steps: [["sh", "-c", SCRIPT]],
    outputs: { "answer": File("answer") },
    export: "{arch}/{defconfig}/{toolchain}",
)
"#;

/// A project in a directory of its own.
pub struct Project {
    dir: TempDir,
    pub cache: PathBuf,
    /// What runs kiln, and ends in executing it.
    behind: Vec<String>,
}

impl Project {
    /// A project with one root, that of this machine, and one action in it, which asks it something.
    pub fn new(mirrors: &[&str]) -> Self {
        let project = Self::with_graph(mirrors, GRAPH);
        project.write("source/Makefile", "");
        project.ask(QUESTION);
        project
    }

    /// A project with the repository's rules for roots, and a graph in which GENTOO stands for whom to believe, and CACHE for
    /// where the cache is.
    pub fn with_graph(mirrors: &[&str], graph: &str) -> Self {
        // On a file system with room: /tmp may be a small one in memory.
        let dir = tempfile::Builder::new().prefix("roots-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let cache = dir.path().join("cache");
        let project = Self { dir, cache, behind: Vec::new() };
        let mirrors: Vec<_> = mirrors.iter().map(|url| format!("{url:?}")).collect();
        let gentoo = GENTOO.replace("MIRRORS", &mirrors.join(", "));
        let gentoo = gentoo.replace("SIGNER", &mirror::fingerprint("release"));
        let gentoo = gentoo.replace("EBUILDS", &mirror::fingerprint("ebuilds"));
        let graph = graph.replace("GENTOO", &gentoo).replace("CACHE", project.cache.to_str().unwrap());
        project.write("graph.ron", &graph);
        project.takes_key("ebuilds", "ebuilds.asc");
        project.pin("release");
        project.takes_rules(&["stage3", "binpkg"]);
        project
    }

    /// Takes rules of the repository as they are.
    pub fn takes_rules(&self, names: &[&str]) {
        for name in names {
            let rule = format!("rules/{name}.ron");
            self.write(&rule, &fs::read_to_string(repository(&rule)).unwrap());
        }
    }

    /// The same, with a cache in which the root has been prepared from a mirror's build of [`mirror::DATE`], as on a machine
    /// on which other projects have used it.
    pub fn prepared(mirror: &Mirror) -> Self {
        let project = Self::new(&[&mirror.url()]);
        copy(&PREPARED, &project.cache);
        project.kiln("update").exits(0);
        project
    }

    /// What the root is asked.
    pub fn ask(&self, script: &str) {
        let script = script.replace('{', "{{").replace('}', "}}");
        let script = format!("({script}) >answer 2>&1");
        self.write("rules/ask.ron", &RULE.replace("SCRIPT", &format!("{script:?}")));
    }

    /// With its cache there.
    pub fn with_cache(mut self, cache: &Path) -> Self {
        self.edit("graph.ron", self.cache.to_str().unwrap(), cache.to_str().unwrap());
        cache.clone_into(&mut self.cache);
        self
    }

    /// With kiln run by that script, which ends in executing its arguments.
    pub fn behind(mut self, script: &str) -> Self {
        self.behind = ["sh", "-c", script, "sh"].map(str::to_owned).to_vec();
        self
    }

    /// Goes by that key.
    pub fn pin(&self, key: &str) {
        self.takes_key(key, "release.asc");
        let graph = self.read("graph.ron");
        let signer = graph.split("signers: [\"").nth(1).unwrap()[..40].to_owned();
        self.edit("graph.ron", &signer, &mirror::fingerprint(key));
    }

    /// Takes the certificate of a key.
    pub fn takes_key(&self, key: &str, to: &str) {
        fs::copy(mirror::made().join(format!("keys/{key}.asc")), self.path(to)).unwrap();
    }

    /// Wants these packages in the root, beside what has been wanted.
    pub fn wants(&self, packages: &[&str]) {
        let packages: Vec<_> = ["sys-devel/bc", "virtual/libelf"].iter().chain(packages).collect();
        let graph = self.read("graph.ron");
        let at = graph.find("(stage3: \"amd64-openrc\"").expect("the root");
        let end = at + graph[at..].find(" },").expect("the end of it");
        let root = format!("(stage3: \"amd64-openrc\", packages: {packages:?})");
        self.write("graph.ron", &format!("{}{root}{}", &graph[..at], &graph[end..]));
    }

    /// With a second root, for arm64, and a row that asks it the same.
    pub fn with_arm64(&self) {
        self.edit("graph.ron", "roots: { ", "roots: { \"arm64\": (stage3: \"arm64-openrc\"), ");
        self.edit("graph.ron", "archs: { ", "archs: { \"arm64\": (image: \"none\"), ");
        self.edit("graph.ron", "targets: { ", "targets: { \"arm64\": \"arm64\", ");
        self.edit("graph.ron", "archs: [\"x86_64\"]", "archs: [\"x86_64\", \"arm64\"]");
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    #[track_caller]
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Replaces a text that is there exactly once.
    #[track_caller]
    pub fn edit(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert_eq!(text.matches(from).count(), 1, "{from:?} in {path}:\n{text}");
        self.write(path, &text.replace(from, to));
    }

    /// A kiln that has yet to be started; arguments are parted by spaces.
    pub fn command(&self, args: &str) -> Command {
        let mut words = self.behind.iter().map(String::as_str).chain([KILN]);
        let mut command = Command::new(words.next().expect("kiln itself, at least"));
        command.args(words).args(args.split_whitespace()).current_dir(self.dir.path()).stdin(Stdio::null());
        command.env_remove("MAKEFLAGS").env("NO_COLOR", "1").env("COLUMNS", "100").env("TZ", "UTC");
        command
    }

    /// Runs kiln to its end.
    pub fn kiln(&self, args: &str) -> Said {
        Said::of(args, &self.command(args).output().unwrap())
    }

    /// Runs kiln to its end with these variables in its environment.
    pub fn kiln_with(&self, args: &str, variables: &[(&str, &str)]) -> Said {
        Said::of(args, &self.command(args).envs(variables.iter().copied()).output().unwrap())
    }

    /// Starts kiln.
    pub fn start(&self, args: &str) -> Child {
        self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Builds, and tells what ran.
    pub fn build(&self, args: &str) -> Built {
        Built::of(self.kiln(&format!("build -j2 --format json-lines {args}")))
    }

    /// The verdict on each node.
    pub fn plan(&self) -> BTreeMap<String, String> {
        let said = self.kiln("plan --format json");
        let plan: Value = serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said}"));
        let word = |node: &Value, field: &str| node[field].as_str().unwrap().to_owned();
        plan["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|node| (word(node, "name"), word(node, "verdict")))
            .collect()
    }

    /// What the last run of a node compiled, sorted.
    pub fn compiled(&self, node: &str) -> Vec<String> {
        let log = self.kiln(&format!("log {node}")).exits(0).out;
        let objects = log.lines().filter_map(|line| line.trim_start().strip_prefix("CC      "));
        let mut objects: Vec<_> = objects.map(str::to_owned).collect();
        objects.sort_unstable();
        objects
    }

    /// Builds once more, and asserts that there was nothing to do.
    #[track_caller]
    pub fn assert_fresh(&self) {
        self.kiln("build").exits(0).says("everything is up to date");
    }

    /// Files below the cache whose name ends so.
    pub fn cached(&self, ending: &str) -> Vec<PathBuf> {
        let found = Command::new("find")
            .arg(&self.cache)
            .args(["-type", "f", "-name", &format!("*{ending}")])
            .output();
        let found = String::from_utf8(found.unwrap().stdout).unwrap();
        found.lines().map(PathBuf::from).collect()
    }

    /// How much is in the cache's store of blobs, in bytes.
    pub fn stored(&self) -> u64 {
        let size = Command::new("du").args(["-sb"]).arg(self.cache.join("cas")).output().unwrap();
        let size = String::from_utf8(size.stdout).unwrap();
        size.split_whitespace().next().unwrap().parse().unwrap()
    }
}

/// A cache with the root of [`Project::new`] in it, made once by this kiln for all tests.
static PREPARED: LazyLock<PathBuf> = LazyLock::new(|| {
    let time = |path: &Path| {
        let modified = fs::metadata(path).unwrap().modified().unwrap();
        modified.duration_since(UNIX_EPOCH).unwrap().as_nanos()
    };
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("roots-prepared");
    fs::create_dir_all(&place).unwrap();
    // Each test may be a process of its own.
    let lock = File::create(place.join("lock")).unwrap();
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, errno)| errno).unwrap();
    let of = format!("{} {}", time(Path::new(KILN)), time(&mirror::made().join("made/stage3-amd64.tar.xz")));
    let (cache, noted) = (place.join("cache"), place.join("made-by"));
    if fs::read_to_string(&noted).is_ok_and(|noted| noted == of) {
        return cache;
    }
    let _ = fs::remove_file(&noted);
    let _ = fs::remove_dir_all(&cache);
    let mirror = Mirror::of(&["amd64"]);
    let project = Project::new(&[&mirror.url()]);
    project.kiln("update").exits(0);
    project.kiln("build").exits(0);
    copy(&project.cache, &cache);
    fs::write(noted, of).unwrap();
    cache
});

/// Copies a tree, with all that can be said of its files.
pub fn copy(from: &Path, to: &Path) {
    let mut command = Command::new("cp");
    let status = command.args(["-a", "--reflink=auto"]).arg(from).arg(to).status().unwrap();
    assert!(status.success(), "{command:?}");
}

/// The tree of a real kernel: that of `KILN_TEST_TREE`, or else the example project's.
pub fn kernel_tree() -> PathBuf {
    let tree =
        std::env::var_os("KILN_TEST_TREE").map_or(repository("cache/sources/linux-6.1"), PathBuf::from);
    assert!(tree.join("Kconfig").is_file(), "{} is no kernel tree: run scripts/source.sh", tree.display());
    tree
}

/// A path in kiln's own repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What kiln said, and how it ended.
pub struct Said {
    command: String,
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    pub fn of(args: &str, output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().unwrap_or_else(|| panic!("kiln {args}: {}", output.status));
        Self { command: format!("kiln {args}"), code, out: text(&output.stdout), err: text(&output.stderr) }
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self}");
        self
    }

    /// Wherever it says it.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.out.contains(text) || self.err.contains(text), "no {text:?} in\n{self}");
        self
    }

    #[track_caller]
    pub fn never_says(self, text: &str) -> Self {
        assert!(!self.out.contains(text) && !self.err.contains(text), "{text:?} in\n{self}");
        self
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, code, out, err } = self;
        write!(f, "$ {command}\n{out}--- stderr\n{err}--- exit code {code}")
    }
}

/// A build, told as JSON lines.
pub struct Built {
    pub said: Said,
    events: Vec<Value>,
}

impl Built {
    pub fn of(said: Said) -> Self {
        let events = said.out.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Self { said, events }
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.said.code, code, "{}", self.said);
        self
    }

    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        Self { said: self.said.says(text), ..self }
    }

    /// Names of the nodes that ran, sorted.
    pub fn ran(&self) -> Vec<&str> {
        let started = self.events.iter().filter(|event| event["event"] == "started");
        let mut names: Vec<_> = started.map(|event| event["node"].as_str().unwrap()).collect();
        names.sort_unstable();
        names
    }

    #[track_caller]
    pub fn runs(self, nodes: &[&str]) -> Self {
        let mut nodes = nodes.to_vec();
        nodes.sort_unstable();
        assert_eq!(self.ran(), nodes, "{}", self.said);
        self
    }
}
