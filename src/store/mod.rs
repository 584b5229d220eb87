//! The cache on disk: an index (`SQLite`) over a content-addressed store (files).
//!
//! One directory, the cache's *home*, may serve many projects and many kiln processes at once. Two rules keep it
//! whole through crashes:
//!
//! 1. a blob is written under a temporary name, synced, and renamed to its digest;
//! 2. a row that names a blob is committed after that.
//!
//! Nothing read from it is believed: a blob is hashed as it is copied out, and an entry that is lost, damaged or from
//! another version is a *miss*, never an error. See `docs/cache.md` for the layout.

mod archive;
mod artifact;
mod audit;
mod built;
mod cas;
mod choice;
mod claims;
mod codec;
mod entries;
mod error;
mod forget;
mod gc;
mod intake;
mod inventory;
mod keepers;
mod kept;
mod listings;
mod locks;
mod objects;
mod origin;
mod path_sets;
mod results;
mod rows;
mod runs;
mod schema;
mod session;
mod sha256;
mod size;
mod stat;
mod submissions;
mod times;
mod unpacked;

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

use rusqlite::{Connection, Transaction, TransactionBehavior};

pub use archive::{pack_dir, unpack_dir};
pub use artifact::{Artifact, MAX_DEPTH, TreeLimit, check_target};
pub use audit::{Audit, Damage};
pub use built::Built;
pub use cas::Blob;
pub use entries::EntryTable;
pub use error::{BlobError, StoreError};
pub use gc::{Collected, Limits, Manner, Needs, RUNS_PER_NODE, Sort, Step};
pub use intake::Intake;
pub use keepers::{Keeper, Keepers, Subject};
pub use kept::Kept;
pub use locks::{LockGuard, LockHolder};
pub use origin::Origin;
pub use path_sets::{PATH_SETS_PER_KEY, StoredPathSet, StoredReads};
pub use results::StoredResult;
pub use runs::{NodeRecord, NodeState, Outcome, Placed, ProjectId, Run, RunId};
pub use schema::VERSION;
pub use sha256::both_digests;
pub use stat::{Figures, NodeFigures, Part};
pub use submissions::{Journal, Submission};
pub use unpacked::Altered;

use crate::digest::Digest;
use claims::Ledger;
use error::At;
use session::Session;

/// An open cache. It may be shared by threads: they take turns at the index, and use the blobs side by side.
pub struct Store {
    home: PathBuf,
    connection: Mutex<Connection>,
    session: Session,
    ledger: Mutex<Ledger>,
    /// How many bytes of blobs this session has put, and has not told of yet (see `size`).
    added: AtomicU64,
    warnings: Vec<Warning>,
    /// Path sets that somebody has: each is in memory once.
    path_sets: Mutex<HashMap<Digest, Weak<StoredPathSet>>>,
    /// Held shared for as long as the cache is open; whoever removes the whole of it needs it alone.
    _in_use: File,
}

/// Something the user should hear of that did not keep the cache from being opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// The index was beyond use, so a new one was begun: everything is a miss once.
    IndexSetAside {
        /// Where the damaged one is now.
        moved_to: PathBuf,
        /// What was wrong with it.
        why: String,
    },
    /// What a killed process left can't be removed, such as the files of other users that a sandbox had.
    LeftBehind {
        /// Where it is.
        dir: PathBuf,
        /// Why it can't.
        why: String,
    },
    /// What it knew of jobs at labs could not be read, or not all of it.
    JournalLost {
        /// Why.
        why: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IndexSetAside { moved_to, why } => write!(
                f,
                "the cache's index was damaged ({why}) and begun anew; the old one is now {}",
                moved_to.display()
            ),
            Self::LeftBehind { dir, why } => {
                write!(f, "what a killed kiln left can't be removed: {}: {why}; root can", dir.display())
            }
            Self::JournalLost { why } => write!(
                f,
                "labs may have jobs of which nothing is known any more, as the damaged index can't be read ({why})"
            ),
        }
    }
}

