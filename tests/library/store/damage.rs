//! Damaged blobs and rows are misses; an index beyond use is set aside.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;

use kiln::source::Listing;
use kiln::store::{BlobError, Outcome, Store, StoreError, Warning};
use rusqlite::Connection;
use tempfile::TempDir;

use super::{a_run, blob_path, files, key, passed, path_sets, store, whole_tree};

#[test]
fn a_damaged_blob_is_a_miss_and_is_set_aside() {
    let (dir, store) = store();
    let content = vec![7u8; 100_000];
    for damage in ["flip", "truncate"] {
        let blob = store.put_bytes(&content).unwrap();
        let path = blob_path(&store, &blob.digest);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        match damage {
            "flip" => file.write_all_at(&[6], 50_000).unwrap(),
            _ => file.set_len(99_999).unwrap(),
        }
        let dest = dir.path().join("dest");
        fs::write(&dest, "before").unwrap();
        match store.copy_out(&blob.digest, &dest, false).unwrap_err() {
            BlobError::Damaged { moved_to } => {
                assert!(moved_to.starts_with(store.home().join("cas/damaged")));
            }
            error => panic!("{damage}: {error}"),
        }
        assert_eq!(fs::read(&dest).unwrap(), b"before", "what was there is untouched");
        assert!(!store.has(&blob.digest, blob.size));
        assert!(matches!(store.read(&blob.digest, blob.size), Err(BlobError::Missing)));
    }
    // The producer ran again.
    let blob = store.put_bytes(&content).unwrap();
    assert_eq!(store.read(&blob.digest, blob.size).unwrap(), content);
}

#[test]
fn damaged_rows_are_misses_and_can_be_put_again() {
    let (_dir, store) = store();
    let listing = Listing::encode(std::iter::empty());
    let digest = listing.digest();
    let result = passed(&store);
    let put = || {
        store.put_listings([(&digest, listing.bytes())]).unwrap();
        store.batch(|batch| batch.record(&key("strong"), &whole_tree("linux"), &result)).unwrap();
    };
    put();
    let index = Connection::open(store.home().join("index.sqlite")).unwrap();
    index
        .execute_batch(
            "UPDATE listing SET bytes = x'00'; UPDATE path_set SET body = x'ff'; UPDATE result SET outputs = x'0101';",
        )
        .unwrap();
    assert_eq!(store.listing(&digest).unwrap(), None);
    assert_eq!(path_sets(&store, &key("action")), []);
    assert_eq!(store.result(&key("strong")).unwrap(), None);
    put();
    assert_eq!(store.listing(&digest).unwrap(), Some(listing.clone()));
    assert_eq!(path_sets(&store, &key("action")), [whole_tree("linux")]);
    assert_eq!(store.result(&key("strong")).unwrap(), Some(result.clone()));
}

#[test]
fn a_path_set_with_damaged_entries_is_a_miss_and_can_be_put_again() {
    let damages = [
        "UPDATE entry SET path = x'62' WHERE path = x'61'",
        "UPDATE entry SET path = 'a text'",
        "UPDATE entry SET kind = 9",
        "UPDATE entry SET kind = 1",
        "UPDATE entry SET sum = 0",
        "UPDATE entry SET id = id + 100",
        "UPDATE entry SET id = 1 << 40 WHERE id = 1",
        "DELETE FROM entry",
        "DELETE FROM entry; DELETE FROM sqlite_sequence",
        "UPDATE path_set SET body = zeroblob(100)",
        "UPDATE path_set SET body = substr(body, 1, length(body) - 1)",
        "UPDATE path_set SET body = 'a text'",
        "CREATE TEMP TABLE old AS SELECT * FROM path_set;
         UPDATE path_set SET body = (SELECT body FROM old WHERE old.digest <> path_set.digest)",
    ];
    for damage in damages {
        let (_dir, store) = store();
        let result = passed(&store);
        let (set, other) = (files(&["a", "c"]), files(&["a", "d"]));
        let put = |set| store.batch(|batch| batch.record(&key("strong"), set, &result)).unwrap();
        put(&other);
        put(&set);
        let index = Connection::open(store.home().join("index.sqlite")).unwrap();
        index.execute_batch(damage).unwrap();
        assert_eq!(path_sets(&store, &key("action")), [], "{damage}");
        put(&other);
        put(&set);
        assert_eq!(path_sets(&store, &key("action")), [set, other], "{damage}");
    }
}

/// Puts enough in a cache for its index to have many pages, and closes it.
fn filled_cache() -> (TempDir, PathBuf) {
    let (dir, store) = store();
    let project = store.project(dir.path()).unwrap();
    store
        .batch(|batch| {
            (0..2000).try_for_each(|n| {
                batch.record_run(project, &a_run(&format!("node {n}"), Outcome::Pass, n)).map(|_| ())
            })
        })
        .unwrap();
    let index = store.home().join("index.sqlite");
    (dir, index)
}

