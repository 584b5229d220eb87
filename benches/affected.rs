//! How long it takes to tell what a patch of 100 files touches, and to find that nothing is to be done, where many
//! builds are recorded of which each read 20,000 paths of one tree.
//!
//! `cargo bench --bench affected`; `KILN_BENCH_RECORDED` is the number of builds (1,000), `KILN_BENCH_PAIRS` how often
//! each is measured (9). A tenth of the builds is measured too: memory should grow with the paths, which are the same,
//! and not with the builds. The tree and the records are kept for the next time.

mod common;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use common::{
    Random, Target, in_turns, kiln, report_peak, report_time, run_well, scratch, setting, stat_walk, time,
};
use kiln::graph::{Selection, expand};
use kiln::kinds::AllKinds;
use kiln::plan::{BuildContext, plan, strong_key};
use kiln::source::{EntryKind, PathEntry, PathSet, Provenance, Reads};
use kiln::spec;
use kiln::store::{Built, NodeRecord, NodeState, Origin, Outcome, Run, Store, StoredResult};
use rayon::prelude::*;

/// Entries of each build, of them those that all have, and how many there are at all: files, searched files, and
/// directories.
const READ: usize = 20_000;
const COMMON: usize = 8_000;
const DISTINCT: usize = 60_000;
const DIRS: usize = 3_000;
const FILES: usize = DISTINCT - DIRS;
const SEARCHED: usize = 17_000;

/// Set to a project: only leave the records there.
const RECORD: &str = "KILN_BENCH_RECORD_IN";

const RULE: &str = r#"(
    version: 1,
    params: { "number": (type: Int) },
    inputs: { "tree": Source("tree") },
    discover: (inputs: ["tree"], by: [Fanotify]),
    steps: [["true", "{number}"]],
    outputs: {},
    tools: ["true"],
)
"#;

fn main() {
    if let Some(project) = std::env::var_os(RECORD) {
        return record(Path::new(&project), setting("KILN_BENCH_RECORDED", 0))
            .expect("builds can be recorded");
    }
    let (builds, pairs) = (setting("KILN_BENCH_RECORDED", 1_000), setting("KILN_BENCH_PAIRS", 9));
    let dir = scratch("affected");
    let tree = dir.join("tree");
    if !dir.join("generated").exists() {
        let _ = fs::remove_dir_all(&tree);
        generate(&tree);
        fs::write(dir.join("generated"), "").expect("a mark that the tree is there");
    }
    patch(&dir.join("read.patch"), |n| file(n * 97 % FILES));
    patch(&dir.join("unread.patch"), |n| format!("Documentation/{n}.rst"));
    let mut peaks = Vec::new();
    for builds in [builds / 10, builds] {
        let project = dir.join(format!("builds-{builds}"));
        if !project.join("recorded").exists() {
            let _ = fs::remove_dir_all(&project);
            let _ = fs::remove_file(tree.join("Documentation/later.rst"));
            std::thread::sleep(Duration::from_millis(200));
            // In a process of its own: what this one ever had in memory counts for those that it starts.
            let this = std::env::current_exe().expect("a program");
            let builds = builds.to_string();
            run_well(Command::new(this).env(RECORD, &project).env("KILN_BENCH_RECORDED", builds));
            fs::write(project.join("recorded"), "").expect("a mark that they are");
        }
        // Not the tree that is recorded: every path set is looked up.
        fs::write(tree.join("Documentation/later.rst"), "new\n").expect("a file that nothing reads");
        let said = kiln(&project, &["plan"]).output().expect("kiln runs");
        let said = String::from_utf8_lossy(&said.stdout);
        assert!(said.contains("nothing to do"), "the records do not stand: {said}");
        peaks.push(measure(&project, &tree, builds, pairs));
    }
    for (what, at) in [("affected", 0), ("plan", 1)] {
        let kib = |which: usize| peaks[which][at];
        println!(
            "peak memory of kiln {what}: {} MiB for {} builds, {} MiB for {builds}",
            kib(0) >> 10,
            builds / 10,
            kib(1) >> 10
        );
    }
}

/// The peaks of `affected` and `plan`.
fn measure(project: &Path, tree: &Path, builds: usize, pairs: usize) -> [u64; 2] {
    let mut peaks = [0; 2];
    let walk = || time(|| stat_walk(tree));
    for (patch, read) in [("read", "that builds read"), ("unread", "that none reads")] {
        let arg = format!("../{patch}.patch");
        let ours = || {
            let ended = run_well(&mut kiln(project, &["affected", "--patch", &arg]));
            peaks[0] = peaks[0].max(ended.peak_kib);
            ended.wall
        };
        let what = format!("a patch of 100 files {read}, against {builds} recorded builds");
        let measured = in_turns(pairs, ours, walk());
        measured.report(&what, "kiln affected", "bare parallel stat walk", &Target::AtMost(2.0));
        report_time("    whole process", &measured, Duration::from_millis(100));
    }
    let ours = || {
        let ended = run_well(&mut kiln(project, &["plan"]));
        peaks[1] = peaks[1].max(ended.peak_kib);
        ended.wall
    };
    let what = format!("a plan over {builds} recorded builds in a tree that is another, all fresh");
    let measured = in_turns(pairs, ours, walk());
    measured.report(&what, "kiln plan", "bare parallel stat walk", &Target::AtMost(10.0));
    report_time("    whole process", &measured, Duration::from_secs(1));
    report_peak(&format!("memory of that plan ({builds} builds)"), peaks[1], 250);
    peaks
}

