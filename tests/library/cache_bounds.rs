//! The bounds of the cache, through the store: what goes, what stays whoever is at work, and what a kill leaves.

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kiln::digest::{Digest, Domain, Hasher};
use kiln::source::{EntryKind, PathEntry, PathSet, Provenance, Reads};
use kiln::store::{
    Artifact, BlobError, Built, Collected, Limits, Manner, Needs, NodeRecord, NodeState, Origin, Outcome,
    RUNS_PER_NODE, Run, RunId, Sort, Step, Store, StoredResult,
};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::support::tools::TOOLS;

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

// ---- What goes ----

#[test]
fn without_a_bound_nothing_goes() {
    let cache = Cache::new();
    let old = cache.record("old");
    cache.used(&old, 1000 * DAY);
    let collected = cache.gc(&Limits::default());
    assert_eq!((collected.gone.len(), collected.over), (0, 0));
    assert!(collected.before > 64 * KIB);
    assert!(cache.has(&old, "old"));
}

#[test]
fn what_was_not_used_for_long_goes_with_all_that_nothing_else_needs() {
    let cache = Cache::new();
    let (old, new) = (cache.record("old"), cache.record("new"));
    cache.used(&old, 61 * DAY);
    cache.used(&new, 59 * DAY);
    assert_eq!((cache.blobs(), cache.count("candidate"), cache.count("entry")), (4, 2, 3));
    let collected = cache.gc(&age(60 * DAY));
    assert_eq!(collected.gone[&Sort::Result].0, 1);
    assert!(collected.gone[&Sort::Result].1 >= 64 * KIB);
    assert!(!cache.has(&old, "old"));
    assert!(cache.has(&new, "new"));
    assert_eq!((cache.blobs(), cache.count("candidate"), cache.count("path_set")), (2, 1, 1));
    assert_eq!(cache.count("entry"), 2, "what both have read is still known");
    assert_eq!(cache.gc(&age(60 * DAY)).gone, BTreeMap::new());
}

#[test]
fn for_room_the_longest_unused_goes_first_and_no_more_than_must() {
    let cache = Cache::new();
    let keys = ["a", "b", "c", "d"].map(|name| (name, cache.record(name)));
    for (days, (_, strong_key)) in [2, 4, 1, 3].into_iter().zip(&keys) {
        cache.used(strong_key, days * DAY);
    }
    let total = cache.gc(&Limits::default()).before;
    let limits = Limits { size: Some(total - 100 * KIB), ..Limits::default() };
    let dry = collect(
        &cache.open(),
        &limits,
        &HashSet::new(),
        Manner { dry_run: true, ..Manner::default() },
        &|_| {},
    );
    assert_eq!(cache.blobs(), 8, "a dry run takes nothing");
    let collected = cache.gc(&limits);
    assert_eq!(dry.gone, collected.gone);
    let there = keys.map(|(name, strong_key)| cache.has(&strong_key, name));
    assert_eq!(there, [true, false, true, false]);
    assert_eq!(collected.over, 0);
    assert!(cache.gc(&Limits::default()).before <= total - 100 * KIB);
}

#[test]
fn a_full_disk_is_made_room_on() {
    let cache = Cache::new();
    let old = cache.record("old");
    let collected = cache.gc(&Limits { free: Some(u64::MAX), ..Limits::default() });
    assert!(collected.over > 0, "no cache has that much");
    assert!(!cache.has(&old, "old"));
    let new = cache.record("new");
    assert_eq!(cache.gc(&Limits { free: Some(1), ..Limits::default() }).gone, BTreeMap::new());
    assert!(cache.has(&new, "new"));
}

#[test]
fn content_that_another_result_has_stays_and_a_result_that_gives_no_room_does_too() {
    let cache = Cache::new();
    let same = content("same");
    let (old, new) = (record(&cache.open(), "old", &same), record(&cache.open(), "new", &same));
    cache.used(&old, 9 * DAY);
    // For age it goes, and its content stays.
    cache.gc(&age(5 * DAY));
    assert!(cache.has(&new, "same"));
    assert!(cache.open().result(&old).unwrap().is_none());

    // For room it would be for nothing: only what is needed has that content.
    let old = record(&cache.open(), "old", &same);
    cache.used(&old, 9 * DAY);
    cache.index().execute("UPDATE run SET log = NULL", []).unwrap();
    cache.index().execute("UPDATE result SET log = NULL", []).unwrap();
    collect(&cache.open(), &nothing(), &HashSet::from([new]), Manner::default(), &|_| {});
    assert!(cache.has(&new, "same"));
    assert!(cache.open().result(&old).unwrap().is_some());
}

