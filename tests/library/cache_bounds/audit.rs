//! Damage that an audit finds.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use kiln::digest::Digest;
use kiln::store::BlobError;

use super::{Cache, content, key};

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
