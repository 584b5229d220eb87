//! How long it takes to find that nothing is to be done in a graph of many trivial nodes, against ninja on the same
//! graph: as many copies of a file, with the same inputs and outputs.
//!
//! `cargo bench --bench many_nodes`; `KILN_BENCH_NODES` is their number (100,000), `KILN_BENCH_PAIRS` how often both
//! are measured (9). The graphs and their files are kept for the next time. `KILN_BENCH_BUILT` (500) nodes are built in
//! earnest, to tell what a node costs that runs.

mod common;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use common::{Target, in_turns, kiln, run_well, scratch, setting, settle};
use kiln::graph::{Selection, expand};
use kiln::kinds::AllKinds;
use kiln::plan::{BuildContext, plan};
use kiln::spec;
use kiln::store::{
    Artifact, Built, NodeRecord, NodeState, Origin, Outcome, Placed, Run, Store, StoredResult,
};

/// How many files a directory has.
const FILES: usize = 1000;

const RULE: &str = r#"(
    version: 1,
    doc: "Copies a file",
    params: { "dir": (type: Str), "file": (type: Str) },
    inputs: { "from": File("in/{dir}/{file}") },
    steps: [["cp", "{in.from}", "{out}/copy"]],
    outputs: { "copy": File(path: "copy", name: "{file}") },
    export: "{dir}",
    tools: ["cp"],
)
"#;

fn main() {
    if Command::new("ninja").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("skipped: ninja is missing; apt-get install ninja-build");
        return;
    }
    throughput(setting("KILN_BENCH_BUILT", 500));

    let nodes = setting("KILN_BENCH_NODES", 100_000);
    let dir = scratch(&format!("nodes-{nodes}"));
    let (ours, theirs) = (dir.join("kiln"), dir.join("ninja"));
    if !dir.join("generated").exists() {
        let _ = fs::remove_dir_all(&ours);
        generate(&ours, &theirs, nodes);
        fs::write(dir.join("generated"), "").expect("a mark that the files are there");
    }
    run_well(&mut ninja(&theirs));
    if !dir.join("recorded").exists() {
        // Files as new as this are not believed yet, and would be read again the next time.
        std::thread::sleep(Duration::from_millis(200));
        record(&ours).expect("the state can be recorded");
        fs::write(dir.join("recorded"), "").expect("a mark that the state is there");
    }
    settle(&ours);
    let mut peak = 0;
    let pairs = in_turns(
        setting("KILN_BENCH_PAIRS", 9),
        || {
            let ended = run_well(&mut kiln(&ours, &["build"]));
            peak = peak.max(ended.peak_kib);
            ended.wall
        },
        || run_well(&mut ninja(&theirs)).wall,
    );
    let what = format!("no-op of {nodes} trivial nodes (peak memory {} MiB)", peak >> 10);
    pairs.report(&what, "kiln build", "ninja", &Target::AtMost(2.0));
}

fn ninja(project: &Path) -> Command {
    let mut command = Command::new("ninja");
    command.current_dir(project).arg("--quiet");
    command
}

/// What a node costs when it runs, in a sandbox of its own.
fn throughput(nodes: usize) {
    let dir = scratch("nodes-built");
    let _ = fs::remove_dir_all(&dir);
    let (ours, theirs) = (dir.join("kiln"), dir.join("ninja"));
    generate(&ours, &theirs, nodes);
    let bare = run_well(&mut ninja(&theirs)).wall;
    let built = run_well(&mut kiln(&ours, &["build", "--quiet"])).wall;
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let each = |wall: Duration| wall.as_secs_f64() * 1000.0 / nodes as f64;
    println!("first build of {nodes} trivial nodes");
    println!("    kiln build: {:.2} ms a node   ninja: {:.2} ms a node", each(built), each(bare));
}

