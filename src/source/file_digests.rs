//! Digests of single files anywhere on the host, by the same rule as those of a tree (see [`super::stat`]).

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::fcntl::OFlag;
use nix::sys::stat::fstat;
use nix::sys::statfs::fstatfs;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

use super::envelope::{self, ColdReason, Magic};
use super::hash::hash_file;
use super::snapshot::{Snapshot, SnapshotOptions};
use super::stat::{Clock, FileType, Stat, now};
use super::{CacheState, SourceError};

const MAGIC: Magic = *b"kilnfd\0\x02";

/// Beyond this many files, those that nobody asked for in this run are forgotten.
const KEPT: usize = 50_000;

/// The digests of host tools, project files and the like: a file is read again only when its stat changed.
///
/// All methods may be called from any thread.
pub struct FileDigests {
    file: PathBuf,
    cache: CacheState,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    files: HashMap<PathBuf, Slot>,
    remembered: HashMap<Digest, Remembered>,
    /// Directories that were looked at in this run.
    trees: HashMap<PathBuf, Digest>,
    changed: bool,
}

struct Slot {
    known: Known,
    used: bool,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Known {
    stat: (u64, u64, u64, i64, i64, u32),
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
        Self { file: cache_file.to_owned(), cache, state: Mutex::new(state) }
    }

    /// What the cache was good for.
    pub const fn cache(&self) -> &CacheState {
        &self.cache
    }

    /// The digest of the file at `path`, whose links are followed.
    pub fn digest(&self, path: &Path) -> io::Result<Digest> {
        // Stat-ing the path is enough for a file that is known; it is opened only to be read.
        let stat = Stat::new(&nix::sys::stat::stat(path)?);
        if let Some(slot) = self.state().files.get_mut(path)
            && slot.known.stat == key(&stat)
        {
            slot.used = true;
            return Ok(slot.known.digest);
        }
        let not_a_file = || io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
        if stat.file_type() != FileType::File {
            return Err(not_a_file());
        }
        // Should it be a pipe by now, this must not block.
        let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file: File = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
        let moment = Clock::of(fstatfs(&file)?.filesystem_type()).begin();
        let stat = Stat::new(&fstat(&file)?);
        if stat.file_type() != FileType::File {
            return Err(not_a_file());
        }
        let (digest, size) = hash_file(file, stat.size)?;
        let mut state = self.state();
        state.changed = true;
        if moment.settled(&stat) && stat.size == size {
            let known = Known { stat: key(&stat), digest };
            state.files.insert(path.to_owned(), Slot { known, used: true });
        } else {
            state.files.remove(path);
        }
        Ok(digest)
    }

    /// The state of the directory at `path`, whose stat cache is kept beside the one of the files.
    pub fn tree(&self, path: &Path) -> Result<Snapshot, SourceError> {
        let mut name = self.file.file_name().unwrap_or_default().to_owned();
        name.push(".");
        name.push(Digest::of_bytes(path.as_os_str().as_bytes()).short());
        let cache_file = self.file.with_file_name(name);
        Snapshot::take(path, &SnapshotOptions { cache_file: Some(&cache_file), ignore: &[] })
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
        let holds = |found: &Remembered| found.guards.iter().all(|(path, guard)| Guard::of(path) == *guard);
        (question, found.filter(holds))
    }

    /// Remembers the answer that was found to a question. If a guarded directory changed since it was asked (or just
    /// before, see [`super::stat`]), the answer may be half old and half new, and is not remembered.
    pub fn remember(&self, question: Question, answer: Vec<u8>, guarded: Vec<PathBuf>) {
        let mut guards = Vec::with_capacity(guarded.len());
        for path in guarded {
            let guard = Guard::of(&path);
            if guard.is_some_and(|guard| !guard.settled(&path, question.asked)) {
                return;
            }
            guards.push((path, guard));
        }
        let mut state = self.state();
        state.remembered.insert(question.key, Remembered { answer, guards });
        state.changed = true;
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

impl From<Stored> for State {
    fn from(stored: Stored) -> Self {
        let path = |bytes: Vec<u8>| PathBuf::from(std::ffi::OsStr::from_bytes(&bytes));
        let slot = |known| Slot { known, used: false };
        Self {
            files: stored.files.into_iter().map(|(bytes, known)| (path(bytes), slot(known))).collect(),
            remembered: stored.remembered.into_iter().collect(),
            trees: HashMap::new(),
            changed: false,
        }
    }
}

impl Guard {
    fn of(path: &Path) -> Option<Self> {
        let stat = Stat::new(&nix::sys::stat::stat(path).ok()?);
        Some(Self { dev: stat.dev, ino: stat.ino, mtime: stat.mtime, ctime: stat.ctime })
    }

    fn settled(&self, path: &Path, asked: i64) -> bool {
        let Ok(fs) = nix::sys::statfs::statfs(path) else { return false };
        let stat = Stat { dev: 0, ino: 0, size: 0, mtime: self.mtime, ctime: self.ctime, mode: 0 };
        Clock::of(fs.filesystem_type()).moment(asked).settled(&stat)
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