#[test]
fn trees_go_and_stay_as_a_whole() {
    let cache = Cache::new();
    let tree = |name: &str, files: &[&str]| {
        let store = cache.open();
        let dir = store.fresh_work_dir("tree").unwrap();
        for file in files {
            fs::create_dir_all(dir.join("sub/deep")).unwrap();
            fs::write(dir.join("sub/deep").join(file), content(file)).unwrap();
        }
        let tree = store.put_tree(&dir, &|_| true).unwrap();
        record_with(&store, name, vec![("modules".to_owned(), tree)]);
        tree
    };
    let (old, new) = (tree("old", &["both", "old"]), tree("new", &["both", "new"]));
    cache.used(&strong("old"), 9 * DAY);
    assert_eq!(cache.count("listing"), 6);
    cache.gc(&age(5 * DAY));
    let store = cache.open();
    assert!(store.has_artifact(&new).unwrap());
    assert!(!store.has_artifact(&old).unwrap());
    assert!(!store.has(&Digest::of_bytes(&content("old")), 64 * KIB));
    assert_eq!(cache.count("listing"), 3);
}

#[test]
fn the_state_of_a_node_outlives_its_result_and_so_do_the_trees_it_was_made_from() {
    let cache = Cache::new();
    let tree_digest;
    {
        let store = cache.open();
        let run = record_with(&store, "node", vec![]);
        let dir = store.fresh_work_dir("source").unwrap();
        fs::write(dir.join("main.c"), content("main.c")).unwrap();
        let Artifact::Tree { digest, .. } = store.put_tree(&dir, &|_| true).unwrap() else {
            panic!("a tree")
        };
        tree_digest = digest;
        let record = NodeRecord { trees: vec![("linux".to_owned(), digest)], ..NodeRecord::default() };
        let state = NodeState::new(run, Outcome::Pass, key("node"), &record);
        let project = store.project(&store.home().join("..")).unwrap();
        store.batch(|batch| batch.set_node(project, "node", &state)).unwrap();
    }
    cache.gc(&nothing());
    cache.used_nothing();
    let store = cache.open();
    let project = store.project(&store.home().join("..")).unwrap();
    assert!(store.result(&strong("node")).unwrap().is_none());
    assert!(store.node(project, "node").unwrap().is_some());
    assert_eq!(store.runs(project, "node", 9).unwrap().len(), 1);
    assert!(store.has_listing(&tree_digest).unwrap());
    assert!(!store.has(&Digest::of_bytes(&content("main.c")), 64 * KIB), "its files are not needed for that");
}

#[test]
fn of_each_node_the_newest_runs_are_on_record() {
    let cache = Cache::new();
    let store = cache.open();
    let project = store.project(&store.home().join("..")).unwrap();
    let first = record_with(&store, "node", vec![]);
    for _ in 0..RUNS_PER_NODE + 5 {
        let log = store.put_bytes(b"the same each time").unwrap();
        let failed = Run { outcome: Outcome::Fail, log: Some(log), ..a_run("node") };
        store.batch(|batch| batch.record_run(project, &failed)).unwrap();
    }
    drop(store);
    cache.gc(&Limits::default());
    let store = cache.open();
    let runs = store.runs(project, "node", 99).unwrap();
    assert_eq!(runs.len(), RUNS_PER_NODE as usize + 1, "and the one that the result came from");
    assert_eq!(runs.last().unwrap().0, first);
    assert!(runs.iter().all(|(_, run)| run.log.is_some()));
}

#[test]
fn a_log_stays_with_its_result_and_goes_alone_where_it_has_none() {
    let cache = Cache::new();
    let strong_key = cache.record("pass");
    let failed = {
        let store = cache.open();
        let project = store.project(&store.home().join("..")).unwrap();
        let log = store.put_bytes(b"why it failed").unwrap();
        let run = Run { outcome: Outcome::Fail, strong_key: None, log: Some(log), ..a_run("fail") };
        store.batch(|batch| batch.record_run(project, &run)).unwrap()
    };
    let long_ago = milliseconds(SystemTime::now() - 9 * DAY);
    cache.index().execute("UPDATE run SET started = ?1", [long_ago]).unwrap();
    let collected = cache.gc(&age(5 * DAY));
    assert_eq!(collected.gone[&Sort::Log].0, 1);
    let store = cache.open();
    let passed = store.result(&strong_key).unwrap().unwrap();
    let log = store.run(passed.run).unwrap().unwrap().log.unwrap();
    assert_eq!(store.read(&log.digest, log.size).unwrap(), b"log of pass\n");
    assert!(store.run(failed).unwrap().unwrap().log.is_none());
    assert!(!store.has(&Digest::of_bytes(b"why it failed"), 13));
}

