//! Digests of single files anywhere on the host, by the same rule as those of a tree (see [`super::stat`]).

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::fcntl::OFlag;
use nix::sys::stat::fstat;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

use super::between::disturbance;
use super::envelope::{self, ColdReason, Magic};
use super::file_system::{Devices, FileSystem, Settled, Writer};
use super::hash::hash_file;
use super::links::links_on;
use super::path_set::Reads;
use super::snapshot::{Snapshot, SnapshotOptions};
use super::stat::{FileType, Stat, now};
use super::{CacheState, SourceError};

const MAGIC: Magic = *b"kilnfd\0\x03";

/// Beyond this many files, those that nobody asked for in this run are forgotten.
const KEPT: usize = 50_000;

/// The digests of host tools, project files and the like: a file is read again only when its stat changed.
///
/// All methods may be called from any thread.
pub struct FileDigests {
    file: PathBuf,
    cache: CacheState,
    devices: Devices,
    racy_until: AtomicI64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    files: HashMap<PathBuf, Slot>,
    remembered: HashMap<Digest, Remembered>,
    /// Directories that were looked at in this run.
    trees: HashMap<PathBuf, Digest>,
    changed: bool,
    /// What was there when this process first looked.
    first: HashMap<PathBuf, FirstLook>,
    /// Through which links.
    links: HashMap<PathBuf, Vec<(PathBuf, Stat)>>,
}

#[derive(Clone)]
enum FirstLook {
    File {
        stat: Stat,
        fs: FileSystem,
        /// Whether somebody had it open for writing.
        written: bool,
    },
    Dir(Arc<Snapshot>),
    Link(Stat),
}

struct Slot {
    known: Known,
    used: bool,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Known {
    stat: (u64, u64, u64, i64, i64, u32),
    /// The file system, or the mount, that this holds for.
    on: Digest,
    digest: Digest,
}

/// An answer that took long to find, and what it holds on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// The answer, in a form that whoever asks understands.
    pub answer: Vec<u8>,
    /// Directories in which another answer could have been found. If one changed, the question is open again.
    pub guards: Vec<(PathBuf, Option<Guard>)>,
}

/// A question under way.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    key: Digest,
    asked: i64,
}

/// A directory as it was: its names are the same for as long as this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    dev: u64,
    ino: u64,
    mtime: i64,
    ctime: i64,
    /// The file system, or the mount, that this holds for; `None` where it holds for no later moment.
    on: Option<Digest>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    files: Vec<(Vec<u8>, Known)>,
    remembered: Vec<(Digest, Remembered)>,
}

impl FileDigests {
    /// Reads the cache; one that is absent or of no use is as good as empty.
    pub fn open(cache_file: &Path) -> Self {
        let stored = envelope::read(cache_file, MAGIC).and_then(|sealed| {
            postcard::from_bytes::<Stored>(sealed.payload()).map_err(|_| ColdReason::Damaged)
        });
        let (state, cache) = match stored {
            Ok(stored) => (State::from(stored), CacheState::Warm),
            Err(reason) => (State::default(), CacheState::Cold { reason }),
        };
        let (devices, racy_until) = (Devices::default(), AtomicI64::new(i64::MIN));
        Self { file: cache_file.to_owned(), cache, devices, racy_until, state: Mutex::new(state) }
    }

    /// What the cache was good for.
    pub const fn cache(&self) -> &CacheState {
        &self.cache
    }

