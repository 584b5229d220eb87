//! A digest, then any bytes as the inside of a path set: it is the one of that digest, or refused.

#![no_main]

use kiln::digest::Digest;
use kiln::remote::paths;
use kiln::source::{PathSet, Provenance};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = paths::decode(bytes, &PathSet::new(Provenance::Opens, []).digest());
    let Some((digest, inside)) = bytes.split_first_chunk::<32>() else { return };
    let digest = Digest::from_bytes(*digest);
    let mut blob = b"kilnp\x02".to_vec();
    blob.extend(zstd::encode_all(inside, 1).unwrap());
    if let Ok(set) = paths::decode(&blob, &digest) {
        assert_eq!(set.digest(), digest);
        assert_eq!(paths::decode(&paths::encode(&set), &digest), Ok(set));
    }
});
