//! The action cache, in two phases: action key -> path sets (see `path_sets`), strong key -> result.

use rusqlite::{OptionalExtension, Row};

use super::artifact::Artifact;
use super::built::Built;
use super::cas::Blob;
use super::error::StoreError;
use super::origin::Origin;
use super::path_sets::add_candidate;
use super::runs::{Outcome, RunId, blob_of, digest_of};
use super::times::now;
use super::{Batch, Store, codec};
use crate::digest::Digest;
use crate::source::PathSet;

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
    /// How that run built it.
    pub built: Built,
    /// Where it came from.
    pub origin: Origin,
}

impl Store {
    /// What came of the action with this strong key. That it is there says nothing of its blobs.
    pub fn result(&self, strong_key: &Digest) -> Result<Option<StoredResult>, StoreError> {
        let found = self.read_index(|index| {
            index
                .prepare_cached(
                    "SELECT action_key, outcome, outputs, log, log_size, run, continued, verified, remote
                     FROM result WHERE strong_key = ?1",
                )?
                .query_row([strong_key.as_bytes()], |row| codec::row(read_result(row)))
                .optional()
        })?;
        Ok(found.flatten())
    }

    /// A result that came from elsewhere, as it was signed there. `None` for what was made here.
    pub fn sealed(&self, strong_key: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.read_index(|index| {
            let mut select = index.prepare_cached("SELECT entry FROM sealed WHERE strong_key = ?1")?;
            let row = select.query_row([strong_key.as_bytes()], |row| row.get(0));
            codec::row(row.optional()).map(Option::flatten)
        })
    }

    /// Says that a result is about to be put in place: it stays for as long as this kiln runs, and counts as just used.
    pub fn take_result(&self, strong_key: &Digest) -> Result<(), StoreError> {
        self.claim([strong_key])?;
        self.batch(|batch| {
            batch.write(|index| {
                index
                    .prepare_cached("UPDATE result SET used = ?2 WHERE strong_key = ?1")?
                    .execute((strong_key.as_bytes(), now()))
                    .map(|_| ())
            })
        })
    }

    /// Drops a result that has turned out to be of no use.
    pub fn forget(&self, strong_key: &Digest) -> Result<(), StoreError> {
        self.batch(|batch| {
            batch.write(|index| {
                index.execute("DELETE FROM result WHERE strong_key = ?1", [strong_key.as_bytes()]).map(|_| ())
            })
        })
    }
}

pub(super) fn read_result(row: &Row<'_>) -> rusqlite::Result<Option<StoredResult>> {
    let outputs = codec::decode(row.get_ref(2)?.as_blob()?);
    let outcome = Outcome::parse(row.get_ref(1)?.as_str()?);
    let (Some(outputs), Some(outcome)) = (outputs, outcome) else { return Ok(None) };
    Ok(Some(StoredResult {
        action_key: digest_of(row, 0)?,
        outcome,
        outputs,
        log: blob_of(row, 3)?,
        run: RunId(row.get(5)?),
        built: Built::read(row, 6)?,
        origin: Origin::read(row, 8)?,
    }))
}

impl Batch<'_> {
    /// Keeps how a result was signed elsewhere; it is recorded already. It goes with the result, and with a run that
    /// makes it anew.
    pub fn put_sealed(&mut self, strong_key: &Digest, entry: &[u8]) -> Result<(), StoreError> {
        self.write(|index| {
            let mut insert = index.prepare_cached("INSERT OR REPLACE INTO sealed VALUES (?1, ?2)")?;
            insert.execute((strong_key.as_bytes(), entry)).map(|_| ())
        })
    }

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
        self.store.claim([strong_key])?;
        let path_set = self.put_path_set(path_set)?;
        let (continued, verified) = result.built.columns();
        self.write(|index| {
            add_candidate(index, &result.action_key, &path_set)?;
            index
                .prepare_cached(
                    "INSERT OR REPLACE INTO result VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                )?
                .execute((
                    strong_key.as_bytes(),
                    result.action_key.as_bytes(),
                    result.outcome.as_str(),
                    codec::encode(&result.outputs),
                    result.log.as_ref().map(|log| log.digest.as_bytes()),
                    result.log.map(|log| log.size.cast_signed()),
                    result.run.0,
                    now(),
                    continued,
                    verified,
                    result.origin.column(),
                ))?;
            Ok(())
        })
    }
}
