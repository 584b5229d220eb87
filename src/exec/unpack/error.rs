//! Why a source tree can't be made.

use std::io;
use std::path::{Path, PathBuf};

use crate::host::git::{ObjectError, Repository};
use crate::store::StoreError;

/// Why a source tree can't be made.
#[derive(Debug, thiserror::Error)]
pub(in crate::exec) enum UnpackError {
    /// The archive can't be read, or the tree can't be written.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// The tarball is not the one that the spec names.
    #[error("{} has digest {found}, and the spec says {wanted}; nothing was unpacked", path.display())]
    Digest { path: PathBuf, found: String, wanted: String },
    /// An entry leads out of the tree, or no source tree can have it.
    #[error("{}: entry {entry} {problem}; nothing was unpacked", from.display())]
    Entry { from: PathBuf, entry: String, problem: &'static str },
    /// The repository can't be read.
    #[error("{}: {message}", path.display())]
    Git { path: PathBuf, message: String },
    /// An object can't be read.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// No repository here has these commits of submodules.
    #[error(
        "commit {commit} of {} has submodules whose commits are not here: {}; \
         `git -C {} submodule update --init --recursive` with that commit checked out fetches them",
        repository.display(), missing.join(", "), repository.display()
    )]
    Submodules { repository: PathBuf, commit: String, missing: Vec<String> },
    /// Ctrl-C.
    #[error("interrupted")]
    Cancelled,
    /// The cache can't be read or written.
    #[error(transparent)]
    Store(Box<StoreError>),
}

/// Adds the path to an error.
pub(super) trait At<T> {
    fn at(self, path: &Path) -> Result<T, UnpackError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T, UnpackError> {
        self.map_err(|source| UnpackError::Io { path: path.to_owned(), source })
    }
}

/// The error for an object that can't be read, with what to do about it.
pub(super) fn git_error(error: ObjectError, repository: &Repository, what: &str) -> UnpackError {
    let mut message = format!("{what}: {error}");
    if matches!(error, ObjectError::Missing(_)) {
        message += "; kiln fetches nothing: in a partial clone, `git fetch --refetch --no-filter` brings all objects";
    }
    UnpackError::Git { path: repository.path().to_owned(), message }
}
