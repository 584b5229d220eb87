//! What can go wrong with a cache, each with what to do about it.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::schema::VERSION;

/// The cache can't be used, or an operation on it failed.
///
/// A lost or damaged entry is not among these: that is a miss, and the action runs again.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another version of kiln wrote it.
    #[error("the cache {} has format {found}, this kiln needs format {VERSION}", home.display())]
    OtherVersion {
        /// The cache.
        home: PathBuf,
        /// The format found, as text: it may come from the future.
        found: String,
    },
    /// Its format is migrated, and another process has it open.
    #[error("the cache {} is brought to format {VERSION}, and another kiln is using it", home.display())]
    InUse {
        /// The cache.
        home: PathBuf,
    },
    /// The directory holds something else.
    #[error("{} is not a kiln cache, yet not empty either: {entry:?} is in it", home.display())]
    NotACache {
        /// The directory.
        home: PathBuf,
        /// One of the things in it.
        entry: String,
    },
    /// No permission, a read-only file system, or a path that can't be a directory.
    #[error("can't write to {}: {source}", path.display())]
    NotWritable {
        /// What could not be written.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// What was to be kept can't be read.
    #[error("can't read {}: {source}", path.display())]
    NotReadable {
        /// What could not be read.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// No space, or no quota, is left.
    #[error("the disk is full: can't write {}", path.display())]
    DiskFull {
        /// What could not be written.
        path: PathBuf,
    },
    /// Damage was found in the index while it was in use.
    #[error("the index {} is damaged: {detail}", path.display())]
    IndexDamaged {
        /// The database.
        path: PathBuf,
        /// What `SQLite` says.
        detail: String,
    },
    /// Another process kept the index locked for longer than we wait.
    #[error("the index {} is locked by another process", path.display())]
    Busy {
        /// The database.
        path: PathBuf,
    },
    /// What a running kiln of another user relies on can't be read, so that nothing can be taken away.
    #[error("another user's kiln is using the cache, and what it uses can't be told: {}", path.display())]
    OthersUse {
        /// Its session.
        path: PathBuf,
    },
    /// The index failed in a way that has no remedy of its own.
    #[error("the index {}: {source}", path.display())]
    Index {
        /// The database.
        path: PathBuf,
        /// What `SQLite` says.
        source: rusqlite::Error,
    },
    /// A file operation failed in a way that has no remedy of its own.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Something can't be an artifact.
    #[error("{} can't be kept: {why}", path.display())]
    NotKeepable {
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        why: &'static str,
    },
}

impl StoreError {
    /// What to do next, where there is something to do.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::OtherVersion { .. } => {
                "run `kiln clean --cache` to start it anew, or choose another cache directory".to_owned()
            }
            Self::NotACache { .. } => "choose an empty directory, or one that does not exist yet".to_owned(),
            Self::NotWritable { .. } => {
                "mend the permissions (or mount it writable), or choose another cache directory".to_owned()
            }
            Self::DiskFull { path } => format!(
                "free some space on the file system of {}, or choose a cache directory on another one",
                path.display()
            ),
            Self::IndexDamaged { .. } => {
                "run kiln again: it checks the index, and sets it aside if it is beyond use".to_owned()
            }
            Self::Busy { .. } => "see whether a stopped or hung kiln holds it (`fuser` tells)".to_owned(),
            Self::InUse { .. } | Self::OthersUse { .. } => "wait for it to end".to_owned(),
            Self::NotKeepable { .. } => "let the rule make it otherwise, or leave it out".to_owned(),
            Self::NotReadable { .. } | Self::Index { .. } | Self::Io { .. } => return None,
        })
    }

    /// Sorts a failed file operation by what can be done about it.
    /// A failed file operation on something of the cache, or on something that is made from it.
    pub fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::DiskFull { path },
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem | ErrorKind::NotADirectory => {
                Self::NotWritable { path, source }
            }
            _ => Self::Io { path, source },
        }
    }

    /// Sorts a failed operation on the index by what can be done about it.
    pub(super) fn index(path: &Path, source: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull { path },
            // Where SQLite fails to grow its shared memory it reports any I/O error, so ask the disk itself.
            Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) if is_full(&path) => {
                Self::DiskFull { path }
            }
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
                Self::NotWritable { path, source: io::Error::other(source) }
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::IndexDamaged { path, detail: source.to_string() }
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { path },
            _ => Self::Index { path, source },
        }
    }
}

/// Whether the file system is out of space, to within what `SQLite` needs to go on.
fn is_full(path: &Path) -> bool {
    const NEEDED: u64 = 128 * 1024;
    let near = path.parent().unwrap_or(path);
    nix::sys::statvfs::statvfs(near)
        .is_ok_and(|stat| stat.blocks_available().saturating_mul(stat.fragment_size()) < NEEDED)
}

/// A blob can't be had.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// It is not there: its producer has to run again.
    #[error("the cache lacks it")]
    Missing,
    /// It was there, but was not what its name says. It has been set aside: its producer has to run again.
    #[error("the cache's copy was damaged; it is now {}", moved_to.display())]
    Damaged {
        /// Where the damaged bytes are kept as evidence.
        moved_to: PathBuf,
    },
    /// A directory listing is not one that kiln can have written.
    #[error("a listing is unacceptable: {why}")]
    Hostile {
        /// What is wrong with it.
        why: &'static str,
    },
    /// It is larger than the caller is ready to take.
    #[error("it is larger than expected")]
    TooLarge,
    /// The blob may be well, but the copy failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl BlobError {
    /// Whether running the producer again mends it, so that it counts as a miss.
    pub fn is_miss(&self) -> bool {
        matches!(self, Self::Missing | Self::Damaged { .. } | Self::Hostile { .. } | Self::TooLarge)
    }
}

/// Attaches the path to a failed file operation.
pub(super) trait At<T> {
    /// Names the file of the cache at fault.
    fn at(self, path: &Path) -> Result<T, StoreError>;

    /// Names the file at fault, which is not the cache's own: it was only to be read.
    fn reading(self, path: &Path) -> Result<T, StoreError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::io(path, source))
    }

    fn reading(self, path: &Path) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::NotReadable { path: path.to_owned(), source })
    }
}
