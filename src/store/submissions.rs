//! The journal of jobs that were handed to labs: what makes sure that none is handed over twice, and none is lost.
//!
//! An intent is on disk before the request leaves, so that a kiln that comes after a crash knows what to ask the lab
//! for. It stays until what came of the job is recorded, in the very transaction that records it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::error::StoreError;
use super::runs::{ProjectId, digest_of};
use super::{Batch, Store};
use crate::digest::Digest;

/// Made by every kiln that opens a cache and finds it missing: one that does not know of it reads the others all the same.
pub(super) const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS submission (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        project INTEGER NOT NULL REFERENCES project (id) ON DELETE CASCADE,
        node TEXT NOT NULL,
        key BLOB NOT NULL,
        lab TEXT NOT NULL,
        name TEXT NOT NULL,
        made INTEGER NOT NULL,
        job INTEGER,
        ended INTEGER NOT NULL DEFAULT 0
    );
";

const COLUMNS: &str = "id, node, key, lab, name, made, job, ended";

/// A job that was handed to a lab, or may have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    id: i64,
    /// The node that it is for.
    pub node: String,
    /// The key of what it runs.
    pub key: Digest,
    /// The lab.
    pub lab: String,
    /// The job's name there: no other job has it.
    pub name: String,
    /// When it was about to be handed over.
    pub made: SystemTime,
    /// Its number at the lab. `None`: nobody knows whether the lab has it.
    pub job: Option<u64>,
    /// Whether what came of it was fetched; it may not have been recorded.
    pub ended: bool,
}

impl Store {
    /// What was handed over for a key and is not settled, oldest first.
    pub fn submissions_of(&self, key: &Digest) -> Result<Vec<Submission>, StoreError> {
        self.read_index(|index| {
            let select = format!("SELECT {COLUMNS} FROM submission WHERE key = ?1 ORDER BY id");
            let mut select = index.prepare_cached(&select)?;
            select.query_map([key.as_bytes()], read)?.collect()
        })
    }

    /// What a project has handed over and is not settled, oldest first.
    pub fn submissions(&self, project: ProjectId) -> Result<Vec<Submission>, StoreError> {
        self.read_index(|index| {
            let select = format!("SELECT {COLUMNS} FROM submission WHERE project = ?1 ORDER BY id");
            let mut select = index.prepare_cached(&select)?;
            select.query_map([project.0], read)?.collect()
        })
    }

    /// Takes note that a job is about to be handed over. It is on disk when this returns.
    pub fn intend(
        &self,
        project: ProjectId,
        node: &str,
        key: &Digest,
        lab: &str,
        name: &str,
    ) -> Result<Submission, StoreError> {
        let made = SystemTime::now();
        let millis = i64::try_from(made.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis())
            .unwrap_or(i64::MAX);
        let id = self.durably(|index| {
            index.execute(
                "INSERT INTO submission (project, node, key, lab, name, made) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![project.0, node, key.as_bytes(), lab, name, millis],
            )?;
            Ok(index.last_insert_rowid())
        })?;
        let (node, lab, name) = (node.to_owned(), lab.to_owned(), name.to_owned());
        Ok(Submission { id, node, key: *key, lab, name, made, job: None, ended: false })
    }

    /// Takes note of the number that the lab gave to a job. It is on disk when this returns.
    pub fn handed_over(&self, submission: &mut Submission, job: u64) -> Result<(), StoreError> {
        let number = i64::try_from(job).unwrap_or(i64::MAX);
        self.durably(|index| {
            index
                .execute("UPDATE submission SET job = ?2 WHERE id = ?1", params![submission.id, number])
                .map(drop)
        })?;
        submission.job = Some(job);
        Ok(())
    }

    /// Takes note that what came of a job was fetched: [`Batch::settle`] may forget it.
    pub fn fetched(&self, submission: &mut Submission) -> Result<(), StoreError> {
        self.durably(|index| {
            index.execute("UPDATE submission SET ended = 1 WHERE id = ?1", [submission.id]).map(drop)
        })?;
        submission.ended = true;
        Ok(())
    }

