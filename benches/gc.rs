//! How long it takes to collect a whole cache, against unlinking as many files of the same layout.
//!
//! `cargo bench --bench gc`; `KILN_BENCH_BLOBS` is how many blobs there are (100,000), `KILN_BENCH_PAIRS` how often each is
//! measured (5). Both sides are laid out anew for each turn, which takes most of the time and is not measured.

mod common;

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::time::Instant;

use common::{Target, a_run, in_turns, key, setting};
use kiln::digest::Digest;
use kiln::source::{PathSet, Provenance, Reads};
use kiln::store::{Artifact, Blob, Built, Limits, Manner, Needs, Origin, Outcome, Sort, Store, StoredResult};

/// Outputs of each result, and bytes in each.
const OUTPUTS: usize = 10;
const BYTES: usize = 2_000;

fn main() {
    let blobs = setting("KILN_BENCH_BLOBS", 100_000).next_multiple_of(OUTPUTS);
    let pairs = setting("KILN_BENCH_PAIRS", 5);
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory to work in");
    let (cache, plain) = (dir.path().join("cache"), dir.path().join("plain"));
    let collect = || {
        fill(&cache, blobs);
        let store = Store::open(&cache).expect("a cache");
        let needs = Needs { digests: &HashSet::new(), trees_of: &|_| Vec::new() };
        let limits = Limits { size: Some(0), ..Limits::default() };
        let start = Instant::now();
        let collected = store.gc(&limits, &needs, Manner::default(), &|_| {}).expect("it is collected");
        let took = start.elapsed();
        assert_eq!(collected.gone[&Sort::Result].0, (blobs / OUTPUTS) as u64);
        drop(store);
        fs::remove_dir_all(&cache).expect("it goes");
        took
    };
    let unlink = || {
        let files: Vec<_> = (0..blobs).map(|n| plain.join(place(&Digest::of_bytes(&content(n))))).collect();
        write(&plain, blobs);
        let start = Instant::now();
        for file in &files {
            fs::remove_file(file).expect("it is there");
        }
        start.elapsed()
    };
    let measured = in_turns(pairs, collect, unlink);
    let what = format!("collecting a cache of {blobs} blobs in {} results", blobs / OUTPUTS);
    measured.report(&what, "gc", "unlinking as many files", &Target::AtMost(2.0));
}

/// A cache of results that nothing needs. Blobs are put in place as a store would put them, without its syncs.
fn fill(home: &Path, blobs: usize) {
    let store = Store::open(home).expect("a cache");
    write(&home.join("cas"), blobs);
    let project = store.project(home).expect("a project");
    let path_set = PathSet::new(Provenance::Whole, [("tree".to_owned(), Reads::Whole)]);
    let results: Vec<usize> = (0..blobs / OUTPUTS).collect();
    for some in results.chunks(1_000) {
        store
            .batch(|batch| {
                for &result in some {
                    let action_key = key("action", result);
                    let run = batch.record_run(project, &a_run(&format!("node {result}"), action_key))?;
                    let outputs = (0..OUTPUTS).map(|n| {
                        let digest = Digest::of_bytes(&content(result * OUTPUTS + n));
                        (n.to_string(), Artifact::file(Blob { digest, size: BYTES as u64 }, false))
                    });
                    let outputs = outputs.collect();
                    let stored = StoredResult {
                        action_key,
                        outcome: Outcome::Pass,
                        outputs,
                        log: None,
                        run,
                        built: Built::FromNothing,
                        origin: Origin::Local,
                    };
                    batch.record(&key("strong", result), &path_set, &stored)?;
                }
                Ok(())
            })
            .expect("they are recorded");
    }
}

fn write(dir: &Path, blobs: usize) {
    for first in 0..=u8::MAX {
        fs::create_dir_all(dir.join(format!("{first:02x}"))).expect("a directory");
    }
    for n in 0..blobs {
        let content = content(n);
        fs::write(dir.join(place(&Digest::of_bytes(&content))), content).expect("a file");
    }
    // What the disk has still to write would disturb whoever comes first.
    nix::unistd::sync();
}

fn content(n: usize) -> Vec<u8> {
    let mut content = n.to_string().into_bytes();
    content.resize(BYTES, b'.');
    content
}

fn place(digest: &Digest) -> String {
    let hex = digest.to_string();
    format!("{}/{hex}", &hex[..2])
}
