//! A project with roots, and kiln run in it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::UNIX_EPOCH;

use nix::fcntl::{Flock, FlockArg};
use serde_json::Value;

use super::mirror::{self, Mirror};
use crate::support::project;
pub use crate::support::project::{Build, KilnOutput, kernel_tree, repository};

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

/// A project with roots, and a cache that may be elsewhere.
pub struct Project {
    project: project::Project,
    pub cache: PathBuf,
}

impl Deref for Project {
    type Target = project::Project;

    fn deref(&self) -> &project::Project {
        &self.project
    }
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
        let project = Self { project: project::Project::in_directory(dir), cache };
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
        self.project = self.project.behind(&["sh", "-c", script, "sh"]);
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

    /// Runs kiln to its end.
    pub fn kiln(&self, args: &str) -> KilnOutput {
        KilnOutput::of_any(format!("kiln {args}"), &self.command(args).output().unwrap())
    }

    /// Runs kiln to its end with these variables in its environment.
    pub fn kiln_with(&self, args: &str, variables: &[(&str, &str)]) -> KilnOutput {
        KilnOutput::of_any(
            format!("kiln {args}"),
            &self.command(args).envs(variables.iter().copied()).output().unwrap(),
        )
    }

    /// Starts kiln.
    pub fn start(&self, args: &str) -> Child {
        self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Builds, and tells what ran.
    pub fn build(&self, args: &str) -> Build {
        Build::new(self.kiln(&format!("build -j2 --format json-lines {args}")))
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
        self.kiln("build").exits(0).mentions("everything is up to date");
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
