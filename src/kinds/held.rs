//! A directory that runs share, of this process and of others: one of them has it at a time.

use std::fs::{self, DirEntry, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::exec::{Made, Making};

/// How long to wait between two looks whether it is free.
const TICK: Duration = Duration::from_millis(100);

/// The lock's file in such a directory.
const LOCK: &str = "lock";

/// A directory that is ours until this goes, or the process does.
pub(super) struct Held {
    dir: PathBuf,
    _lock: File,
}

impl Held {
    /// Takes a directory, makes it where it is not there, and waits as long as another has it.
    pub(super) fn take(dir: &Path, making: &Making<'_>) -> Result<Self, Made> {
        let failed = |source: io::Error| Made::infra(format!("{}: {source}", dir.display()));
        fs::create_dir_all(dir).map_err(failed)?;
        let lock = File::options().read(true).write(true).create(true).truncate(false).open(dir.join(LOCK));
        let lock = lock.map_err(failed)?;
        let mut told = false;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Self { dir: dir.to_owned(), _lock: lock }),
                Err(TryLockError::WouldBlock) if making.is_cancelled() => return Err(Made::CANCELLED),
                Err(TryLockError::WouldBlock) => {
                    if !told {
                        making.log(&format!("waiting for another run, which has {}", dir.display()));
                        told = true;
                    }
                    std::thread::sleep(TICK);
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
    }

    /// Removes files that earlier runs left: all but so many, of which the time is the latest.
    pub(super) fn keep_newest(&self, many: usize) -> io::Result<()> {
        let timed = |file: DirEntry| Ok((file.metadata()?.modified()?, file.path()));
        let mut files = self.files()?.into_iter().map(timed).collect::<io::Result<Vec<_>>>()?;
        files.sort_unstable_by(|a, b| b.cmp(a));
        files.into_iter().skip(many).try_for_each(|(_, path)| fs::remove_file(path))
    }

    /// Removes files that earlier runs left: those whose names do not begin so.
    pub(super) fn forget_others(&self, name: &str) -> io::Result<()> {
        let is_other = |file: &DirEntry| !file.file_name().to_string_lossy().starts_with(name);
        self.files()?.into_iter().filter(is_other).try_for_each(|file| fs::remove_file(file.path()))
    }

    /// All but the lock.
    fn files(&self) -> io::Result<Vec<DirEntry>> {
        let mut files = fs::read_dir(&self.dir)?.collect::<io::Result<Vec<_>>>()?;
        files.retain(|file| file.file_name() != LOCK);
        Ok(files)
    }
}
