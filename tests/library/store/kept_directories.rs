//! Directories that a node keeps for its next run.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kiln::store::Store;

use super::{child, key, names, played_by_child, store, wait_for};

/// A build's output directory in a work directory: objects, one of them under two names, and a read-only directory.
fn built(store: &Store, name: &str, bytes: usize) -> PathBuf {
    let out = store.fresh_work_dir(name).unwrap().join("out");
    fs::create_dir_all(out.join("read-only/deep")).unwrap();
    fs::write(out.join("kernel.o"), vec![1; bytes]).unwrap();
    fs::hard_link(out.join("kernel.o"), out.join("same.o")).unwrap();
    fs::write(out.join("read-only/deep/name"), name).unwrap();
    symlink("kernel.o", out.join("link")).unwrap();
    fs::set_permissions(out.join("read-only"), Permissions::from_mode(0o555)).unwrap();
    out
}

fn keep(store: &Store, name: &str, bytes: usize, limit: u64) {
    let out = built(store, name, bytes);
    store.keep(&key(name), name, &out, format!("record of {name}").as_bytes(), &[], limit).unwrap();
    assert!(!out.exists());
}

fn kept_nodes(store: &Store) -> Vec<String> {
    store.kept().unwrap().into_iter().map(|kept| kept.node).collect()
}

/// Nothing of a kept directory is anywhere but in `kept/` and in work directories.
fn assert_tidy(store: &Store) {
    for session in names(&store.home().join("tmp")) {
        assert_eq!(names(&store.home().join("tmp").join(session)), ["alive"]);
    }
}

#[test]
fn a_kept_directory_is_taken_once_with_its_record() {
    let (_dir, store) = store();
    assert_eq!(store.take_kept(&key("a"), &store.home().join("work/none")).unwrap(), None);
    keep(&store, "a", 100_000, u64::MAX);
    let [kept] = &store.kept().unwrap()[..] else { panic!("one is kept") };
    assert_eq!((kept.key, kept.node.as_str()), (key("a"), "a"));
    assert!((100_000..180_000).contains(&kept.bytes), "the hard link counts once: {}", kept.bytes);

    let to = store.fresh_work_dir("a").unwrap().join("out");
    assert_eq!(store.take_kept(&key("a"), &to).unwrap().unwrap(), b"record of a");
    assert_eq!(names(&to), ["kernel.o", "link", "read-only", "same.o"]);
    assert_eq!(fs::read(to.join("read-only/deep/name")).unwrap(), b"a");
    assert_eq!(fs::metadata(to.join("read-only")).unwrap().mode() & 0o777, 0o555);
    assert_eq!(store.take_kept(&key("a"), &to.with_file_name("again")).unwrap(), None);
    assert_eq!(kept_nodes(&store), [""; 0]);
    assert_tidy(&store);

    // Back again, and once more under the same key: the newer one counts.
    store.keep(&key("a"), "a", &to, b"second", &[], u64::MAX).unwrap();
    keep(&store, "a", 10, u64::MAX);
    let to = to.with_file_name("third");
    assert_eq!(store.take_kept(&key("a"), &to).unwrap().unwrap(), b"record of a");
    assert_eq!(fs::metadata(to.join("kernel.o")).unwrap().len(), 10);
    assert_tidy(&store);
}

