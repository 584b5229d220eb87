//! Locks between processes, one per action: a process that needs the same result waits for it.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process;

use super::error::{At, StoreError};
use super::{Store, lock_file};
use crate::digest::Digest;

/// A held lock. It is released when dropped, and by the kernel however the process ends.
///
/// The kernel counts open descriptors, not processes: a child that was forked without `exec` holds it too.
#[derive(Debug)]
pub struct LockGuard {
    path: PathBuf,
    _file: File,
}

/// The process that holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockHolder {
    /// Its process number.
    pub pid: u32,
    /// The node that it runs.
    pub node: String,
}

impl LockHolder {
    /// Reads the content of a lock file: the process number, a space, and the node.
    fn parse(text: &str) -> Option<Self> {
        let (pid, node) = text.trim_end().split_once(' ')?;
        Some(Self { pid: pid.parse().ok()?, node: node.to_owned() })
    }
}

impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pid, self.node)
    }
}

impl Store {
    /// Takes the lock on `key`, or `None` if it is held already, by this process or another. `node` is the node that
    /// runs, for [`Store::lock_holder`].
    pub fn try_lock(&self, key: &Digest, node: &str) -> Result<Option<LockGuard>, StoreError> {
        let path = self.lock_path(key);
        loop {
            let mut file = lock_file(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(StoreError::io(&path, error)),
            }
            // Between opening and locking, the previous holder may have removed the file, and a third process may have made and
            // locked a new one: only the lock on the file that still has the name counts.
            if is_still(&file, &path)? {
                file.set_len(0).at(&path)?;
                let holder = LockHolder { pid: process::id(), node: node.to_owned() };
                writeln!(file, "{holder}").at(&path)?;
                return Ok(Some(LockGuard { path, _file: file }));
            }
        }
    }

    /// Who holds the lock on `key`. The answer is only meaningful right after [`Store::try_lock`] gave `None`; `None` where the
    /// holder has released the lock since, or has not written its name yet.
    pub fn lock_holder(&self, key: &Digest) -> Option<LockHolder> {
        LockHolder::parse(&fs::read_to_string(self.lock_path(key)).ok()?)
    }

    fn lock_path(&self, key: &Digest) -> PathBuf {
        self.home.join("locks").join(key.to_string())
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        // Before the lock is released, which closing the file does: only the holder may remove the name.
        let _ = fs::remove_file(&self.path);
    }
}

fn is_still(file: &File, path: &Path) -> Result<bool, StoreError> {
    let ours = file.metadata().at(path)?;
    match fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::io(path, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_read_back_from_its_text() {
        let holder = LockHolder { pid: 12, node: "build:linux/defconfig gcc".to_owned() };
        assert_eq!(LockHolder::parse(&format!("{holder}\n")), Some(holder));
        for torn in ["", "12", "12\n", "x build:a"] {
            assert_eq!(LockHolder::parse(torn), None, "{torn:?}");
        }
    }
}
