//! What actions make, and how trees go into the store and out of it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::cas::Blob;
use super::error::{At, BlobError, StoreError};
use super::{Store, session};
use crate::digest::Digest;
use crate::source::{Entry, Kind, Listing};

/// How many levels below its root a tree can have directories. No honest one is deeper.
pub const MAX_DEPTH: usize = 200;

/// No honest tree has more names. Listings share subtrees, so a few kilobytes of them can stand for any number.
const MAX_ENTRIES: u64 = 4_000_000;

/// What an action made of one declared output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Artifact {
    /// A regular file.
    File {
        /// Of its content.
        digest: Digest,
        /// In bytes.
        size: u64,
        /// Whether it may be executed.
        executable: bool,
    },
    /// A directory with all that is in it.
    Tree {
        /// Of its listing.
        digest: Digest,
        /// How many files are in it.
        files: u64,
        /// How many bytes those have.
        bytes: u64,
    },
    /// An optional output that was not made.
    Absent,
}

impl Artifact {
    /// The digest of its content or its listing; `None` if it was not made.
    pub const fn digest(&self) -> Option<Digest> {
        match self {
            Self::File { digest, .. } | Self::Tree { digest, .. } => Some(*digest),
            Self::Absent => None,
        }
    }

    /// A file with a blob's content.
    pub const fn file(blob: Blob, executable: bool) -> Self {
        Self::File { digest: blob.digest, size: blob.size, executable }
    }
}

/// How much a tree may come to: what its artifact says, so that a listing can't blow up into more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeLimit {
    /// Files.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
}

impl Store {
    /// Keeps a directory: files, directories and symlinks. `filter` says, by path from `dir`, what belongs to it; what
    /// is under a directory that does not is not looked at.
    ///
    /// Refused are special files, and symlinks that would mean something else, or nothing, in another place.
    pub fn put_tree(&self, dir: &Path, filter: &dyn Fn(&Path) -> bool) -> Result<Artifact, StoreError> {
        let mut walk = Walk { root: dir, filter, files: Vec::new() };
        let root = walk.directory(Path::new(""), 0)?;
        let staged =
            walk.files.par_iter().map(|path| self.stage_file(path, false)).collect::<Result<Vec<_>, _>>()?;
        let blobs: Vec<Blob> = staged.iter().map(|staged| staged.blob).collect();
        self.publish(staged)?;

        // The listings after the blobs they name, as every row.
        let mut listings = Vec::new();
        let digest = root.list(&blobs, &mut listings);
        self.claim([&digest])?;
        self.put_listings(listings.iter().map(|(digest, listing)| (digest, listing.bytes())))?;
        let bytes = blobs.iter().map(|blob| blob.size).sum();
        Ok(Artifact::Tree { digest, files: blobs.len() as u64, bytes })
    }

    /// Makes `dest` be the artifact, in one step, replacing what is there. An absent one leaves nothing there.
    pub fn place(&self, artifact: &Artifact, dest: &Path) -> Result<(), BlobError> {
        match *artifact {
            Artifact::File { digest, executable, .. } => {
                if fs::symlink_metadata(dest).is_ok_and(|stat| stat.is_dir()) {
                    super::remove_tree(dest)?;
                }
                self.copy_out(&digest, dest, executable)
            }
            Artifact::Tree { digest, files, bytes } => {
                self.copy_tree_out(&digest, TreeLimit { files, bytes }, dest)
            }
            Artifact::Absent => Ok(session::remove_any(dest).at(dest)?),
        }
    }

    /// Makes `dest` be the tree, in one step, replacing what is there. Nothing is written outside of it, whatever the
    /// listings say.
    pub fn copy_tree_out(&self, digest: &Digest, limit: TreeLimit, dest: &Path) -> Result<(), BlobError> {
        let plan = self.unfold(digest, limit)?;
        let fill = |temp: &Path| {
            plan.make(self, temp).inspect_err(|_| {
                let _ = super::remove_tree(temp);
            })
        };
        let install = |temp: &Path, dest: &Path| -> io::Result<()> {
            if fs::symlink_metadata(dest).is_err() {
                return fs::rename(temp, dest);
            }
            // A rename can't replace a directory that has something in it, but the two can change places.
            match renameat2(AT_FDCWD, temp, AT_FDCWD, dest, RenameFlags::RENAME_EXCHANGE) {
                Ok(()) => session::remove_any(temp),
                // Some file systems can't do that (NFS): there it takes two steps.
                Err(Errno::EINVAL | Errno::ENOSYS) => {
                    session::remove_any(dest)?;
                    fs::rename(temp, dest)
                }
                Err(error) => Err(error.into()),
            }
        };
        self.replace(dest, fill, install)
    }

    /// Whether all that an artifact consists of is there. Content is looked at when it is used, not here.
    pub fn has_artifact(&self, artifact: &Artifact) -> Result<bool, StoreError> {
        match *artifact {
            Artifact::File { digest, size, .. } => Ok(self.has(&digest, size)),
            Artifact::Absent => Ok(true),
            Artifact::Tree { digest, files, bytes } => match self.unfold(&digest, TreeLimit { files, bytes })
            {
                Ok(_) => Ok(true),
                Err(BlobError::Store(error)) => Err(error),
                Err(_) => Ok(false),
            },
        }
    }

