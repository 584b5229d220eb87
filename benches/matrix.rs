//! What a matrix costs more, or less, than a shell script: rows of `examples/tiny` from nothing to their boots with
//! `kiln build`, against `make` and QEMU one after the other (scripts/matrix-by-hand.sh). Then the same again, when there is
//! nothing to do.
//!
//! `cargo bench --bench matrix`; `KILN_BENCH_TREE` is the tree (the demo's own), `KILN_BENCH_ROWS` the arches
//! (`"arm64 m68k x86_64"`; `all` takes three quarters of an hour), `KILN_BENCH_BUILDS` how often each is built (1).

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::{Target, in_turns_at_once, kiln, report_time, run_well, scratch, setting, tree};

const ALL: &str = "alpha arm arm64 hppa m68k mips32 ppc ppc64 riscv sparc64 x86 x86_64";

fn main() {
    let Some(tree) = tree() else { return };
    let rows = std::env::var("KILN_BENCH_ROWS").unwrap_or_else(|_| "arm64 m68k x86_64".to_owned());
    let rows = if rows == "all" { ALL.to_owned() } else { rows };
    let rows: Vec<&str> = rows.split_whitespace().collect();
    let dir = scratch("matrix");
    let targets: Vec<String> = rows.iter().map(|arch| format!("linux-6.1/{arch}/**")).collect();
    let mut args = vec!["build"];
    args.extend(targets.iter().map(String::as_str));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ours = || {
        let project = example(root, &dir, &tree);
        run_well(&mut kiln(&project, &args)).wall
    };
    let theirs = || {
        let mut script = Command::new(root.join("scripts/matrix-by-hand.sh"));
        run_well(script.arg(&tree).arg(dir.join("by-hand")).args(&rows)).wall
    };
    let pairs = in_turns_at_once(setting("KILN_BENCH_BUILDS", 1), ours, theirs);
    let what = format!("{} rows, from nothing to their boots", rows.len());
    pairs.report(&what, "kiln build", "make and QEMU", &Target::AtMost(1.05));
    let project = dir.join("examples/tiny");
    let again = || run_well(&mut kiln(&project, &args)).wall;
    let pairs = in_turns_at_once(5, again, || Duration::from_secs(1));
    report_time("the same again, with nothing to do", &pairs, Duration::from_secs(1));
}

/// A copy of the example with an empty cache.
fn example(root: &Path, dir: &Path, tree: &Path) -> PathBuf {
    let project = dir.join("examples/tiny");
    for part in ["examples", "cache"] {
        let _ = fs::remove_dir_all(dir.join(part));
    }
    fs::create_dir_all(&project).expect("a directory");
    fs::create_dir_all(dir.join("cache/sources")).expect("a directory");
    symlink(tree, dir.join("cache/sources/linux-6.1")).expect("a link");
    for (name, from) in [
        ("rules", "rules"),
        ("boot", "boot"),
        ("configs", "examples/tiny/configs"),
        ("graph.ron", "examples/tiny/graph.ron"),
        ("table.ron", "examples/table.ron"),
    ] {
        symlink(root.join(from), project.join(name)).expect("a link");
    }
    project
}
