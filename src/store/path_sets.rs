//! Path sets, the first phase of the look-up: action key -> what runs with that key read.
//!
//! A body holds numbers of entries, not paths: a thousand builds of one tree read much the same 20,000 files.

use std::sync::{Arc, PoisonError, Weak};

use roaring::RoaringBitmap;
use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

use super::entries::{EntryTable, has_all, intern};
use super::error::StoreError;
use super::runs::digest_of;
use super::{Batch, Store, codec};
use crate::digest::Digest;
use crate::source::{PathEntry, PathSet, Provenance, Reads};

/// How many path sets are kept of one action key: the newest. Each is a look-up for every action that missed.
pub const PATH_SETS_PER_KEY: u32 = 16;

/// A path set as it is kept: entries by number, see [`EntryTable`].
#[derive(Clone, Debug, PartialEq)]
pub struct StoredPathSet {
    /// The digest of the path set, [`PathSet::digest`].
    pub digest: Digest,
    /// How it is known.
    pub provenance: Provenance,
    /// What was read of each input, sorted by its name.
    pub inputs: Vec<(String, StoredReads)>,
}

/// What was read of one input.
#[derive(Clone, Debug, PartialEq)]
pub enum StoredReads {
    /// All of it.
    Whole,
    /// The entries of these numbers.
    Only(RoaringBitmap),
}

/// The form of bodies: one of another form is a miss.
const BODY: &str = "path set v2";

/// What is encoded of a path set. The digest is of the paths and not of these bytes, so it is in them, to tell a body
/// that stands in another's row.
#[derive(Serialize, Deserialize)]
struct Body<'a> {
    /// [`BODY`].
    form: &'a str,
    digest: Digest,
    provenance: Provenance,
    /// `None` for all of an input; else the bitmap in Roaring's portable format.
    #[serde(borrow)]
    inputs: Vec<(&'a str, Option<&'a [u8]>)>,
}

impl StoredPathSet {
    /// The path set itself. `None` where it names an entry that the table does not have, or where what comes out is
    /// not what went in.
    pub fn resolve(&self, table: &EntryTable) -> Option<PathSet> {
        let reads = |reads: &StoredReads| match reads {
            StoredReads::Whole => Some(Reads::Whole),
            StoredReads::Only(ids) => {
                let entry = |id| table.get(id).map(|(kind, path)| PathEntry::new(kind, path));
                Some(Reads::only(ids.iter().map(entry).collect::<Option<_>>()?))
            }
        };
        let inputs: Option<Vec<_>> =
            self.inputs.iter().map(|(input, stored)| Some((input.clone(), reads(stored)?))).collect();
        Some(PathSet::new(self.provenance, inputs?)).filter(|set| set.digest() == self.digest)
    }

    fn encode(&self) -> Vec<u8> {
        let bitmaps: Vec<Option<Vec<u8>>> = self
            .inputs
            .iter()
            .map(|(_, reads)| match reads {
                StoredReads::Whole => None,
                StoredReads::Only(ids) => {
                    let mut bytes = Vec::with_capacity(ids.serialized_size());
                    ids.serialize_into(&mut bytes).expect("memory takes all");
                    Some(bytes)
                }
            })
            .collect();
        let names = self.inputs.iter().map(|(input, _)| input.as_str());
        codec::seal(&Body {
            form: BODY,
            digest: self.digest,
            provenance: self.provenance,
            inputs: names.zip(bitmaps.iter().map(Option::as_deref)).collect(),
        })
    }

    /// Reads a body back. `None` for damage, and for what another version of kiln wrote.
    fn decode(digest: &Digest, bytes: &[u8]) -> Option<Self> {
        let body: Body<'_> = codec::unseal(bytes)?;
        if body.form != BODY || body.digest != *digest || !body.inputs.is_sorted_by(|(a, _), (b, _)| a < b) {
            return None;
        }
        let inputs: Option<Vec<_>> = body
            .inputs
            .into_iter()
            .map(|(input, bitmap)| {
                let reads = match bitmap {
                    None => StoredReads::Whole,
                    Some(bytes) => StoredReads::Only(RoaringBitmap::deserialize_from(bytes).ok()?),
                };
                Some((input.to_owned(), reads))
            })
            .collect();
        Some(Self { digest: *digest, provenance: body.provenance, inputs: inputs? })
    }
}

