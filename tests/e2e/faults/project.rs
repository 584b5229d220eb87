//! Projects of a few tiny actions, and kilns that build them.
//!
//! Every node is a shell script with a rule of its own: node `a:a` comes from `rules/a.ron`. In the sandbox its inputs
//! are at `/kiln/in/NAME`; it starts in its output directory and makes the output `o`, which is exported as `out/a/o`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use crate::support::output::KilnOutput;
use crate::support::project;
pub use crate::support::tools::TOOLS;

/// How long to wait for what must come to pass. Nothing is measured by it: a machine may be as slow as it likes.
const PATIENCE: Duration = Duration::from_mins(2);

/// A script that says it has begun, and goes on when its [`Gate`] is opened.
pub const GATE: &str = "touch begun; until [ -e go ]; do sleep 0.02; done";

/// A project in a directory of its own.
pub struct Project {
    project: project::Project,
    /// The cache as `graph.ron` has it.
    pub cache: PathBuf,
    sources: Vec<String>,
    nodes: Vec<Node>,
}

impl Deref for Project {
    type Target = project::Project;

    fn deref(&self) -> &project::Project {
        &self.project
    }
}

/// An action.
#[derive(Clone)]
pub struct Node {
    name: String,
    inputs: Vec<Input>,
    script: String,
    outputs: String,
    exported: bool,
    continues: bool,
}

/// What an action reads.
#[derive(Clone)]
pub enum Input {
    /// Output `o` of the node of that name, under that name.
    Node(String),
    /// A file of the project, as `/kiln/in/file`.
    File(String),
    /// The source tree of that name, under that name.
    Source(String),
}

/// A node without inputs.
pub fn node(name: &str, script: impl Into<String>) -> Node {
    Node {
        name: name.to_owned(),
        inputs: Vec::new(),
        script: script.into(),
        outputs: r#""o": File("o")"#.to_owned(),
        exported: true,
        continues: false,
    }
}

impl Node {
    /// It reads another node's output.
    pub fn reads(mut self, other: impl Into<String>) -> Self {
        self.inputs.push(Input::Node(other.into()));
        self
    }

    /// It reads a file of the project.
    pub fn reads_file(mut self, path: &str) -> Self {
        self.inputs.push(Input::File(path.to_owned()));
        self
    }

    /// It reads a source tree.
    pub fn reads_source(mut self, name: &str) -> Self {
        self.inputs.push(Input::Source(name.to_owned()));
        self
    }

    /// It declares these outputs instead of the one.
    pub fn makes(mut self, outputs: &str) -> Self {
        outputs.clone_into(&mut self.outputs);
        self
    }

    /// It is a kernel build, of the source tree that it reads, and goes on where its last run ended.
    pub fn continues(mut self) -> Self {
        self.continues = true;
        self
    }

    /// Its outputs stay in the cache.
    pub fn hidden(mut self) -> Self {
        self.exported = false;
        self
    }

    fn rule(&self) -> String {
        let mut inputs = String::new();
        let mut params = String::new();
        for input in &self.inputs {
            let (name, declaration) = match input {
                Input::Node(node) => {
                    write!(params, "\"of_{node}\": (type: Node, default: \"{node}:{node}\"), ").unwrap();
                    (node.as_str(), format!("Output(rule: \"{{of_{node}}}\", output: \"o\")"))
                }
                Input::File(path) => ("file", format!("File({path:?})")),
                Input::Source(source) => (source.as_str(), format!("Source({source:?})")),
            };
            write!(inputs, "{name:?}: {declaration}, ").unwrap();
        }
        let script = self.script.replace('{', "{{").replace('}', "}}");
        let trees = self.inputs.iter().filter_map(|input| match input {
            Input::Source(source) => Some(source),
            _ => None,
        });
        let continues = match trees.collect::<Vec<_>>() {
            trees if self.continues => {
                format!("incremental: Kbuild, discover: (inputs: {trees:?}, by: [Fanotify]),")
            }
            _ => String::new(),
        };
        let export = if self.exported { format!("export: {:?},", self.name) } else { String::new() };
        format!(
            "(version: 1, params: {{{params}}}, inputs: {{{inputs}}}, steps: [[\"sh\", \"-c\", {script:?}]],
              tools: [{TOOLS}], outputs: {{{}}}, {export} {continues})",
            self.outputs
        )
    }
}

