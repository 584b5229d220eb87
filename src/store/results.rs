//! The action cache, in two phases: action key -> path sets, strong key -> result.

use rusqlite::{Connection, OptionalExtension, Row};
use serde::{Deserialize, Serialize};

use super::artifact::Artifact;
use super::cas::Blob;
use super::error::StoreError;
use super::runs::{Outcome, RunId, blob_of, digest_of};
use super::{Batch, Store, codec};
use crate::digest::{Digest, Domain, Hasher};

/// How many path sets are kept of one action key: the newest. Each is a look-up for every action that missed.
pub const PATH_SETS_PER_KEY: u32 = 16;

/// What an action read: sorted, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathSet(Vec<PathEntry>);

/// One thing that an action read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PathEntry {
    /// The whole tree of a source input.
    Tree {
        /// The input's name.
        input: String,
    },
}

impl PathSet {
    /// A path set of these entries.
    pub fn new(mut entries: Vec<PathEntry>) -> Self {
        entries.sort_unstable();
        entries.dedup();
        Self(entries)
    }

    /// The entries, sorted.
    pub fn entries(&self) -> &[PathEntry] {
        &self.0
    }

    /// Its digest: part of the strong key.
    pub fn digest(&self) -> Digest {
        Self::digest_of(&self.encode())
    }

    /// The bytes that are kept of it.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads them back. `None` for damage, and for what another version of kiln wrote.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let set: Self = codec::decode(bytes)?;
        set.0.is_sorted_by(|a, b| a < b).then_some(set)
    }

    fn digest_of(encoded: &[u8]) -> Digest {
        Hasher::new(Domain::PathSet).bytes(encoded).finish()
    }
}

/// What came of an action, as the cache keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredResult {
    /// All that was declared.
    pub action_key: Digest,
    /// Pass or fail.
    pub outcome: Outcome,
    /// By output name.
    pub outputs: Vec<(String, Artifact)>,
    /// The log, where there is one.
    pub log: Option<Blob>,
    /// The run it came from.
    pub run: RunId,
}

impl Store {
    /// The path sets that runs with this action key had, newest first.
    pub fn path_sets(&self, action_key: &Digest) -> Result<Vec<PathSet>, StoreError> {
        self.read_index(|index| {
            let mut select = index.prepare_cached(
                "SELECT path_set, body FROM candidate JOIN path_set ON path_set.digest = candidate.path_set
                 WHERE action_key = ?1 ORDER BY seq DESC LIMIT ?2",
            )?;
            let mut rows = select.query((action_key.as_bytes(), PATH_SETS_PER_KEY))?;
            let mut sets = Vec::new();
            let mut damaged = Vec::new();
            while let Some(row) = rows.next()? {
                let body = row.get_ref(1)?.as_blob()?;
                match digest_of(row, 0)? {
                    digest if digest != PathSet::digest_of(body) => damaged.push(digest),
                    // One of another version stays: the kiln that wrote it may come again.
                    _ => sets.extend(PathSet::decode(body)),
                }
            }
            drop(rows);
            for digest in damaged {
                forget_path_set(index, &digest)?;
            }
            Ok(sets)
        })
    }

    /// One path set by its digest. Many nodes share few of them, so that a plan reads each only once.
    pub fn path_set(&self, digest: &Digest) -> Result<Option<PathSet>, StoreError> {
        self.read_index(|index| {
            let body: Option<Vec<u8>> = index
                .prepare_cached("SELECT body FROM path_set WHERE digest = ?1")?
                .query_row([digest.as_bytes()], |row| row.get(0))
                .optional()?;
            match body {
                Some(body) if PathSet::digest_of(&body) != *digest => {
                    forget_path_set(index, digest)?;
                    Ok(None)
                }
                body => Ok(body.and_then(|body| PathSet::decode(&body))),
            }
        })
    }

    /// What came of the action with this strong key. That it is there says nothing of its blobs.
    pub fn result(&self, strong_key: &Digest) -> Result<Option<StoredResult>, StoreError> {
        let found = self.read_index(|index| {
            index
                .prepare_cached(
                    "SELECT action_key, outcome, outputs, log, log_size, run FROM result WHERE strong_key = ?1",
                )?
                .query_row([strong_key.as_bytes()], |row| codec::row(read_result(row)))
                .optional()
        })?;
        Ok(found.flatten())
    }
}

impl Store {
    /// Drops a result that has turned out to be of no use.
    pub fn forget(&self, strong_key: &Digest) -> Result<(), StoreError> {
        self.batch(|batch| {
            batch.write(|index| {
                index.execute("DELETE FROM result WHERE strong_key = ?1", [strong_key.as_bytes()]).map(|_| ())
            })
        })
    }
}

fn read_result(row: &Row<'_>) -> rusqlite::Result<Option<StoredResult>> {
    let outputs = codec::decode(row.get_ref(2)?.as_blob()?);
    let outcome = Outcome::parse(row.get_ref(1)?.as_str()?);
    let (Some(outputs), Some(outcome)) = (outputs, outcome) else { return Ok(None) };
    Ok(Some(StoredResult {
        action_key: digest_of(row, 0)?,
        outcome,
        outputs,
        log: blob_of(row, 3)?,
        run: RunId(row.get(5)?),
    }))
}

/// Removes a damaged path set, so that it can be put again.
fn forget_path_set(index: &Connection, digest: &Digest) -> rusqlite::Result<()> {
    index.execute("DELETE FROM path_set WHERE digest = ?1", [digest.as_bytes()]).map(|_| ())
}

impl Batch<'_> {
    /// Records what came of an action, for both phases of the look-up. The blobs of the outputs are in the store
    /// already.
    ///
    /// Only pass and fail say something of the action; other outcomes are left out here, and are in the runs alone.
    pub fn record(
        &mut self,
        strong_key: &Digest,
        path_set: &PathSet,
        result: &StoredResult,
    ) -> Result<(), StoreError> {
        if !result.outcome.is_cacheable() {
            return Ok(());
        }
        let body = path_set.encode();
        let path_set = PathSet::digest_of(&body);
        self.write(|index| {
            index
                .prepare_cached("INSERT OR IGNORE INTO path_set VALUES (?1, ?2)")?
                .execute((path_set.as_bytes(), &body))?;
            add_candidate(index, &result.action_key, &path_set)?;
            index
                .prepare_cached("INSERT OR REPLACE INTO result VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
                .execute((
                    strong_key.as_bytes(),
                    result.action_key.as_bytes(),
                    result.outcome.as_str(),
                    codec::encode(&result.outputs),
                    result.log.as_ref().map(|log| log.digest.as_bytes()),
                    result.log.map(|log| log.size.cast_signed()),
                    result.run.0,
                ))?;
            Ok(())
        })
    }
}

/// Makes a path set the newest of its action key, and drops what is over the bound.
fn add_candidate(index: &Connection, action_key: &Digest, path_set: &Digest) -> rusqlite::Result<()> {
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
