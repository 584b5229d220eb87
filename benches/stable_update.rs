//! What one stable update of a kernel costs, file by file: which builds an edit leaves alone, which it lets continue,
//! and what of that goes no further.
//!
//! `make stable-update` gets two successive versions of Debian's linux-source-6.12 and runs this. By hand:
//! `KILN_OLD_TREE=.. KILN_NEW_TREE=.. cargo bench --bench stable_update`. Both trees are only read: it works on a copy.
//!
//! Each file that differs is an edit of its own, in the order of their paths, and after each the builds are made that
//! it makes stale. An edit that leaves everything fresh is found in company: if some are made at once and the plan says
//! that all is fresh, each of them alone leaves all fresh, as a path that a build reads would have changed its key. If it
//! says otherwise, they are taken back and made in smaller groups.
//!
//! An edit with which a build fails is part of a change to several files: it is taken back, and made at the end, with up to
//! 20 others at once.
//!
//! `KILN_UPDATE_SAMPLES` (3) is how often on the way, besides the end, all is built from nothing with an empty cache and
//! compared bit for bit. `KILN_UPDATE_MINUTES` (no limit) is when to stop building for single edits: what they make stale is
//! then built at the end, too.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use common::{kiln, run_well, scratch, setting};

/// The two builds, as they are called and what they are called in the table.
const BUILDS: [(&str, &str); 2] =
    [("linux-6.12/x86_64/tinyconfig/gcc", "tinyconfig"), ("linux-6.12/x86_64/tiny-pc/gcc", "tiny-pc")];

/// The most edits that are tried at once.
const COMPANY: usize = 64;

/// How many of the edits that were put aside are made at once.
const GROUP: usize = 20;

/// Said where a kernel was built from nothing and kiln gives no reason.
const NOTHING_KEPT: &str = "nothing was kept";

/// What must be the same in a build from nothing.
const COMPARED: [&str; 4] = ["vmlinux", "bzImage", "System.map", "config"];

fn main() {
    let (Some(old), Some(new)) = (given("KILN_OLD_TREE"), given("KILN_NEW_TREE")) else {
        println!(
            "skipped: set KILN_OLD_TREE and KILN_NEW_TREE to two kernel trees, or run `make stable-update`"
        );
        return;
    };
    let edits = differences(&old, &new);
    println!("{} files differ", edits.len());
    let mut update = Update::new(old, new, &edits);
    update.run();
    update.report();
}

fn given(name: &str) -> Option<PathBuf> {
    let tree = fs::canonicalize(std::env::var_os(name)?).ok()?;
    tree.join("Makefile").is_file().then_some(tree)
}

/// Paths of what is a file or a link in one of the trees and not the same in the other, sorted.
fn differences(old: &Path, new: &Path) -> Vec<PathBuf> {
    let mut found = BTreeSet::new();
    let mut dirs = vec![PathBuf::new()];
    while let Some(dir) = dirs.pop() {
        let names: BTreeSet<_> = [old, new]
            .iter()
            .filter_map(|tree| fs::read_dir(tree.join(&dir)).ok())
            .flatten()
            .map(|entry| entry.expect("a readable tree").file_name())
            .collect();
        for path in names.iter().map(|name| dir.join(name)) {
            let (here, there) = (Thing::read(&old.join(&path)), Thing::read(&new.join(&path)));
            if here == Thing::Dir || there == Thing::Dir {
                dirs.push(path.clone());
            }
            let differs = here != there && (here != Thing::Absent || there != Thing::Dir);
            if differs && (there != Thing::Absent || here != Thing::Dir) {
                found.insert(path);
            }
        }
    }
    found.into_iter().collect()
}

/// What a path is.
#[derive(PartialEq, Eq)]
enum Thing {
    Absent,
    Dir,
    File(Vec<u8>, fs::Permissions),
    Link(PathBuf),
}

impl Thing {
    fn read(path: &Path) -> Self {
        let Ok(stat) = fs::symlink_metadata(path) else { return Self::Absent };
        if stat.is_dir() {
            Self::Dir
        } else if stat.is_symlink() {
            Self::Link(fs::read_link(path).expect("a readable link"))
        } else {
            Self::File(fs::read(path).expect("a readable file"), stat.permissions())
        }
    }
}

/// A project with both builds. The tree is `tree`, below it or a link.
struct Project(PathBuf);

