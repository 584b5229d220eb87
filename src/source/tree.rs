//! A tree in memory: what the walk makes, the cache keeps, and a snapshot is read from.
//!
//! Nodes are immutable and shared: a walk that finds a directory unchanged hands on the node it was given, so that
//! "nothing changed" is one comparison of pointers, all the way up to the root.

use std::ffi::CStr;
use std::sync::Arc;

use crate::digest::Digest;

use super::file_system::{Believed, Settled};
use super::listing::{Entry, Kind, Listing, Special};
use super::stat::Stat;

/// A tree, with what is known of its root directory itself.
pub(super) struct Tree {
    pub stat: Stat,
    pub settled: Settled,
    pub top: Arc<Node>,
    /// The file systems and mounts that it is on.
    pub on: Believed,
}

/// A directory.
pub(super) struct Node {
    pub digest: Digest,
    /// The names of all entries, sorted, each with a NUL after it, ready for system calls.
    pub names: Box<[u8]>,
    pub records: Box<[Record]>,
    /// The directories among the entries, in their order.
    pub children: Box<[Arc<Node>]>,
    /// All that is below.
    pub counts: Counts,
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    pub name: Name,
    /// Whether the stat may be believed next time (see [`super::stat`]).
    pub settled: Settled,
    pub stat: Stat,
    pub body: Body,
}

/// Where in its node's names a name is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Name {
    pub start: u32,
    /// Without the NUL.
    pub len: u16,
}

/// What an entry holds. The size of a file is that of its stat.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Body {
    File(Digest),
    Dir,
    Symlink(Box<[u8]>),
    Special(Special),
}

/// How many entries of each kind there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub files: u64,
    pub dirs: u64,
    pub symlinks: u64,
    pub specials: u64,
}

impl Record {
    pub fn is_dir(&self) -> bool {
        matches!(self.body, Body::Dir)
    }
}

impl Name {
    pub fn bytes(self, names: &[u8]) -> &[u8] {
        let start = self.start as usize;
        &names[start..start + usize::from(self.len)]
    }

    pub fn c_str(self, names: &[u8]) -> &CStr {
        let start = self.start as usize;
        CStr::from_bytes_with_nul(&names[start..=start + usize::from(self.len)])
            .expect("each name is followed by a NUL, and holds none")
    }
}

/// Adds a name to those of a directory. The kernel's own records of names have 16 bits for the length.
pub(super) fn push_name(names: &mut Vec<u8>, name: &[u8]) -> Name {
    let start = u32::try_from(names.len()).expect("a directory with 4 GiB of names");
    let len = u16::try_from(name.len()).expect("a name of 64 KiB");
    names.extend_from_slice(name);
    names.push(0);
    Name { start, len }
}

impl Node {
    pub fn new(names: Box<[u8]>, records: Box<[Record]>, children: Box<[Arc<Self>]>) -> Self {
        let listing = Listing::encode(entries(&names, &records, &children));
        Self::with_digest(listing.digest(), names, records, children)
    }

    /// A node whose digest is known.
    pub fn with_digest(
        digest: Digest,
        names: Box<[u8]>,
        records: Box<[Record]>,
        children: Box<[Arc<Self>]>,
    ) -> Self {
        let mut counts = Counts { dirs: 1, ..Counts::default() };
        for child in &children {
            counts.files += child.counts.files;
            counts.dirs += child.counts.dirs;
            counts.symlinks += child.counts.symlinks;
            counts.specials += child.counts.specials;
        }
        for record in &records {
            match record.body {
                Body::File(_) => counts.files += 1,
                Body::Symlink(_) => counts.symlinks += 1,
                Body::Special(_) => counts.specials += 1,
                Body::Dir => {}
            }
        }
        Self { digest, names, records, children, counts }
    }

    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        entries(&self.names, &self.records, &self.children)
    }

    pub fn listing(&self) -> Listing {
        Listing::encode(self.entries())
    }

    /// The record of that name.
    pub fn record(&self, name: &[u8]) -> Option<&Record> {
        Some(&self.records[self.position(name)?])
    }

    fn position(&self, name: &[u8]) -> Option<usize> {
        self.records.binary_search_by(|record| record.name.bytes(&self.names).cmp(name)).ok()
    }

    /// The entry of that name, and the node of a directory.
    pub fn get(&self, name: &[u8]) -> Option<(Kind<'_>, Option<&Arc<Self>>)> {
        let at = self.position(name)?;
        let child = self.records[at].is_dir().then(|| {
            let before = self.records[..at].iter().filter(|record| record.is_dir()).count();
            &self.children[before]
        });
        Some((kind(&self.records[at], child.map(|node| node.digest)), child))
    }
}

fn entries<'a>(
    names: &'a [u8],
    records: &'a [Record],
    children: &'a [Arc<Node>],
) -> impl Iterator<Item = Entry<'a>> {
    let mut children = children.iter();
    records.iter().map(move |record| {
        let child = record.is_dir().then(|| children.next()).flatten();
        Entry { name: record.name.bytes(names), kind: kind(record, child.map(|node| node.digest)) }
    })
}

fn kind(record: &Record, child: Option<Digest>) -> Kind<'_> {
    match &record.body {
        Body::File(digest) => {
            Kind::File { executable: record.stat.executable(), size: record.stat.size, digest: *digest }
        }
        Body::Dir => Kind::Dir { digest: child.expect("a child for each directory") },
        Body::Symlink(target) => Kind::Symlink { target },
        Body::Special(special) => Kind::Special(*special),
    }
}
