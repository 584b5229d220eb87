//! Random graphs, random edits: what an incremental build leaves below `out/` is what a clean one makes, a node runs
//! only if nobody has seen what it reads, and the plan says beforehand which do.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use serde_json::Value;
use tempfile::TempDir;

/// How many graphs; `PROPTEST_CASES` asks for another number.
const CASES: u32 = 24;

/// Files of the project, which nodes read one by one.
const FILES: usize = 3;

/// Files of the source tree.
const TREE: [&str; 4] = ["a", "b", "d/c", "d/e"];

/// What is in a file, and whether it may be executed. Few contents, so that edits undo each other now and then.
type Content = (u8, bool);

#[derive(Clone, Debug)]
struct Project {
    files: [Content; FILES],
    tree: BTreeMap<&'static str, Content>,
    nodes: Vec<Node>,
}

/// A node with a rule of its own. All contents have only digits in them, and spec and shell need no quoting.
#[derive(Clone, Debug)]
struct Node {
    does: Does,
    salt: u8,
    env: u8,
    line: u8,
    file: Option<usize>,
    concat: Vec<usize>,
    tree: bool,
    /// Nodes before it.
    deps: BTreeSet<usize>,
    /// Which of two places its output goes to.
    place: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    /// Everything goes into the output.
    Cat,
    /// Only the first letter of what it reads does, so that many an edit is cut off here.
    Head,
    /// Nothing does.
    Constant,
    /// The file is copied with its mode.
    Copy,
    /// It fails if there is a 3 in what it reads.
    Picky,
}

#[derive(Clone, Debug)]
enum Edit {
    File(usize, u8),
    FileMode(usize),
    TreeFile(usize, u8),
    TreeMode(usize),
    TreeRemove(usize),
    Salt(usize, u8),
    Env(usize, u8),
    Line(usize, u8),
    Does(usize, Does),
    Dep(usize, usize),
    Place(usize),
    DeleteOutput(usize),
    SpoilOutput(usize),
    DeleteBlob(usize),
    Force(usize),
}

fn does() -> impl Strategy<Value = Does> {
    prop_oneof![Just(Does::Cat), Just(Does::Head), Just(Does::Constant), Just(Does::Copy), Just(Does::Picky)]
}

fn content() -> impl Strategy<Value = Content> {
    (0..4_u8, any::<bool>())
}

fn node(index: usize) -> impl Strategy<Value = Node> {
    let inputs = (
        proptest::option::of(0..FILES),
        proptest::collection::vec(0..FILES, 0..3),
        any::<bool>(),
        proptest::collection::btree_set(0..index.max(1), 0..3),
    );
    (does(), 0..2_u8, 0..2_u8, 0..2_u8, inputs).prop_map(
        move |(does, salt, env, line, (file, concat, tree, mut deps))| {
            deps.retain(|&dep| dep < index);
            Node { does, salt, env, line, file, concat, tree, deps, place: false }
        },
    )
}

fn project() -> impl Strategy<Value = Project> {
    let nodes = (2..6_usize).prop_flat_map(|count| (0..count).map(node).collect::<Vec<_>>());
    let tree = proptest::collection::vec(proptest::option::of(content()), TREE.len());
    (proptest::array::uniform3(content()), tree, nodes).prop_map(|(files, tree, nodes)| {
        let tree = TREE.into_iter().zip(tree).filter_map(|(name, content)| Some((name, content?))).collect();
        Project { files, tree, nodes }
    })
}

