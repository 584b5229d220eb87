//! The bounds of the cache, through the store: what goes, what stays whoever is at work, and what a kill leaves.

mod audit;
mod claims;
mod eviction;
mod processes;
mod size;

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kiln::digest::{Digest, Domain, Hasher};
use kiln::source::{EntryKind, PathEntry, PathSet, Provenance, Reads};
use kiln::store::{
    Artifact, Built, Collected, Limits, Manner, Needs, Origin, Outcome, Run, RunId, Sort, Step, Store,
    StoredResult,
};
use rusqlite::Connection;
use tempfile::TempDir;

const DAY: Duration = Duration::from_hours(24);
const KIB: u64 = 1024;

/// A cache, and what is asked of it. Each step opens it anew: what a session has made it has claimed.
struct Cache {
    dir: TempDir,
}

impl Cache {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    fn open(&self) -> Store {
        Store::open(&self.home()).unwrap()
    }

    fn index(&self) -> Connection {
        Connection::open(self.home().join("index.sqlite")).unwrap()
    }

    fn count(&self, table: &str) -> i64 {
        self.index().query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }

    /// Records a result of one file of 64 KiB and a log, in a session of its own.
    fn record(&self, name: &str) -> Digest {
        record(&self.open(), name, &content(name))
    }

    /// Says that a result was last used so long ago.
    fn used(&self, strong_key: &Digest, ago: Duration) {
        self.used_at(strong_key, milliseconds(SystemTime::now() - ago));
    }

    fn used_at(&self, strong_key: &Digest, time: i64) {
        let sql = "UPDATE result SET used = ?2 WHERE strong_key = ?1";
        assert_eq!(self.index().execute(sql, (strong_key.as_bytes(), time)).unwrap(), 1);
        let sql = "UPDATE run SET started = ?2 WHERE strong_key = ?1";
        self.index().execute(sql, (strong_key.as_bytes(), time)).unwrap();
    }

    /// Collects in a session of its own, and with nothing that is needed.
    fn gc(&self, limits: &Limits) -> Collected {
        gc(&self.open(), limits)
    }

    /// Whether a result is there with all of its blobs, or is gone with all of them.
    #[track_caller]
    fn has(&self, strong_key: &Digest, name: &str) -> bool {
        let store = self.open();
        let blob = store.has(&Digest::of_bytes(&content(name)), 64 * KIB);
        let there = store.result(strong_key).unwrap().is_some();
        assert_eq!(blob, there, "half of {name}");
        there
    }

    fn blobs(&self) -> usize {
        let dirs = fs::read_dir(self.home().join("cas")).unwrap().map(|dir| dir.unwrap());
        let dirs = dirs.filter(|dir| dir.file_name() != "damaged");
        dirs.map(|dir| fs::read_dir(dir.path()).unwrap().count()).sum()
    }
}

fn key(text: &str) -> Digest {
    Hasher::new(Domain::ActionKey).text(text).finish()
}

fn content(name: &str) -> Vec<u8> {
    let mut content = format!("{name}\n").into_bytes();
    content.resize(64 << 10, b'.');
    content
}

fn milliseconds(time: SystemTime) -> i64 {
    i64::try_from(time.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn files(paths: &[&str]) -> PathSet {
    let entries = paths.iter().map(|path| PathEntry::new(EntryKind::File, path.as_bytes()));
    PathSet::new(Provenance::Opens, [("linux".to_owned(), Reads::only(entries.collect()))])
}

fn a_run(name: &str) -> Run {
    Run {
        node: name.to_owned(),
        action_key: key(name),
        path_set: None,
        strong_key: Some(strong(name)),
        outcome: Outcome::Pass,
        started: SystemTime::now(),
        duration: Duration::from_secs(1),
        cpu: Duration::ZERO,
        max_rss: 0,
        reasons: "[]".to_owned(),
        manifest: None,
        log: None,
        pid: 1,
        continued: false,
    }
}

fn strong(name: &str) -> Digest {
    key(&format!("strong {name}"))
}

/// Records a run with its result.
fn record(store: &Store, name: &str, content: &[u8]) -> Digest {
    let output = store.put_bytes(content).unwrap();
    record_with(store, name, vec![("o".to_owned(), Artifact::file(output, false))]);
    strong(name)
}

fn record_with(store: &Store, name: &str, outputs: Vec<(String, Artifact)>) -> RunId {
    let log = store.put_bytes(format!("log of {name}\n").as_bytes()).unwrap();
    let project = store.project(&store.home().join("..")).unwrap();
    let path_set = files(&["all.h", &format!("{name}.c")]);
    store
        .batch(|batch| {
            let run = batch.record_run(project, &Run { log: Some(log), ..a_run(name) })?;
            let result = StoredResult {
                action_key: key(name),
                outcome: Outcome::Pass,
                outputs,
                log: Some(log),
                run,
                built: Built::FromNothing,
                origin: Origin::Local,
            };
            batch.record(&strong(name), &path_set, &result)?;
            Ok(run)
        })
        .unwrap()
}

fn gc(store: &Store, limits: &Limits) -> Collected {
    collect(store, limits, &HashSet::new(), Manner::default(), &|_| {})
}

fn collect(
    store: &Store,
    limits: &Limits,
    digests: &HashSet<Digest>,
    manner: Manner,
    watch: &dyn Fn(Step),
) -> Collected {
    store.gc(limits, &Needs { digests, trees_of: &|_| Vec::new() }, manner, watch).unwrap()
}

fn age(age: Duration) -> Limits {
    Limits { age: Some(age), ..Limits::default() }
}

/// Everything that may go.
fn nothing() -> Limits {
    Limits { size: Some(0), ..Limits::default() }
}

impl Cache {
    /// The same once more: what is left is as good as before.
    fn used_nothing(&self) {
        let again = self.gc(&nothing());
        assert!(!again.gone.contains_key(&Sort::Result), "{again:?}");
    }
}
