//! Submodules: commits of other repositories that a commit has as directories, and where these may be.
//!
//! Only repositories that belong to the one at hand are looked into: what `.gitmodules` gives as an address is anybody's
//! wish. Which of them has the commit does not matter, as the commit's name says what it holds.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::UnpackError;
use super::commit::explained;
use crate::host::git::{self, EntryMode, ObjectId, ObjectKind, Objects, Repository, TreeEntry};

/// A submodule of a commit.
pub(super) struct Submodule {
    /// Where its files come, in the whole tree.
    pub path: PathBuf,
    /// What it is.
    pub commit: ObjectId,
    /// Repositories that may have it.
    pub places: Vec<Repository>,
}

/// The submodules of one commit.
pub(super) struct Submodules<'a> {
    repository: &'a Repository,
    /// The directory of the commit that is unpacked.
    prefix: &'a Path,
    /// Where that comes in the whole tree.
    root: &'a Path,
    /// `.gitmodules`.
    names: Option<ObjectId>,
    links: Vec<(PathBuf, ObjectId)>,
}

impl<'a> Submodules<'a> {
    /// Of a commit with these entries, of which `prefix` comes to `root`.
    pub fn new(repository: &'a Repository, prefix: &'a Path, root: &'a Path, entries: &[TreeEntry]) -> Self {
        let is_file = |entry: &&TreeEntry| matches!(entry.mode, EntryMode::File | EntryMode::Executable);
        let names = entries.iter().filter(is_file).find(|entry| entry.name == b".gitmodules");
        Self { repository, prefix, root, names: names.map(|entry| entry.id.clone()), links: Vec::new() }
    }

    pub const fn repository(&self) -> &'a Repository {
        self.repository
    }

    pub const fn root(&self) -> &'a Path {
        self.root
    }

    /// Adds one, by its place in the whole tree.
    pub fn add(&mut self, path: PathBuf, commit: ObjectId) {
        self.links.push((path, commit));
    }

    /// All that were added, with the places in which they may be.
    pub fn find(&mut self, objects: &mut Objects) -> Result<Vec<Submodule>, UnpackError> {
        if self.links.is_empty() {
            return Ok(Vec::new());
        }
        let names = self.read_names(objects)?;
        let fail = |message| UnpackError::Git { path: self.repository.path().to_owned(), message };
        let data = git::data_dirs(self.repository).map_err(fail)?;
        let work_tree = match self.repository {
            Repository::Around(path) => git::work_tree(path),
            Repository::GitDir(_) => None,
        };
        self.links.sort_unstable();
        let links = std::mem::take(&mut self.links);
        let submodules = links.into_iter().map(|(path, commit)| {
            let in_commit = self.prefix.join(path.strip_prefix(self.root).unwrap_or(&path));
            let mut places = Vec::new();
            if let Some(name) = names.get(in_commit.as_os_str().as_bytes()).filter(|name| is_below(name)) {
                let dirs = data.iter().map(|data| data.join("modules").join(name));
                places.extend(dirs.filter(|dir| dir.is_dir()).map(Repository::GitDir));
            }
            if let Some(checkout) = work_tree.as_ref().map(|top| top.join(&in_commit))
                // Without a `.git` of its own, the repository around it is the one at hand.
                && fs::symlink_metadata(checkout.join(".git")).is_ok()
                && fs::canonicalize(&checkout).is_ok_and(|real| real == checkout)
            {
                places.push(Repository::Around(checkout));
            }
            places.push(self.repository.clone());
            Submodule { path, commit, places }
        });
        Ok(submodules.collect())
    }

    /// Names of submodules by their paths in the commit.
    fn read_names(&self, objects: &mut Objects) -> Result<HashMap<Vec<u8>, PathBuf>, UnpackError> {
        let Some(id) = &self.names else { return Ok(HashMap::new()) };
        let content = objects.read(ObjectKind::Blob, id);
        let content = content.map_err(|error| explained(error, self.repository, ".gitmodules"))?;
        let names = git::submodule_names(&content).map_err(|said| UnpackError::Git {
            path: self.repository.path().to_owned(),
            message: format!(".gitmodules can't be read: {said}"),
        })?;
        let names = names.into_iter().map(|(path, name)| (path, PathBuf::from(OsStr::from_bytes(&name))));
        Ok(names.collect())
    }
}

/// Whether a name that anybody may have given leads to a place below the directory it is looked for in.
fn is_below(name: &Path) -> bool {
    name.components().all(|part| matches!(part, Component::Normal(_))) && !name.as_os_str().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_of_no_use() {
        for name in ["", "..", "a/../../b", "/etc", "./a"] {
            assert!(!is_below(Path::new(name)), "{name}");
        }
        assert!(is_below(Path::new("lib/sub")));
    }
}
