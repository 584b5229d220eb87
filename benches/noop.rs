//! How long `kiln build` takes to find that the demo project is up to date, against a bare parallel stat walk of its
//! source tree and against `git status` on a copy of it.
//!
//! `cargo bench --bench noop`; `KILN_BENCH_TREE` is the tree (the demo's own), `KILN_BENCH_PAIRS` how often each is
//! measured (15). The first time a kernel is built and the tree is committed to git, which takes minutes; both are
//! kept.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Target, demo, in_turns, kiln, report_peak, run_well, scratch, setting, stat_walk, time, tree};

fn main() {
    let Some(tree) = tree() else { return };
    let pairs = setting("KILN_BENCH_PAIRS", 15);
    let project = demo(&tree);
    let mut peak = 0;
    let mut noop = || {
        let ended = run_well(&mut kiln(&project, &["build"]));
        peak = peak.max(ended.peak_kib);
        ended.wall
    };

    let entries = stat_walk(&tree);
    let walk = in_turns(pairs, &mut noop, time(|| stat_walk(&tree)));
    let what = format!("no-op build of the demo, against looking at the {entries} entries of its tree");
    walk.report(&what, "kiln build", "bare parallel stat walk", &Target::AtMost(1.5));

    let repository = committed(&tree);
    let status =
        || run_well(Command::new("git").current_dir(&repository).args(["status", "--porcelain"])).wall;
    let git = in_turns(pairs, &mut noop, status);
    git.report("the same, against git", "kiln build", "git status", &Target::Under(0.5));
    report_peak("memory of a no-op build of the demo", peak, 150);
}

/// A copy of the tree, all of it committed.
fn committed(tree: &Path) -> PathBuf {
    let dir = scratch("git");
    let (repository, mark) = (dir.join("tree"), dir.join("committed"));
    if !mark.exists() {
        let _ = fs::remove_dir_all(&repository);
        run_well(Command::new("cp").args(["-a", "--reflink=auto"]).args([tree, &repository]));
        let git = |args: &[&str]| {
            let who = ["-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "gc.auto=0"];
            run_well(Command::new("git").current_dir(&repository).args(who).args(args))
        };
        git(&["init", "--quiet"]);
        git(&["add", "--all", "--force"]);
        git(&["commit", "--quiet", "--message", "all"]);
        fs::write(mark, "").expect("a mark that all is there");
    }
    repository
}
