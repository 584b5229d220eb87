//! Reads and writes the project's lock file.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::lock::{Lock, LockError};

/// Its name, next to `graph.ron`.
pub const NAME: &str = "kiln.lock";

/// The largest file that is read, in bytes: an entry has some 500.
const MAX: u64 = 1 << 20;

/// Why a lock file can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LockFileError {
    /// A file operation failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It is malformed.
    #[error("{}, {source}", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// The problem.
        source: LockError,
    },
}

/// Reads the lock of the project in `root`. A missing file is an empty lock.
pub fn read(root: &Path) -> Result<Lock, LockFileError> {
    let path = root.join(NAME);
    let mut text = String::new();
    match File::open(&path).and_then(|file| file.take(MAX).read_to_string(&mut text)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Lock::default()),
        Err(source) => Err(LockFileError::Io { path, source }),
        Ok(_) => Lock::parse(&text).map_err(|source| LockFileError::Lock { path, source }),
    }
}

/// Replaces the lock file atomically.
pub fn write(root: &Path, lock: &Lock) -> Result<(), LockFileError> {
    let path = root.join(NAME);
    let temporary = root.join(format!(".{NAME}.{}.tmp", std::process::id()));
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(lock.text().as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, &path));
    written.map_err(|source| {
        let _ = fs::remove_file(&temporary);
        LockFileError::Io { path, source }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_round_trips_and_a_malformed_one_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), Lock::default());
        write(dir.path(), &Lock::default()).unwrap();
        assert_eq!(read(dir.path()).unwrap(), Lock::default());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        fs::write(dir.path().join(NAME), "version 9\n").unwrap();
        let error = read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("kiln.lock, line 1: it is of another version"), "{error}");
        assert!(write(&dir.path().join("missing"), &Lock::default()).is_err());
    }
}