impl Project {
    /// A project with these nodes.
    pub fn new(nodes: impl IntoIterator<Item = Node>) -> Self {
        let dir = tempfile::Builder::new().prefix("kiln-faults-").tempdir().unwrap();
        let cache = dir.path().join("cache");
        let nodes = nodes.into_iter().collect();
        let project =
            Self { project: project::Project::in_directory(dir), cache, sources: Vec::new(), nodes };
        project.describe();
        project
    }

    /// With a source tree, which is the directory of that name.
    pub fn with_source(mut self, name: &str) -> Self {
        self.sources.push(name.to_owned());
        self.describe();
        self
    }

    /// With its cache there.
    pub fn with_cache(mut self, cache: &Path) -> Self {
        cache.clone_into(&mut self.cache);
        self.describe();
        self
    }

    /// As an ordinary user's, if the tests run as root; to be called when all files are there.
    pub fn of_ordinary_user(mut self) -> Self {
        self.project = self.project.of_ordinary_user();
        self
    }

    /// With kiln run by these words, which end in executing their arguments.
    pub fn behind(mut self, words: &[&str]) -> Self {
        self.project = self.project.behind(words);
        self
    }

    /// The same project in another directory, with neither cache nor outputs.
    pub fn twin(&self) -> Self {
        let mut twin = Self::new(self.nodes.iter().cloned());
        for source in &self.sources {
            let copied = Command::new("cp").arg("-a").arg(self.path(source)).arg(twin.root()).status();
            assert!(copied.unwrap().success());
            twin = twin.with_source(source);
        }
        for entry in fs::read_dir(self.root()).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                fs::copy(entry.path(), twin.root().join(entry.file_name())).unwrap();
            }
        }
        twin.describe();
        twin
    }

    /// Replaces a node of the same name.
    pub fn replace(&mut self, node: Node) {
        self.nodes.retain(|other| other.name != node.name);
        self.nodes.push(node);
        self.describe();
    }

    /// Writes `graph.ron` and the rules.
    fn describe(&self) {
        let mut graph = "(version: 1, ".to_owned();
        let sources: String = self.sources.iter().map(|name| format!("{name:?}: Dir({name:?}), ")).collect();
        let actions: String =
            self.nodes.iter().map(|Node { name, .. }| format!("{name:?}: (rule: {name:?}), ")).collect();
        write!(graph, "sources: {{{sources}}}, actions: {{{actions}}}, ").unwrap();
        writeln!(graph, "cache: (path: \"{}\"))", self.cache.display()).unwrap();
        self.write("graph.ron", &graph);
        for node in &self.nodes {
            self.write(&format!("rules/{}.ron", node.name), &node.rule());
        }
    }

    /// All files below `out/`, with their contents.
    pub fn outputs(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let out = self.path("out");
        let files = files_below(&out).into_iter();
        files.map(|path| (path.strip_prefix(&out).unwrap().to_owned(), fs::read(&path).unwrap())).collect()
    }

    /// A kiln in this project.
    pub fn kiln<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.project.command("");
        command.args(arguments).env("HOME", self.root());
        command
    }

    /// Runs a kiln to its end.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> KilnOutput {
        let mut kiln = self.kiln(arguments);
        KilnOutput::of_any(format!("{kiln:?}"), &kiln.output().unwrap())
    }

    /// Builds all there is.
    pub fn build(&self) -> KilnOutput {
        self.run(["build", "-j2"])
    }

    /// Starts a build of all there is.
    pub fn start(&self) -> Running {
        let dir = tempfile::tempdir().unwrap();
        let create = |name: &str| File::create(dir.path().join(name)).unwrap();
        let mut command = self.kiln(["build", "-j2"]);
        let child = command.stdout(create("out")).stderr(create("err")).spawn().unwrap();
        Running { child, dir }
    }

    /// Builds, and asserts that nothing was to be done.
    pub fn assert_fresh(&self) {
        let ended = self.build().exits(0);
        assert!(ended.out.contains("everything is up to date"), "{}{}", ended.out, ended.err);
    }

    /// Asserts that `out/` holds what a build of the same project from nothing makes.
    pub fn assert_as_if_clean(&self) {
        let twin = self.twin();
        twin.build().exits(0);
        let show = |outputs: BTreeMap<PathBuf, Vec<u8>>| -> BTreeMap<PathBuf, String> {
            outputs.into_iter().map(|(path, content)| (path, lossy(&content))).collect()
        };
        assert_eq!(show(self.outputs()), show(twin.outputs()));
    }

    /// How many recorded runs of a node, in any project of the cache, had that outcome.
    pub fn runs(&self, name: &str, outcome: &str) -> u32 {
        let count = "SELECT count(*) FROM run WHERE node = ?1 AND outcome = ?2";
        let node = format!("{name}:{name}");
        self.index().query_row(count, (node, outcome), |row| row.get(0)).unwrap()
    }

    /// The cache's index.
    pub fn index(&self) -> Connection {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let index = Connection::open_with_flags(self.cache.join("index.sqlite"), flags).unwrap();
        index.busy_timeout(PATIENCE).unwrap();
        index
    }

    /// Every blob in the cache.
    pub fn blobs(&self) -> Vec<PathBuf> {
        let mut blobs = files_below(&self.cache.join("cas"));
        blobs.retain(|path| !path.starts_with(self.cache.join("cas/damaged")));
        blobs
    }

    /// The blob with that content.
    pub fn blob(&self, content: &str) -> PathBuf {
        let blobs = self.blobs().into_iter();
        let mut with_content = blobs.filter(|blob| fs::read(blob).unwrap() == content.as_bytes());
        with_content.next().unwrap_or_else(|| panic!("no blob with {content:?}"))
    }

    /// Waits until a node's script, [`GATE`] in it, has begun.
    pub fn gate(&self, name: &str) -> Gate {
        self.other_gate(name, None)
    }

    /// The same, but for one that is known already.
    pub fn other_gate(&self, name: &str, known: Option<&Gate>) -> Gate {
        let prefix = format!("{name}_{name}-");
        let find = || {
            let sessions = entries(&self.cache.join("work")).into_iter();
            let dirs = sessions.flat_map(|session| entries(&session));
            let of_node = dirs.filter(|dir| dir.file_name().unwrap().to_string_lossy().starts_with(&prefix));
            let mut begun = of_node.map(|dir| dir.join("out")).filter(|out| out.join("begun").exists());
            begun.find(|out| known.is_none_or(|known| known.0 != *out))
        };
        until(&format!("{name} has begun"), || find().is_some());
        Gate(find().expect("it stays until its gate is opened"))
    }

    /// The processes in sandboxes of this project: those that see a part of its cache under another name.
    pub fn sandboxed(&self) -> Vec<i32> {
        let needle = format!("{}/work/", self.cache.strip_prefix(std::env::temp_dir()).unwrap().display());
        let processes = entries(Path::new("/proc")).into_iter();
        let with_id = processes.filter_map(|dir| Some((dir.file_name()?.to_str()?.parse().ok()?, dir)));
        with_id
            .filter(|(_, dir)| {
                fs::read_to_string(dir.join("mountinfo")).is_ok_and(|text| text.contains(&needle))
            })
            .map(|(id, _)| id)
            .collect()
    }

    /// Waits until none of them is left.
    pub fn until_none_sandboxed(&self) {
        until("no sandboxed process is left", || self.sandboxed().is_empty());
    }
}