#[test]
fn kept_directories_sources_and_damaged_blobs_have_their_turn() {
    let cache = Cache::new();
    let source = key("source");
    let others = cache.home().join("sources/linux-6.1");
    {
        let store = cache.open();
        let out = store.fresh_work_dir("out").unwrap();
        fs::write(out.join("vmlinux"), content("vmlinux")).unwrap();
        store.keep(&key("kept"), "kernel", &out, b"record", &[], u64::MAX).unwrap();
        for dir in [store.home().join("sources").join(source.to_string()), others.clone()] {
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("Makefile"), content("Makefile")).unwrap();
        }
        let blob = store.put_bytes(&content("rotten")).unwrap();
        let hex = blob.digest.to_string();
        let path = store.home().join("cas").join(&hex[..2]).join(&hex);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&path, "rotten").unwrap();
        store.read(&blob.digest, blob.size).unwrap_err();
    }
    // Whoever is going to read the source says so.
    let user = cache.open();
    user.hold(&[source]).unwrap();
    let collected = cache.gc(&nothing());
    let sorts: Vec<(Sort, u64)> = collected.gone.iter().map(|(sort, (count, _))| (*sort, *count)).collect();
    assert_eq!(sorts, [(Sort::Kept, 1), (Sort::Damaged, 1)]);
    assert!(collected.over > 0);
    drop(user);
    let collected = cache.gc(&nothing());
    assert_eq!(collected.gone[&Sort::Source].0, 1);
    assert!(others.join("Makefile").exists(), "that one is the user's own");
    assert_eq!(fs::read_dir(cache.home().join("sources")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(cache.home().join("cas/damaged")).unwrap().count(), 0);
    assert!(cache.open().kept().unwrap().is_empty());
}

#[test]
fn what_the_record_of_a_kept_directory_speaks_of_is_kept_as_long() {
    let cache = Cache::new();
    let set = files(&["kernel.c"]);
    let tree = {
        let store = cache.open();
        let dir = store.fresh_work_dir("source").unwrap();
        fs::write(dir.join("kernel.c"), "").unwrap();
        let Artifact::Tree { digest, .. } = store.put_tree(&dir, &|_| true).unwrap() else {
            panic!("a tree")
        };
        let path_set = store.batch(|batch| batch.put_path_set(&set)).unwrap();
        let out = store.fresh_work_dir("out").unwrap();
        store.keep(&key("kept"), "kernel", &out, b"record", &[digest, path_set], u64::MAX).unwrap();
        digest
    };
    cache.gc(&age(DAY));
    let store = cache.open();
    assert!(store.has_listing(&tree).unwrap());
    let stored = store.path_set(&set.digest()).unwrap().unwrap();
    assert_eq!(stored.resolve(&store.entries().unwrap()), Some(set.clone()));
    store.drop_kept().unwrap();
    drop(store);
    cache.gc(&age(DAY));
    let store = cache.open();
    assert!(!store.has_listing(&tree).unwrap());
    assert!(store.path_set(&set.digest()).unwrap().is_none());
    assert_eq!(cache.count("entry"), 0);
}

// ---- Clocks ----

#[test]
fn a_clock_that_was_set_back_makes_nothing_go_and_nothing_stay_for_ever() {
    let cache = Cache::new();
    let now = SystemTime::now();
    // Two were used while the clock was ten years ahead.
    let (early, late, old) = (cache.record("early"), cache.record("late"), cache.record("old"));
    cache.used_at(&early, milliseconds(now + 3650 * DAY));
    cache.used_at(&late, milliseconds(now + 3651 * DAY));
    cache.used(&old, 2 * DAY);
    let unnamed = cache.open().put_bytes(&content("unnamed")).unwrap().digest.to_string();
    let unnamed = cache.home().join("cas").join(&unnamed[..2]).join(&unnamed);
    File::open(&unnamed).unwrap().set_modified(now + 3650 * DAY).unwrap();

    cache.gc(&age(3 * DAY));
    assert!(cache.has(&early, "early") && cache.has(&late, "late") && cache.has(&old, "old"));
    let used = |strong_key: &Digest| -> i64 {
        let sql = "SELECT used FROM result WHERE strong_key = ?1";
        cache.index().query_row(sql, [strong_key.as_bytes()], |row| row.get(0)).unwrap()
    };
    let until = milliseconds(SystemTime::now());
    assert!(used(&early) < used(&late) && used(&late) <= until, "they grow old from now on, in their order");
    assert!(used(&early) > milliseconds(now - DAY));
    assert!(fs::metadata(&unnamed).unwrap().modified().unwrap() <= SystemTime::now());
}

// ---- What stays ----

#[test]
fn what_is_needed_stays_unless_it_is_forced() {
    let cache = Cache::new();
    let (needed, other) = (cache.record("needed"), cache.record("other"));
    for strong_key in [&needed, &other] {
        cache.used(strong_key, 99 * DAY);
    }
    let limits = Limits { size: Some(0), age: Some(DAY), free: None };
    let collected = collect(&cache.open(), &limits, &HashSet::from([needed]), Manner::default(), &|_| {});
    assert!(collected.over > 0);
    assert!(cache.has(&needed, "needed") && !cache.has(&other, "other"));
    cache.gc(&limits);
    assert!(!cache.has(&needed, "needed"));
}

