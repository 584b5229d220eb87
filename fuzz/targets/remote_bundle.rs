//! Any bytes as a bundle: it is refused, or nothing in it is more than it is said to be.

#![no_main]

use std::fs;

use kiln::digest::Digest;
use kiln::remote::{Bundle, Remote};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let path = std::env::temp_dir().join(format!("kiln-fuzz-bundle-{}", std::process::id()));
    let mut with_sums = bytes.to_vec();
    repair(&mut with_sums);
    for bytes in [bytes, &with_sums] {
        fs::write(&path, bytes).unwrap();
        let Ok(bundle) = Bundle::open(&path) else { continue };
        let whole = bundle.verify(&mut |_| ()).is_ok();
        for key in bundle.entries() {
            assert!(bundle.entry(key).is_ok() || !whole);
        }
        for blob in bundle.blobs() {
            let mut out = Vec::new();
            let got = bundle.get(blob, 0, &mut out);
            assert!(out.len() as u64 <= blob.size);
            if whole {
                assert!(got.is_ok());
                assert_eq!(Digest::of_bytes(&out), blob.blake3);
            }
        }
    }
    let _ = fs::remove_file(&path);
});

/// Makes the sums of the header right: no fuzzer finds them.
fn repair(bytes: &mut [u8]) {
    let length = bytes.len();
    let Some((header, rest)) = bytes.split_first_chunk_mut::<88>() else { return };
    header[..8].copy_from_slice(b"kilnb\x01\0\0");
    header[8..16].copy_from_slice(&(length as u64).to_le_bytes());
    let index = u64::from_le_bytes(header[16..24].try_into().unwrap());
    let inside = usize::try_from(index).ok().and_then(|index| rest.get(index.checked_sub(88)?..));
    header[24..56].copy_from_slice(Digest::of_bytes(inside.unwrap_or_default()).as_bytes());
    let sum = Digest::of_bytes(&header[..56]);
    header[56..].copy_from_slice(sum.as_bytes());
}