fn edit() -> impl Strategy<Value = Edit> {
    let (at, value) = (0..8_usize, 0..4_u8);
    prop_oneof![
        3 => (at.clone(), value.clone()).prop_map(|(at, value)| Edit::File(at, value)),
        1 => at.clone().prop_map(Edit::FileMode),
        2 => (at.clone(), value.clone()).prop_map(|(at, value)| Edit::TreeFile(at, value)),
        1 => at.clone().prop_map(Edit::TreeMode),
        1 => at.clone().prop_map(Edit::TreeRemove),
        1 => (at.clone(), value.clone()).prop_map(|(at, value)| Edit::Salt(at, value)),
        1 => (at.clone(), value.clone()).prop_map(|(at, value)| Edit::Env(at, value)),
        1 => (at.clone(), value).prop_map(|(at, value)| Edit::Line(at, value)),
        1 => (at.clone(), does()).prop_map(|(at, does)| Edit::Does(at, does)),
        1 => (at.clone(), 0..8_usize).prop_map(|(at, dep)| Edit::Dep(at, dep)),
        1 => at.clone().prop_map(Edit::Place),
        1 => at.clone().prop_map(Edit::DeleteOutput),
        1 => at.clone().prop_map(Edit::SpoilOutput),
        2 => (0..64_usize).prop_map(Edit::DeleteBlob),
        1 => at.prop_map(Edit::Force),
    ]
}

impl Node {
    fn out(&self, index: usize) -> String {
        format!("{}/n{index}/o", if self.place { "there" } else { "here" })
    }

    fn inputs(&self) -> Vec<String> {
        let mut inputs: Vec<String> = self.deps.iter().map(|dep| format!("up{dep}")).collect();
        inputs.extend(self.file.map(|_| "file".to_owned()));
        inputs.push("concat".to_owned());
        inputs.extend(self.tree.then(|| "tree".to_owned()));
        inputs
    }

    fn script(&self) -> &'static str {
        const ALL: &str = "all() { echo $SALT $E; for i; do if [ -d $i ]; then cd $i; \
             for f in $(find . -type f | sort); do echo $f; [ ! -x $f ] || echo x; cat $f; done; cd /kiln/out; \
             else [ ! -x $i ] || echo x; cat $i; fi; done; }; SALT=$1; shift; ";
        match self.does {
            Does::Cat => concat_all(ALL, "all $@ > o"),
            Does::Head => concat_all(ALL, "shift $(($# - 1)); all $1 | tail -n +2 | head -c 1 > o"),
            Does::Constant => "echo same > o",
            Does::Copy => "shift; [ -f $1 ] || set -- /etc/hostname-that-is-not; cp $1 o || echo none > o",
            Does::Picky => concat_all(ALL, "all $@ > o; ! grep -q 3 o"),
        }
    }

    fn rule(&self, index: usize) -> String {
        let mut inputs = String::new();
        for dep in &self.deps {
            write!(inputs, "\"up{dep}\": Output(rule: \"{{up{dep}}}\", output: \"o\"), ").unwrap();
        }
        if let Some(file) = self.file {
            write!(inputs, "\"file\": File(\"f{file}\"), ").unwrap();
        }
        inputs.push_str("\"concat\": Concat(files: \"{files}\", lines: \"{lines}\"), ");
        if self.tree {
            inputs.push_str("\"tree\": Source(\"src\"), ");
        }
        let params: String = self.deps.iter().fold(String::new(), |mut params, dep| {
            write!(params, "\"up{dep}\": (type: Node), ").unwrap();
            params
        });
        let arguments: String = self.inputs().iter().fold(String::new(), |mut arguments, input| {
            write!(arguments, ", \"{{in.{input}}}\"").unwrap();
            arguments
        });
        let script = self.script().replace('{', "{{").replace('}', "}}");
        let export = self.out(index);
        let export = export.trim_end_matches("/o");
        format!(
            "(version: 1, params: {{{params}\"files\": (type: Paths), \"lines\": (type: Strs), \"salt\": (type: Str)}},\n\
             inputs: {{{inputs}}},\nenv: {{\"E\": \"{}\"}},\n\
             steps: [[\"sh\", \"-c\", \"{script}\", \"sh\", \"{{salt}}\"{arguments}]],\n\
             outputs: {{\"o\": File(\"o\")}}, export: \"{export}\",\n\
             tools: [\"sh\", \"cat\", \"cp\", \"find\", \"grep\", \"head\", \"sort\", \"tail\"])\n",
            self.env
        )
    }
}