#[test]
fn what_a_running_kiln_goes_by_stays_until_it_ends() {
    let cache = Cache::new();
    let (held, restored, made) = (cache.record("held"), cache.record("restored"), strong("made"));
    let running = cache.open();
    running.hold(&[held]).unwrap();
    running.take_result(&restored).unwrap();
    record(&running, "made", &content("made"));
    let unnamed = running.put_bytes(&content("not yet named")).unwrap();
    for strong_key in [&held, &restored, &made] {
        cache.used(strong_key, 99 * DAY);
    }
    let limits = Limits { size: Some(0), age: Some(DAY), free: None };
    cache.gc(&limits);
    for (strong_key, name) in [(&held, "held"), (&restored, "restored"), (&made, "made")] {
        assert!(cache.has(strong_key, name), "{name}");
    }
    assert!(running.has(&unnamed.digest, unnamed.size));
    drop(running);
    cache.gc(&limits);
    assert_eq!(cache.blobs(), 0);
}

#[test]
fn to_hold_a_result_is_to_use_it() {
    let cache = Cache::new();
    let (held, taken, other) = (cache.record("held"), cache.record("taken"), cache.record("other"));
    for strong_key in [&held, &taken, &other] {
        cache.used(strong_key, 99 * DAY);
    }
    let store = cache.open();
    store.hold(&[held]).unwrap();
    store.take_result(&taken).unwrap();
    drop(store);
    cache.gc(&age(DAY));
    assert!(cache.has(&held, "held") && cache.has(&taken, "taken") && !cache.has(&other, "other"));
}

#[test]
fn content_that_is_put_again_while_it_is_being_collected_stays() {
    // Between the choice and the removal somebody puts what goes: in a session that goes on, and in one that ends
    // before the removal, of which only its rows are left.
    for goes_on in [true, false] {
        let cache = Cache::new();
        let old = cache.record("old");
        cache.used(&old, 9 * DAY);
        let collector = cache.open();
        let session = Cell::new(None);
        let watch = |step| {
            if step == Step::Forgotten {
                let store = cache.open();
                assert!(store.result(&old).unwrap().is_none());
                let blob = store.put_bytes(&content("old")).unwrap();
                assert!(store.has(&blob.digest, blob.size));
                let outputs = vec![("o".to_owned(), Artifact::file(blob, false))];
                if goes_on {
                    session.set(Some((store, outputs)));
                } else {
                    record_with(&store, "again", outputs);
                }
            }
        };
        collect(&collector, &age(5 * DAY), &HashSet::new(), Manner::default(), &watch);
        if let Some((store, outputs)) = session.take() {
            record_with(&store, "again", outputs);
        }
        drop(collector);
        assert!(cache.has(&strong("again"), "old"), "the session goes on: {goes_on}");
    }
}

#[test]
fn a_tree_that_is_put_again_while_it_is_being_collected_stays() {
    let cache = Cache::new();
    let put = |name: &str| {
        let store = cache.open();
        let dir = store.fresh_work_dir("tree").unwrap();
        fs::create_dir(dir.join("sub")).unwrap();
        fs::write(dir.join("sub/file"), content("file")).unwrap();
        let tree = store.put_tree(&dir, &|_| true).unwrap();
        record_with(&store, name, vec![("tree".to_owned(), tree)]);
        tree
    };
    let tree = put("old");
    cache.used(&strong("old"), 9 * DAY);
    let collector = cache.open();
    let again = |step| {
        if step == Step::Forgotten {
            put("again");
        }
    };
    collect(&collector, &age(5 * DAY), &HashSet::new(), Manner::default(), &again);
    assert!(collector.has_artifact(&tree).unwrap());
}

#[test]
fn of_two_collections_one_waits_or_leaves_it_to_the_other() {
    let cache = Cache::new();
    let (old, new) = (cache.record("old"), cache.record("new"));
    cache.used(&old, 9 * DAY);
    let (collector, passing) = (cache.open(), cache.open());
    let watch = |step| {
        if step == Step::Walked {
            let in_passing = Manner { in_passing: true, ..Manner::default() };
            assert!(collect(&passing, &nothing(), &HashSet::new(), in_passing, &|_| {}).elsewhere);
        }
    };
    let begun = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let second = scope.spawn(|| {
            while !begun.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            cache.gc(&age(5 * DAY))
        });
        let first = collect(&collector, &age(5 * DAY), &HashSet::new(), Manner::default(), &|step| {
            watch(step);
            begun.store(true, Ordering::Release);
        });
        assert_eq!(first.gone[&Sort::Result].0, 1);
        assert_eq!(second.join().unwrap().gone, BTreeMap::new());
    });
    assert!(!cache.has(&old, "old") && cache.has(&new, "new"));
}