impl Project {
    fn new(dir: PathBuf) -> Self {
        let project = Self(dir);
        run_well(&mut kiln(&project.0, &["init", "--source", "tree"]));
        let graph = project.0.join("graph.ron");
        let text = fs::read_to_string(&graph).expect("kiln init wrote it");
        let entry = "(extends: [\"stable\"], archs: [\"x86_64\"], defconfigs: [\"tinyconfig\"]),";
        let text =
            text.replace("linux-6.1", "linux-6.12").replace("builds: [", &format!("builds: [\n{entry}"));
        fs::write(&graph, text).expect("it can be written");
        project
    }

    fn json(&self, args: &[&str]) -> (Vec<Value>, i32, Duration) {
        let began = Instant::now();
        let said = kiln(&self.0, args).stderr(Stdio::inherit()).output().expect("kiln runs");
        let took = began.elapsed();
        let values = serde_json::Deserializer::from_slice(&said.stdout).into_iter();
        let values = values.collect::<Result<_, _>>().expect("JSON");
        (values, said.status.code().expect("an exit code"), took)
    }

    fn output(&self, build: &str, name: &str) -> Vec<u8> {
        let path = self.0.join("out").join(build).join(name);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

/// What came of making some edits.
enum Tried {
    /// They are made, and what they make stale is built.
    Made,
    /// They are taken back, to be made in smaller groups.
    TooMany,
    /// It is taken back, to be made with others at the end.
    Aside,
}

/// What became of the pairs of an edit and one build.
#[derive(Default)]
struct Tally {
    skipped: usize,
    /// The configuration was made anew and came to the same: no kernel ran.
    configured: usize,
    continued: usize,
    scratch: usize,
    /// Of edits that were made with others at once.
    together: usize,
    /// Of those rebuilt, the ones that made the same files, and those after which no boot ran.
    unchanged: usize,
    boots_left: usize,
    boots: usize,
    /// Why there was nothing to continue in.
    reasons: BTreeMap<String, usize>,
}

struct Update<'a> {
    old: PathBuf,
    new: PathBuf,
    edits: &'a [PathBuf],
    project: Project,
    tallies: [Tally; BUILDS.len()],
    /// Edits to be made at the end.
    aside: Vec<PathBuf>,
    plans: usize,
    planning: Duration,
    builds: usize,
    building: Duration,
    samples: usize,
    wrong: Vec<String>,
}

impl<'a> Update<'a> {
    fn new(old: PathBuf, new: PathBuf, edits: &'a [PathBuf]) -> Self {
        let dir = scratch("stable-update");
        fs::remove_dir_all(&dir).expect("what an earlier run left can be removed");
        let project = dir.join("project");
        fs::create_dir_all(&project).expect("a directory");
        run_well(Command::new("cp").args(["-a", "--reflink=auto"]).args([&old, &project.join("tree")]));
        let project = Project::new(project);
        let (events, code, took) = project.json(&["build", "-k", "--format", "json-lines"]);
        assert!(code == 0, "the old tree does not build: {events:?}");
        println!("both built in {took:.1?}");
        Self {
            old,
            new,
            edits,
            project,
            tallies: Default::default(),
            aside: Vec::new(),
            plans: 0,
            planning: Duration::ZERO,
            builds: 0,
            building: Duration::ZERO,
            samples: 0,
            wrong: Vec::new(),
        }
    }

    fn run(&mut self) {
        let began = Instant::now();
        let limit = std::env::var_os("KILN_UPDATE_MINUTES").map(|_| setting("KILN_UPDATE_MINUTES", 0));
        let samples = setting("KILN_UPDATE_SAMPLES", 3);
        let (mut at, mut company) = (0, 1);
        while at < self.edits.len() {
            let late = limit.is_some_and(|limit| began.elapsed().as_secs() >= limit as u64 * 60);
            let group = &self.edits[at..(at + company).min(self.edits.len())];
            match self.tried(group, at, late) {
                Tried::TooMany => {
                    company = (company / 4).max(1);
                    continue;
                }
                Tried::Made => company = (company * 2).min(COMPANY),
                Tried::Aside => self.aside.extend_from_slice(group),
            }
            at += group.len();
            if self.samples < at * (samples + 1) / self.edits.len().max(1) && at < self.edits.len() {
                self.compare(at);
            }
        }
        self.rest();
        self.compare(at);
    }