impl Store {
    /// The path sets that runs with this action key had, newest first. Those that can't be read are left out; whether
    /// the others' entries are all there is for the [`EntryTable`] to say.
    ///
    /// Many actions share few of them, so each is read once for as long as anyone has it.
    pub fn path_sets(&self, action_key: &Digest) -> Result<Vec<Arc<StoredPathSet>>, StoreError> {
        self.read_index(|index| {
            let mut select = index.prepare_cached(
                "SELECT path_set FROM candidate WHERE action_key = ?1 ORDER BY seq DESC LIMIT ?2",
            )?;
            let mut rows = select.query((action_key.as_bytes(), PATH_SETS_PER_KEY))?;
            // Taken after the connection, here and everywhere.
            let mut shared = self.path_sets.lock().unwrap_or_else(PoisonError::into_inner);
            let mut sets = Vec::new();
            while let Some(row) = rows.next()? {
                let digest = digest_of(row, 0)?;
                if let Some(set) = shared.get(&digest).and_then(Weak::upgrade) {
                    sets.push(set);
                } else if let Some(set) = read(index, &digest)? {
                    let set = Arc::new(set);
                    shared.insert(digest, Arc::downgrade(&set));
                    sets.push(set);
                }
            }
            Ok(sets)
        })
    }

    /// One path set by its digest.
    pub fn path_set(&self, digest: &Digest) -> Result<Option<StoredPathSet>, StoreError> {
        self.read_index(|index| read(index, digest))
    }
}

impl Batch<'_> {
    /// Keeps a path set, also one of a run that has no result. One that is there already, whole and with all its
    /// entries, is left alone.
    pub fn put_path_set(&mut self, path_set: &PathSet) -> Result<Digest, StoreError> {
        let digest = path_set.digest();
        self.store.claim([&digest])?;
        self.write(|index| {
            if let Some(known) = read(index, &digest)?
                && has_all_entries(index, &known)?
            {
                return Ok(digest);
            }
            let reads = |reads: &Reads| match reads {
                Reads::Whole => Ok(StoredReads::Whole),
                Reads::Only(entries) => intern(index, entries).map(StoredReads::Only),
            };
            let inputs: rusqlite::Result<Vec<_>> =
                path_set.inputs().map(|(input, read)| Ok((input.to_owned(), reads(read)?))).collect();
            let set = StoredPathSet { digest, provenance: path_set.provenance(), inputs: inputs? };
            index
                .prepare_cached("INSERT OR REPLACE INTO path_set VALUES (?1, ?2)")?
                .execute((digest.as_bytes(), set.encode()))?;
            Ok(digest)
        })
    }
}

pub(super) fn read(index: &Connection, digest: &Digest) -> rusqlite::Result<Option<StoredPathSet>> {
    let found = index
        .prepare_cached("SELECT body FROM path_set WHERE digest = ?1")?
        .query_row([digest.as_bytes()], |row| {
            codec::row(
                row.get_ref(0)?.as_blob().map(|body| StoredPathSet::decode(digest, body)).map_err(Into::into),
            )
        })
        .optional()?;
    Ok(found.flatten())
}