/// A patch of 100 files, of which ten are new.
fn patch(to: &Path, path: impl Fn(usize) -> String) {
    let mut text = String::new();
    for n in 0..100 {
        let path = path(n);
        if n % 10 == 0 {
            write!(text, "diff --git a/{path}.new b/{path}.new\nnew file mode 100644\nindex 0..1\n")
                .expect("memory");
        } else {
            write!(text, "diff --git a/{path} b/{path}\nindex 1..2 100644\n").expect("memory");
            write!(text, "--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n-a\n+b\n").expect("memory");
        }
    }
    fs::write(to, text).expect("a patch");
}

fn dir(n: usize) -> String {
    format!("drivers/subsystem-{}/vendor-{n}", n / 100)
}

fn file(n: usize) -> String {
    format!("{}/some-device-{n}.c", dir(n % DIRS))
}

fn entry(n: usize) -> PathEntry {
    match n {
        0..SEARCHED => PathEntry::new(EntryKind::Searched, file(n).into_bytes()),
        SEARCHED..FILES => PathEntry::new(EntryKind::File, file(n).into_bytes()),
        _ => PathEntry::new(EntryKind::Names, dir(n - FILES).into_bytes()),
    }
}

fn generate(tree: &Path) {
    fs::create_dir_all(tree.join("Documentation")).expect("a directory");
    for n in 0..100 {
        fs::write(tree.join(format!("Documentation/{n}.rst")), "words\n").expect("a file");
    }
    for n in 0..DIRS {
        fs::create_dir_all(tree.join(dir(n))).expect("a directory");
    }
    for n in 0..FILES {
        fs::write(tree.join(file(n)), format!("{n}\n")).expect("a file");
    }
}

/// Leaves what builds would leave that read these paths.
fn record(project: &Path, builds: usize) -> Result<(), Box<dyn std::error::Error>> {
    let mut graph =
        String::from("(\n    version: 1,\n    sources: { \"tree\": Dir(\"../tree\") },\n    actions: {\n");
    for n in 0..builds {
        writeln!(graph, "        \"{n}\": (rule: \"build\", params: {{ \"number\": {n} }}),")?;
    }
    graph.push_str("    },\n)\n");
    fs::create_dir_all(project.join("rules"))?;
    fs::write(project.join("rules/build.ron"), RULE)?;
    fs::write(project.join("graph.ron"), graph)?;

    let spec = Arc::new(spec::load(project).spec.ok_or("the spec is wrong")?);
    let store = Store::open(&project.join(&spec.project.cache.path))?;
    let mut graph = expand(Arc::clone(&spec))?;
    let selection = Selection::parse(&[], &graph).map_err(|_| "no targets can't be wrong")?;
    let kinds = AllKinds::new(&spec);
    let context = BuildContext::new(&spec, &store, &kinds, Ok(kiln::plan::Tracing::Mounts))?;
    let plan = plan(&context, &mut graph, &selection)?;
    context.save();
    let bases: Vec<_> = plan
        .nodes()
        .iter()
        .map(|&id| {
            (id, plan.decision(id).and_then(|decision| decision.key_inputs.clone()).expect("all are known"))
        })
        .collect();
    let tree = &bases[0].1.manifest.trees()[0];
    let states = Arc::new(context.states(tree)?);
    let read: Vec<_> = bases
        .par_iter()
        .enumerate()
        .map(|(n, (_, basis))| {
            let set = path_set(&mut Random(n as u64 + 1));
            let key = strong_key(&basis.keys.action, &set, &|_| Some(Arc::clone(&states)));
            (set, key.expect("the one input is known"))
        })
        .collect();
    let listings = context.sources.new_listings(&bases[0].1.manifest)?;
    store.batch(|batch| {
        batch.put_listings(listings.iter().map(|(digest, listing)| (digest, listing.bytes())))?;
        for ((id, basis), (set, key)) in bases.iter().zip(&read) {
            let run = Run {
                node: graph.name(*id).to_string(),
                action_key: basis.keys.action,
                path_set: Some(set.digest()),
                strong_key: Some(*key),
                outcome: Outcome::Pass,
                started: SystemTime::now(),
                duration: Duration::from_mins(1),
                cpu: Duration::ZERO,
                max_rss: 0,
                reasons: "[]".to_owned(),
                manifest: Some(basis.manifest.encode()),
                log: None,
                pid: std::process::id(),
                continued: false,
            };
            let run = batch.record_run(context.project(), &run)?;
            let record =
                NodeRecord { trees: vec![("tree".to_owned(), tree.digest)], ..NodeRecord::default() };
            let mut state = NodeState::new(run, Outcome::Pass, basis.keys.action, &record);
            state.path_set = Some(set.digest());
            state.strong_key = Some(*key);
            batch.set_node(context.project(), graph.name(*id), &state)?;
            let (action_key, outcome) = (basis.keys.action, Outcome::Pass);
            let result = StoredResult {
                action_key,
                outcome,
                outputs: Vec::new(),
                log: None,
                run,
                built: Built::FromNothing,
                origin: Origin::Local,
            };
            batch.record(key, set, &result)?;
        }
        Ok(())
    })?;
    Ok(())
}

/// What all read, and then some: in stretches, as builds read whole directories.
fn path_set(random: &mut Random) -> PathSet {
    let mut read = vec![false; DISTINCT];
    read[..COMMON].fill(true);
    let mut count = COMMON;
    while count < READ {
        let start = COMMON + random.below(DISTINCT - COMMON);
        for slot in read[start..].iter_mut().take(1 + random.below(40)) {
            if !*slot && count < READ {
                *slot = true;
                count += 1;
            }
        }
    }
    let mut entries: Vec<PathEntry> = (0..DISTINCT).filter(|&n| read[n]).map(entry).collect();
    entries.push(PathEntry::new(EntryKind::Links, *b""));
    entries.push(PathEntry::new(EntryKind::Names, *b""));
    PathSet::new(Provenance::Opens, [("tree".to_owned(), Reads::only(entries))])
}