#[test]
fn an_index_beyond_use_is_set_aside() {
    let truncate = |keep: u64| move |file: &File| file.set_len(keep).unwrap();
    let damages: [Box<dyn Fn(&File)>; 4] = [
        Box::new(truncate(10)),
        Box::new(truncate(5000)),
        Box::new(|file| file.set_len(file.metadata().unwrap().len() / 2).unwrap()),
        Box::new(|file| file.write_all_at(b"this is no database", 0).unwrap()),
    ];
    for (number, damage) in damages.iter().enumerate() {
        let (dir, index) = filled_cache();
        damage(&File::options().write(true).open(&index).unwrap());
        let store = Store::open(&dir.path().join("cache")).unwrap();
        let [Warning::IndexSetAside { moved_to, .. }, ..] = store.warnings() else {
            panic!("damage {number}")
        };
        assert!(moved_to.ends_with("index.sqlite.damaged-1") && moved_to.exists());
        let project = store.project(dir.path()).unwrap();
        assert!(store.runs(project, "node 1", 9).unwrap().is_empty());
        drop(store);
        assert!(Store::open(&dir.path().join("cache")).unwrap().warnings().is_empty());
    }
}

#[test]
fn damage_met_in_use_is_mended_by_the_next_open() {
    let (dir, index) = filled_cache();
    // All but the first pages, which opening reads.
    let file = File::options().write(true).open(&index).unwrap();
    let len = file.metadata().unwrap().len();
    let first = 20 * 4096;
    file.write_all_at(&vec![0xa5; usize::try_from(len).unwrap() - first], first as u64).unwrap();

    let home = dir.path().join("cache");
    let store = Store::open(&home).unwrap();
    assert!(store.warnings().is_empty());
    let project = store.project(dir.path()).unwrap();
    let error = (0..2000)
        .find_map(|n| store.runs(project, &format!("node {n}"), 9).err())
        .expect("the damage to be met");
    assert!(matches!(error, StoreError::IndexDamaged { .. }), "{error}");
    assert!(error.help().unwrap().contains("again"));
    drop(store);
    // Where nothing can be read of the jobs at labs, that is told as well.
    let store = Store::open(&home).unwrap();
    let [Warning::IndexSetAside { .. }, Warning::JournalLost { .. }] = store.warnings() else {
        panic!("{:?}", store.warnings());
    };
    assert!(Store::open(&home).unwrap().warnings().is_empty());
}

#[test]
fn another_version_is_refused_and_left_alone() {
    let (dir, index) = filled_cache();
    let home = dir.path().join("cache");
    let refused = |found: &str| {
        let error = Store::open(&home).unwrap_err();
        assert!(matches!(&error, StoreError::OtherVersion { found: text, .. } if text == found), "{error}");
        assert!(error.help().unwrap().contains("kiln clean --cache"));
    };
    fs::write(home.join("VERSION"), "kiln cache 2\n").unwrap();
    refused("2");
    fs::write(home.join("VERSION"), "kiln cache 5\n").unwrap();
    Connection::open(&index).unwrap().pragma_update(None, "user_version", 7).unwrap();
    refused("7");
    Connection::open(&index).unwrap().pragma_update(None, "user_version", 5).unwrap();
    // A crash may leave it empty.
    fs::write(home.join("VERSION"), "").unwrap();
    let store = Store::open(&home).unwrap();
    let project = store.project(dir.path()).unwrap();
    assert_eq!(store.runs(project, "node 1", 9).unwrap().len(), 1);
}

#[test]
fn a_cache_of_the_previous_format_is_migrated_when_nobody_uses_it() {
    let (dir, index) = filled_cache();
    let home = dir.path().join("cache");
    let version = home.join("VERSION");
    let make_old = || {
        let old = Connection::open(&index).unwrap();
        old.execute_batch("ALTER TABLE result DROP COLUMN remote; PRAGMA user_version = 4;").unwrap();
        fs::write(&version, "kiln cache 4\n").unwrap();
    };
    let open = || {
        let store = Store::open(&home).unwrap();
        assert!(store.warnings().is_empty());
        assert_eq!(fs::read_to_string(&version).unwrap(), "kiln cache 5\n");
        let project = store.project(dir.path()).unwrap();
        assert_eq!(store.runs(project, "node 1", 9).unwrap().len(), 1);
        let result = passed(&store);
        store.batch(|batch| batch.record(&key("strong"), &whole_tree("linux"), &result)).unwrap();
        assert_eq!(store.result(&key("strong")).unwrap(), Some(result));
        store
    };
    make_old();
    let store = open();
    // An older kiln holds the cache like this one.
    make_old();
    let error = Store::open(&home).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    assert_eq!(fs::read_to_string(&version).unwrap(), "kiln cache 4\n", "the older one can go on");
    drop(store);
    drop(open());
    // A kill between the migration and the file.
    fs::write(&version, "kiln cache 4\n").unwrap();
    open();
}
