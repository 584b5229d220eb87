//! A path set as a blob.
//!
//! A build of a kernel reads some 20,000 paths; sorted, each shares most of itself with the one before. The local cache
//! keeps numbers instead, which mean nothing elsewhere.

use super::wire::{Format, FormatError, Unsqueezed, put_bytes, put_number, squeeze};
use crate::digest::Digest;
use crate::source::{EntryKind, PathEntry, PathSet, Provenance, Reads};

/// The largest blob of a path set, in bytes.
pub const MAX_BLOB: u64 = 64 << 20;

/// How many entries there can be in all inputs together.
const MAX_ENTRIES: usize = 4_000_000;

/// The longest path, in bytes: what the kernel takes.
const MAX_PATH: usize = 4096;

/// How long all paths can be together, in bytes. A path that shares all but a byte with another takes three.
const MAX_PATHS: usize = 256 << 20;

/// How much there can be to read, in bytes.
const MAX_RAW: u64 = 256 << 20;

/// How many inputs an action can have, and how long a name of one can be, in bytes.
const MAX_INPUTS: usize = 4096;
const MAX_NAME: usize = 1024;

/// The blob of a path set. Equal sets have equal blobs.
pub fn encode(set: &PathSet) -> Vec<u8> {
    let mut raw = vec![set.provenance() as u8];
    put_number(&mut raw, set.inputs().count() as u64);
    for (input, reads) in set.inputs() {
        put_bytes(&mut raw, input.as_bytes());
        match reads {
            Reads::Whole => raw.push(0),
            Reads::Only(entries) => {
                raw.push(1);
                put_number(&mut raw, entries.len() as u64);
                let mut last: &[u8] = b"";
                for entry in entries {
                    let shared = last.iter().zip(&entry.path).take_while(|(a, b)| a == b).count();
                    raw.push(entry.kind as u8);
                    put_number(&mut raw, shared as u64);
                    put_bytes(&mut raw, &entry.path[shared..]);
                    last = &entry.path;
                }
            }
        }
    }
    squeeze(Format::Paths, &raw)
}

/// The path set of a blob from elsewhere, which must have that digest.
pub fn decode(bytes: &[u8], digest: &Digest) -> Result<PathSet, FormatError> {
    if bytes.len() as u64 > MAX_BLOB {
        return Err(FormatError::TooLarge("a path set has at most 64 MiB"));
    }
    let mut from = Unsqueezed::new(Format::Paths, bytes, MAX_RAW)?;
    let [provenance] = from.array()?;
    let provenance = Provenance::from_number(provenance)
        .ok_or(FormatError::Damaged("it is known in a way that this kiln does not know"))?;
    let mut room = Room { entries: MAX_ENTRIES, bytes: MAX_PATHS };
    let mut inputs: Vec<(String, Reads)> = Vec::new();
    for _ in 0..from.count(MAX_INPUTS)? {
        let name = String::from_utf8(from.bytes(MAX_NAME)?)
            .map_err(|_| FormatError::Damaged("the name of an input is not text"))?;
        if inputs.last().is_some_and(|(last, _)| *last >= name) {
            return Err(FormatError::Damaged("its inputs are out of order"));
        }
        let reads = match from.array()? {
            [0] => Reads::Whole,
            [1] => Reads::Only(read_entries(&mut from, &mut room)?),
            _ => return Err(FormatError::Damaged("an input is read in an unknown way")),
        };
        inputs.push((name, reads));
    }
    from.end()?;
    let set = PathSet::new(provenance, inputs);
    if set.digest() == *digest {
        Ok(set)
    } else {
        Err(FormatError::Damaged("it is another path set than the one it stands for"))
    }
}

/// How much more there can be.
struct Room {
    entries: usize,
    bytes: usize,
}