    /// The digest of the file at `path`, whose links are followed.
    pub fn digest(&self, path: &Path) -> io::Result<Digest> {
        // Stat-ing the path is enough for a file that is known; it is opened only to be read.
        let stat = Stat::new(&nix::sys::stat::stat(path)?);
        let fs = self.file_system(path, &stat);
        let mut state = self.state();
        if let Some(slot) = state.files.get_mut(path)
            && slot.known.stat == key(&stat)
            && fs.is(&slot.known.on)
        {
            slot.used = true;
            let digest = slot.known.digest;
            state.looked(path, || FirstLook::File { stat, fs, written: false });
            return Ok(digest);
        }
        drop(state);
        let not_a_file = || io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
        if stat.file_type() != FileType::File {
            return Err(not_a_file());
        }
        // Should it be a pipe by now, this must not block.
        let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file: File = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
        let began = now();
        let writer = fs.writer_of(&file);
        let stat = Stat::new(&fstat(&file)?);
        if stat.file_type() != FileType::File {
            return Err(not_a_file());
        }
        let fs = self.file_system(path, &stat);
        let (digest, size) = hash_file(file, stat.size)?;
        let settled = if stat.size == size { fs.settled(&stat, began, writer) } else { Settled::No };
        if let (Settled::No, Some(until)) = (settled, fs.racy_until(&stat, began)) {
            self.racy_until.fetch_max(until, Relaxed);
        }
        let mut state = self.state();
        state.changed = true;
        state.looked(path, || FirstLook::File { stat, fs, written: writer == Writer::Somebody });
        match fs.holds_for(settled) {
            Some(on) => {
                let known = Known { stat: key(&stat), on, digest };
                state.files.insert(path.to_owned(), Slot { known, used: true });
            }
            None => {
                state.files.remove(path);
            }
        }
        Ok(digest)
    }

    /// The file system that a file is on.
    fn file_system(&self, path: &Path, stat: &Stat) -> FileSystem {
        self.devices.file_system(stat.dev, || Self::look_at_file_system(path))
    }

    fn look_at_file_system(path: &Path) -> nix::Result<FileSystem> {
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
        FileSystem::of(nix::fcntl::open(path, flags, nix::sys::stat::Mode::empty())?)
    }

    /// The state of the directory at `path`, whose stat cache is kept beside the one of the files.
    pub fn tree(&self, path: &Path) -> Result<Arc<Snapshot>, SourceError> {
        let first = match self.state().first.get(path) {
            Some(FirstLook::Dir(first)) => Some(Arc::clone(first)),
            _ => None,
        };
        let cache_file = self.cache_file_of(path);
        let options = SnapshotOptions { cache_file: Some(&cache_file), ignore: &[] };
        let snapshot = match first {
            Some(first) => first.again(path, &options)?,
            None => Snapshot::take(path, &options)?,
        };
        let snapshot = Arc::new(snapshot);
        self.racy_until.fetch_max(snapshot.racy_until(), Relaxed);
        self.state().looked(path, || FirstLook::Dir(Arc::clone(&snapshot)));
        Ok(snapshot)
    }

    /// Until when a change of a file may leave it the stat that it had here (see [`Snapshot::racy_until`]).
    pub fn racy_until(&self) -> i64 {
        self.racy_until.load(Relaxed)
    }

    /// Whether what is at `path` was something else for a time since this process first looked, whatever it holds now:
    /// the file, any of a directory, or a link on the way if those were [noted](Self::note_links).
    pub fn was_disturbed(&self, path: &Path) -> bool {
        let (links, first) = {
            let state = self.state();
            (state.links.get(path).cloned(), state.first.get(path).cloned())
        };
        if links.is_some_and(|links| links_on(path).ok() != Some(links)) {
            return true;
        }
        match first {
            // Nothing was there.
            None => false,
            Some(FirstLook::File { written: true, .. }) => true,
            Some(FirstLook::File { stat, fs, written: false }) => {
                let Ok(now) = nix::sys::stat::stat(path) else { return true };
                let now = Stat::new(&now);
                // Not the one that the device had when this process first came to it.
                let on = Self::look_at_file_system(path).unwrap_or(FileSystem::UNKNOWN);
                !fs.is_same_as(&on) || fs.comparable(&now) != fs.comparable(&stat)
            }
            Some(FirstLook::Link(then)) => {
                !nix::sys::stat::lstat(path).is_ok_and(|now| Stat::new(&now) == then)
            }
            Some(FirstLook::Dir(then)) => {
                let cache_file = self.cache_file_of(path);
                let options = SnapshotOptions { cache_file: Some(&cache_file), ignore: &[] };
                let now = then.again(path, &options);
                !now.is_ok_and(|now| disturbance(&Reads::Whole, &then, &now).is_none())
            }
        }
    }

    /// Notes a symbolic link, as [`digest`](Self::digest) does a file.
    pub fn note_link(&self, path: &Path) -> io::Result<()> {
        let stat = Stat::new(&nix::sys::stat::lstat(path)?);
        self.state().looked(path, || FirstLook::Link(stat));
        Ok(())
    }