    /// The file at a path of a tree, by the tree's listings; `None` where there is no file. Links are not followed.
    pub fn file_in(&self, tree: &Digest, path: &Path) -> Result<Option<Artifact>, BlobError> {
        let mut names: Vec<&[u8]> = Vec::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => names.push(name.as_bytes()),
                Component::CurDir => {}
                _ => return Ok(None),
            }
        }
        let Some((name, dirs)) = names.split_last() else { return Ok(None) };
        let mut dir = *tree;
        for name in dirs {
            match self.listing(&dir)?.ok_or(BlobError::Missing)?.get(name) {
                Some(Kind::Dir { digest }) => dir = digest,
                _ => return Ok(None),
            }
        }
        Ok(match self.listing(&dir)?.ok_or(BlobError::Missing)?.get(name) {
            Some(Kind::File { executable, size, digest }) => {
                Some(Artifact::File { digest, size, executable })
            }
            _ => None,
        })
    }

    /// Reads a tree's listings, checks them, and sees that all blobs are there.
    fn unfold(&self, digest: &Digest, limit: TreeLimit) -> Result<Unfolded, BlobError> {
        let mut plan = Unfolded { entries: MAX_ENTRIES, left: limit, ..Unfolded::default() };
        plan.directory(self, digest, PathBuf::new(), 0)?;
        Ok(plan)
    }
}

/// The way in: a walk over a directory on disk.
struct Walk<'a> {
    root: &'a Path,
    filter: &'a dyn Fn(&Path) -> bool,
    files: Vec<PathBuf>,
}

/// A directory whose files are known by their place in [`Walk::files`], as they are yet to be hashed.
struct Found(Vec<(Vec<u8>, FoundKind)>);

enum FoundKind {
    File { index: usize, executable: bool },
    Dir(Found),
    Symlink(Vec<u8>),
}

impl Walk<'_> {
    fn directory(&mut self, relative: &Path, depth: usize) -> Result<Found, StoreError> {
        let dir = self.root.join(relative);
        let refuse = |path: &Path, why| Err(StoreError::NotKeepable { path: path.to_owned(), why });
        if depth > MAX_DEPTH {
            return refuse(&dir, "it is nested too deeply");
        }
        let mut found = Vec::new();
        for entry in fs::read_dir(&dir).reading(&dir)? {
            let entry = entry.reading(&dir)?;
            let path = entry.path();
            let inside = relative.join(entry.file_name());
            if !(self.filter)(&inside) {
                continue;
            }
            let stat = entry.metadata().reading(&path)?;
            let kind = if stat.is_dir() {
                FoundKind::Dir(self.directory(&inside, depth + 1)?)
            } else if stat.is_file() {
                self.files.push(path);
                let executable = stat.permissions().mode() & 0o100 != 0;
                FoundKind::File { index: self.files.len() - 1, executable }
            } else if stat.is_symlink() {
                let target = fs::read_link(&path).reading(&path)?;
                if let Err(why) = check_target(&target, depth) {
                    return refuse(&path, why);
                }
                FoundKind::Symlink(target.into_os_string().into_vec())
            } else {
                return refuse(&path, "it is a device, a socket or a named pipe");
            };
            found.push((entry.file_name().into_vec(), kind));
        }
        found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(Found(found))
    }
}

impl Found {
    /// Adds this listing and those below, and gives its digest.
    fn list(&self, blobs: &[Blob], listings: &mut Vec<(Digest, Listing)>) -> Digest {
        let below: Vec<Digest> = self
            .0
            .iter()
            .filter_map(|(_, kind)| match kind {
                FoundKind::Dir(dir) => Some(dir.list(blobs, listings)),
                FoundKind::File { .. } | FoundKind::Symlink(_) => None,
            })
            .collect();
        let mut below = below.into_iter();
        let entries = self.0.iter().map(|(name, kind)| {
            let kind = match kind {
                FoundKind::File { index, executable } => {
                    let Blob { digest, size } = blobs[*index];
                    Kind::File { executable: *executable, size, digest }
                }
                FoundKind::Dir(_) => Kind::Dir { digest: below.next().expect("one for each directory") },
                FoundKind::Symlink(target) => Kind::Symlink { target },
            };
            Entry { name, kind }
        });
        let listing = Listing::encode(entries);
        let digest = listing.digest();
        listings.push((digest, listing));
        digest
    }
}

/// The way out: all that a tree consists of, by path from its root.
struct Unfolded {
    dirs: Vec<PathBuf>,
    files: Vec<(PathBuf, Digest, bool)>,
    symlinks: Vec<(PathBuf, PathBuf)>,
    /// How many more names there may be.
    entries: u64,
    /// How much more there may be in files.
    left: TreeLimit,
}