impl Cache {
    /// The same once more: what is left is as good as before.
    fn used_nothing(&self) {
        let again = self.gc(&nothing());
        assert!(!again.gone.contains_key(&Sort::Result), "{again:?}");
    }
}

// ---- Whether it is time ----

#[test]
fn a_cache_knows_that_it_is_over_its_bound() {
    let cache = Cache::new();
    cache.record("first");
    let limits = |size| Limits { size: Some(size), ..Limits::default() };
    let total = cache.gc(&Limits::default()).before;
    let store = cache.open();
    assert!(!store.is_over(&limits(total + 32 * KIB)).unwrap());
    assert!(store.is_over(&limits(total / 2)).unwrap());
    assert!(store.is_over(&Limits { free: Some(u64::MAX), ..Limits::default() }).unwrap());
    assert!(!store.is_over(&Limits { free: Some(1), age: Some(DAY), size: None }).unwrap());
    // What this session puts, and what others do.
    store.put_bytes(&content("second")).unwrap();
    assert!(store.is_over(&limits(total + 32 * KIB)).unwrap());
    drop(store);
    cache.record("third");
    assert!(cache.open().is_over(&limits(total + 96 * KIB)).unwrap());
    // And what went.
    cache.gc(&limits(total + 32 * KIB));
    assert!(!cache.open().is_over(&limits(total + 64 * KIB)).unwrap());
}

#[test]
fn how_large_the_cache_is_is_measured_again_where_it_is_not_known() {
    let cache = Cache::new();
    cache.record("first");
    let over = |size| cache.open().is_over(&Limits { size: Some(size), ..Limits::default() }).unwrap();
    assert!(over(64 * KIB) && !over(1 << 30));
    for damage in ["", "many", "-1"] {
        fs::write(cache.home().join("size"), damage).unwrap();
        assert!(over(64 * KIB) && !over(1 << 30), "{damage:?}");
    }
    // A killed kiln has not told what it put.
    let mut child = cache.child("put");
    child.wait().unwrap();
    assert!(over(150 * KIB), "two blobs and the index");
}

// ---- Kills and company: this very binary, as other processes ----

impl Cache {
    fn child(&self, role: &str) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "cache_bounds::another_process", "--nocapture"])
            .env("KILN_TEST_ROLE", role)
            .env("KILN_TEST_CACHE", self.home())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }
}

#[test]
#[ignore = "a process of other tests"]
fn another_process() {
    let Ok(role) = std::env::var("KILN_TEST_ROLE") else { return };
    let home = PathBuf::from(std::env::var_os("KILN_TEST_CACHE").unwrap());
    let store = Store::open(&home).unwrap();
    let dies_at = |dies: Step| {
        let at = move |step| {
            if step == dies {
                std::process::abort();
            }
        };
        collect(&store, &age(5 * DAY), &HashSet::new(), Manner::default(), &at);
        unreachable!("it died");
    };
    match &*role {
        "put" => {
            store.put_bytes(&content("not told")).unwrap();
            std::process::abort();
        }
        "walked" => dies_at(Step::Walked),
        "forgotten" => dies_at(Step::Forgotten),
        "unlinked" => dies_at(Step::Unlinked),
        "collect" => {
            for _ in 0..40 {
                gc(&store, &nothing());
            }
        }
        "build" => {
            drop(store);
            // Sessions of some results each, of content that comes again and again.
            for round in 0..60 {
                let store = Store::open(&home).unwrap();
                for n in 0..4 {
                    let name = format!("{}", (round * 3 + n) % 7);
                    let strong_key = record(&store, &name, &content(&name));
                    assert!(store.result(&strong_key).unwrap().is_some(), "{name} is gone");
                }
                for n in 0..4 {
                    let name = format!("{}", (round * 3 + n) % 7);
                    let bytes = store.read(&Digest::of_bytes(&content(&name)), 64 * KIB);
                    assert_eq!(bytes.unwrap(), content(&name), "what a running kiln has made is there");
                }
            }
        }
        role => panic!("{role}?"),
    }
}

#[test]
fn killed_at_any_step_a_collection_leaves_a_good_cache() {
    for role in ["walked", "forgotten", "unlinked"] {
        let cache = Cache::new();
        let (old, new) = (cache.record("old"), cache.record("new"));
        cache.used(&old, 9 * DAY);
        assert!(!cache.child(role).wait().unwrap().success());
        assert!(cache.has(&new, "new"), "{role}");
        let there = cache.open().result(&old).unwrap().is_some();
        assert_eq!(there, role == "walked");
        let verdict: String =
            cache.index().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(verdict, "ok");
        // What nothing names any more goes with the next, when it is a day old.
        let yesterday = SystemTime::now() - 2 * DAY;
        for dir in fs::read_dir(cache.home().join("cas")).unwrap() {
            for blob in fs::read_dir(dir.unwrap().path()).unwrap() {
                File::open(blob.unwrap().path()).unwrap().set_modified(yesterday).unwrap();
            }
        }
        cache.gc(&age(5 * DAY));
        assert!(!cache.has(&old, "old"), "{role}");
        assert_eq!(cache.blobs(), 2, "{role}");
    }
}