    /// Makes some edits, and builds what is stale then: that of one edit, if there is time, and it passes. Takes them back
    /// otherwise.
    fn tried(&mut self, group: &[PathBuf], at: usize, late: bool) -> Tried {
        let tree = self.project.0.join("tree");
        apply(group, &self.new, &tree);
        let (plan, code, took) = self.project.json(&["plan", "--format", "json"]);
        assert!(code == 0, "no plan");
        self.plans += 1;
        self.planning += took;
        let stale = BUILDS.map(|(build, _)| is_stale(&plan[0], build));
        if stale == [false; BUILDS.len()] {
            self.tallies.iter_mut().for_each(|tally| tally.skipped += group.len());
            return Tried::Made;
        }
        if late || group.len() > 1 {
            apply(group, &self.old, &tree);
            return if group.len() > 1 { Tried::TooMany } else { Tried::Aside };
        }
        let ran = self.built(&format!("[{}/{}] {}", at + 1, self.edits.len(), group[0].display()));
        if ran.iter().any(|ran| ran.failed) {
            apply(group, &self.old, &tree);
            let (events, code, _) = self.project.json(&["build", "-k", "--format", "json-lines"]);
            if code != 0 {
                self.wrong.push(format!("what had passed fails: {events:?}"));
            }
            return Tried::Aside;
        }
        for (ran, tally) in ran.iter().zip(&mut self.tallies) {
            tally.count(ran);
        }
        Tried::Made
    }

    /// Makes the edits that were put aside, some at once.
    fn rest(&mut self) {
        let aside = std::mem::take(&mut self.aside);
        self.tallies.iter_mut().for_each(|tally| tally.together += aside.len());
        let mut failed = false;
        for group in aside.chunks(GROUP) {
            apply(group, &self.new, &self.project.0.join("tree"));
            let ran = self.built(&format!("[the rest] {} and {} more", group[0].display(), group.len() - 1));
            failed = ran.iter().any(|ran| ran.failed);
        }
        if failed {
            self.wrong.push("the new tree does not build".to_owned());
        }
    }

    /// Builds what is stale, and says what that was.
    fn built(&mut self, what: &str) -> [Ran; BUILDS.len()] {
        let (events, code, took) = self.project.json(&["build", "-k", "--format", "json-lines"]);
        assert!(matches!(code, 0 | 1 | 4), "exit code {code}");
        self.builds += 1;
        self.building += took;
        let ran = BUILDS.map(|(build, _)| Ran::new(&events, build));
        let said = ran.iter().zip(BUILDS).map(|(ran, (_, name))| format!("{name} {}", ran.word()));
        println!("{what}: {} ({took:.1?})", said.collect::<Vec<_>>().join("; "));
        ran
    }

    /// Builds all from nothing, and compares.
    fn compare(&mut self, at: usize) {
        self.samples += 1;
        let dir = self.project.0.with_file_name("clean");
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).expect("a directory");
        symlink(self.project.0.join("tree"), dir.join("tree")).expect("a link to the tree");
        let clean = Project::new(dir);
        let kernels = BUILDS.map(|(build, _)| format!("kernel:{build}"));
        let (_, code, took) =
            clean.json(&["build", "--clean", "-k", "--format", "json-lines", &kernels[0], &kernels[1]]);
        println!("after {at} edits, both built from nothing in {took:.1?}");
        if code != 0 {
            self.wrong.push(format!("after {at} edits: a build from nothing ended with {code}"));
            return;
        }
        for (build, name) in BUILDS {
            for output in COMPARED {
                if self.project.output(build, output) != clean.output(build, output) {
                    self.wrong.push(format!("after {at} edits: {output} of {name}"));
                }
            }
        }
        fs::remove_dir_all(&clean.0).expect("it can be removed");
    }

