//! A part of the host, path by path: what an action can see, and what its key holds.
//!
//! One value serves both, so that they can't disagree: the sandbox shows exactly these paths, and the digest covers
//! each of them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::path::HostPathError;
use crate::digest::{Digest, Domain, Hasher};
use crate::source::{FileDigests, SourceError};

/// Paths of the host and what is there.
///
/// Every path is real when it is added: symbolic links on the way to it are entries of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closure {
    entries: BTreeMap<PathBuf, HostEntry>,
    /// Directories that the loader searches only because the host's configuration says so, in its order; none where every
    /// library is found without them.
    library_dirs: Vec<PathBuf>,
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostEntry {
    /// Nothing. Absence is an input too: a build may look for a header and do without.
    Absent,
    /// A file.
    File {
        /// Of its content.
        digest: Digest,
        /// Its permissions: steps are none of its owner's processes.
        mode: u32,
    },
    /// A directory with all that is below it.
    Dir(Digest),
    /// A symbolic link.
    Link(PathBuf),
}

impl HostEntry {
    /// What is at `path` now. The last part of the path is not followed.
    pub fn now(path: &Path, files: &FileDigests) -> Result<Self, HostPathError> {
        let failed = |source| HostPathError::File { path: path.to_owned(), source };
        let metadata = match fs::symlink_metadata(path) {
            Err(error) if is_absent(&error) => return Ok(Self::Absent),
            result => result.map_err(failed)?,
        };
        if metadata.is_symlink() {
            files.note_link(path).map_err(failed)?;
            return fs::read_link(path).map(Self::Link).map_err(failed);
        }
        if metadata.is_dir() {
            return Ok(Self::Dir(directory(path, files)?));
        }
        let digest = files.digest(path).map_err(failed)?;
        Ok(Self::File { digest, mode: metadata.permissions().mode() & 0o777 })
    }

    /// As [`now`](Self::now), but a directory that was looked at in this run is not walked again.
    pub(super) fn seen(path: &Path, files: &FileDigests) -> Result<Self, HostPathError> {
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                Ok(Self::Dir(files.tree_once(path, || directory(path, files))?))
            }
            _ => Self::now(path, files),
        }
    }

    fn hash(&self, hasher: &mut Hasher) {
        match self {
            Self::Absent => hasher.number(0),
            Self::File { digest, mode } => hasher.number(1).digest(digest).number((*mode).into()),
            Self::Dir(digest) => hasher.number(2).digest(digest),
            Self::Link(target) => hasher.number(3).bytes(target.as_os_str().as_bytes()),
        };
    }

    /// The digest of what is there.
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::new(Domain::Tool);
        hasher.text("entry");
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// The digest of a directory: its tree, and the permissions of all in it.
fn directory(path: &Path, files: &FileDigests) -> Result<Digest, SourceError> {
    let tree = files.tree(path)?;
    let mut hasher = Hasher::new(Domain::Tool);
    hasher.text("directory").digest(&tree.digest());
    for mode in tree.permissions() {
        hasher.number(mode.into());
    }
    Ok(hasher.finish())
}

pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

impl Closure {
    /// Adds a path.
    pub(super) fn insert(&mut self, path: PathBuf, entry: HostEntry) {
        self.entries.insert(path, entry);
    }

    /// Whether this very path is an entry.
    pub(super) fn has(&self, path: &Path) -> bool {
        self.entries.contains_key(path)
    }

    /// Adds directories that the loader has to be told of.
    pub(super) fn search_libraries_in(&mut self, dirs: &[PathBuf]) {
        for dir in dirs {
            if !self.library_dirs.contains(dir) {
                self.library_dirs.push(dir.clone());
            }
        }
    }

    /// The directories that the loader has to be told of: it does not know them by itself, and programs of the closure load
    /// libraries from there.
    pub fn library_dirs(&self) -> &[PathBuf] {
        &self.library_dirs
    }

    /// Whether a directory that is an entry has this path, or is it.
    pub(super) fn has_within(&self, path: &Path) -> bool {
        path.ancestors().any(|dir| matches!(self.entries.get(dir), Some(HostEntry::Dir(_))))
    }

    /// Adds all of another.
    pub fn extend(&mut self, other: &Self) {
        self.entries.extend(other.entries.iter().map(|(path, entry)| (path.clone(), entry.clone())));
        self.search_libraries_in(&other.library_dirs);
    }

    /// Every path with what is there, sorted by path.
    pub fn entries(&self) -> impl Iterator<Item = (&Path, &HostEntry)> {
        self.entries.iter().map(|(path, entry)| (path.as_path(), entry))
    }

    /// The entries that are in no directory that is an entry itself: with the directory, all in it is there.
    pub fn outermost(&self) -> impl Iterator<Item = (&Path, &HostEntry)> {
        let mut within: Option<&Path> = None;
        self.entries().filter(move |(path, entry)| {
            // Sorted by parts, what is in a directory comes right after it.
            if within.is_some_and(|dir| path.starts_with(dir)) {
                return false;
            }
            if matches!(entry, HostEntry::Dir(_)) {
                within = Some(path);
            }
            true
        })
    }