pub(super) fn has_all_entries(index: &Connection, set: &StoredPathSet) -> rusqlite::Result<bool> {
    for (_, reads) in &set.inputs {
        if let StoredReads::Only(ids) = reads
            && !has_all(index, ids)?
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes a path set the newest of its action key. A complete one replaces all that are not: whoever can't trace finds
/// results by it as well. What is over the bound is dropped.
pub(super) fn add_candidate(
    index: &Connection,
    action_key: &Digest,
    path_set: &Digest,
) -> rusqlite::Result<()> {
    let key = action_key.as_bytes();
    let newest: Option<(i64, [u8; 32])> = index
        .prepare_cached(
            "SELECT seq, path_set FROM candidate WHERE action_key = ?1 ORDER BY seq DESC LIMIT 1",
        )?
        .query_row([key], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let seq = match newest {
        Some((_, newest)) if newest == *path_set.as_bytes() => return Ok(()),
        Some((seq, _)) => seq + 1,
        None => 1,
    };
    if newest.is_some() {
        index
            .prepare_cached("DELETE FROM candidate WHERE action_key = ?1 AND path_set = ?2")?
            .execute((key, path_set.as_bytes()))?;
        drop_incomplete(index, action_key, path_set)?;
    }
    index
        .prepare_cached("INSERT INTO candidate (action_key, seq, path_set) VALUES (?1, ?2, ?3)")?
        .execute((key, seq, path_set.as_bytes()))?;
    if newest.is_some() {
        index
            .prepare_cached(
                "DELETE FROM candidate WHERE action_key = ?1 AND seq <=
                   (SELECT seq FROM candidate WHERE action_key = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
            )?
            .execute((key, PATH_SETS_PER_KEY))?;
    }
    Ok(())
}

/// Drops the candidates of an action key that are not complete, if this path set is.
fn drop_incomplete(index: &Connection, action_key: &Digest, path_set: &Digest) -> rusqlite::Result<()> {
    let is_complete = |digest: &Digest| -> rusqlite::Result<bool> {
        Ok(read(index, digest)?.is_some_and(|set| set.provenance.is_complete()))
    };
    if !is_complete(path_set)? {
        return Ok(());
    }
    let others: Vec<Digest> = index
        .prepare_cached("SELECT path_set FROM candidate WHERE action_key = ?1")?
        .query_map([action_key.as_bytes()], |row| digest_of(row, 0))?
        .collect::<rusqlite::Result<_>>()?;
    for other in others {
        if !is_complete(&other)? {
            index
                .prepare_cached("DELETE FROM candidate WHERE action_key = ?1 AND path_set = ?2")?
                .execute((action_key.as_bytes(), other.as_bytes()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn arbitrary_bodies_are_misses_or_encode_again(bytes in any::<Vec<u8>>(), version in any::<bool>()) {
            let digest = Digest::of_bytes(b"");
            let prefix: &[u8] = if version { &[1] } else { &[] };
            let encoded = [prefix, &bytes].concat();
            let sealed = [&encoded, Digest::of_bytes(&encoded).as_bytes().as_slice()].concat();
            prop_assert_eq!(StoredPathSet::decode(&digest, &bytes), None);
            let _ = StoredPathSet::decode(&digest, &sealed);
            // A bitmap that is none, in a body that is otherwise well.
            let inputs = vec![("linux", Some(&*bytes))];
            let body = codec::seal(&Body { form: BODY, digest, provenance: Provenance::Opens, inputs });
            if let Some(set) = StoredPathSet::decode(&digest, &body) {
                prop_assert_eq!(StoredPathSet::decode(&digest, &set.encode()), Some(set));
            }
        }
    }

    #[test]
    fn a_body_counts_for_its_digest_alone_and_with_its_inputs_in_order() {
        let (digest, other) = (Digest::of_bytes(b""), Digest::of_bytes(b"other"));
        let body = |inputs| codec::seal(&Body { form: BODY, digest, provenance: Provenance::Opens, inputs });
        let good = body(vec![("a", None), ("b", None)]);
        assert!(StoredPathSet::decode(&digest, &good).is_some());
        assert_eq!(StoredPathSet::decode(&other, &good), None);
        assert_eq!(StoredPathSet::decode(&digest, &body(vec![("b", None), ("a", None)])), None);
        assert_eq!(StoredPathSet::decode(&digest, &body(vec![("a", None), ("a", None)])), None);
        for bit in 0..good.len() * 8 {
            let mut flipped = good.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(StoredPathSet::decode(&digest, &flipped), None);
        }
    }
}
