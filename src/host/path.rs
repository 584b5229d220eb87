//! A file or directory of the host, by content.

use std::io;
use std::path::{Path, PathBuf};

use crate::digest::{Digest, Domain, Hasher};
use crate::source::{FileDigests, SourceError};

/// What is at a path of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPath {
    /// Where it is.
    pub path: PathBuf,
    /// What is there.
    pub state: HostState,
}

/// What can be at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostState {
    /// Nothing, which is as much an input as something: a build may look for a header and do without.
    Absent,
    /// A file of that content.
    File(Digest),
    /// A directory of that listing.
    Dir(Digest),
}

/// A path of the host that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HostPathError {
    /// A file.
    #[error("{} cannot be read", path.display())]
    File {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory.
    #[error(transparent)]
    Dir(#[from] SourceError),
}

impl HostPath {
    /// Looks at what is there now. Links are followed up to `path` itself, but not below it.
    pub fn resolve(path: &Path, files: &FileDigests) -> Result<Self, HostPathError> {
        let failed = |source| HostPathError::File { path: path.to_owned(), source };
        let state = match path.metadata() {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                HostState::Absent
            }
            Err(error) => return Err(failed(error)),
            Ok(metadata) if metadata.is_dir() => HostState::Dir(files.tree(path)?.digest()),
            Ok(_) => HostState::File(files.digest(path).map_err(failed)?),
        };
        Ok(Self { path: path.to_owned(), state })
    }

    /// The digest of what is there: of the file's content, of the directory's listing, or the one of absence.
    pub fn digest(&self) -> Digest {
        match self.state {
            HostState::Absent => Hasher::new(Domain::Tool).text("absent").finish(),
            HostState::File(digest) | HostState::Dir(digest) => digest,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn absence_is_a_state_like_any_other() {
        let dir = tempfile::tempdir().unwrap();
        let files = FileDigests::open(&dir.path().join("cache"));
        let path = dir.path().join("there");
        let resolve = || HostPath::resolve(&path, &files).unwrap();
        let absent = resolve();
        assert_eq!(absent.state, HostState::Absent);
        fs::write(&path, "x").unwrap();
        assert_eq!(resolve().state, HostState::File(Digest::of_bytes(b"x")));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let empty = resolve();
        fs::write(path.join("header.h"), "").unwrap();
        assert_ne!(resolve().digest(), empty.digest());
        fs::remove_dir_all(&path).unwrap();
        assert_eq!(resolve().digest(), absent.digest());
    }
}
