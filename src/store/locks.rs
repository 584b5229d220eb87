//! Locks between processes, one per action: the second kiln waits for, rather than repeats, what the first is running.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

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

impl Store {
    /// Takes the lock on `key`, or `None` if another (in this process or elsewhere) has it. `who` is for the people
    /// who wait: the node that is running.
    pub fn try_lock(&self, key: &Digest, who: &str) -> Result<Option<LockGuard>, StoreError> {
        let path = self.lock_path(key);
        loop {
            let mut file = lock_file(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(StoreError::io(&path, error)),
            }
            // Between our open and our lock the holder before us may have removed the file, and a third have made and
            // locked another of that name: only the lock on the file that has the name counts.
            if is_still(&file, &path)? {
                file.set_len(0).at(&path)?;
                writeln!(file, "{} {who}", std::process::id()).at(&path)?;
                return Ok(Some(LockGuard { path, _file: file }));
            }
        }
    }

    /// What the holder of the lock on `key` said of itself: its process number and its node. Means something only
    /// right after [`Store::try_lock`] gave `None`.
    pub fn holder(&self, key: &Digest) -> Option<String> {
        let text = fs::read_to_string(self.lock_path(key)).ok()?;
        let text = text.trim_end();
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn lock_path(&self, key: &Digest) -> PathBuf {
        self.home.join("locks").join(key.to_string())
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        // Before the lock goes (with the file, right after): nobody else may remove the name.
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