    /// Notes which links a path goes through.
    pub fn note_links(&self, path: &Path) -> io::Result<()> {
        if !self.state().links.contains_key(path) {
            let links = links_on(path)?;
            self.state().links.entry(path.to_owned()).or_insert(links);
        }
        Ok(())
    }

    fn cache_file_of(&self, path: &Path) -> PathBuf {
        let mut name = self.file.file_name().unwrap_or_default().to_owned();
        name.push(".");
        name.push(Digest::of_bytes(path.as_os_str().as_bytes()).short());
        self.file.with_file_name(name)
    }

    /// The digest of the directory at `path`, as `look` found it when it was first asked for.
    pub fn tree_once(
        &self,
        path: &Path,
        look: impl FnOnce() -> Result<Digest, SourceError>,
    ) -> Result<Digest, SourceError> {
        if let Some(digest) = self.state().trees.get(path) {
            return Ok(*digest);
        }
        let digest = look()?;
        // Whoever was first says how it was.
        Ok(*self.state().trees.entry(path.to_owned()).or_insert(digest))
    }

    /// Asks a question that `key` stands for. The answer, if one is remembered and no guard has changed since;
    /// whether what it tells of is as it was is for the caller to see.
    pub fn ask(&self, key: Digest) -> (Question, Option<Remembered>) {
        let question = Question { key, asked: now() };
        let found = self.state().remembered.get(&key).cloned();
        (
            question,
            found.filter(|found| found.guards.iter().all(|(path, guard)| self.still(path, guard.as_ref()))),
        )
    }

    /// Remembers the answer that was found to a question. If a guarded directory changed since it was asked (or just
    /// before, see [`super::stat`]), the answer may be half old and half new, and is not remembered.
    pub fn remember(&self, question: Question, answer: Vec<u8>, guarded: Vec<PathBuf>) {
        let mut guards = Vec::with_capacity(guarded.len());
        for path in guarded {
            let guard = self.guard(&path, question.asked);
            if guard.is_some_and(|guard| guard.on.is_none()) {
                return;
            }
            guards.push((path, guard));
        }
        let mut state = self.state();
        state.remembered.insert(question.key, Remembered { answer, guards });
        state.changed = true;
    }

    /// A directory as it is; `None` where there is none.
    fn guard(&self, path: &Path, asked: i64) -> Option<Guard> {
        let stat = Stat::new(&nix::sys::stat::stat(path).ok()?);
        let fs = self.file_system(path, &stat);
        let settled = if fs.names_kept() { fs.settled(&stat, asked, Writer::Nobody) } else { Settled::No };
        let on = fs.holds_for(settled);
        Some(Guard { dev: stat.dev, ino: stat.ino, mtime: stat.mtime, ctime: stat.ctime, on })
    }

    /// Whether a directory is the one that it was, with the names that it had.
    fn still(&self, path: &Path, guard: Option<&Guard>) -> bool {
        let stat = nix::sys::stat::stat(path).ok().map(|stat| Stat::new(&stat));
        match (guard, stat) {
            (None, None) => true,
            (Some(guard), Some(stat)) => {
                (guard.dev, guard.ino, guard.mtime, guard.ctime)
                    == (stat.dev, stat.ino, stat.mtime, stat.ctime)
                    && guard.on.is_some_and(|on| self.file_system(path, &stat).is(&on))
            }
            _ => false,
        }
    }

