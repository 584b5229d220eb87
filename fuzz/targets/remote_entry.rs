//! Any bytes as an entry of a remote: signed or not, none is taken that kiln would not have written, and none counts that
//! nobody has signed.

#![no_main]

use kiln::digest::Digest;
use kiln::remote::{EntryError, KeptEntry, ResultEntry, Sealed, SigningKey, Trust, candidates};
use libfuzzer_sys::fuzz_target;

/// The seed of the first test of RFC 8032.
const KEY: &str = "kiln-secret-1:ci-1:nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";

fuzz_target!(|bytes: &[u8]| {
    if let Ok(list) = candidates::decode(bytes) {
        assert!(list.len() <= 16);
    }
    let Ok(sealed) = Sealed::decode(bytes) else { return };
    assert_eq!(sealed.encode(), bytes);
    // Where the seeds' entries are found.
    let key = Digest::of_bytes(b"strong");
    let trust = Trust::Signed(vec![SigningKey::parse(KEY).unwrap().public()]);
    let signed = ResultEntry::open(&sealed, &key, "trusted", &trust);
    if let Ok(opened) = ResultEntry::open(&sealed, &key, "trusted", &Trust::AsItIs) {
        assert_eq!(opened.entry.check(), Ok(()));
        assert!(opened.entry.names().len() <= opened.entry.outputs.len() + 2);
        let again = Sealed::decode(&opened.entry.seal(None).encode()).unwrap();
        assert_eq!(ResultEntry::open(&again, &key, "trusted", &Trust::AsItIs).unwrap().entry, opened.entry);
        assert_eq!(ResultEntry::open(&again, &key, "trusted", &trust).unwrap_err(), EntryError::Unsigned);
    } else {
        assert!(signed.is_err());
    }
    if let Ok(opened) = KeptEntry::open(&sealed, &key, "trusted", &Trust::AsItIs) {
        assert_eq!(opened.entry.check(), Ok(()));
    }
});
