//! The tables of the index, its version, and how a database is opened, checked and set aside.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::Warning;
use super::error::{At, StoreError};
use super::submissions::Journal;

/// The format of the whole cache: tables, encodings, layout of the directories. Any change of one of them that an
/// older kiln would misread raises it.
pub const VERSION: u32 = 5;

/// The format that is migrated when it is opened: its results have no `remote`.
pub(super) const MIGRATED_VERSION: u32 = 4;

/// How long to wait for another process's transaction. The longest one records a batch of some 10,000 nodes.
const BUSY: Duration = Duration::from_secs(30);

/// Every table. Digests are 32-byte blobs; times are milliseconds; what only kiln reads is postcard with a version
/// byte in front (see `codec`), so that one unreadable row is one miss.
const TABLES: &str = "
    -- The directories of trees: their content is in the CAS.
    CREATE TABLE listing (
        digest BLOB NOT NULL PRIMARY KEY,
        bytes BLOB NOT NULL
    );

    -- What was read, each path once for all inputs, sources and path sets, which name it by its number. `sum` tells a
    -- damaged entry. AUTOINCREMENT: a number that was deleted never comes back to mean another path.
    CREATE TABLE entry (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        kind INTEGER NOT NULL,
        path BLOB NOT NULL,
        sum INTEGER NOT NULL,
        UNIQUE (kind, path, sum)
    );

    -- First phase: which path sets did runs with this action key have? Bodies are shared between keys.
    CREATE TABLE path_set (
        digest BLOB NOT NULL PRIMARY KEY,
        body BLOB NOT NULL
    );
    CREATE TABLE candidate (
        action_key BLOB NOT NULL,
        seq INTEGER NOT NULL,
        path_set BLOB NOT NULL,
        PRIMARY KEY (action_key, seq)
    ) WITHOUT ROWID;

    -- Second phase: what came of it? `used`: when it was recorded, or last put in place or held for a run. `continued`: when
    -- it was recorded, if it was built in the output directory of an earlier run; `verified`: whether a run from nothing has
    -- made the same since. `remote`: where it was fetched from; NULL if it was made here.
    CREATE TABLE result (
        strong_key BLOB NOT NULL PRIMARY KEY,
        action_key BLOB NOT NULL,
        outcome TEXT NOT NULL,
        outputs BLOB NOT NULL,
        log BLOB,
        log_size INTEGER,
        run INTEGER NOT NULL,
        used INTEGER NOT NULL,
        continued INTEGER,
        verified INTEGER NOT NULL,
        remote TEXT
    );
    CREATE INDEX unverified ON result (continued) WHERE continued IS NOT NULL AND verified = 0;

    -- Results that came from elsewhere, as they were signed there: so they can travel on.
    CREATE TABLE sealed (
        strong_key BLOB NOT NULL PRIMARY KEY REFERENCES result (strong_key) ON DELETE CASCADE,
        entry BLOB NOT NULL
    );

    -- The other name of blobs, for those who know no BLAKE3.
    CREATE TABLE sha256 (
        digest BLOB NOT NULL PRIMARY KEY,
        sha256 BLOB NOT NULL
    ) WITHOUT ROWID;

    -- Projects that share the cache, and the latest state of each of their nodes.
    CREATE TABLE project (
        id INTEGER PRIMARY KEY,
        root BLOB NOT NULL UNIQUE
    );
    CREATE TABLE node (
        project INTEGER NOT NULL REFERENCES project (id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        run INTEGER NOT NULL,
        outcome TEXT NOT NULL,
        action_key BLOB NOT NULL,
        path_set BLOB,
        strong_key BLOB,
        record BLOB NOT NULL,
        PRIMARY KEY (project, name)
    ) WITHOUT ROWID;

    -- The last few durations of passing runs, apart from the node: it has them before it has a good state.
    CREATE TABLE duration (
        project INTEGER NOT NULL REFERENCES project (id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        recent BLOB NOT NULL,
        PRIMARY KEY (project, name)
    ) WITHOUT ROWID;

    -- AUTOINCREMENT: an id that was deleted never comes back to mean another run. The large columns come last, so that
    -- whoever looks through all runs for the others need not read them.
    CREATE TABLE run (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        project INTEGER NOT NULL REFERENCES project (id) ON DELETE CASCADE,
        node TEXT NOT NULL,
        action_key BLOB NOT NULL,
        path_set BLOB,
        strong_key BLOB,
        outcome TEXT NOT NULL,
        started INTEGER NOT NULL,
        duration INTEGER NOT NULL,
        cpu INTEGER NOT NULL,
        max_rss INTEGER NOT NULL,
        log BLOB,
        log_size INTEGER,
        pid INTEGER NOT NULL,
        continued INTEGER NOT NULL,
        reasons TEXT NOT NULL,
        manifest BLOB
    );
    CREATE INDEX run_of_node ON run (project, node, id);
";

/// What became of opening the index.
pub(super) struct Opened {
    pub connection: Connection,
    /// What the user should hear of: a database beyond use, and what is lost with it for good.
    pub warnings: Vec<Warning>,
}

/// Opens the index of `home`, making it where there is none or where the one that is there is beyond use.
///
/// The caller holds the lock on opening: two processes must not both set the same database aside.
pub(super) fn open(home: &Path) -> Result<Opened, StoreError> {
    let path = home.join("index.sqlite");
    let suspect = suspect_mark(&path);
    // A full check reads the whole database, so it is done only where an earlier process met damage.
    let thorough = suspect.exists();
    match try_open(&path, thorough) {
        Ok(connection) => {
            if thorough {
                fs::remove_file(&suspect).at(&suspect)?;
            }
            Ok(Opened { connection, warnings: Vec::new() })
        }
        Err(OpenError::Damaged(why)) => {
            let aside = set_aside(&path)?;
            remove_if_there(&suspect)?;
            let mut connection = try_open(&path, false).map_err(|error| error.into_store(home, &path))?;
            // All else is made again.
            let journal = Journal::of_index(&aside);
            hand_on(&journal, &mut connection).map_err(|error| StoreError::index(&path, error))?;
            let mut warnings = vec![Warning::IndexSetAside { moved_to: aside, why }];
            warnings.extend(journal.unreadable.map(|why| Warning::JournalLost { why }));
            Ok(Opened { connection, warnings })
        }
        Err(error) => Err(error.into_store(home, &path)),
    }
}

fn hand_on(journal: &Journal, index: &mut Connection) -> rusqlite::Result<()> {
    let transaction = index.transaction_with_behavior(TransactionBehavior::Immediate)?;
    journal.put(&transaction)?;
    transaction.commit()
}

/// The mark that asks the next `open` for a full check.
pub(super) fn suspect_mark(index: &Path) -> PathBuf {
    index.with_file_name("index.suspect")
}

enum OpenError {
    Damaged(String),
    OtherVersion(String),
    Sql(rusqlite::Error),
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error.to_string()),
            _ => Self::Sql(error),
        }
    }
}