fn concat_all(all: &'static str, then: &str) -> &'static str {
    // Leaked once a script: there are four.
    static SCRIPTS: std::sync::Mutex<BTreeMap<String, &'static str>> = std::sync::Mutex::new(BTreeMap::new());
    let script = format!("{all}{then}");
    SCRIPTS.lock().unwrap().entry(script.clone()).or_insert_with(|| script.leak())
}

fn name(index: usize) -> String {
    format!("n{index}:x{index}")
}

impl Project {
    fn spec(&self) -> String {
        let mut actions = String::new();
        for (index, node) in self.nodes.iter().enumerate() {
            let files: Vec<String> = node.concat.iter().map(|file| format!("\"f{file}\"")).collect();
            let ups = node.deps.iter().fold(String::new(), |mut ups, dep| {
                write!(ups, "\"up{dep}\": \"n{dep}:x{dep}\", ").unwrap();
                ups
            });
            writeln!(
                actions,
                "\"x{index}\": (rule: \"n{index}\", params: {{{ups}\"files\": [{}], \"lines\": [\"{}\"], \"salt\": \"{}\"}}),",
                files.join(", "),
                node.line,
                node.salt
            )
            .unwrap();
        }
        format!("(version: 1, sources: {{\"src\": Dir(\"src\")}}, actions: {{\n{actions}}})\n")
    }

    /// Writes what differs, and leaves the rest alone.
    fn write(&self, root: &Path) {
        let mut files: BTreeMap<PathBuf, (String, bool)> = BTreeMap::new();
        files.insert("graph.ron".into(), (self.spec(), false));
        for (index, node) in self.nodes.iter().enumerate() {
            files.insert(format!("rules/n{index}.ron").into(), (node.rule(index), false));
        }
        for (index, (content, executable)) in self.files.iter().enumerate() {
            files.insert(format!("f{index}").into(), (format!("{content}\n"), *executable));
        }
        for (path, (content, executable)) in &self.tree {
            files.insert(format!("src/{path}").into(), (format!("{content}\n"), *executable));
        }
        fs::create_dir_all(root.join("src/d")).unwrap();
        fs::create_dir_all(root.join("rules")).unwrap();
        for path in TREE.iter().map(|path| format!("src/{path}")) {
            if !files.contains_key(Path::new(&path)) {
                let _ = fs::remove_file(root.join(path));
            }
        }
        for (path, (content, executable)) in files {
            let path = root.join(path);
            if fs::read_to_string(&path).is_ok_and(|old| old == content) {
                // Its times stay what they are.
            } else {
                fs::write(&path, content).unwrap();
            }
            let mode = if executable { 0o755 } else { 0o644 };
            if fs::metadata(&path).unwrap().permissions().mode() & 0o777 != mode {
                fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            }
        }
    }

    fn edit(&mut self, edit: &Edit) {
        let count = self.nodes.len();
        match *edit {
            Edit::File(at, value) => self.files[at % FILES].0 = value,
            Edit::FileMode(at) => self.files[at % FILES].1 ^= true,
            Edit::TreeFile(at, value) => self.tree.entry(TREE[at % TREE.len()]).or_default().0 = value,
            Edit::TreeMode(at) => {
                if let Some(file) = self.tree.get_mut(TREE[at % TREE.len()]) {
                    file.1 ^= true;
                }
            }
            Edit::TreeRemove(at) => {
                self.tree.remove(TREE[at % TREE.len()]);
            }
            Edit::Salt(at, value) => self.nodes[at % count].salt = value,
            Edit::Env(at, value) => self.nodes[at % count].env = value,
            Edit::Line(at, value) => self.nodes[at % count].line = value,
            Edit::Does(at, does) => self.nodes[at % count].does = does,
            Edit::Dep(at, dep) => {
                let (at, dep) = (at % count, dep % count);
                let deps = &mut self.nodes[at].deps;
                if dep < at && !deps.remove(&dep) {
                    deps.insert(dep);
                }
            }
            Edit::Place(at) => self.nodes[at % count].place ^= true,
            Edit::DeleteOutput(_) | Edit::SpoilOutput(_) | Edit::DeleteBlob(_) | Edit::Force(_) => {}
        }
    }

    /// All that decides what a node makes; `None` where something that it reads was not made.
    fn view(&self, index: usize, made: &BTreeMap<usize, (Vec<u8>, bool)>) -> Option<String> {
        let node = &self.nodes[index];
        let ups: Option<Vec<_>> = node.deps.iter().map(|dep| Some((dep, made.get(dep)?))).collect();
        let file = node.file.map(|file| self.files[file]);
        let concat: Vec<u8> = node.concat.iter().map(|&file| self.files[file].0).collect();
        let tree = node.tree.then_some(&self.tree);
        let (does, salt, env, line) = (node.does, node.salt, node.env, node.line);
        Some(format!("{does:?} {salt} {env} {line} {file:?} {concat:?} {tree:?} {:?}", ups?))
    }
}

/// A build, or a plan, as it tells of itself.
struct Told {
    /// node -> how it came to its outcome, and which.
    nodes: BTreeMap<String, (String, String)>,
    code: i32,
}

fn kiln(root: &Path, arguments: &[&str], force: &[String]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
    command.current_dir(root).args(arguments);
    for node in force {
        command.args(["--force", node]);
    }
    let output = command.output().unwrap();
    let code = output.status.code().unwrap_or(-1);
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(matches!(code, 0 | 1), "{arguments:?}: {code}\n{err}{out}");
    (code, out)
}

fn build(root: &Path, force: &[String]) -> Told {
    let (code, text) = kiln(root, &["build", "-k", "--format", "json-lines"], force);
    let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let word = |event: &Value, key: &str| event[key].as_str().unwrap().to_owned();
    let nodes = events
        .filter(|event| event["event"] == "finished")
        .map(|event| (word(&event, "node"), (word(&event, "how"), word(&event, "outcome"))))
        .collect();
    Told { nodes, code }
}

fn plan(root: &Path, force: &[String]) -> BTreeMap<String, String> {
    let (_, text) = kiln(root, &["plan", "--format", "json"], force);
    let plan: Value = serde_json::from_str(&text).unwrap();
    let nodes = plan["nodes"].as_array().unwrap().iter();
    nodes
        .map(|node| (node["name"].as_str().unwrap().to_owned(), node["verdict"].as_str().unwrap().to_owned()))
        .collect()
}

fn output(root: &Path, project: &Project, index: usize) -> Option<(Vec<u8>, bool)> {
    let path = root.join("out").join(project.nodes[index].out(index));
    let executable = fs::metadata(&path).ok()?.permissions().mode() & 0o100 != 0;
    Some((fs::read(path).ok()?, executable))
}

/// One project with its cache, and what was seen in it.
struct Bench {
    dir: TempDir,
    project: Project,
    /// What nodes that `read_by_passing` have read.
    seen: HashSet<String>,
    /// What they made last.
    made: BTreeMap<usize, (Vec<u8>, bool)>,
    /// Blobs that were deleted at some time: what makes one may run when it is next wanted.
    lost: Vec<Vec<u8>>,
}

impl Bench {
    fn new(project: Project) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, project, seen: HashSet::new(), made: BTreeMap::new(), lost: Vec::new() }
    }

    /// Builds after some edits, and holds what happens against what should.
    fn build(&mut self, edits: &[Edit]) {
        let mut force = Vec::new();
        let root = self.dir.path().to_owned();
        for edit in edits {
            let count = self.project.nodes.len();
            let out = |at: usize| root.join("out").join(self.project.nodes[at % count].out(at % count));
            match *edit {
                Edit::DeleteOutput(at) => drop(fs::remove_file(out(at))),
                Edit::SpoilOutput(at) if out(at).exists() => fs::write(out(at), "spoilt").unwrap(),
                Edit::DeleteBlob(at) => self.lost.extend(delete_blob(&root, at)),
                Edit::Force(at) => force.push(name(at % count)),
                _ => {}
            }
            self.project.edit(edit);
        }
        self.project.write(&root);

        let planned = plan(&root, &force);
        let told = build(&root, &force);
        let clean = tempfile::tempdir().unwrap();
        self.project.write(clean.path());
        let clean_told = build(clean.path(), &[]);
        assert_eq!(told.code, clean_told.code, "the exit code is that of a clean build");

        let mut made = BTreeMap::new();
        let mut news: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        let mut read_by_passing = HashSet::new();
        for index in 0..self.project.nodes.len() {
            let name = name(index);
            let passes = clean_told.nodes.get(&name).is_some_and(|(_, outcome)| outcome == "pass");
            let view = self.project.view(index, &made);
            let how = told.nodes.get(&name).map(|(how, _)| how.as_str());
            let ran = how.is_some_and(|how| how.starts_with("ran"));
            let verdict = planned[&name].as_str();

            // The plan and the run agree.
            match verdict {
                "fresh" => assert_eq!(how, None, "{name} is fresh"),
                "cached" => assert_eq!(how, Some("restored"), "{name} is cached"),
                "stale" => assert!(how.is_some(), "{name} is stale"),
                "blocked" => assert!(!ran, "{name} is blocked"),
                _ => assert_eq!(verdict, "unknown"),
            }
            let Some(view) = view else {
                assert!(!ran, "{name} lacks an input, and ran");
                continue;
            };
            // It ran if and only if there was a reason.
            let before = self.made.get(&index);
            let was_lost = |(bytes, _): &(Vec<u8>, bool)| self.lost.contains(bytes);
            let clean_output = output(clean.path(), &self.project, index).filter(|_| passes);
            let may_be_lost = before.is_some_and(was_lost) || clean_output.as_ref().is_some_and(was_lost);
            let forced = force.contains(&name);
            assert!(ran || !forced, "{name} is forced, and did not run");
            if !self.seen.contains(&view) {
                let (ran_so_far, at_most) = news.entry(view).or_insert((0, 1));
                *ran_so_far += usize::from(ran);
                *at_most += usize::from(forced || !passes);
            } else if ran && !forced && !may_be_lost {
                panic!("{name} ran ({verdict}), though what it reads was seen: {view}");
            }
            // What it made is what it makes in a clean build.
            if passes {
                let output = output(&root, &self.project, index);
                assert!(clean_output.is_some(), "{name} made nothing");
                assert_eq!(output, clean_output, "{name} differs from a clean build");
                made.extend(output.map(|output| (index, output)));
                read_by_passing.insert(self.project.view(index, &made).expect("it has one"));
            }
        }
        for (view, (ran, at_most)) in news {
            assert!(
                (1..=at_most).contains(&ran),
                "{ran} nodes ran that read this for the first time: {view}"
            );
        }
        self.seen.extend(read_by_passing);
        self.made = made;

        // A second build runs what failed, and nothing else.
        let planned = plan(&root, &[]);
        let again = build(&root, &[]);
        for (name, (how, outcome)) in &again.nodes {
            assert!(how == "ran" && outcome == "fail", "{name} ran again: {how}, {outcome}");
            assert_eq!(planned[name], "stale", "{name}");
        }
    }
}

/// Deletes a blob, and gives what was in it.
fn delete_blob(root: &Path, at: usize) -> Option<Vec<u8>> {
    let mut blobs: Vec<PathBuf> = fs::read_dir(root.join("cache/cas"))
        .ok()?
        .flat_map(|dir| fs::read_dir(dir.unwrap().path()).into_iter().flatten())
        .map(|blob| blob.unwrap().path())
        .collect();
    blobs.sort();
    let blob = blobs.get(at % blobs.len().max(1))?;
    let bytes = fs::read(blob).unwrap();
    fs::remove_file(blob).unwrap();
    Some(bytes)
}

fn config() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: asked.unwrap_or(CASES),
        max_shrink_iters: 30,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            "proptest-regressions/random_graphs.txt",
        ))),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn an_incremental_build_is_a_clean_build(
        project in project(),
        rounds in proptest::collection::vec(proptest::collection::vec(edit(), 1..4), 1..4),
    ) {
        let mut bench = Bench::new(project);
        bench.build(&[]);
        for edits in &rounds {
            bench.build(edits);
        }
    }
}
