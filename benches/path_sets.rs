//! What it costs to keep and to load the path sets of many builds over one tree.
//!
//! `cargo bench --bench path_sets`
//!
//! Each build reads most of what all read (headers, scripts, the core) and some files of its own.

mod common;

use std::fs;
use std::time::Instant;

use common::{Random, a_run, key};
use kiln::source::{EntryKind, PathEntry, PathSet, Provenance, Reads};
use kiln::store::{Built, Origin, Outcome, Store, StoredReads, StoredResult};
use roaring::RoaringBitmap;

const BUILDS: usize = 1_000;
/// Entries of each build, of them those that all have, and how many there are at all.
const READ: usize = 20_000;
const COMMON: usize = 8_000;
const DISTINCT: usize = 60_000;

fn main() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let home = dir.path().join("cache");
    let store = Store::open(&home).expect("a cache");
    let project = store.project(dir.path()).expect("a project");

    let mut random = Random(1);
    let mut records = Vec::new();
    for build in 0..BUILDS {
        let set = path_set(&mut random);
        let action_key = key("action", build);
        let begun = Instant::now();
        store
            .batch(|batch| {
                let run = batch.record_run(project, &a_run("kernel", action_key))?;
                let result = StoredResult {
                    action_key,
                    outcome: Outcome::Pass,
                    outputs: vec![],
                    log: None,
                    run,
                    built: Built::FromNothing,
                    origin: Origin::Local,
                };
                batch.record(&key("strong", build), &set, &result)
            })
            .expect("it is recorded");
        records.push(begun.elapsed());
        if build == BUILDS - 1 {
            let begun = Instant::now();
            store.batch(|batch| batch.put_path_set(&set)).expect("it is there already");
            println!("record         {:.1?} one that is there already", begun.elapsed());
        }
    }
    let first = records[0];
    let later = &mut records[BUILDS / 2..];
    later.sort_unstable();
    println!("record         {first:.1?} the first, {:.1?} later ones (median)", later[later.len() / 2]);
    drop(store);
    let size = fs::metadata(home.join("index.sqlite")).expect("the index").len();
    println!("index          {:.1} MiB for {BUILDS} builds x {READ} of {DISTINCT} entries", mib(size));

    for round in 0..3 {
        let store = Store::open(&home).expect("a cache");
        let begun = Instant::now();
        let table = store.entries().expect("entries");
        let entries = begun.elapsed();
        assert_eq!(table.len() as usize, DISTINCT);
        let begun = Instant::now();
        let sets: Vec<_> =
            (0..BUILDS).flat_map(|build| store.path_sets(&key("action", build)).expect("sets")).collect();
        let load = begun.elapsed();
        let held: usize = sets.iter().flat_map(|set| &set.inputs).map(|(_, reads)| reads_size(reads)).sum();
        let begun = Instant::now();
        let found = (0..DISTINCT).filter(|&n| table.find(kind(n), path(n).as_bytes()).is_some()).count();
        let find = begun.elapsed();
        assert_eq!((sets.len(), found), (BUILDS, DISTINCT));
        let begun = Instant::now();
        assert!(sets[0].resolve(&table).is_some());
        let resolve = begun.elapsed();
        let begun = Instant::now();
        let changed: RoaringBitmap = (0..100)
            .map(|n| DISTINCT - 1 - n * 97)
            .filter_map(|n| table.find(kind(n), path(n).as_bytes()))
            .collect();
        let reads_one = |reads: &StoredReads| match reads {
            StoredReads::Whole => true,
            StoredReads::Only(ids) => !ids.is_disjoint(&changed),
        };
        let hit = sets.iter().filter(|set| set.inputs.iter().any(|(_, reads)| reads_one(reads))).count();
        println!("affected       {:.1?} for 100 changed paths: {hit} builds", begun.elapsed());
        println!(
            "load {round}         {entries:.1?} entries, {load:.1?} {BUILDS} sets ({:.1} MiB), {find:.1?} find all, \
             {resolve:.1?} resolve one",
            mib(held as u64)
        );
    }
    println!("peak memory    {} MiB", peak_rss_kib() >> 10);
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
    let entries = (0..DISTINCT).filter(|&n| read[n]);
    PathSet::new(
        Provenance::Opens,
        [(
            "tree".to_owned(),
            Reads::only(entries.map(|n| PathEntry::new(kind(n), path(n).into_bytes())).collect()),
        )],
    )
}

fn kind(n: usize) -> EntryKind {
    match n % 10 {
        0..=4 => EntryKind::File,
        5..=7 => EntryKind::Searched,
        _ => EntryKind::Names,
    }
}

fn path(n: usize) -> String {
    format!("drivers/subsystem-{}/vendor-{}/some-device-{n}.c", n / 3_000, n / 100)
}

fn reads_size(reads: &StoredReads) -> usize {
    match reads {
        StoredReads::Whole => 0,
        StoredReads::Only(ids) => ids.serialized_size(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn peak_rss_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}