impl OpenError {
    fn into_store(self, home: &Path, path: &Path) -> StoreError {
        match self {
            Self::Damaged(detail) => StoreError::IndexDamaged { path: path.to_owned(), detail },
            Self::OtherVersion(found) => StoreError::OtherVersion { home: home.to_owned(), found },
            Self::Sql(error) => StoreError::index(path, error),
        }
    }
}

fn try_open(path: &Path, thorough: bool) -> Result<Connection, OpenError> {
    // No URI file names (a `?` in the path is a `?`), and no mutex in SQLite: ours is around the connection.
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    // INCREMENTAL counts before the first table is made: room that a collection gave can then be given back.
    // NORMAL: in WAL mode a commit is then not synced, only a checkpoint is. A power cut can lose the last commits,
    // which are misses, but can't tear the database; and a batch costs no seek.
    connection.execute_batch(
        "PRAGMA auto_vacuum = INCREMENTAL;
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = NORMAL;
         PRAGMA foreign_keys = ON;
         PRAGMA journal_size_limit = 67108864;
         PRAGMA cache_size = -16384;
         PRAGMA temp_store = MEMORY;",
    )?;
    connection.set_prepared_statement_cache_capacity(64);

    // Also the first read: SQLite compares the size of the file with that in its header here.
    if user_version(&connection)? == 0 {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let tables: u32 =
            transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if user_version(&transaction)? == 0 && tables == 0 {
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
            transaction.commit()?;
        }
    }
    if user_version(&connection)? == i64::from(MIGRATED_VERSION) {
        migrate(&mut connection)?;
    }
    let found = user_version(&connection)?;
    if found != i64::from(VERSION) {
        return Err(OpenError::OtherVersion(found.to_string()));
    }
    super::submissions::make_table(&connection)?;
    if thorough {
        let verdict: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        if verdict != "ok" {
            return Err(OpenError::Damaged(verdict));
        }
    }
    Ok(connection)
}