/// A script that waits.
pub struct Gate(PathBuf);

impl Gate {
    /// Lets it go on.
    pub fn open(&self) {
        File::create(self.0.join("go")).unwrap();
    }
}

/// A kiln that runs. Killed when dropped.
pub struct Running {
    child: Child,
    dir: TempDir,
}

impl Running {
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// What it wrote to standard error so far.
    pub fn err(&self) -> String {
        lossy(&fs::read(self.dir.path().join("err")).unwrap())
    }

    pub fn until_says(&self, text: &str) {
        until(&format!("kiln says {text:?}"), || self.err().contains(text));
    }

    /// Waits for its end.
    pub fn end(mut self) -> KilnOutput {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < PATIENCE, "kiln does not end:\n{}", self.err());
            sleep(Duration::from_millis(5));
        };
        let [stdout, stderr] = ["out", "err"].map(|name| fs::read(self.dir.path().join(name)).unwrap());
        KilnOutput::of_any("kiln build -j2", &Output { status, stdout, stderr })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something is so.
pub fn until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        sleep(Duration::from_millis(10));
    }
}

/// Whether the tests may do what only root can; says what is left out where they may not.
pub fn is_root(what: &str) -> bool {
    let root = geteuid().is_root();
    if !root {
        eprintln!("skipped: {what} needs root");
    }
    root
}

/// What is in a directory, sorted; nothing, if it is not there.
pub fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    entries
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let (dirs, mut files): (Vec<_>, Vec<_>) =
        entries(dir).into_iter().partition(|path| path.is_dir() && !path.is_symlink());
    files.extend(dirs.iter().flat_map(|dir| files_below(dir)));
    files
}

pub fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A name that is not UTF-8.
pub fn not_utf8() -> &'static OsStr {
    OsStr::from_bytes(b"caf\xe9")
}