#[test]
fn of_many_who_take_a_kept_directory_one_gets_it() {
    let (_dir, store) = store();
    let other = Store::open(store.home()).unwrap();
    let work = store.fresh_work_dir("taken").unwrap();
    for round in 0..20 {
        keep(&store, "a", 1000, u64::MAX);
        let start = std::sync::Barrier::new(2);
        let got: Vec<bool> = std::thread::scope(|scope| {
            let threads: Vec<_> = [&store, &other]
                .into_iter()
                .enumerate()
                .map(|(number, store)| {
                    let (start, to) = (&start, work.join(format!("{round}-{number}")));
                    scope.spawn(move || {
                        start.wait();
                        let record = store.take_kept(&key("a"), &to).unwrap();
                        assert_eq!(record.is_some(), to.join("read-only/deep/name").exists());
                        record.is_some()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(got.iter().filter(|got| **got).count(), 1);
    }
    // Both keep one under the same key, at the same time: one stays.
    std::thread::scope(|scope| {
        for store in [&store, &other] {
            scope.spawn(|| (0..10).for_each(|_| keep(store, "a", 1000, u64::MAX)));
        }
    });
    assert_eq!(kept_nodes(&store), ["a"]);
    assert_tidy(&store);
}

#[test]
fn kept_directories_stay_within_their_bound() {
    let (_dir, store) = store();
    for name in ["a", "b", "c"] {
        keep(&store, name, 1 << 20, u64::MAX);
    }
    assert_eq!(kept_nodes(&store), ["c", "b", "a"]);
    let each = store.kept().unwrap()[0].bytes;
    // Used, and kept again: it is the newest.
    let to = store.fresh_work_dir("a").unwrap().join("out");
    let record = store.take_kept(&key("a"), &to).unwrap().unwrap();
    store.keep(&key("a"), "a", &to, &record, &[], each * 3).unwrap();
    assert_eq!(kept_nodes(&store), ["a", "c", "b"]);
    keep(&store, "d", 1 << 20, each * 3);
    assert_eq!(kept_nodes(&store), ["d", "a", "c"], "the oldest goes");
    keep(&store, "too-large", 5 << 20, each * 3);
    assert_eq!(kept_nodes(&store), ["d", "a", "c"], "one that can't fit drives nobody out");
    keep(&store, "d", 5 << 20, each * 3);
    assert_eq!(kept_nodes(&store), ["a", "c"], "but takes the place of the one before");
    keep(&store, "e", 1000, each * 3 / 2);
    assert_eq!(kept_nodes(&store), ["e", "a"]);

    let total = store.kept().unwrap().iter().map(|kept| kept.bytes).sum::<u64>();
    assert_eq!(store.drop_kept().unwrap(), total);
    assert_eq!(store.drop_kept().unwrap(), 0);
    assert!(names(&store.home().join("kept")).is_empty());
    assert_tidy(&store);
}

#[test]
fn a_damaged_kept_directory_is_none_and_is_swept() {
    let damages: [(&str, fn(&Path)); 8] = [
        ("no record", |dir| fs::remove_file(dir.join("record")).unwrap()),
        ("another record", |dir| fs::write(dir.join("record"), "record of b").unwrap()),
        ("no about", |dir| fs::remove_file(dir.join("about")).unwrap()),
        ("a cut about", |dir| {
            File::options().write(true).open(dir.join("about")).unwrap().set_len(20).unwrap();
        }),
        ("no out", |dir| fs::remove_dir_all(dir.join("out")).unwrap()),
        ("out is a file", |dir| {
            fs::remove_dir_all(dir.join("out")).unwrap();
            fs::write(dir.join("out"), "").unwrap();
        }),
        ("another key", |dir| fs::rename(dir, dir.with_file_name(key("b").to_string())).unwrap()),
        ("a file", |dir| {
            fs::rename(dir, dir.with_file_name("elsewhere")).unwrap();
            fs::write(dir, "").unwrap();
        }),
    ];
    for (what, damage) in damages {
        let (_dir, store) = store();
        let home = store.home().to_owned();
        let place = home.join("kept").join(key("a").to_string());
        let to = store.fresh_work_dir("a").unwrap().join("out");
        keep(&store, "a", 10, u64::MAX);
        damage(&place);
        for name in ["a", "b"] {
            assert_eq!(store.take_kept(&key(name), &to).unwrap(), None, "{what}");
            assert!(!to.exists(), "{what}");
        }

        // It is no hindrance to the next, and goes with it.
        keep(&store, "a", 10, u64::MAX);
        damage(&place);
        keep(&store, "c", 10, u64::MAX);
        let nodes = kept_nodes(&store);
        // A record is read when it is taken, not each time that one is kept.
        let shows = if what == "another record" { vec!["c", "a"] } else { vec!["c"] };
        assert_eq!(nodes, shows, "{what}");
        assert_eq!(names(&home.join("kept")).len(), shows.len(), "{what}");
        keep(&store, "a", 10, u64::MAX);
        assert_eq!(store.take_kept(&key("a"), &to).unwrap().unwrap(), b"record of a", "{what}");

        keep(&store, "a", 10, u64::MAX);
        damage(&place);
        assert_tidy(&store);
        drop(store);
        let store = Store::open(&home).unwrap();
        assert_eq!(names(&home.join("kept")).len(), shows.len(), "{what}: opening sweeps too");
        drop(store);
    }
}

#[test]
fn child_that_keeps_until_it_is_killed() {
    let Some(home) = played_by_child() else { return };
    let store = Store::open(&home).unwrap();
    println!("ready");
    for n in 0.. {
        let to = store.fresh_work_dir("a").unwrap().join("out");
        if store.take_kept(&key("a"), &to).unwrap().is_none() {
            fs::create_dir(&to).unwrap();
        }
        // Between these two the directory belies any record.
        fs::write(to.join("object"), "half").unwrap();
        fs::write(to.join("object"), n.to_string()).unwrap();
        store.keep(&key("a"), "a", &to, n.to_string().as_bytes(), &[], u64::MAX).unwrap();
    }
}

#[test]
fn sudden_death_leaves_no_kept_directory_with_a_wrong_record() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("cache");
    for round in 0..10u64 {
        let mut child = child("store::kept_directories::child_that_keeps_until_it_is_killed", &home);
        wait_for(&mut child, "ready");
        std::thread::sleep(Duration::from_millis(3 + 11 * round));
        child.kill().unwrap();
        child.wait().unwrap();

        let store = Store::open(&home).unwrap();
        assert!(names(&home.join("work")).is_empty());
        let to = store.fresh_work_dir("a").unwrap().join("out");
        if let Some(record) = store.take_kept(&key("a"), &to).unwrap() {
            assert_eq!(fs::read(to.join("object")).unwrap(), record);
        }
        assert!(names(&home.join("kept")).is_empty());
        assert_tidy(&store);
    }
}
