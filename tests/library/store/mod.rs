//! The store through its public interface: what it keeps, and what it makes of damage, crashes and company.

mod contents;
mod damage;
mod encoding;
mod kept_directories;
mod processes;
mod speed;
mod unwritable;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use kiln::digest::{Digest, Domain, Hasher};
use kiln::source::{EntryKind, PathEntry, PathSet, Provenance, Reads};
use kiln::store::{Built, Origin, Outcome, ProjectId, Run, RunId, Store, StoredResult};
use tempfile::TempDir;

/// A directory for a test, and the store in it.
fn store() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("cache")).unwrap();
    (dir, store)
}

fn key(text: &str) -> Digest {
    Hasher::new(Domain::ActionKey).text(text).finish()
}

fn whole_tree(input: &str) -> PathSet {
    PathSet::new(Provenance::Whole, [(input.to_owned(), Reads::Whole)])
}

/// A path set of these files of the input `linux`.
fn files(paths: &[&str]) -> PathSet {
    let entries = paths.iter().map(|path| PathEntry::new(EntryKind::File, path.as_bytes()));
    PathSet::new(Provenance::Opens, [("linux".to_owned(), Reads::only(entries.collect()))])
}

/// The path sets of an action key that can be had in full, newest first.
fn path_sets(store: &Store, action_key: &Digest) -> Vec<PathSet> {
    let table = store.entries().unwrap();
    store.path_sets(action_key).unwrap().iter().filter_map(|set| set.resolve(&table)).collect()
}

/// A passed result without outputs, of a run that is recorded.
fn passed(store: &Store) -> StoredResult {
    StoredResult {
        action_key: key("action"),
        outcome: Outcome::Pass,
        outputs: vec![],
        log: None,
        run: run_id(store),
        built: Built::FromNothing,
        origin: Origin::Local,
    }
}

fn a_run(node: &str, outcome: Outcome, millis: u64) -> Run {
    Run {
        node: node.to_owned(),
        action_key: key(node),
        path_set: Some(whole_tree("linux").digest()),
        strong_key: Some(key("strong")),
        outcome,
        started: UNIX_EPOCH + Duration::from_secs(1_790_000_000),
        duration: Duration::from_millis(millis),
        cpu: Duration::from_millis(millis * 2),
        max_rss: 1 << 30,
        reasons: "[]".to_owned(),
        manifest: Some(b"opaque".to_vec()),
        log: None,
        pid: std::process::id(),
        continued: false,
    }
}

fn blob_path(store: &Store, digest: &Digest) -> PathBuf {
    let hex = digest.to_string();
    store.home().join("cas").join(&hex[..2]).join(hex)
}

/// The names in a directory, sorted.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn project(store: &Store) -> ProjectId {
    store.project(store.home().parent().unwrap()).unwrap()
}

fn run_id(store: &Store) -> RunId {
    let project = project(store);
    store.batch(|batch| batch.record_run(project, &a_run("some", Outcome::Pass, 1))).unwrap()
}

/// Runs the test of that full name in a process of its own, where `KILN_TEST_HOME` tells it to play its part.
fn child(name: &str, home: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env("KILN_TEST_HOME", home)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until a child has printed this line.
fn wait_for(child: &mut Child, line: &str) {
    let out = BufReader::new(child.stdout.as_mut().unwrap());
    assert!(out.lines().any(|read| read.unwrap().ends_with(line)), "the child never said {line:?}");
}

/// The home, where this process is such a child.
fn played_by_child() -> Option<PathBuf> {
    std::env::var_os("KILN_TEST_HOME").map(PathBuf::from)
}
