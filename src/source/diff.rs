//! What differs between two trees, told from their listings alone.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::hash::BuildHasher;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::digest::Digest;

use super::listing::{Entry, Kind, Listing, Special};

/// Where listings are kept.
pub trait Listings {
    /// The listing of that digest.
    fn listing(&self, digest: &Digest) -> Option<Listing>;
}

impl<S: BuildHasher> Listings for HashMap<Digest, Listing, S> {
    fn listing(&self, digest: &Digest) -> Option<Listing> {
        self.get(digest).cloned()
    }
}

/// A listing that is not kept, or not any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the listing {} of the directory {} is not stored", digest.short(), path.display())]
pub struct MissingListing {
    /// The directory, from the tree's root.
    pub path: PathBuf,
    /// Its digest.
    pub digest: Digest,
}

/// A difference between two trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where, from the tree's root.
    pub path: PathBuf,
    /// What is different.
    pub kind: ChangeKind,
}

/// What is different at a path. A file may have two changes: its content and its mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// There was nothing before. A change of its own for every entry below an added directory.
    Added(EntryType),
    /// There is nothing any more; likewise.
    Removed(EntryType),
    /// Another content.
    Content {
        /// Its digest before.
        old: Digest,
        /// Its digest now.
        new: Digest,
    },
    /// The file became executable, or ceased to be.
    Mode {
        /// Whether it is executable now.
        executable: bool,
    },
    /// The link points elsewhere.
    Target {
        /// Where it pointed.
        old: PathBuf,
        /// Where it points now.
        new: PathBuf,
    },
    /// It is something else; what a directory holds or held is added or removed, besides.
    Type {
        /// What it was.
        old: EntryType,
        /// What it is now.
        new: EntryType,
    },
}

/// The kind of an entry, without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryType {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// Something that has no content.
    Special(Special),
}

impl Kind<'_> {
    /// The kind alone.
    pub const fn entry_type(&self) -> EntryType {
        match self {
            Self::File { .. } => EntryType::File,
            Self::Dir { .. } => EntryType::Dir,
            Self::Symlink { .. } => EntryType::Symlink,
            Self::Special(special) => EntryType::Special(*special),
        }
    }
}

/// What differs between the trees `old` and `new`, sorted by path, a directory before what it holds. Only
/// directories that differ are looked into.
pub fn diff(old: &Digest, new: &Digest, source: &dyn Listings) -> Result<Vec<Change>, MissingListing> {
    let mut diff = Diff { source, changes: Vec::new() };
    diff.dirs(Path::new(""), Some(old), Some(new))?;
    Ok(diff.changes)
}

struct Diff<'a> {
    source: &'a dyn Listings,
    changes: Vec<Change>,
}

impl Diff<'_> {
    /// The changes in a directory that may be new, or gone.
    fn dirs(
        &mut self,
        path: &Path,
        old: Option<&Digest>,
        new: Option<&Digest>,
    ) -> Result<(), MissingListing> {
        if old == new {
            return Ok(());
        }
        let (old, new) = (self.listing(path, old)?, self.listing(path, new)?);
        let mut old = old.iter().flat_map(Listing::entries).peekable();
        let mut new = new.iter().flat_map(Listing::entries).peekable();
        loop {
            let (before, after) = match (old.peek(), new.peek()) {
                (None, None) => return Ok(()),
                (Some(a), Some(b)) if a.name < b.name => (old.next(), None),
                (Some(a), Some(b)) if a.name > b.name => (None, new.next()),
                _ => (old.next(), new.next()),
            };
            self.entries(path, before, after)?;
        }
    }

    fn entries(
        &mut self,
        dir: &Path,
        old: Option<Entry<'_>>,
        new: Option<Entry<'_>>,
    ) -> Result<(), MissingListing> {
        let name = old.or(new).map_or(&b""[..], |entry| entry.name);
        let path = dir.join(OsStr::from_bytes(name));
        let (old, new) = (old.map(|entry| entry.kind), new.map(|entry| entry.kind));
        let mut add = |kind| self.changes.push(Change { path: path.clone(), kind });
        match (old, new) {
            (None, Some(new)) => add(ChangeKind::Added(new.entry_type())),
            (Some(old), None) => add(ChangeKind::Removed(old.entry_type())),
            (
                Some(Kind::File { executable: was, digest: old, .. }),
                Some(Kind::File { executable: is, digest: new, .. }),
            ) => {
                if old != new {
                    add(ChangeKind::Content { old, new });
                }
                if was != is {
                    add(ChangeKind::Mode { executable: is });
                }
            }
            (Some(Kind::Symlink { target: old }), Some(Kind::Symlink { target: new })) if old != new => {
                add(ChangeKind::Target {
                    old: OsStr::from_bytes(old).into(),
                    new: OsStr::from_bytes(new).into(),
                });
            }
            (Some(old), Some(new)) if old.entry_type() != new.entry_type() => {
                add(ChangeKind::Type { old: old.entry_type(), new: new.entry_type() });
            }
            _ => {}
        }
        self.dirs(&path, directory(old.as_ref()), directory(new.as_ref()))
    }

    fn listing(&self, path: &Path, digest: Option<&Digest>) -> Result<Option<Listing>, MissingListing> {
        digest
            .map(|digest| {
                self.source
                    .listing(digest)
                    .ok_or_else(|| MissingListing { path: path.to_owned(), digest: *digest })
            })
            .transpose()
    }
}

fn directory<'a>(kind: Option<&'a Kind<'_>>) -> Option<&'a Digest> {
    match kind {
        Some(Kind::Dir { digest }) => Some(digest),
        _ => None,
    }
}
