//! The cost of a kernel build inside kiln: `kiln build --force --clean` of the demo's kernel, the whole process, against
//! `make` with the same configuration, environment and targets. Both start with an empty output directory.
//!
//! `cargo bench --bench kernel_build`; `KILN_BENCH_TREE` is the tree (the demo's own), `KILN_BENCH_BUILDS` how often
//! each is built (3). A build takes minutes.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::{ENV, Target, demo, in_turns_at_once, kiln, run_well, scratch, setting, tree};

const BUILD: &str = "linux-6.1/x86_64/tiny-pc/gcc";

fn main() {
    let Some(tree) = tree() else { return };
    let project = demo(&tree);
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let (node, j) = (format!("kernel:{BUILD}"), format!("-j{jobs}"));
    let pairs = in_turns_at_once(
        setting("KILN_BENCH_BUILDS", 3),
        || run_well(&mut kiln(&project, &["build", &j, "--clean", "--force", &node, &node])).wall,
        || make(&tree, &project, &j),
    );
    let theirs = format!("make {j}");
    pairs.report("a kernel build", "kiln build", &theirs, &Target::AtMost(1.02));
}

fn make(tree: &Path, project: &Path, jobs: &str) -> Duration {
    let out = scratch("make").join("o");
    let _ = fs::remove_dir_all(&out);
    fs::create_dir(&out).expect("a fresh directory");
    fs::copy(project.join("out").join(BUILD).join("config"), out.join(".config")).expect("its configuration");
    let log = fs::File::create(out.with_file_name("log")).expect("a log");
    let mut command = Command::new("make");
    command.env_clear().envs(ENV).stderr(log);
    command.arg("-C").arg(tree).arg(format!("O={}", out.display())).args(["ARCH=x86_64", jobs, "all"]);
    run_well(&mut command).wall
}
