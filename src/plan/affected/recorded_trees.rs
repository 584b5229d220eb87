//! Source trees as they were recorded.

use std::collections::{HashMap, HashSet};

use crate::digest::Digest;
use crate::plan::records::Records;
use crate::source::{Kind, Listing};

/// Recorded trees, as far as their listings are stored.
pub(super) struct RecordedTrees<'a> {
    records: &'a dyn Records,
    listings: HashMap<Digest, Option<Listing>>,
}

/// The state of a path in a recorded tree.
pub(super) enum PathState {
    Nothing,
    Link,
    /// A directory, with the digest of its listing.
    Dir(Digest),
    Other,
    Unknown,
}

impl<'a> RecordedTrees<'a> {
    pub fn new(records: &'a dyn Records) -> Self {
        Self { records, listings: HashMap::new() }
    }

    fn listing(&mut self, digest: &Digest) -> Option<&Listing> {
        let records = self.records;
        self.listings.entry(*digest).or_insert_with(|| records.listing(digest)).as_ref()
    }

    /// The state of a path in the tree whose root has this digest.
    pub fn at(&mut self, tree: &Digest, path: &[u8]) -> PathState {
        let mut dir = *tree;
        let mut names = path.split(|&byte| byte == b'/').peekable();
        while let Some(name) = names.next() {
            let Some(listing) = self.listing(&dir) else { return PathState::Unknown };
            match (listing.get(name), names.peek()) {
                (Some(Kind::Dir { digest }), Some(_)) => dir = digest,
                (Some(Kind::Dir { digest }), None) => return PathState::Dir(digest),
                (Some(Kind::Symlink { .. }), None) => return PathState::Link,
                (Some(_), None) => return PathState::Other,
                (Some(_) | None, _) => return PathState::Nothing,
            }
        }
        PathState::Nothing
    }

    /// Whether anything is left in a directory once these paths are removed.
    pub fn survives(&mut self, listing: &Digest, dir: &[u8], removed: &HashSet<&[u8]>) -> bool {
        let Some(listing) = self.listing(listing).cloned() else { return false };
        listing.entries().any(|entry| {
            let path = [dir, b"/", entry.name].concat();
            match entry.kind {
                Kind::Dir { digest } => self.survives(&digest, &path, removed),
                _ => !removed.contains(&path[..]),
            }
        })
    }
}
