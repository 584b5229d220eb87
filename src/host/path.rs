//! Paths of the host that a rule names.

use std::io;
use std::path::{Path, PathBuf};

use super::closure::Closure;
use super::tools::{ToolError, question, search_path, surveyed};
use crate::source::{FileDigests, SourceError};

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

/// A file with what it loads, or a directory; nothing, where there is nothing.
pub fn closure_of(path: &Path, files: &FileDigests) -> Result<Closure, ToolError> {
    use std::os::unix::ffi::OsStrExt;
    let dirs = search_path(&[]);
    let mut key = question("path", &dirs);
    key.bytes(path.as_os_str().as_bytes());
    surveyed(key.finish(), &dirs, files, |survey| survey.path(path))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn absence_is_a_state_like_any_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("there");
        // Each time as another run would see it.
        let digest = || {
            let files = FileDigests::open(&dir.path().join("cache"));
            let closure = closure_of(&path, &files).unwrap();
            files.save().unwrap();
            closure.digest()
        };
        let absent = digest();
        fs::write(&path, "x").unwrap();
        let file = digest();
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let empty = digest();
        fs::write(path.join("header.h"), "").unwrap();
        let full = digest();
        fs::remove_dir_all(&path).unwrap();
        std::os::unix::fs::symlink("cache", &path).unwrap();
        let link = digest();
        fs::remove_file(&path).unwrap();
        assert_eq!(digest(), absent);
        let all = std::collections::BTreeSet::from([absent, file, empty, full, link]);
        assert_eq!(all.len(), 5);
    }
}