    fn report(&self) {
        let rows: [(&str, fn(&Tally) -> usize); 9] = [
            ("skipped", |tally| tally.skipped),
            ("configured again, no kernel built", |tally| tally.configured),
            ("rebuilt, continuing", |tally| tally.continued),
            ("rebuilt from nothing", |tally| tally.scratch),
            ("of edits made at the end, some at once", |tally| tally.together),
            ("rebuilt in all", |tally| tally.continued + tally.scratch),
            ("of these, all outputs as before", |tally| tally.unchanged),
            ("of these, boots left alone", |tally| tally.boots_left),
            ("boots run", |tally| tally.boots),
        ];
        println!("\n{} edits", self.edits.len());
        println!("| pairs of an edit and a build | {} | {} | both |", BUILDS[0].1, BUILDS[1].1);
        println!("| --- | --- | --- | --- |");
        for (what, count) in rows {
            let counts = self.tallies.each_ref().map(count);
            println!("| {what} | {} | {} | {} |", counts[0], counts[1], counts.iter().sum::<usize>());
        }
        for ((_, name), tally) in BUILDS.iter().zip(&self.tallies) {
            for (reason, count) in &tally.reasons {
                println!("    {name}, from nothing, {count} times: {reason}");
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let mean = |time: Duration, count: usize| time.as_secs_f64() / count.max(1) as f64;
        println!(
            "{} plans in {:.0?} ({:.2} s each), {} builds in {:.0?} ({:.1} s each)",
            self.plans,
            self.planning,
            mean(self.planning, self.plans),
            self.builds,
            self.building,
            mean(self.building, self.builds)
        );
        println!(
            "{} states built from nothing, {} outputs that are not the same: {}",
            self.samples,
            self.wrong.len(),
            if self.wrong.is_empty() { "met" } else { "MISSED" }
        );
        self.wrong.iter().for_each(|wrong| println!("    {wrong}"));
    }
}

/// Makes these paths what they are in another tree.
fn apply(paths: &[PathBuf], from: &Path, tree: &Path) {
    for path in paths {
        let (from, to) = (from.join(path), tree.join(path));
        let removed = fs::remove_file(&to);
        assert!(removed.is_ok() || removed.is_err_and(|error| error.kind() == io::ErrorKind::NotFound));
        let thing = Thing::read(&from);
        if matches!(thing, Thing::File(..) | Thing::Link(_)) {
            fs::create_dir_all(to.parent().expect("below the tree")).expect("a directory");
        }
        match thing {
            Thing::File(bytes, permissions) => fs::write(&to, bytes)
                .and_then(|()| fs::set_permissions(&to, permissions))
                .expect("the copy can be written"),
            Thing::Link(target) => symlink(target, &to).expect("the copy can be written"),
            Thing::Absent | Thing::Dir => {}
        }
    }
}

/// Whether a node of a build is to be run, or may have to be.
fn is_stale(plan: &Value, build: &str) -> bool {
    let nodes = plan["nodes"].as_array().expect("nodes");
    nodes
        .iter()
        .filter(|node| node["name"].as_str().is_some_and(|name| name.contains(build)))
        .any(|node| !matches!(node["verdict"].as_str(), Some("fresh" | "cached")))
}

/// What ran of a build.
struct Ran {
    config: bool,
    kernel: Option<Value>,
    boots: usize,
    failed: bool,
}

impl Ran {
    fn new(events: &[Value], build: &str) -> Self {
        let finished: Vec<&Value> = events
            .iter()
            .filter(|event| event["event"] == "finished" && event["how"] != "restored")
            .filter(|event| event["node"].as_str().is_some_and(|node| node.contains(build)))
            .collect();
        let of = |rule: &str| {
            let name = format!("{rule}:{build}");
            finished.iter().find(|event| event["node"] == name).map(|event| (*event).clone())
        };
        let boots = |event: &&&Value| event["node"].as_str().is_some_and(|node| node.starts_with("job:"));
        Self {
            config: of("config").is_some(),
            kernel: of("kernel").filter(|kernel| kernel["outcome"] != "skipped"),
            boots: finished.iter().filter(boots).filter(|event| event["outcome"] != "skipped").count(),
            failed: finished.iter().any(|event| event["outcome"] != "pass"),
        }
    }

    fn word(&self) -> String {
        let Some(kernel) = &self.kernel else {
            let word = if self.config { "configured, no kernel" } else { "skipped" };
            return if self.failed { format!("{word}, FAILING") } else { word.to_owned() };
        };
        let text = |field: &str| kernel[field].as_str().map(str::to_owned);
        let how = if text("how").as_deref() == Some("ran-unchanged") { "unchanged" } else { "changed" };
        let mut words = vec![how.to_owned(), text("message").unwrap_or_else(|| NOTHING_KEPT.to_owned())];
        if self.boots > 0 {
            words.push("booted".to_owned());
        }
        if self.failed {
            words.push("FAILING".to_owned());
        }
        words.join(", ")
    }
}

impl Tally {
    /// Takes in what a build made of some edits. Where something ran, they count as one.
    fn count(&mut self, what: &Ran) {
        self.boots += what.boots;
        let Some(kernel) = &what.kernel else {
            if what.config {
                self.configured += 1;
            } else {
                self.skipped += 1;
            }
            return;
        };
        self.unchanged += usize::from(kernel["how"] == "ran-unchanged");
        self.boots_left += usize::from(what.boots == 0);
        if kernel["continued"] == true {
            self.continued += 1;
        } else {
            self.scratch += 1;
            let reason = kernel["message"].as_str().unwrap_or(NOTHING_KEPT);
            *self.reasons.entry(reason.to_owned()).or_default() += 1;
        }
    }
}
