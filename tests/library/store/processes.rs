//! Many threads and processes with one store, and processes that are killed.

use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use kiln::store::{Artifact, Built, Origin, Outcome, Store, StoredResult};

use super::{a_run, child, key, names, played_by_child, store, wait_for, whole_tree};

#[test]
fn child_that_puts_until_it_is_killed() {
    let Some(home) = played_by_child() else { return };
    let store = Store::open(&home).unwrap();
    let project = store.project(Path::new("/")).unwrap();
    let work = store.fresh_work_dir("kernel/arm64").unwrap();
    fs::create_dir(work.join("read-only")).unwrap();
    fs::write(work.join("read-only/file"), "").unwrap();
    fs::set_permissions(work.join("read-only"), Permissions::from_mode(0o555)).unwrap();
    let _lock = store.try_lock(&key("lock"), "kernel/arm64").unwrap().unwrap();
    println!("ready");
    for n in 0u64.. {
        let blob = store.put_bytes(&n.to_le_bytes().repeat(20_000)).unwrap();
        let mut run = a_run("node", Outcome::Pass, n);
        run.log = Some(blob);
        store.batch(|batch| batch.record_run(project, &run)).unwrap();
    }
}

#[test]
fn a_killed_process_leaves_a_good_store() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("cache");
    for round in 0..6u64 {
        let mut child = child("store::processes::child_that_puts_until_it_is_killed", &home);
        wait_for(&mut child, "ready");
        std::thread::sleep(Duration::from_millis(3 + 17 * round));
        {
            // The living are left alone.
            let store = Store::open(&home).unwrap();
            assert_eq!(names(&home.join("work")).len(), 1);
            assert!(store.try_lock(&key("lock"), "me").unwrap().is_none());
            assert_eq!(
                store.lock_holder(&key("lock")).unwrap().to_string(),
                format!("{} kernel/arm64", child.id())
            );
        }
        child.kill().unwrap();
        child.wait().unwrap();

        let store = Store::open(&home).unwrap();
        assert!(store.warnings().is_empty());
        assert!(names(&home.join("work")).is_empty(), "what the dead left in work/ is removed");
        assert_eq!(names(&home.join("tmp")).len(), 1, "and in tmp/, but for our own");
        assert!(store.try_lock(&key("lock"), "me").unwrap().is_some(), "and its lock is free");
        // Whatever a row names is there and whole.
        let project = store.project(Path::new("/")).unwrap();
        for (_, run) in store.runs(project, "node", 10_000).unwrap() {
            let log = run.log.unwrap();
            assert_eq!(store.read(&log.digest, log.size).unwrap().len() as u64, log.size);
        }
    }
}

/// Puts and reads the same things as all others do at the same time.
fn hammer(home: &Path) {
    for round in 0..10u32 {
        let store = Store::open(home).unwrap();
        assert!(store.warnings().is_empty());
        let project = store.project(Path::new("/")).unwrap();
        for n in 0..20 {
            let content = format!("{round} {n}").repeat(1000);
            let blob = store.put_bytes(content.as_bytes()).unwrap();
            let result = StoredResult {
                action_key: key("action"),
                outcome: Outcome::Pass,
                outputs: vec![("out".to_owned(), Artifact::file(blob, false))],
                log: None,
                run: store
                    .batch(|batch| batch.record_run(project, &a_run("node", Outcome::Pass, 1)))
                    .unwrap(),
                built: Built::FromNothing,
                origin: Origin::Local,
            };
            let strong = key(&format!("{round} {n}"));
            let set = whole_tree(&n.to_string());
            store.batch(|batch| batch.record(&strong, &set, &result)).unwrap();
            let found = store.result(&strong).unwrap().unwrap();
            assert_eq!(found.outputs, result.outputs);
            assert_eq!(store.read(&blob.digest, blob.size).unwrap(), content.as_bytes());
        }
    }
}

#[test]
fn child_that_hammers() {
    if let Some(home) = played_by_child() {
        hammer(&home);
    }
}

#[test]
fn threads_and_processes_share_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("cache");
    let mut children: Vec<Child> =
        (0..2).map(|_| child("store::processes::child_that_hammers", &home)).collect();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| hammer(&home));
        }
    });
    for child in &mut children {
        let mut out = String::new();
        child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        assert!(child.wait().unwrap().success(), "{out}");
    }
    let store = Store::open(&home).unwrap();
    let project = store.project(Path::new("/")).unwrap();
    assert_eq!(store.runs(project, "node", 10_000).unwrap().len(), 4 * 200);
    assert_eq!(names(&home.join("tmp")).len(), 1);
}

#[test]
fn one_at_a_time_has_a_lock() {
    let (_dir, store) = store();
    let other = Store::open(store.home()).unwrap();
    let guard = store.try_lock(&key("lock"), "kernel").unwrap().unwrap();
    assert!(other.try_lock(&key("lock"), "me").unwrap().is_none());
    assert!(other.try_lock(&key("another"), "me").unwrap().is_some());
    assert_eq!(
        other.lock_holder(&key("lock")).unwrap().to_string(),
        format!("{} kernel", std::process::id())
    );
    drop(guard);
    assert_eq!(other.lock_holder(&key("lock")), None);
    assert!(names(&store.home().join("locks")).is_empty());

    // Many take it in turn, and the name is removed each time: no two may ever have it at once.
    let held = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut taken = 0;
                while taken < 100 {
                    if let Some(_guard) = store.try_lock(&key("lock"), "thread").unwrap() {
                        assert_eq!(held.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        held.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                        taken += 1;
                    }
                }
            });
        }
    });
}

#[test]
fn work_directories_are_new_and_within() {
    let (_dir, store) = store();
    let dirs = ["a/b", "a/b", "..", "", "/", &"long".repeat(100), "\u{e9}\n"]
        .map(|n| store.fresh_work_dir(n).unwrap());
    for dir in &dirs {
        assert!(dir.starts_with(store.home().join("work")) && !dir.ends_with(".."));
        assert!(names(dir).is_empty());
    }
    kiln::store::remove_tree(&dirs[0]).unwrap();
    kiln::store::remove_tree(&dirs[0]).unwrap();
    let home = store.home().to_owned();
    drop(store);
    assert!(names(&home.join("work")).is_empty() && names(&home.join("tmp")).is_empty());
}
