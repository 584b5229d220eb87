//! What stays: claimed and needed results, and content that is put again meanwhile.

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use kiln::store::{Artifact, Limits, Manner, Sort, Step};

use super::{Cache, DAY, age, collect, content, nothing, record, record_with, strong};

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
