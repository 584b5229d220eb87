//! What a collection removes, and in what order.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;

use kiln::digest::Digest;
use kiln::store::{Artifact, Limits, Manner, NodeRecord, NodeState, Outcome, RUNS_PER_NODE, Run, Sort};

use super::{
    Cache, DAY, KIB, a_run, age, collect, content, files, key, milliseconds, nothing, record, record_with,
    strong,
};

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
