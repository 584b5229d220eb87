//! Why a source tree can't be made.

use std::io;
use std::path::{Path, PathBuf};

use crate::host::git::ObjectError;
use crate::store::StoreError;

/// Why a source tree can't be made.
#[derive(Debug, thiserror::Error)]
pub(in crate::exec) enum UnpackError {
    /// Reading the archive, or writing the tree.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// Not what the spec says it is.
    #[error("{} has digest {found}, and the spec says {wanted}; nothing was unpacked", path.display())]
    Digest { path: PathBuf, found: String, wanted: String },
    /// An entry that would end up outside, or that no source tree has.
    #[error("{}: entry {entry} {problem}; nothing was unpacked", from.display())]
    Entry { from: PathBuf, entry: String, problem: &'static str },
    /// The repository.
    #[error("{}: {message}", path.display())]
    Git { path: PathBuf, message: String },
    /// An object, in whatever repository.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// Commits of submodules that no repository here has.
    #[error(
        "commit {commit} of {} has submodules whose commits are not here: {}; \
         `git -C {} submodule update --init --recursive` with that commit checked out fetches them",
        repository.display(), missing.join(", "), repository.display()
    )]
    Submodules { repository: PathBuf, commit: String, missing: Vec<String> },
    /// Ctrl-C.
    #[error("interrupted")]
    Cancelled,
    /// The store.
    #[error(transparent)]
    Store(Box<StoreError>),
}

/// Says where something went wrong.
pub(super) trait At<T> {
    fn at(self, path: &Path) -> Result<T, UnpackError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T, UnpackError> {
        self.map_err(|source| UnpackError::Io { path: path.to_owned(), source })
    }
}