    /// Writes the cache, if it has news.
    pub fn save(&self) -> io::Result<()> {
        let mut state = self.state();
        if !state.changed {
            return Ok(());
        }
        if state.files.len() > KEPT {
            state.files.retain(|_, slot| slot.used);
        }
        // Sorted, so that the same knowledge is the same file.
        let mut files: Vec<_> = state
            .files
            .iter()
            .map(|(path, slot)| (path.as_os_str().as_bytes().to_vec(), slot.known))
            .collect();
        files.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        // The format has texts for paths; an answer with others is found again next time.
        let is_text = |answer: &Remembered| answer.guards.iter().all(|(path, _)| path.to_str().is_some());
        let mut remembered: Vec<_> = state
            .remembered
            .iter()
            .filter(|(_, answer)| is_text(answer))
            .map(|(key, answer)| (*key, answer.clone()))
            .collect();
        remembered.sort_unstable_by_key(|(key, _)| *key);
        let bytes = postcard::to_stdvec(&Stored { files, remembered }).map_err(io::Error::other)?;
        envelope::write(&self.file, MAGIC, &bytes)?;
        state.changed = false;
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A map is whole between two calls of its methods, whichever thread panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn looked(&mut self, path: &Path, look: impl FnOnce() -> FirstLook) {
        if !self.first.contains_key(path) {
            self.first.insert(path.to_owned(), look());
        }
    }
}

impl From<Stored> for State {
    fn from(stored: Stored) -> Self {
        let path = |bytes: Vec<u8>| PathBuf::from(std::ffi::OsStr::from_bytes(&bytes));
        let slot = |known| Slot { known, used: false };
        Self {
            files: stored.files.into_iter().map(|(bytes, known)| (path(bytes), slot(known))).collect(),
            remembered: stored.remembered.into_iter().collect(),
            ..Self::default()
        }
    }
}

const fn key(stat: &Stat) -> (u64, u64, u64, i64, i64, u32) {
    (stat.dev, stat.ino, stat.size, stat.mtime, stat.ctime, stat.mode)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::thread::sleep;
    use std::time::Duration;

    use super::*;

    #[test]
    fn digests_are_remembered_and_changes_are_seen() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, file, link) = (dir.path().join("cache"), dir.path().join("f"), dir.path().join("l"));
        fs::write(&file, "one").unwrap();
        std::os::unix::fs::symlink("f", &link).unwrap();
        let digests = FileDigests::open(&cache);
        assert_eq!(digests.cache(), &CacheState::Cold { reason: ColdReason::Absent });
        assert_eq!(digests.digest(&link).unwrap(), Digest::of_bytes(b"one"));
        // Within the same tick, and of the same size.
        fs::write(&file, "two").unwrap();
        assert_eq!(digests.digest(&link).unwrap(), Digest::of_bytes(b"two"));
        sleep(Duration::from_millis(80));
        digests.digest(&link).unwrap();
        digests.save().unwrap();

        let digests = FileDigests::open(&cache);
        assert_eq!(digests.cache(), &CacheState::Warm);
        assert_eq!(digests.state().files.len(), 1);
        assert_eq!(digests.digest(&link).unwrap(), Digest::of_bytes(b"two"));
        assert!(!digests.state().changed, "it was not read again");
        fs::write(&file, "six").unwrap();
        assert_eq!(digests.digest(&link).unwrap(), Digest::of_bytes(b"six"));
    }

    #[test]
    fn what_is_no_file_has_no_digest() {
        let dir = tempfile::tempdir().unwrap();
        let digests = FileDigests::open(&dir.path().join("cache"));
        assert_eq!(digests.digest(&dir.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(digests.digest(dir.path()).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert_eq!(digests.digest(&fifo).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn an_answer_holds_until_a_guard_changes() {
        let dir = tempfile::tempdir().unwrap();
        let (watched, absent) = (dir.path().join("watched"), dir.path().join("absent"));
        fs::create_dir(&watched).unwrap();
        let digests = FileDigests::open(&dir.path().join("cache"));
        let key = Digest::of_bytes(b"question");
        let remembered = || digests.ask(key).1;
        let remember =
            || digests.remember(digests.ask(key).0, Vec::new(), vec![watched.clone(), absent.clone()]);
        remember();
        assert_eq!(remembered(), None, "the directory is too new to be believed");
        sleep(Duration::from_millis(80));
        remember();
        assert!(remembered().is_some());
        fs::create_dir(&absent).unwrap();
        assert_eq!(remembered(), None, "a place to look at came into being");
        sleep(Duration::from_millis(80));
        let (question, _) = digests.ask(key);
        fs::write(watched.join("new"), "").unwrap();
        sleep(Duration::from_millis(80));
        digests.remember(question, Vec::new(), vec![watched.clone()]);
        assert_eq!(remembered(), None, "it changed while the answer was sought");
    }

    #[test]
    fn a_damaged_cache_is_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("cache");
        // Sealed rightly, and still not what it should be.
        envelope::write(&cache, MAGIC, &[0xff; 50]).unwrap();
        let digests = FileDigests::open(&cache);
        assert_eq!(digests.cache(), &CacheState::Cold { reason: ColdReason::Damaged });
    }
}
