//! The first phase of the look-up: action key -> the path sets to try.
//!
//! Nobody signs these lists. A wrong path set leads to a strong key that nothing is kept under; to drop one costs a miss.

use serde::{Deserialize, Serialize};

use super::name::Name;
use super::paths;
use super::wire::{Format, FormatError, at_most};
use crate::digest::{Digest, Domain, Hasher};
use crate::source::Provenance;

/// How many path sets are kept of one action key, as in the local cache: the newest.
const MAX: usize = 16;

/// A path set to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its own digest.
    pub path_set: Digest,
    /// How it is known, so that one that does not count need not be fetched. The digest says it as well.
    pub provenance: Provenance,
    /// Its blob: see [`paths::encode`].
    pub blob: Name,
}

#[derive(Serialize, Deserialize)]
struct List(#[serde(deserialize_with = "at_most::<_, _, MAX>")] Vec<Candidate>);

/// What the list for an action key is found under.
pub fn candidates_key(action_key: &Digest) -> Digest {
    Hasher::new(Domain::Candidates).digest(action_key).finish()
}

/// The list of an entry, newest first.
pub fn decode(bytes: &[u8]) -> Result<Vec<Candidate>, FormatError> {
    let rest = Format::Candidates.strip(bytes)?;
    let (List(list), rest) = postcard::take_from_bytes(rest)
        .map_err(|_| FormatError::Damaged("it can't be decoded, or has too many path sets"))?;
    if !rest.is_empty() {
        return Err(FormatError::Damaged("something comes behind its end"));
    }
    if list.iter().enumerate().any(|(at, one)| list[..at].iter().any(|other| other.path_set == one.path_set))
    {
        return Err(FormatError::Damaged("it has a path set twice"));
    }
    if list.iter().any(|one| one.blob.size > paths::MAX_BLOB) {
        return Err(FormatError::Damaged("a path set is larger than any"));
    }
    Ok(list)
}

/// The entry to put in place of `old`, with `new` as the newest path set. Where that is what it was, so are the bytes. An
/// old one that can't be read is as good as none. A complete path set replaces those that are not.
pub fn merge(old: Option<&[u8]>, new: Candidate) -> Vec<u8> {
    let old = old.and_then(|bytes| decode(bytes).ok()).unwrap_or_default();
    let replaced = |one: &Candidate| {
        one.path_set == new.path_set || (new.provenance.is_complete() && !one.provenance.is_complete())
    };
    let others = old.into_iter().filter(|one| !replaced(one));
    let list = List(std::iter::once(new).chain(others).take(MAX).collect());
    postcard::to_extend(&list, Format::Candidates.header().to_vec()).expect("plain data always encodes")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::name::Sha256;
    use super::*;

    fn candidate(number: u8) -> Candidate {
        let path_set = Digest::from_bytes([number; 32]);
        let blob = Name { blake3: Digest::of_bytes(&[number]), sha256: Sha256([number; 32]), size: 7 };
        Candidate { path_set, provenance: Provenance::Opens, blob }
    }

    fn merged(numbers: impl IntoIterator<Item = u8>) -> Vec<u8> {
        let mut entry = None;
        for number in numbers {
            entry = Some(merge(entry.as_deref(), candidate(number)));
        }
        entry.unwrap()
    }

    fn numbers(entry: &[u8]) -> Vec<u8> {
        decode(entry).unwrap().iter().map(|one| one.path_set.as_bytes()[0]).collect()
    }

    #[test]
    fn the_newest_sixteen_are_kept_and_come_first() {
        assert_eq!(numbers(&merged([1, 2, 3])), [3, 2, 1]);
        assert_eq!(numbers(&merged([1, 2, 3, 1])), [1, 3, 2]);
        assert_eq!(numbers(&merged(0..20)), (4..20).rev().collect::<Vec<_>>());
        assert_eq!(merged([1, 2, 2]), merged([1, 2]));
    }

    #[test]
    fn a_complete_path_set_replaces_those_that_are_not() {
        let records = |number| Candidate { provenance: Provenance::KbuildRecords, ..candidate(number) };
        let mut entry = merge(None, candidate(1));
        for number in [2, 3] {
            entry = merge(Some(&entry), records(number));
        }
        assert_eq!(numbers(&entry), [3, 2, 1]);
        assert_eq!(numbers(&merge(Some(&entry), candidate(4))), [4, 1]);
    }

    #[test]
    fn what_can_not_be_read_is_replaced() {
        let entry = merge(Some(b"no list"), candidate(1));
        assert_eq!(entry, merge(None, candidate(1)));
    }

    #[test]
    fn lists_that_no_kiln_writes_are_refused() {
        let encode = |list: Vec<Candidate>| {
            postcard::to_extend(&List(list), Format::Candidates.header().to_vec()).unwrap()
        };
        assert!(decode(&encode(vec![])).is_ok());
        assert!(decode(&encode((0..17).map(candidate).collect())).is_err());
        assert!(decode(&encode(vec![candidate(1), candidate(2), candidate(1)])).is_err());
        let mut large = candidate(1);
        large.blob.size = u64::MAX;
        assert!(decode(&encode(vec![large])).is_err());
        assert!(decode(&[&merged([1])[..], b"x"].concat()).is_err());
        // A number of candidates that are not there.
        assert!(decode(b"kilnc\x02\xff\xff\xff\xff\x0f").is_err());
    }

    #[test]
    fn its_key_is_none_of_an_action_or_a_result() {
        let key = Digest::of_bytes(b"key");
        assert_ne!(candidates_key(&key), key);
        assert_ne!(candidates_key(&key), super::super::kept_key(&key));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes: Vec<u8>) {
            bytes.splice(..0, Format::Candidates.header());
            if let Ok(list) = decode(&bytes) {
                prop_assert!(list.len() <= MAX);
            }
        }

        #[test]
        fn no_truncation_is_a_list(cut: prop::sample::Index) {
            let entry = merged([1, 2, 3]);
            prop_assert!(decode(&entry[..cut.index(entry.len())]).is_err());
        }
    }
}
