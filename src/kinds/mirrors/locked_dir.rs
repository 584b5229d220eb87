//! A directory that several runs and processes share: one of them holds its lock at a time.

use std::fs::{self, DirEntry, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::exec::{BuiltinResult, BuiltinRun};

/// The interval between two attempts to take the lock.
const TICK: Duration = Duration::from_millis(100);

/// The name of the lock file.
const LOCK: &str = "lock";

/// A locked directory. The lock is released on drop or when the process ends.
pub(in crate::kinds) struct LockedDir {
    dir: PathBuf,
    _lock: File,
}

impl LockedDir {
    /// Creates the directory if necessary, and waits for its lock.
    pub(in crate::kinds) fn take(dir: &Path, making: &BuiltinRun<'_>) -> Result<Self, BuiltinResult> {
        let failed = |source: io::Error| BuiltinResult::infra(format!("{}: {source}", dir.display()));
        fs::create_dir_all(dir).map_err(failed)?;
        let lock = File::options().read(true).write(true).create(true).truncate(false).open(dir.join(LOCK));
        let lock = lock.map_err(failed)?;
        let mut logged = false;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Self { dir: dir.to_owned(), _lock: lock }),
                Err(TryLockError::WouldBlock) if making.is_cancelled() => {
                    return Err(BuiltinResult::CANCELLED);
                }
                Err(TryLockError::WouldBlock) => {
                    if !logged {
                        making.log(&format!("waiting for another run, which has {}", dir.display()));
                        logged = true;
                    }
                    std::thread::sleep(TICK);
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
    }

    /// Removes all files except the `many` most recently modified ones.
    pub(in crate::kinds) fn keep_newest(&self, many: usize) -> io::Result<()> {
        let timed = |file: DirEntry| Ok((file.metadata()?.modified()?, file.path()));
        let mut files = self.files()?.into_iter().map(timed).collect::<io::Result<Vec<_>>>()?;
        files.sort_unstable_by(|a, b| b.cmp(a));
        files.into_iter().skip(many).try_for_each(|(_, path)| fs::remove_file(path))
    }

    /// Removes all files whose names do not start with `name`.
    pub(in crate::kinds) fn remove_except(&self, name: &str) -> io::Result<()> {
        let is_other = |file: &DirEntry| !file.file_name().to_string_lossy().starts_with(name);
        self.files()?.into_iter().filter(is_other).try_for_each(|file| fs::remove_file(file.path()))
    }

    /// All files except the lock.
    fn files(&self) -> io::Result<Vec<DirEntry>> {
        let mut files = fs::read_dir(&self.dir)?.collect::<io::Result<Vec<_>>>()?;
        files.retain(|file| file.file_name() != LOCK);
        Ok(files)
    }
}
