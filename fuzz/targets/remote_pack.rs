//! Any bytes as the inside of a pack: one that is taken is of one encoding, and has exactly what its trees speak of.

#![no_main]

use kiln::digest::Digest;
use kiln::remote::Pack;
use kiln::store::TreeLimit;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut blob = b"kilnt\x01".to_vec();
    blob.extend(zstd::encode_all(bytes, 1).unwrap());
    if let Ok(pack) = Pack::decode_listings(&blob) {
        assert_eq!(Pack::decode_listings(&pack.encode()).as_ref(), Ok(&pack));
        assert!(pack.blobs.is_empty());
    }
    // A tree is asked for by its digest, which is where its pack says.
    let Some(root) = bytes.get(2..).and_then(|rest| rest.first_chunk::<32>()) else { return };
    let root = Digest::from_bytes(*root);
    for files in 0..3 {
        if let Ok(pack) = Pack::decode_tree(&blob, &root, TreeLimit { files, bytes: files }) {
            assert_eq!(pack.listings[0].digest(), root);
            assert!(pack.blobs.len() as u64 <= files);
        }
    }
    let _ = Pack::decode_tree(&bytes[..bytes.len().min(1000)], &root, TreeLimit { files: 0, bytes: 0 });
});