/// Leaves a project as a build leaves it: the same files, and what kiln records of a run that passed. Running 100,000
/// sandboxes would take an hour on a small machine, and the no-op that is measured could not tell.
fn record(project: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let loaded = spec::load(project);
    let spec = Arc::new(loaded.spec.ok_or("the spec is wrong")?);
    let store = Store::open(&project.join(&spec.project.cache.path))?;
    store.put_tree(&project.join("in"), &|_| true)?;
    let mut graph = expand(Arc::clone(&spec))?;
    let selection = Selection::parse(&[], &graph).map_err(|_| "no targets can't be wrong")?;
    let kinds = AllKinds::new(&spec);
    let context = BuildContext::new(&spec, &store, &kinds, Ok(kiln::plan::Tracing::Mounts))?;
    let plan = plan(&context, &mut graph, &selection)?;
    context.save();
    store.batch(|batch| {
        for &id in plan.nodes() {
            let action = graph.node(id).action().expect("all are actions");
            let basis =
                plan.decision(id).and_then(|decision| decision.key_inputs.as_ref()).expect("all are known");
            let strong = basis.keys.strong.expect("nothing is discovered");
            let path = Path::new(&action.bindings.text_of("dir")).join(action.bindings.text_of("file"));
            let (from, to) = (project.join("in").join(&path), project.join("out").join(&path));
            let placed = fs::create_dir_all(to.parent().expect("in a directory"))
                .and_then(|()| fs::copy(&from, &to))
                .and_then(|_| fs::symlink_metadata(&to))
                .expect("an output");
            let digest =
                context.project_files.get(&Path::new("in").join(&path), "").expect("it was read").digest;
            let artifact = Artifact::File { digest, size: placed.len(), executable: false };
            let outputs = vec![("copy".to_owned(), artifact)];
            let run = Run {
                node: graph.name(id).to_string(),
                action_key: basis.keys.action,
                path_set: Some(strong.path_set),
                strong_key: Some(strong.key),
                outcome: Outcome::Pass,
                started: SystemTime::now(),
                duration: Duration::from_millis(1),
                cpu: Duration::ZERO,
                max_rss: 0,
                reasons: "[]".to_owned(),
                manifest: Some(basis.manifest.encode()),
                log: None,
                pid: std::process::id(),
                continued: false,
            };
            let run = batch.record_run(context.project(), &run)?;
            let path_set = basis.manifest.whole();
            let record = NodeRecord {
                trees: Vec::new(),
                outputs: outputs.clone(),
                placed: vec![Placed::new(path.display().to_string(), artifact, &placed)],
            };
            let mut state = NodeState::new(run, Outcome::Pass, basis.keys.action, &record);
            state.path_set = Some(strong.path_set);
            state.strong_key = Some(strong.key);
            batch.set_node(context.project(), graph.name(id), &state)?;
            let (action_key, outcome) = (basis.keys.action, Outcome::Pass);
            let result = StoredResult {
                action_key,
                outcome,
                outputs,
                log: None,
                run,
                built: Built::FromNothing,
                origin: Origin::Local,
            };
            batch.record(&strong.key, &path_set, &result)?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Two projects with the same files to make: `out/DIR/FILE` of each `in/DIR/FILE`.
fn generate(kiln: &Path, ninja: &Path, nodes: usize) {
    let mut spec = String::from("(\n    version: 1,\n    actions: {\n");
    let mut build = String::from("rule copy\n  command = cp $in $out\n\n");
    for node in 0..nodes {
        let (dir, file) = (format!("d{:03}", node / FILES), format!("f{:03}", node % FILES));
        if node % FILES == 0 {
            for project in [kiln, ninja] {
                fs::create_dir_all(project.join("in").join(&dir)).expect("a directory for inputs");
            }
        }
        let params = format!("params: {{\"dir\": \"{dir}\", \"file\": \"{file}\"}}");
        writeln!(spec, "        \"{dir}-{file}\": (rule: \"copy\", {params}),").expect("memory");
        writeln!(build, "build out/{dir}/{file}: copy in/{dir}/{file}").expect("memory");
        for project in [kiln, ninja] {
            let path = project.join("in").join(&dir).join(&file);
            fs::write(path, format!("input {node}\n")).expect("an input");
        }
    }
    spec.push_str("    },\n)\n");
    fs::create_dir_all(kiln.join("rules")).expect("a directory for the rule");
    fs::write(kiln.join("rules/copy.ron"), RULE).expect("the rule");
    fs::write(kiln.join("graph.ron"), spec).expect("the spec");
    fs::write(ninja.join("build.ninja"), build).expect("the build file");
}
