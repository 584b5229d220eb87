//! What a one-line change costs more inside kiln than without: `kiln build` of the demo's kernel, which continues in the
//! output directory of its last run, all of it from start to exit, against bare `make` in an O= of its own that saw the
//! same changes.
//!
//! `cargo bench --bench incremental`; `KILN_BENCH_TREE` is the tree (the demo's own), of which a copy is edited;
//! `KILN_BENCH_PAIRS` how often each is measured (7). The first time two kernels are built, which takes minutes; the copy
//! and both output directories are kept.

mod common;

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::{ENV, Target, in_turns, kiln, run_well, scratch, setting, tree};

const BUILD: &str = "linux-6.1/x86_64/tiny-pc/gcc";

/// A file that every kernel has and nothing includes.
const LEAF: &str = "lib/ctype.c";

fn main() {
    let Some(tree) = tree() else { return };
    let dir = scratch("incremental");
    let (project, out) = (dir.join("project"), dir.join("o"));
    let node = format!("kernel:{BUILD}");
    let jobs = format!("-j{}", std::thread::available_parallelism().map_or(1, usize::from));
    if !project.join("out").join(BUILD).join("vmlinux").exists() || !out.join("vmlinux").exists() {
        prepare(&tree, &dir, &project, &out, &node);
    }

    let leaf = project.join("tree").join(LEAF);
    let text = fs::read_to_string(tree.join(LEAF)).expect("a source file");
    // Not one that an earlier run has seen: its result would be in the cache.
    let number = Cell::new(std::process::id() << 8);
    let edit = || {
        number.set(number.get() + 1);
        let line = format!("const char kiln_bench[] = \"{}\";\n", number.get());
        fs::write(&leaf, format!("{text}{line}")).expect("the copy can be written");
    };
    let ours = || {
        edit();
        run_well(&mut kiln(&project, &["build", &jobs, &node])).wall
    };
    let theirs = || make(&project.join("tree"), &out, &jobs);
    let pairs = in_turns(setting("KILN_BENCH_PAIRS", 7), ours, theirs);
    let same = [project.join("out").join(BUILD).join("vmlinux"), out.join("vmlinux")]
        .map(|file| fs::read(file).ok());
    assert!(same[0].is_some() && same[0] == same[1], "what kiln made is not what make made");
    let theirs = format!("make {jobs}");
    pairs.report("a one-line change to a leaf .c file", "kiln build", &theirs, &Target::AtMost(1.15));
}

/// Makes a project with a tree of its own, and builds it with kiln and with make.
fn prepare(tree: &Path, dir: &Path, project: &Path, out: &Path, node: &str) {
    fs::remove_dir_all(dir).expect("what an earlier run left can be removed");
    fs::create_dir_all(project).expect("a directory");
    fs::create_dir(out).expect("a directory");
    run_well(Command::new("cp").args(["-a", "--reflink=auto"]).args([tree, &project.join("tree")]));
    run_well(&mut kiln(project, &["init", "--source", "tree"]));
    run_well(&mut kiln(project, &["build", node]));
    fs::copy(project.join("out").join(BUILD).join("config"), out.join(".config")).expect("its configuration");
    make(&project.join("tree"), out, "-j2");
}

fn make(tree: &Path, out: &Path, jobs: &str) -> Duration {
    let log = fs::File::create(out.with_extension("log")).expect("a log");
    let mut command = Command::new("make");
    command.env_clear().envs(ENV).stderr(log);
    command.arg("-C").arg(tree).arg(format!("O={}", out.display())).args(["ARCH=x86_64", jobs, "all"]);
    run_well(&mut command).wall
}
