//! Submodules of a commit, and the repositories that may have their commits.
//!
//! Only local repositories that belong to this one are searched: anyone may write any address into `.gitmodules`. Any of these
//! will do, because a commit's name determines its content.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::error::{UnpackError, git_error};
use crate::host::git::{self, EntryMode, ObjectId, ObjectKind, Objects, Repository, TreeEntry};

/// A submodule of a commit.
pub(super) struct Submodule {
    /// The path of its files in the whole tree.
    pub path: PathBuf,
    /// Its commit.
    pub commit: ObjectId,
    /// Repositories that may have the commit.
    pub places: Vec<Repository>,
}

/// The submodules of a commit.
pub(super) struct Submodules<'a> {
    repository: &'a Repository,
    /// The directory of the commit that is unpacked.
    prefix: &'a Path,
    /// The path of that directory in the whole tree.
    root: &'a Path,
    /// The object of `.gitmodules`.
    names: Option<ObjectId>,
    links: Vec<(PathBuf, ObjectId)>,
}

impl<'a> Submodules<'a> {
    /// For a commit with these entries, of which `prefix` becomes `root`.
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

    /// Adds a submodule, by its path in the whole tree.
    pub fn add(&mut self, path: PathBuf, commit: ObjectId) {
        self.links.push((path, commit));
    }

    /// All submodules that were added, with the repositories that may have them.
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
                // A submodule's directory without a `.git` belongs to the surrounding repository.
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

    /// The names of submodules, by their paths in the commit.
    fn read_names(&self, objects: &mut Objects) -> Result<HashMap<Vec<u8>, PathBuf>, UnpackError> {
        let Some(id) = &self.names else { return Ok(HashMap::new()) };
        let content = objects.read(ObjectKind::Blob, id);
        let content = content.map_err(|error| git_error(error, self.repository, ".gitmodules"))?;
        let names = git::submodule_names(&content).map_err(|said| UnpackError::Git {
            path: self.repository.path().to_owned(),
            message: format!(".gitmodules can't be read: {said}"),
        })?;
        let names = names.into_iter().map(|(path, name)| (path, PathBuf::from(OsStr::from_bytes(&name))));
        Ok(names.collect())
    }
}

/// Whether a name from `.gitmodules` leads below the directory in which it is looked up.
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
