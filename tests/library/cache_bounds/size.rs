//! How large the cache is, and whether it is over its limit.

use std::fs;

use kiln::store::Limits;

use super::{Cache, DAY, KIB, content};

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