#[test]
fn builds_and_collections_at_once_lose_nothing_that_is_in_use() {
    let cache = Cache::new();
    cache.record("first");
    let mut builds = ["build", "build"].map(|role| cache.child(role));
    let mut collections = ["collect", "collect"].map(|role| cache.child(role));
    for child in builds.iter_mut().chain(&mut collections) {
        assert!(child.wait().unwrap().success());
    }
    // Each result is whole or gone.
    for n in 0..7 {
        let name = n.to_string();
        let there = cache.open().result(&strong(&name)).unwrap().is_some();
        let blob = cache.open().has(&Digest::of_bytes(&content(&name)), 64 * KIB);
        assert!(!there || blob, "{name} has lost its blob");
    }
    cache.gc(&nothing());
    assert_eq!((cache.count("result"), cache.blobs()), (0, 0));
}

// ---- Care ----

#[test]
fn an_audit_finds_each_kind_of_damage_and_makes_it_a_miss() {
    let cache = Cache::new();
    let (rotten, lost, fine) = (cache.record("rotten"), cache.record("lost"), cache.record("fine"));
    assert_eq!(cache.open().audit(false).unwrap().damage, []);
    let path = |name: &str| {
        let hex = Digest::of_bytes(&content(name)).to_string();
        cache.home().join("cas").join(&hex[..2]).join(hex)
    };
    // As long as it was: only hashing tells.
    fs::set_permissions(path("rotten"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path("rotten"), vec![b'!'; 64 << 10]).unwrap();
    fs::remove_file(path("lost")).unwrap();
    fs::write(cache.home().join("cas/ab12"), "what is this?").unwrap();
    let index = cache.index();
    index.execute("UPDATE path_set SET body = x'00' WHERE rowid = 1", []).unwrap();
    index.execute("INSERT INTO listing VALUES (zeroblob(32), x'00')", []).unwrap();
    index.execute("UPDATE result SET outputs = x'ff' WHERE strong_key = ?1", [fine.as_bytes()]).unwrap();

    let quick = cache.open().audit(true).unwrap();
    let told: Vec<String> = quick.damage.iter().map(ToString::to_string).collect();
    let tells = |told: &[String], what: &str| told.iter().filter(|told| told.contains(what)).count();
    assert_eq!(told.len(), 5, "{told:?}");
    for what in [
        "cas/ab12 is no blob",
        "listing 0000",
        "path set ",
        &format!("result {fine} can't be read"),
        &format!("result {lost} has lost o"),
    ] {
        assert_eq!(tells(&told, what), 1, "{what} in {told:?}");
    }
    assert!(cache.open().result(&lost).unwrap().is_none());
    assert!(cache.open().result(&rotten).unwrap().is_some(), "a quick look does not hash");

    let whole = cache.open().audit(false).unwrap();
    let told: Vec<String> = whole.damage.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(tells(&told, "has another content"), 1);
    assert_eq!(tells(&told, "has lost o"), 1);
    assert!(cache.open().result(&rotten).unwrap().is_none());
    assert!(cache.home().join("cas/damaged").join(Digest::of_bytes(&content("rotten")).to_string()).exists());
    assert_eq!(cache.open().audit(false).unwrap().damage, []);
}

#[test]
fn a_blob_has_its_other_name_worked_out_once_and_checked() {
    let cache = Cache::new();
    let store = cache.open();
    let blob = store.put_bytes(b"abc").unwrap();
    let sha256 = store.sha256(&blob.digest, 3).unwrap();
    let hex: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(store.sha256s(&[blob.digest, key("none")]).unwrap(), [(blob.digest, sha256)].into());
    // Known by now, so that the blob is not read again.
    let hex = blob.digest.to_string();
    let path = cache.home().join("cas").join(&hex[..2]).join(&hex);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&path, "abd").unwrap();
    assert_eq!(store.sha256(&blob.digest, 3).unwrap(), sha256);
    // A damaged row is none, and a damaged blob has no other name.
    cache.index().execute("UPDATE sha256 SET sha256 = x'00'", []).unwrap();
    let error = store.sha256(&blob.digest, 3).unwrap_err();
    assert!(matches!(error, BlobError::Damaged { .. }), "{error}");
    assert!(matches!(store.sha256(&blob.digest, 3), Err(BlobError::Missing)));
    let blob = store.put_bytes(b"longer").unwrap();
    assert!(matches!(store.sha256(&blob.digest, 5), Err(BlobError::TooLarge)));
}

// ---- The command line, on a project of two actions ----