fn read_entries(from: &mut Unsqueezed<'_>, room: &mut Room) -> Result<Vec<PathEntry>, FormatError> {
    let count = from.count(room.entries)?;
    room.entries -= count;
    let mut entries: Vec<PathEntry> = Vec::new();
    let mut path = Vec::new();
    for _ in 0..count {
        let [kind] = from.array()?;
        let kind = EntryKind::from_number(kind).ok_or(FormatError::Damaged("an entry is of no kind"))?;
        let shared = from.count(MAX_PATH)?;
        if shared > path.len() {
            return Err(FormatError::Damaged("a path shares more than there is"));
        }
        path.truncate(shared);
        let length = from.count(MAX_PATH - shared)?;
        from.append(length, &mut path)?;
        room.bytes = room
            .bytes
            .checked_sub(path.len())
            .ok_or(FormatError::TooLarge("its paths come to more than 256 MiB"))?;
        if !is_path(&path) || (kind == EntryKind::Links && !path.is_empty()) {
            return Err(FormatError::Damaged("a path is none from the root of a tree"));
        }
        let entry = PathEntry::new(kind, path.as_slice());
        if entries.last().is_some_and(|last| *last >= entry) {
            return Err(FormatError::Damaged("its entries are out of order"));
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// Whether it is a path from the root of a tree that stays in it: names and single slashes, or nothing for the root.
fn is_path(path: &[u8]) -> bool {
    let is_name = |name: &[u8]| !matches!(name, b"" | b"." | b"..") && !name.contains(&0);
    path.is_empty() || path.split(|byte| *byte == b'/').all(is_name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(paths: &[&str]) -> PathSet {
        let entries = paths.iter().map(|path| PathEntry::new(EntryKind::File, path.as_bytes())).collect();
        let inputs = [("source".to_owned(), Reads::only(entries)), ("tools".to_owned(), Reads::Whole)];
        PathSet::new(Provenance::Opens, inputs)
    }

    fn any_set() -> impl Strategy<Value = PathSet> {
        let path = prop::collection::vec("[a-d\u{ff}]{1,3}", 0..5).prop_map(|names| names.join("/"));
        let entry = (0u8..4, path).prop_map(|(kind, path)| {
            PathEntry::new(EntryKind::from_number(kind).unwrap(), path.into_bytes())
        });
        let only = prop::collection::vec(entry, 0..40).prop_map(|mut entries| {
            entries.push(PathEntry::new(EntryKind::Links, *b""));
            Reads::only(entries)
        });
        let reads = prop_oneof![Just(Reads::Whole), only];
        let inputs = prop::collection::btree_map("[a-z]{0,5}", reads, 0..4);
        let provenance = (1u8..4).prop_map(|number| Provenance::from_number(number).unwrap());
        (provenance, inputs).prop_map(|(provenance, inputs)| PathSet::new(provenance, inputs))
    }

    /// A blob whose raw bytes are these, of a traced run.
    fn raw(bytes: &[u8]) -> Result<PathSet, FormatError> {
        decode(
            &squeeze(Format::Paths, &[b"\x02", bytes].concat()),
            &PathSet::new(Provenance::Opens, []).digest(),
        )
    }

    proptest! {
        #[test]
        fn a_path_set_is_what_it_was(set in any_set(), other in any_set()) {
            let blob = encode(&set);
            prop_assert_eq!(&decode(&blob, &set.digest()).unwrap(), &set);
            prop_assert_eq!(decode(&blob, &other.digest()).is_ok(), set == other);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, digest: [u8; 32]) {
            prop_assert!(decode(&squeeze(Format::Paths, &bytes), &Digest::from_bytes(digest)).is_err());
        }

        #[test]
        fn no_truncation_is_a_path_set(set in any_set(), cut: prop::sample::Index) {
            let blob = encode(&set);
            prop_assert!(decode(&blob[..cut.index(blob.len())], &set.digest()).is_err());
        }
    }

    #[test]
    fn a_kernel_sized_set_is_small() {
        let paths: Vec<String> =
            (0..20_000).map(|n| format!("drivers/net/ethernet/vendor{}/file_{n}.c", n / 50)).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let set = set(&paths);
        let blob = encode(&set);
        assert!(blob.len() < 60_000, "{}", blob.len());
        assert_eq!(decode(&blob, &set.digest()).unwrap(), set);
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        for path in ["..", "a/../b", "/etc/passwd", "a//b", "a/", ".", "a\0b"] {
            let set = set(&["a/b", path]);
            assert!(decode(&encode(&set), &set.digest()).is_err(), "{path:?}");
        }
        let set = set(&["", "...", "a/..b", "a/b"]);
        assert!(decode(&encode(&set), &set.digest()).is_ok());
        let links = Reads::Only(vec![PathEntry::new(EntryKind::Links, *b"a")]);
        let set = PathSet::new(Provenance::Opens, [("source".to_owned(), links)]);
        assert!(decode(&encode(&set), &set.digest()).is_err());
    }

    #[test]
    fn what_no_kiln_writes_is_refused() {
        assert!(raw(b"\0").is_ok());
        let digest = PathSet::new(Provenance::Opens, []).digest();
        for provenance in [0, 1, 3, 4] {
            assert!(decode(&squeeze(Format::Paths, &[provenance, 0]), &digest).is_err());
        }
        assert_eq!(raw(b"\x02\x01b\0\x01a\0"), Err(FormatError::Damaged("its inputs are out of order")));
        assert_eq!(raw(b"\x01\x01a\x02"), Err(FormatError::Damaged("an input is read in an unknown way")));
        let entries = |entries: &[u8]| raw(&[b"\x01\x01a\x01", entries].concat());
        assert_eq!(entries(b"\x01\x09\0\x01b"), Err(FormatError::Damaged("an entry is of no kind")));
        let shares = Err(FormatError::Damaged("a path shares more than there is"));
        assert_eq!(entries(b"\x01\0\x01\x01b"), shares);
        let order = Err(FormatError::Damaged("its entries are out of order"));
        assert_eq!(entries(b"\x02\0\0\x01b\0\0\x01a"), order);
        assert_eq!(entries(b"\x02\0\0\x01b\0\x01\0"), order);
    }

    #[test]
    fn what_claims_to_be_large_takes_no_room() {
        let beyond = Err(FormatError::TooLarge("a number is beyond its limit"));
        let mut count = b"\x01\x01a\x01".to_vec();
        put_number(&mut count, MAX_ENTRIES as u64 + 1);
        assert_eq!(raw(&count), beyond);
        let mut path = b"\x01\x01a\x01\x01\0\0".to_vec();
        put_number(&mut path, MAX_PATH as u64 + 1);
        assert_eq!(raw(&path), beyond);
        let mut inputs = Vec::new();
        put_number(&mut inputs, u64::MAX);
        assert_eq!(raw(&inputs), beyond);
    }

    #[test]
    fn paths_that_share_all_but_a_byte_do_not_blow_up() {
        let paths: Vec<String> = (0..100).map(|n| format!("{}/{n:02}", "a".repeat(997))).collect();
        let mut bytes = Vec::new();
        put_number(&mut bytes, 100);
        bytes.extend_from_slice(b"\0\0");
        put_bytes(&mut bytes, paths[0].as_bytes());
        for path in &paths[1..] {
            bytes.push(0);
            put_number(&mut bytes, 998);
            put_bytes(&mut bytes, &path.as_bytes()[998..]);
        }
        assert!(bytes.len() < 2_000);
        let blob = squeeze(Format::Paths, &bytes);
        let read = |bytes| {
            let mut from = Unsqueezed::new(Format::Paths, &blob, MAX_RAW).unwrap();
            read_entries(&mut from, &mut Room { entries: 100, bytes }).map(|entries| entries.len())
        };
        assert_eq!(read(100_000), Ok(100));
        assert_eq!(read(99_999), Err(FormatError::TooLarge("its paths come to more than 256 MiB")));
    }
}
