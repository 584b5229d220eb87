//! How long it takes to find that nothing is to be done in a graph of many trivial nodes, against ninja on the same
//! graph: as many copies of a file, with the same inputs and outputs.
//!
//! `cargo bench --bench many_nodes`; `KILN_BENCH_NODES` is their number (100,000), `KILN_BENCH_PAIRS` how often both
//! are measured (9). The first time both have to build their graph, which takes kiln minutes; it is kept.

mod common;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Target, in_turns, kiln, run_well, scratch, setting, settle};

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
    let nodes = setting("KILN_BENCH_NODES", 100_000);
    if Command::new("ninja").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("skipped: ninja is missing; apt-get install ninja-build");
        return;
    }
    let dir = scratch(&format!("nodes-{nodes}"));
    let (ours, theirs) = (dir.join("kiln"), dir.join("ninja"));
    if !dir.join("generated").exists() {
        generate(&ours, &theirs, nodes);
        fs::write(dir.join("generated"), "").expect("a mark that all is there");
    }
    let ninja = || {
        let mut command = Command::new("ninja");
        command.current_dir(&theirs);
        command
    };
    let first = run_well(ninja().arg("--quiet"));
    let started = std::time::Instant::now();
    settle(&ours);
    let each = started.elapsed().as_secs_f64() * 1000.0 / nodes as f64;
    println!("{nodes} trivial nodes; brought up to date in {each:.2} ms a node (ninja: {:.1?})", first.wall);

    let mut peak = 0;
    let pairs = in_turns(
        setting("KILN_BENCH_PAIRS", 9),
        || {
            let ended = run_well(&mut kiln(&ours, &["build"]));
            peak = peak.max(ended.peak_kib);
            ended.wall
        },
        || run_well(&mut ninja()).wall,
    );
    let what = format!("no-op of {nodes} trivial nodes");
    pairs.report(&what, "kiln build", "ninja", &Target::AtMost(2.0));
    println!("    peak memory {} MiB", peak >> 10);
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