impl Store {
    /// Opens the cache in `home`, and makes it where there is none.
    ///
    /// A damaged index is set aside with a [`Warning`]. What dead processes left in `tmp/` and `work/` is removed.
    pub fn open(home: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(home).at(home)?;
        // The real path, so that the cache stays where it is when the process changes directory.
        let home = &fs::canonicalize(home).at(home)?;
        refuse_foreign(home)?;

        // One at a time from here: making the tables, setting a damaged index aside, telling the dead from the living.
        let opening = lock_file(&home.join("opening"))?;
        opening.lock().at(&home.join("opening"))?;
        let format = Format::of(home)?;
        for dir in ["cas", "tmp", "locks", "work", "kept", "stat", "logs"] {
            make_dir(&home.join(dir))?;
        }
        let in_use_path = home.join("in-use");
        let in_use = lock_file(&in_use_path)?;
        if format == Format::Previous {
            // A kiln that has the cache open could not record anything more.
            in_use.try_lock().map_err(|error| match error {
                TryLockError::WouldBlock => StoreError::InUse { home: home.to_owned() },
                TryLockError::Error(error) => StoreError::io(&in_use_path, error),
            })?;
        } else {
            in_use.lock_shared().at(&in_use_path)?;
        }
        let opened = schema::open(home)?;
        if format == Format::Previous {
            write_version(home)?;
            in_use.lock_shared().at(&in_use_path)?;
        }
        let (session, left_behind) = Session::begin(home)?;
        drop(opening);

        let was_killed = !left_behind.is_empty();
        // Outside the lock: an abandoned build directory takes a while to remove.
        let mut warnings = opened.warnings;
        for dir in left_behind {
            if let Err(error) = session::remove_tree(&dir) {
                let dir = session.put_back(dir);
                warnings.push(Warning::LeftBehind { dir, why: error.to_string() });
            }
        }
        let store = Self {
            home: home.clone(),
            connection: Mutex::new(opened.connection),
            ledger: Mutex::new(Ledger::new(home, session.tmp())?),
            session,
            added: AtomicU64::new(0),
            warnings,
            path_sets: Mutex::default(),
            _in_use: in_use,
        };
        store.sweep_kept()?;
        if was_killed {
            // What it has put it did not get to tell of.
            store.measure_again()?;
        }
        Ok(store)
    }

    /// The cache's directory.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// What the user should hear of.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Where the caches of file digests are.
    pub fn stat_dir(&self) -> PathBuf {
        self.home.join("stat")
    }

    /// Where the logs of running actions are written.
    pub fn logs_dir(&self) -> PathBuf {
        self.home.join("logs")
    }

    /// An empty directory for an action to work in. It is the caller's to remove (with [`remove_tree`]); if this
    /// process dies first, the next one to open the cache removes it.
    pub fn fresh_work_dir(&self, name: &str) -> Result<PathBuf, StoreError> {
        self.session.fresh_work_dir(name)
    }

    /// Runs `write` in one transaction: all that it wrote is kept if it succeeds, and nothing otherwise.
    ///
    /// A transaction costs some 50 µs and a row some 5, so whoever records thousands of nodes does it in batches of
    /// thousands. Other writers wait meanwhile, as do all other uses of the index by this process: `write` must go through
    /// the batch alone.
    pub fn batch<T>(
        &self,
        write: impl FnOnce(&mut Batch<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut connection = self.connection();
        // Immediate: a transaction that reads first and then writes could find that it has been overtaken.
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| self.index_error(error))?;
        let mut batch = Batch { store: self, transaction };
        let value = write(&mut batch)?;
        batch.transaction.commit().map_err(|error| self.index_error(error))?;
        Ok(value)
    }

