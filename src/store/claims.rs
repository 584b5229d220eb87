//! Claims: what running kilns use, so that no collection takes it away.
//!
//! A session writes the digest of everything that it relies on into its file `uses` *before* it looks whether the thing
//! is there: blobs that it puts, trees, path sets, results that its plan goes by. A collection reads these files while it
//! holds the lock `claiming` alone, and takes things away under that very lock. So either the claim comes first, and the
//! thing stays, or it comes later, and the session finds that the thing is gone. A claim ends with its session.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::{Duration, SystemTime};

use super::error::{At, StoreError};
use super::session::is_alive;
use super::{Store, lock_file, times};
use crate::digest::Digest;

/// A time of last use is written again when it is older than this: a build that does something every minute need not
/// write all of it each time.
const USED_AGAIN: Duration = Duration::from_hours(1);

/// A session's claims on their way into its file.
pub(super) struct Ledger {
    /// `home/claiming`.
    lock: File,
    lock_path: PathBuf,
    path: PathBuf,
    file: Option<File>,
}

impl Ledger {
    pub fn new(home: &Path, session: &Path) -> Result<Self, StoreError> {
        let lock_path = lock_path(home);
        let lock = lock_file(&lock_path)?;
        Ok(Self { lock, lock_path, path: session.join("uses"), file: None })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.lock.lock_shared().at(&self.lock_path)?;
        let written = self.write_locked(bytes);
        self.lock.unlock().at(&self.lock_path)?;
        written
    }

    fn write_locked(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let file = File::options().append(true).create(true).open(&self.path).at(&self.path)?;
                self.file.insert(file)
            }
        };
        let before = file.metadata().at(&self.path)?.len();
        file.write_all(bytes).map_err(|error| {
            // On a full disk half a digest may be left, behind which none could be told any more.
            let _ = file.set_len(before);
            StoreError::io(&self.path, error)
        })
    }
}

impl Store {
    /// Says that this kiln relies on the things of these digests, of whatever kind, for as long as the store is open.
    /// What is there when this returns stays; what is not was gone before.
    ///
    /// To be called before it is looked whether something is there that is not to be fetched or made then.
    pub fn claim<'a>(&self, digests: impl IntoIterator<Item = &'a Digest>) -> Result<(), StoreError> {
        let bytes: Vec<u8> = digests.into_iter().flat_map(|digest| *digest.as_bytes()).collect();
        if bytes.is_empty() {
            return Ok(());
        }
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).write(&bytes)
    }

    /// Claims what a plan goes by, and makes it count as just used: strong keys of results, digests of files and trees
    /// that will be read, names of directories below `sources/`.
    ///
    /// The plan was made before: whether what it found is still there is to be looked at again after this.
    pub fn hold(&self, digests: &[Digest]) -> Result<(), StoreError> {
        self.claim(digests)?;
        let now = times::now();
        let again = now.saturating_sub(times::length(USED_AGAIN));
        self.batch(|batch| {
            batch.write(|index| {
                // Also where it is in the future: that is no time of use.
                let mut update = index.prepare_cached(
                    "UPDATE result SET used = ?2 WHERE strong_key = ?1 AND NOT used BETWEEN ?3 AND ?2",
                )?;
                for digest in digests {
                    update.execute((digest.as_bytes(), now, again))?;
                }
                Ok(())
            })
        })?;
        // A source tree's own time is part of what is known of its content.
        for digest in digests.iter().filter(|digest| self.source_dir(digest).is_dir()) {
            let mark = self.source_mark(digest);
            File::create(&mark).and_then(|file| file.set_modified(SystemTime::now())).at(&mark)?;
        }
        Ok(())
    }

    /// The file whose time says when a source was last used.
    pub(super) fn source_mark(&self, name: &Digest) -> PathBuf {
        self.home.join("sources").join(format!(".used-{name}"))
    }
}

/// The lock that keeps claims away, until it is dropped.
pub(super) struct NoClaims(File);

impl NoClaims {
    /// Waits for those who are claiming something now. Whoever needs the index too takes that first.
    pub fn begin(home: &Path) -> Result<Self, StoreError> {
        let path = lock_path(home);
        let file = lock_file(&path)?;
        file.lock().at(&path)?;
        Ok(Self(file))
    }
}

impl Drop for NoClaims {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// What living sessions have claimed.
#[derive(Default)]
pub(super) struct Claimed {
    all: HashSet<Digest>,
    /// How far each session's file has been read.
    read: HashMap<OsString, u64>,
}

impl Claimed {
    pub fn contains(&self, digest: &Digest) -> bool {
        self.all.contains(digest)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Digest> {
        self.all.iter()
    }

    /// Reads what has been claimed since the last time, and gives what is new. No claim may be made meanwhile.
    pub fn read(&mut self, home: &Path, _: &NoClaims) -> Result<Vec<Digest>, StoreError> {
        let tmp = home.join("tmp");
        let mut new = Vec::new();
        for entry in fs::read_dir(&tmp).at(&tmp)? {
            let entry = entry.at(&tmp)?;
            if !is_alive(&entry.path())? {
                continue;
            }
            let path = entry.path().join("uses");
            let mut file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    return Err(StoreError::OthersUse { path: entry.path() });
                }
                Err(error) => return Err(StoreError::io(&path, error)),
            };
            let from = self.read.entry(entry.file_name()).or_insert(0);
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(*from)).and_then(|_| file.read_to_end(&mut bytes)).at(&path)?;
            let (digests, _) = bytes.as_chunks();
            *from += digests.len() as u64 * 32;
            let digests = digests.iter().map(|bytes| Digest::from_bytes(*bytes));
            new.extend(digests.filter(|digest| self.all.insert(*digest)));
        }
        Ok(new)
    }
}

fn lock_path(home: &Path) -> PathBuf {
    home.join("claiming")
}
