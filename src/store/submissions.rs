//! The journal of jobs that were handed to labs: what makes sure that none is handed over twice, and none is lost.
//!
//! An intent is on disk before the request leaves, so that a kiln that comes after a crash knows what to ask the lab
//! for. It stays until what came of the job is recorded, in the very transaction that records it. It outlives the index
//! that it is in as far as it can be read: nothing else knows of these jobs.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};

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

/// The journal of an index that nobody has opened: of one that is damaged, of another version, or about to go.
#[derive(Debug, Default)]
pub struct Journal {
    /// What is in it, with the root of the project that each job is of, oldest first.
    pub jobs: Vec<(PathBuf, Submission)>,
    /// Why there may be more in it.
    pub unreadable: Option<String>,
}

impl Journal {
    /// Reads as much as can be read of the journal of the cache in `home`.
    pub fn of(home: &Path) -> Self {
        Self::of_index(&home.join("index.sqlite"))
    }

    pub(super) fn of_index(path: &Path) -> Self {
        let mut journal = Self::default();
        if path.exists()
            && let Err(error) = journal.read(path)
        {
            journal.unreadable = Some(error.to_string());
        }
        journal
    }

    fn read(&mut self, path: &Path) -> rusqlite::Result<()> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let index = Connection::open_with_flags(path, flags)?;
        if !has_table(&index)? {
            return Ok(());
        }
        let mut select = index.prepare(&format!(
            "SELECT {COLUMNS}, (SELECT root FROM project WHERE project.id = submission.project)
             FROM submission ORDER BY id"
        ))?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            self.jobs.push((PathBuf::from(OsString::from_vec(row.get(8)?)), read(row)?));
        }
        Ok(())
    }

    /// Puts it into another index.
    pub(super) fn put(&self, index: &Connection) -> rusqlite::Result<()> {
        for (root, submission) in &self.jobs {
            let root = root.as_os_str().as_bytes();
            index.execute("INSERT OR IGNORE INTO project (root) VALUES (?1)", [root])?;
            index.execute(
                "INSERT INTO submission (project, node, key, lab, name, made, job, ended)
                 VALUES ((SELECT id FROM project WHERE root = ?1), ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![
                    root,
                    submission.node,
                    submission.key.as_bytes(),
                    submission.lab,
                    submission.name,
                    millis(submission.made),
                    submission.job.map(|job| i64::try_from(job).unwrap_or(i64::MAX)),
                    submission.ended,
                ],
            )?;
        }
        Ok(())
    }
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
        let id = self.durably(|index| {
            index.execute(
                "INSERT INTO submission (project, node, key, lab, name, made) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![project.0, node, key.as_bytes(), lab, name, millis(made)],
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
    if has_table(index)? { Ok(()) } else { index.execute_batch(TABLE) }
}

fn has_table(index: &Connection) -> rusqlite::Result<bool> {
    let there = index.query_row("SELECT 1 FROM sqlite_schema WHERE name = 'submission'", [], |_| Ok(()));
    Ok(there.optional()?.is_some())
}

fn millis(time: SystemTime) -> i64 {
    i64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(i64::MAX)
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
    use crate::store::Warning;

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
    fn an_index_that_is_set_aside_hands_its_journal_on() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("cache");
        let store = Store::open(&home).unwrap();
        let project = store.project(dir.path()).unwrap();
        let mut ours = store.intend(project, "lava:a", &key("a"), "lab", "kiln a").unwrap();
        store.handed_over(&mut ours, 17).unwrap();
        store.intend(project, "lava:b", &key("b"), "lab", "kiln b").unwrap();
        let known = store.submissions(project).unwrap();
        drop(store);

        // Damage that only a full check finds, in a table that has nothing to do with jobs.
        let index = home.join("index.sqlite");
        let page: u64 = {
            let index = Connection::open(&index).unwrap();
            let select = "SELECT rootpage FROM sqlite_schema WHERE name = 'run'";
            let page = index.query_row(select, [], |row| row.get::<_, u32>(0)).unwrap();
            let size: u32 = index.query_row("PRAGMA page_size", [], |row| row.get(0)).unwrap();
            u64::from(page - 1) * u64::from(size)
        };
        let file = std::fs::File::options().write(true).open(&index).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[0xff; 64], page).unwrap();
        std::fs::write(home.join("index.suspect"), "").unwrap();

        let store = Store::open(&home).unwrap();
        let [Warning::IndexSetAside { .. }] = store.warnings() else {
            panic!("{:?}", store.warnings());
        };
        let project = store.project(dir.path()).unwrap();
        assert_eq!(store.submissions(project).unwrap(), known);
    }

    #[test]
    fn a_journal_that_can_not_be_read_is_told_of() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("cache");
        drop(Store::open(&home).unwrap());
        std::fs::write(home.join("index.sqlite"), "no database, and never was".repeat(1000)).unwrap();
        assert!(Journal::of(&home).unreadable.is_some());
        let store = Store::open(&home).unwrap();
        let [Warning::IndexSetAside { .. }, lost] = store.warnings() else {
            panic!("{:?}", store.warnings());
        };
        assert!(lost.to_string().contains("labs may have jobs"), "{lost}");
        drop(store);
        assert!(Store::open(&home).unwrap().warnings().is_empty());
        assert_eq!(Journal::of(&dir.path().join("none")).unreadable, None);
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