    /// Reads from the index.
    fn read_index<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        read(&self.connection()).map_err(|error| self.index_error(error))
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A thread that panicked in a transaction has rolled it back: the connection is as good as before.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_error(&self, error: rusqlite::Error) -> StoreError {
        let path = self.home.join("index.sqlite");
        let error = StoreError::index(&path, error);
        if let StoreError::IndexDamaged { .. } = error {
            // Damage deep in the file is only met on the way. The next process to open it looks at all of it; should
            // the mark fail to be made, it will meet the same damage again.
            let _ = File::create(schema::suspect_mark(&path));
        }
        error
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if *self.added.get_mut() > 0 && self.settle(0).is_err() {
            let _ = self.measure_again();
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("home", &self.home).finish_non_exhaustive()
    }
}

/// A transaction under way: see [`Store::batch`]. Its methods are with what they write, in `listings`, `path_sets`,
/// `results` and `runs`.
pub struct Batch<'a> {
    store: &'a Store,
    transaction: Transaction<'a>,
}

impl Batch<'_> {
    fn write<T>(&self, write: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        write(&self.transaction).map_err(|error| self.store.index_error(error))
    }
}

/// Removes a directory with all that is in it, also where it has directories that may not be written. Not being there
/// is fine.
pub fn remove_tree(dir: &Path) -> Result<(), StoreError> {
    session::remove_tree(dir).at(dir)
}

/// Refuses to turn a directory that holds something else into a cache.
fn refuse_foreign(home: &Path) -> Result<(), StoreError> {
    let is_cache = || home.join("VERSION").exists() || home.join("index.sqlite").exists();
    if is_cache() {
        return Ok(());
    }
    for entry in fs::read_dir(home).at(home)? {
        let entry = entry.at(home)?.file_name().to_string_lossy().into_owned();
        // A project may track a README and a .gitignore in its cache directory, and users unpack their sources there
        // before they first run kiln; `opening` is ours, made before VERSION.
        let harmless = entry.starts_with("README") || entry.starts_with(".git");
        let harmless = harmless || entry == "opening" || entry == "sources";
        // Asked again: another kiln may be making it a cache at this moment, and VERSION is what it makes first.
        if !harmless && !is_cache() {
            return Err(StoreError::NotACache { home: home.to_owned(), entry });
        }
    }
    Ok(())
}

/// The format of a cache that can be used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    /// [`VERSION`].
    Current,
    /// [`schema::MIGRATED_VERSION`]: its index is migrated when it is opened.
    Previous,
}

impl Format {
    /// The format that the file `VERSION` names. The file is written if there is none yet.
    fn of(home: &Path) -> Result<Self, StoreError> {
        let path = home.join("VERSION");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(StoreError::io(&path, error)),
        };
        let text = text.trim();
        let found = text.strip_prefix("kiln cache ").unwrap_or(text);
        if found == VERSION.to_string() {
            return Ok(Self::Current);
        }
        if found == schema::MIGRATED_VERSION.to_string() {
            return Ok(Self::Previous);
        }
        // Empty: a crash came between making and writing it. The index has the version too.
        if !found.is_empty() {
            let found = found.chars().take(40).collect();
            return Err(StoreError::OtherVersion { home: home.to_owned(), found });
        }
        write_version(home)?;
        let ignore = home.join(".gitignore");
        if !ignore.exists() {
            fs::write(&ignore, "*\n").at(&ignore)?;
        }
        Ok(Self::Current)
    }
}

fn write_version(home: &Path) -> Result<(), StoreError> {
    let path = home.join("VERSION");
    fs::write(&path, format!("kiln cache {VERSION}\n")).at(&path)
}

fn lock_file(path: &Path) -> Result<File, StoreError> {
    File::options().read(true).write(true).create(true).truncate(false).open(path).at(path)
}

fn make_dir(path: &Path) -> Result<(), StoreError> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(StoreError::io(path, error)),
        _ => Ok(()),
    }
}
