//! How fast a source tree is looked at, against the least that any tool must do.
//!
//! `KILN_BENCH_TREE=/path/to/linux cargo bench --bench source`
//!
//! Each pair is measured in turns, so that a noisy machine disturbs both alike; the best time of each is compared.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kiln::source::{CacheState, CacheWrite, Snapshot, SnapshotOptions};
use rayon::prelude::*;

const ROUNDS: usize = 15;

fn main() {
    let Some(tree) = std::env::var_os("KILN_BENCH_TREE").map(PathBuf::from) else {
        println!("skipped: set KILN_BENCH_TREE to an unpacked source tree");
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let cache = dir.path().join("cache");
    let warm = SnapshotOptions { cache_file: Some(&cache), ignore: &[] };
    let cold = SnapshotOptions::default();

    let first = Snapshot::take(&tree, &warm).expect("a readable tree");
    let stats = first.stats();
    let cache_size = fs::metadata(&cache).expect("it was written").len();
    println!(
        "tree           {} files, {} directories, {} MiB",
        stats.files,
        stats.dirs,
        stats.hashed_bytes >> 20
    );
    println!(
        "cache          {} KiB, {} bytes an entry",
        cache_size >> 10,
        cache_size / (stats.files + stats.dirs)
    );
    drop(first);

    let entries = common::stat_walk(&tree);
    let (noop, bare) = in_turns(
        || {
            let snapshot = Snapshot::take(&tree, &warm).expect("a readable tree");
            assert_eq!(snapshot.stats().cache, CacheState::Warm);
            assert_eq!(snapshot.stats().write, CacheWrite::Unchanged, "the tree must not change meanwhile");
            snapshot
        },
        || common::stat_walk(&tree),
    );
    report("no-op", "snapshot", noop, &format!("bare parallel stat walk of {entries} entries"), bare);
    println!("peak memory    {} MiB so far (first hash and no-op snapshots)", peak_rss_kib() >> 10);

    let mut files = Vec::new();
    collect(&tree, &mut files);
    let (ours, theirs) = in_turns(
        || Snapshot::take(&tree, &cold).expect("a readable tree").digest(),
        || {
            files
                .par_iter()
                .map(|path| fs::read(path).map_or(0, |bytes| blake3::hash(&bytes).as_bytes()[0]))
                .max()
        },
    );
    report("first hash", "snapshot", ours, "read + BLAKE3 of every file, all cores, paths given", theirs);
}

/// The best time of each, measured in turns.
fn in_turns<A, B>(mut a: impl FnMut() -> A, mut b: impl FnMut() -> B) -> (Duration, Duration) {
    fn time<T>(work: &mut impl FnMut() -> T) -> Duration {
        let start = Instant::now();
        // Freeing the result is part of the work.
        drop(std::hint::black_box(work()));
        start.elapsed()
    }
    let mut best = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        best = (best.0.min(time(&mut a)), best.1.min(time(&mut b)));
    }
    best
}

fn report(what: &str, a: &str, ours: Duration, b: &str, theirs: Duration) {
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    println!("{what:14} {ratio:.2}x   {a} {ours:.1?}, {b} {theirs:.1?}   (rate {:.0}%)", 100.0 / ratio);
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a readable directory") {
        let entry = entry.expect("a readable directory");
        let kind = entry.file_type().expect("its type");
        if kind.is_dir() {
            collect(&entry.path(), files);
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
}

fn peak_rss_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}