/// Brings an index of [`MIGRATED_VERSION`] to [`VERSION`]. A signed entry marks a result that came from a remote; the reasons
/// of its run name the remote, where that run is still recorded.
fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been faster.
    if user_version(&transaction)? == i64::from(MIGRATED_VERSION) {
        transaction.execute_batch(
            "ALTER TABLE result ADD COLUMN remote TEXT;
             UPDATE result SET remote = coalesce(
                 (SELECT json_extract(reason.value, '$.remote')
                  FROM run, json_each(CASE WHEN json_valid(run.reasons) THEN run.reasons ELSE '[]' END) AS reason
                  WHERE run.id = result.run
                      AND CASE WHEN reason.type = 'object' THEN json_extract(reason.value, '$.reason') END = 'remote'),
                 'unknown')
             WHERE strong_key IN (SELECT strong_key FROM sealed);",
        )?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()
}

fn user_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Moves the database with its log to the first free `index.sqlite.damaged-N`.
///
/// A process that still has the old one open goes on with it in its new place: `SQLite` notices the move and leaves
/// the new database's log alone.
fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let with = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let mut number = 1u32;
    while with(&format!(".damaged-{number}")).exists() {
        number += 1;
    }
    let aside = with(&format!(".damaged-{number}"));
    for part in ["-wal", "-shm"] {
        let from = with(part);
        match fs::rename(&from, with(&format!(".damaged-{number}{part}"))) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(StoreError::io(&from, error)),
            _ => {}
        }
    }
    fs::rename(path, &aside).at(path)?;
    Ok(aside)
}

fn remove_if_there(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io(path, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table `result` as version 4 had it.
    const OLD_RESULT: &str = "CREATE TABLE result (
        strong_key BLOB NOT NULL PRIMARY KEY, action_key BLOB NOT NULL, outcome TEXT NOT NULL, outputs BLOB NOT NULL,
        log BLOB, log_size INTEGER, run INTEGER NOT NULL, used INTEGER NOT NULL, continued INTEGER,
        verified INTEGER NOT NULL
    );";

    #[test]
    fn an_index_of_the_previous_version_is_migrated_and_says_where_results_came_from() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index.sqlite");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(
            &format!("{OLD_RESULT} {}", TABLES.replace("CREATE TABLE result (", "CREATE TABLE unused ("))
                .replace("ON result (continued)", "ON unused (continued)"),
        )
        .unwrap();
        old.execute_batch(
            r#"INSERT INTO project VALUES (1, x'00');
               INSERT INTO run VALUES (1, 1, 'a', x'', NULL, NULL, 'pass', 0, 0, 0, 0, NULL, NULL, 0, 0, '[{"reason":"never-ran"}]', NULL);
               INSERT INTO run VALUES (2, 1, 'b', x'', NULL, NULL, 'pass', 0, 0, 0, 0, NULL, NULL, 0, 0, '[{"reason":"remote","remote":"lan"}]', NULL);
               INSERT INTO run VALUES (3, 1, 'c', x'', NULL, NULL, 'pass', 0, 0, 0, 0, NULL, NULL, 0, 0, 'torn', NULL);
               INSERT INTO run VALUES (4, 1, 'd', x'', NULL, NULL, 'pass', 0, 0, 0, 0, NULL, NULL, 0, 0, '["x"]', NULL);
               INSERT INTO result VALUES (x'01', x'', 'pass', x'', NULL, NULL, 1, 0, NULL, 0);
               INSERT INTO result VALUES (x'02', x'', 'pass', x'', NULL, NULL, 2, 0, NULL, 0);
               INSERT INTO result VALUES (x'03', x'', 'pass', x'', NULL, NULL, 3, 0, NULL, 0);
               INSERT INTO result VALUES (x'04', x'', 'pass', x'', NULL, NULL, 4, 0, NULL, 0);
               INSERT INTO sealed VALUES (x'02', x''), (x'03', x''), (x'04', x'');
               PRAGMA user_version = 4;"#,
        )
        .unwrap();
        drop(old);
        let Ok(new) = try_open(&path, false) else { panic!("it can't be opened") };
        assert_eq!(user_version(&new).unwrap(), i64::from(VERSION));
        let mut select = new.prepare("SELECT remote FROM result ORDER BY strong_key").unwrap();
        let remotes: Vec<Option<String>> =
            select.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
        let unknown = || Some("unknown".to_owned());
        assert_eq!(remotes, [None, Some("lan".to_owned()), unknown(), unknown()]);
    }
}