struct Project {
    dir: TempDir,
}

impl Project {
    fn new(limit: &str) -> Self {
        let project = Self { dir: tempfile::Builder::new().prefix("kiln-bounds-").tempdir().unwrap() };
        project.describe(limit);
        for (name, script, inputs) in [
            ("one", "cat /kiln/in/file >o; head -c 300000 /dev/zero >>o", r#""file": File("input")"#),
            ("two", "cp /kiln/in/one o", r#""one": Output(rule: "one:one", output: "o")"#),
        ] {
            let rule = format!(
                "(version: 1, inputs: {{{inputs}}}, steps: [[\"sh\", \"-c\", {script:?}]], tools: [{TOOLS}], \
                 outputs: {{\"o\": File(\"o\")}}, export: {name:?})"
            );
            project.write(&format!("rules/{name}.ron"), &rule);
        }
        project.write("input", "at first\n");
        project
    }

    fn describe(&self, limit: &str) {
        let graph = format!(
            "(version: 1, actions: {{\"one\": (rule: \"one\"), \"two\": (rule: \"two\")}}, cache: (path: \"cache\"{limit}))"
        );
        self.write("graph.ron", &graph);
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn index(&self) -> Connection {
        Connection::open(self.dir.path().join("cache/index.sqlite")).unwrap()
    }

    fn results(&self) -> i64 {
        self.index().query_row("SELECT count(*) FROM result", [], |row| row.get(0)).unwrap()
    }

    /// Runs kiln, and gives what it printed and said.
    #[track_caller]
    fn kiln(&self, args: &str, code: i32) -> (String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
        command.args(args.split_whitespace()).current_dir(self.dir.path());
        let output = command.env_remove("MAKEFLAGS").env("NO_COLOR", "1").output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "kiln {args}:\n{out}\n{err}");
        (out, err)
    }

    /// Builds with one input after the other, so that there are results that nothing needs.
    fn with_a_past(limit: &str) -> Self {
        let project = Self::new("");
        project.kiln("build", 0);
        project.write("input", "then\n");
        project.kiln("build", 0);
        project.describe(limit);
        project
    }
}

#[test]
fn gc_takes_what_the_graph_does_not_need_and_all_if_it_is_forced() {
    let project = Project::with_a_past("");
    assert_eq!(project.results(), 4);
    let (out, _) = project.kiln("cache gc", 0);
    assert!(out.contains("nothing has to go"), "{out}");
    let (out, err) = project.kiln("cache gc --size 0 --dry-run", 0);
    assert!(out.contains("2 results") && out.contains("would go"), "{out}");
    assert!(err.contains("more should have gone, but this graph needs it"), "{err}");
    assert_eq!(project.results(), 4);
    project.kiln("cache gc --size 0", 0);
    assert_eq!(project.results(), 2);
    assert!(project.kiln("build", 0).0.contains("everything is up to date"));

    // What is in place is up to date without its blobs; and what is not runs again.
    project.kiln("cache gc --size 0 --force", 0);
    assert_eq!(project.results(), 0);
    assert!(project.kiln("build", 0).0.contains("everything is up to date"));
    fs::remove_file(project.dir.path().join("out/two/o")).unwrap();
    let (out, _) = project.kiln("build", 0);
    assert!(out.contains("2 ran"), "what is read and what is missing: {out}");
    assert!(project.kiln("cache gc --size much", 2).1.contains("expected such as 512MiB"));
}

#[test]
fn a_build_that_comes_over_the_bound_collects() {
    let project = Project::with_a_past(", limit: (size: \"1MiB\")");
    project.write("input", "and then\n");
    let (_, err) = project.kiln("build", 0);
    assert!(err.contains("the cache took"), "{err}");
    assert!(err.contains("result"), "{err}");
    let left = project.results();
    assert!((2..6).contains(&left), "{left}");
    assert!(project.kiln("build", 0).0.contains("everything is up to date"));
    // A build that does nothing does not look.
    let (_, err) = project.kiln("build", 0);
    assert!(!err.contains("the cache"), "{err}");
}

#[test]
fn stat_counts_all_that_is_there() {
    let project = Project::with_a_past("");
    let (out, _) = project.kiln("cache stat --format json", 0);
    let figures: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(figures["version"], 1);
    let bytes = |part: &str| {
        let parts = figures["parts"].as_array().unwrap();
        parts.iter().find(|found| found["part"] == part).map_or(0, |found| found["bytes"].as_u64().unwrap())
    };
    // Two contents of some 300,000 bytes: what `two` makes is what `one` made.
    assert!((600_000..700_000).contains(&bytes("files")), "{figures:#}");
    assert_eq!(bytes("unreachable"), 0);
    let sum: u64 = ["files", "trees", "logs", "kept", "sources", "index", "damaged", "unreachable"]
        .into_iter()
        .map(bytes)
        .sum();
    assert_eq!(figures["total"].as_u64().unwrap(), sum);
    let nodes = figures["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 2);
    assert!(nodes.iter().all(|node| node["results"] == 2));
    let needed = figures["needed"].as_u64().unwrap();
    assert!((300_000..400_000).contains(&needed), "{needed}");
    let (out, _) = project.kiln("cache stat", 0);
    assert!(out.contains("results: files") && out.contains("two:two"), "{out}");
}

#[test]
fn verify_exits_with_1_where_something_was_damaged() {
    let project = Project::with_a_past("");
    assert!(project.kiln("cache verify", 0).0.contains("all is well"));
    let made = fs::read(project.dir.path().join("out/one/o")).unwrap();
    let hex = Digest::of_bytes(&made).to_string();
    let path = project.dir.path().join("cache/cas").join(&hex[..2]).join(&hex);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&path, vec![0; made.len()]).unwrap();
    assert!(project.kiln("cache verify --quick", 0).0.contains("all is well"));
    let (out, _) = project.kiln("cache verify", 1);
    assert!(out.contains(&format!("blob {hex} has another content")), "{out}");
    assert!(out.contains("has lost o"), "{out}");
    assert!(project.kiln("cache verify", 0).0.contains("all is well"));
}

#[test]
fn why_kept_names_who_has_it() {
    let project = Project::with_a_past("");
    let made = fs::read(project.dir.path().join("out/one/o")).unwrap();
    let hex = Digest::of_bytes(&made).to_string();
    let (out, _) = project.kiln(&format!("cache why-kept {}", &hex[..10]), 0);
    assert!(out.contains(&format!("blob {hex}: 293.0 KiB")), "{out}");
    for node in ["one:one", "two:two"] {
        let line = out
            .lines()
            .find(|line| line.contains(&format!("of {node}: o")))
            .unwrap_or_else(|| panic!("{out}"));
        assert!(line.contains("this graph needs it"), "{line}");
    }
    let (out, _) = project.kiln("cache why-kept two:two", 0);
    assert_eq!(out.lines().filter(|line| line.starts_with("result")).count(), 2, "{out}");
    assert_eq!(out.matches("this graph needs it").count(), 1, "{out}");
    assert!(project.kiln("cache why-kept 0123456789", 0).0.contains("is not in the cache"));
}

/// Waits until an action has made the file `begun` in its output directory, and gives that directory.
fn begun(project: &Project, running: &mut Child) -> PathBuf {
    loop {
        let mut dirs = vec![project.dir.path().join("cache/work")];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                if entry.file_name() == "begun" {
                    return entry.path().parent().unwrap().to_owned();
                }
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    dirs.push(entry.path());
                }
            }
        }
        assert!(running.try_wait().unwrap().is_none(), "kiln ended before its action ran");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_running_build_finds_what_it_planned_with_whatever_is_forced_meanwhile() {
    let project = Project::new("");
    let slow = "touch begun; until [ -e go ]; do sleep 0.02; done; cat /kiln/in/file >o";
    for (name, script, inputs) in [
        ("slow", slow, r#""file": File("trigger")"#),
        (
            "two",
            "cat /kiln/in/one /kiln/in/slow >o",
            r#""one": Output(rule: "one:one", output: "o"), "slow": Output(rule: "slow:slow", output: "o")"#,
        ),
    ] {
        let rule = format!(
            "(version: 1, inputs: {{{inputs}}}, steps: [[\"sh\", \"-c\", {script:?}]], tools: [{TOOLS}], \
             outputs: {{\"o\": File(\"o\")}}, export: {name:?})"
        );
        project.write(&format!("rules/{name}.ron"), &rule);
    }
    let actions = ["one", "slow", "two"].map(|name| format!("{name:?}: (rule: {name:?})")).join(", ");
    project.write("graph.ron", &format!("(version: 1, actions: {{{actions}}})"));
    // Of the first build all runs; of the second `one` is fresh, and what it made is read when `slow` is done.
    for (trigger, counts) in [("first", "3 ran in"), ("second", "2 ran, 1 fresh in")] {
        project.write("trigger", trigger);
        let mut build = Command::new(env!("CARGO_BIN_EXE_kiln"));
        build.args(["build", "-j2"]).current_dir(project.dir.path()).env("NO_COLOR", "1");
        let mut running =
            build.env_remove("MAKEFLAGS").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let gate = begun(&project, &mut running);
        project.kiln("cache gc --size 0 --age 1ms --force", 0);
        fs::write(gate.join("go"), "").unwrap();
        let ended = running.wait_with_output().unwrap();
        let out = String::from_utf8(ended.stdout).unwrap();
        assert!(ended.status.success() && out.contains(counts), "{out}");
        let made = fs::read(project.dir.path().join("out/two/o")).unwrap();
        assert!(made.ends_with(trigger.as_bytes()));
    }
}
