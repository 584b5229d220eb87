//! How results were built: from nothing, or by continuing in the output directory of an earlier run.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::Row;

use super::Store;
use super::error::StoreError;
use super::runs::digest_of;
use crate::digest::Digest;

/// How a result was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Built {
    /// In an empty output directory.
    FromNothing,
    /// In the output directory of an earlier run.
    Continued {
        /// When it was recorded.
        at: SystemTime,
        /// Whether a run from nothing has made the same since.
        verified: bool,
    },
}

impl Built {
    /// How a run that ends now was built.
    pub fn by_run(continued: bool) -> Self {
        if continued { Self::Continued { at: SystemTime::now(), verified: false } } else { Self::FromNothing }
    }

    /// Whether no run from nothing has made it.
    pub const fn is_unverified(self) -> bool {
        matches!(self, Self::Continued { verified: false, .. })
    }

    /// The columns `continued` and `verified`.
    pub(super) fn columns(self) -> (Option<i64>, bool) {
        match self {
            Self::FromNothing => (None, false),
            Self::Continued { at, verified } => {
                let at = at.duration_since(UNIX_EPOCH).unwrap_or_default();
                (Some(i64::try_from(at.as_millis()).unwrap_or(i64::MAX)), verified)
            }
        }
    }

    pub(super) fn read(row: &Row<'_>, column: usize) -> rusqlite::Result<Self> {
        let at: Option<i64> = row.get(column)?;
        let verified = row.get(column + 1)?;
        Ok(at.map_or(Self::FromNothing, |at| {
            let at = UNIX_EPOCH + Duration::from_millis(u64::try_from(at).unwrap_or(0));
            Self::Continued { at, verified }
        }))
    }
}

impl Store {
    /// The keys of results that were built by continuing, and that no run from nothing has made, with when they were
    /// recorded.
    pub fn unverified(&self) -> Result<HashMap<Digest, SystemTime>, StoreError> {
        self.read_index(|index| {
            let mut select = index.prepare_cached(
                "SELECT strong_key, continued, verified FROM result WHERE continued IS NOT NULL AND verified = 0",
            )?;
            let mut rows = select.query([])?;
            let mut unverified = HashMap::new();
            while let Some(row) = rows.next()? {
                if let Built::Continued { at, .. } = Built::read(row, 1)? {
                    unverified.insert(digest_of(row, 0)?, at);
                }
            }
            Ok(unverified)
        })
    }

    /// Records that a run from nothing has made the same as what is recorded under that key.
    pub fn mark_verified(&self, strong_key: &Digest) -> Result<(), StoreError> {
        self.batch(|batch| {
            batch.write(|index| {
                index
                    .prepare_cached("UPDATE result SET verified = 1 WHERE strong_key = ?1")?
                    .execute([strong_key.as_bytes()])
                    .map(|_| ())
            })
        })
    }
}
