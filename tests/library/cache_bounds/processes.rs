//! Collections beside builds, and collections that are killed, as processes of their own.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::SystemTime;

use kiln::digest::Digest;
use kiln::store::{Manner, Step, Store};

use super::{Cache, DAY, KIB, age, collect, content, gc, nothing, record, strong};

impl Cache {
    pub(super) fn child(&self, role: &str) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "cache_bounds::processes::another_process", "--nocapture"])
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