    /// Forgets a job: there is none, or nobody wants to know what came of it.
    pub fn give_up(&self, submission: &Submission) -> Result<(), StoreError> {
        self.durably(|index| index.execute("DELETE FROM submission WHERE id = ?1", [submission.id]).map(drop))
    }

    /// Writes what must not be lost to a power cut: other commits are synced by the next checkpoint only.
    fn durably<T>(&self, write: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let connection = self.connection();
        let written = connection.pragma_update(None, "synchronous", "FULL").and_then(|()| write(&connection));
        // Whatever came of it. One that stays at FULL is slow, and right.
        let _ = connection.pragma_update(None, "synchronous", "NORMAL");
        written.map_err(|error| self.index_error(error))
    }
}

impl Batch<'_> {
    /// Forgets jobs of which what came is recorded in this batch.
    pub fn settle(&mut self, key: &Digest) -> Result<(), StoreError> {
        self.write(|index| {
            let mut delete = index.prepare_cached("DELETE FROM submission WHERE key = ?1 AND ended = 1")?;
            delete.execute([key.as_bytes()]).map(drop)
        })
    }
}

/// Makes the table where it is missing.
pub(super) fn make_table(index: &Connection) -> rusqlite::Result<()> {
    let there = index
        .query_row("SELECT 1 FROM sqlite_schema WHERE name = 'submission'", [], |_| Ok(()))
        .optional()?;
    if there.is_none() { index.execute_batch(TABLE) } else { Ok(()) }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Submission> {
    let made: i64 = row.get(5)?;
    let job: Option<i64> = row.get(6)?;
    Ok(Submission {
        id: row.get(0)?,
        node: row.get(1)?,
        key: digest_of(row, 2)?,
        lab: row.get(3)?,
        name: row.get(4)?,
        made: UNIX_EPOCH + Duration::from_millis(u64::try_from(made).unwrap_or_default()),
        job: job.and_then(|job| u64::try_from(job).ok()),
        ended: row.get(7)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Digest {
        Digest::of_bytes(text.as_bytes())
    }

    #[test]
    fn a_job_is_known_from_the_intent_until_it_is_recorded() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("cache");
        let store = Store::open(&home).unwrap();
        let project = store.project(dir.path()).unwrap();
        let mut ours = store.intend(project, "lava:a", &key("a"), "lab", "kiln a").unwrap();
        let other = store.intend(project, "lava:b", &key("b"), "lab", "kiln b").unwrap();
        drop(store);

        let store = Store::open(&home).unwrap();
        let known = store.submissions_of(&key("a")).unwrap();
        assert_eq!((known.len(), known[0].job, known[0].name.as_str()), (1, None, "kiln a"));
        store.handed_over(&mut ours, 17).unwrap();
        assert_eq!(store.submissions_of(&key("a")).unwrap()[0].job, Some(17));

        // What was not fetched stays, whatever is recorded.
        store.batch(|batch| batch.settle(&key("a"))).unwrap();
        assert_eq!(store.submissions(project).unwrap().len(), 2);
        store.fetched(&mut ours).unwrap();
        store.batch(|batch| batch.settle(&key("a"))).unwrap();
        assert_eq!(store.submissions_of(&key("a")).unwrap(), []);
        store.give_up(&other).unwrap();
        assert_eq!(store.submissions(project).unwrap(), []);
    }

    #[test]
    fn a_batch_that_fails_settles_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("cache")).unwrap();
        let project = store.project(dir.path()).unwrap();
        let mut ours = store.intend(project, "lava:a", &key("a"), "lab", "kiln a").unwrap();
        store.fetched(&mut ours).unwrap();
        let failed: Result<(), StoreError> = store.batch(|batch| {
            batch.settle(&key("a"))?;
            Err(StoreError::io(dir.path(), std::io::Error::other("full")))
        });
        assert!(failed.is_err());
        assert_eq!(store.submissions_of(&key("a")).unwrap().len(), 1);
    }
}