impl Default for Unfolded {
    fn default() -> Self {
        let left = TreeLimit { files: 0, bytes: 0 };
        Self { dirs: Vec::new(), files: Vec::new(), symlinks: Vec::new(), entries: 0, left }
    }
}

impl Unfolded {
    fn directory(
        &mut self,
        store: &Store,
        digest: &Digest,
        dir: PathBuf,
        depth: usize,
    ) -> Result<(), BlobError> {
        let hostile = |why| Err(BlobError::Hostile { why });
        if depth > MAX_DEPTH {
            return hostile("it is nested too deeply");
        }
        let listing = store.listing(digest)?.ok_or(BlobError::Missing)?;
        for Entry { name, kind } in listing.entries() {
            if let Err(why) = check_name(name) {
                return hostile(why);
            }
            self.entries = self.entries.checked_sub(1).ok_or(BlobError::TooLarge)?;
            let path = dir.join(OsStr::from_bytes(name));
            match kind {
                Kind::File { executable, size, digest } => {
                    if !store.has(&digest, size) {
                        return Err(BlobError::Missing);
                    }
                    self.left.files = self.left.files.checked_sub(1).ok_or(BlobError::TooLarge)?;
                    self.left.bytes = self.left.bytes.checked_sub(size).ok_or(BlobError::TooLarge)?;
                    self.files.push((path, digest, executable));
                }
                Kind::Dir { digest } => self.directory(store, &digest, path, depth + 1)?,
                Kind::Symlink { target } => {
                    let target = PathBuf::from(OsStr::from_bytes(target));
                    if let Err(why) = check_target(&target, depth) {
                        return hostile(why);
                    }
                    self.symlinks.push((path, target));
                }
                Kind::Special(_) => return hostile("it has a special file"),
            }
        }
        // Children come before their parents here, so `make` goes backwards.
        self.dirs.push(dir);
        Ok(())
    }

    /// Makes the tree in the new directory `root`. Every name is made anew and in a directory that was, so that a
    /// symlink of the tree is never followed.
    fn make(&self, store: &Store, root: &Path) -> Result<(), BlobError> {
        for dir in self.dirs.iter().rev() {
            // `join("")` would add a slash, which is fine, but errors read better without.
            let dir = if dir.as_os_str().is_empty() { root.to_owned() } else { root.join(dir) };
            fs::create_dir(&dir).at(&dir)?;
        }
        self.files.par_iter().try_for_each(|(path, digest, executable)| {
            store.copy_verified(digest, &root.join(path), *executable).map(|_| ())
        })?;
        for (path, target) in &self.symlinks {
            let path = root.join(path);
            std::os::unix::fs::symlink(target, &path).at(&path)?;
        }
        Ok(())
    }
}

/// Whether a name is one that a directory can hold, and nothing else.
fn check_name(name: &[u8]) -> Result<(), &'static str> {
    match name {
        b"" => Err("it has an empty name"),
        b"." | b".." => Err("it names `.` or `..`"),
        _ if name.contains(&b'/') => Err("it has a name with a slash"),
        _ if name.contains(&0) => Err("it has a name with a zero byte"),
        _ => Ok(()),
    }
}

/// Whether a symlink in a directory `depth` levels below the root of a tree stays in the tree.
///
/// `..` may only come first: there it is the real parent of a real directory. After a name it would be the parent of
/// wherever that name leads, if it is a symlink, and no look at the text can tell where that is.
pub fn check_target(target: &Path, depth: usize) -> Result<(), &'static str> {
    if target.as_os_str().is_empty() || target.as_os_str().as_bytes().contains(&0) {
        return Err("it is a symlink to nothing");
    }
    let mut up = 0;
    let mut named = false;
    for component in target.components() {
        match component {
            Component::RootDir | Component::Prefix(_) => {
                return Err("it is a symlink with an absolute target");
            }
            Component::ParentDir if named => {
                return Err("it is a symlink with `..` after a name, which may lead anywhere");
            }
            Component::ParentDir => up += 1,
            Component::Normal(_) => named = true,
            Component::CurDir => {}
        }
    }
    if up > depth { Err("it is a symlink that leads out of the tree") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symlinks_stay_in_the_tree() {
        for (target, depth) in [("a", 0), ("a/b", 0), ("./a", 0), (".", 0), ("..", 1), ("../../a/b", 2)] {
            assert_eq!(check_target(Path::new(target), depth), Ok(()), "{target} at {depth}");
        }
        for (target, depth) in [("", 3), ("/a", 3), ("..", 0), ("../../a", 1), ("a/../b", 3), ("./..", 0)] {
            assert!(check_target(Path::new(target), depth).is_err(), "{target} at {depth}");
        }
    }

    #[test]
    fn names_are_names() {
        for name in ["a", "...", "-", "\u{fc}"] {
            assert_eq!(check_name(name.as_bytes()), Ok(()), "{name}");
        }
        for name in ["", ".", "..", "a/b", "/", "../a", "a\0"] {
            assert!(check_name(name.as_bytes()).is_err(), "{name}");
        }
    }
}