    /// Whether there is a file or directory at `path`, by way of the links that are entries.
    pub fn shows(&self, path: &Path) -> bool {
        let mut path = path.to_owned();
        // As many links as the kernel follows.
        for _ in 0..40 {
            let link = path.ancestors().filter(|part| *part != Path::new("/")).find_map(|part| {
                match self.entries.get(part) {
                    Some(HostEntry::Link(target)) => Some((part.to_owned(), target.clone())),
                    _ => None,
                }
            });
            let Some((part, target)) = link else {
                let is_shown = |part: &Path| match self.entries.get(part) {
                    Some(HostEntry::Dir(_)) => true,
                    Some(HostEntry::File { .. }) => part == path,
                    _ => false,
                };
                // A directory on the way to an entry is there as well.
                let leads_to = |(at, entry): (&PathBuf, &HostEntry)| {
                    *entry != HostEntry::Absent && at.starts_with(&path)
                };
                return path.ancestors().any(is_shown) || self.entries.iter().any(leads_to);
            };
            let rest = path.strip_prefix(&part).unwrap_or(Path::new("")).to_owned();
            let base = part.parent().unwrap_or(Path::new("/")).join(target);
            path = normal(&base.join(rest));
        }
        false
    }

    /// The digest of all of it.
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::new(Domain::Tool);
        hasher.text("closure").number(self.entries.len() as u64);
        for (path, entry) in &self.entries {
            hasher.bytes(path.as_os_str().as_bytes());
            entry.hash(&mut hasher);
        }
        hasher.number(self.library_dirs.len() as u64);
        for dir in &self.library_dirs {
            hasher.bytes(dir.as_os_str().as_bytes());
        }
        hasher.finish()
    }

    /// The first path that is not as it was, or was something else for a time since this run first looked.
    pub fn changed(&self, files: &FileDigests) -> Option<&Path> {
        let differs = |(path, then): &(&Path, &HostEntry)| {
            HostEntry::now(path, files).ok().as_ref() != Some(then) || files.was_disturbed(path)
        };
        self.entries().find(differs).map(|(path, _)| path)
    }

    /// Whether all is as it was, as far as this run has not looked already.
    pub(super) fn is_current(&self, files: &FileDigests) -> bool {
        self.entries().all(|(path, then)| HostEntry::seen(path, files).ok().as_ref() == Some(then))
    }

    /// For a cache; `None` where a path is no text, which the format can't hold.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        postcard::to_stdvec(self).ok()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }
}

/// The path without `.` and `..`, where no part of it is a link.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::from("/");
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                normal.pop();
            }
            std::path::Component::Normal(name) => normal.push(name),
            _ => {}
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> HostEntry {
        HostEntry::File { digest: Digest::of_bytes(text.as_bytes()), mode: 0o644 }
    }

    fn closure(entries: &[(&str, HostEntry)]) -> Closure {
        let entries = entries.iter().map(|(path, entry)| (PathBuf::from(path), entry.clone()));
        Closure { entries: entries.collect(), library_dirs: Vec::new() }
    }

    #[test]
    fn each_entry_is_in_the_digest() {
        let dir = HostEntry::Dir(Digest::of_bytes(b"dir"));
        let all = [
            closure(&[]),
            closure(&[("/a", file("1"))]),
            closure(&[("/a", file("2"))]),
            closure(&[("/b", file("1"))]),
            closure(&[("/a", HostEntry::Absent)]),
            closure(&[("/a", HostEntry::Link("b".into()))]),
            closure(&[("/a", HostEntry::Link("c".into()))]),
            closure(&[("/a", dir)]),
            closure(&[("/a", HostEntry::File { digest: Digest::of_bytes(b"1"), mode: 0o755 })]),
        ];
        let searches = |dirs: &[&str]| {
            let mut closure = closure(&[("/a", file("1"))]);
            closure.search_libraries_in(&dirs.iter().map(PathBuf::from).collect::<Vec<_>>());
            closure
        };
        let all = all.into_iter().chain([searches(&["/lib/a"]), searches(&["/lib/b", "/lib/a"])]);
        let all = all.collect::<Vec<_>>();
        let digests: std::collections::BTreeSet<_> = all.iter().map(Closure::digest).collect();
        assert_eq!(digests.len(), all.len());
        for closure in all {
            assert_eq!(Closure::decode(&closure.encode().unwrap()), Some(closure));
        }
    }

    #[test]
    fn what_is_in_a_directory_is_not_shown_twice() {
        let dir = || HostEntry::Dir(Digest::of_bytes(b"dir"));
        let all = closure(&[
            ("/usr/include", dir()),
            ("/usr/include/a.h", file("a")),
            ("/usr/include/sys", dir()),
            ("/usr/include-fixed/b.h", file("b")),
            ("/usr/lib/c", file("c")),
        ]);
        let shown: Vec<&Path> = all.outermost().map(|(path, _)| path).collect();
        let expected = ["/usr/include", "/usr/include-fixed/b.h", "/usr/lib/c"].map(Path::new);
        assert_eq!(shown, expected);
    }

    #[test]
    fn paths_are_shown_by_way_of_links() {
        let all = closure(&[
            ("/bin", HostEntry::Link("usr/bin".into())),
            ("/usr/bin/awk", HostEntry::Link("/etc/alternatives/awk".into())),
            ("/etc/alternatives/awk", HostEntry::Link("../../usr/bin/mawk".into())),
            ("/usr/bin/mawk", file("mawk")),
            ("/usr/lib/gcc", HostEntry::Dir(Digest::of_bytes(b"dir"))),
            ("/usr/bin/loop", HostEntry::Link("loop".into())),
            ("/usr/bin/zstd", HostEntry::Absent),
        ]);
        for path in ["/bin/awk", "/usr/bin/mawk", "/usr/lib/gcc/x/cc1", "/usr/lib", "/bin"] {
            assert!(all.shows(Path::new(path)), "{path}");
        }
        for path in
            ["/bin/gawk", "/usr/bin/loop", "/usr/bin/zstd", "/usr/lib/gcc-12", "/opt", "/usr/bin/mawk/x"]
        {
            assert!(!all.shows(Path::new(path)), "{path}");
        }
    }
}
