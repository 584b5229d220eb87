//! What earlier runs recorded, as decisions read it. A trait, so that decisions can be tested without a disk.

use crate::digest::Digest;
use crate::source::Listing;
use crate::store::{EntryTable, Store, StoreError, StoredPathSet};

/// Recorded path sets and directory listings.
pub trait Records: Sync {
    /// The table that gives the entries of stored path sets their paths.
    fn entries(&self) -> Result<EntryTable, StoreError>;

    /// A path set; `None` if it is no longer stored.
    fn path_set(&self, digest: &Digest) -> Result<Option<StoredPathSet>, StoreError>;

    /// The listing of a directory; `None` if it is no longer stored or can't be read.
    fn listing(&self, digest: &Digest) -> Option<Listing>;
}

impl Records for Store {
    fn entries(&self) -> Result<EntryTable, StoreError> {
        Self::entries(self)
    }

    fn path_set(&self, digest: &Digest) -> Result<Option<StoredPathSet>, StoreError> {
        Self::path_set(self, digest)
    }

    fn listing(&self, digest: &Digest) -> Option<Listing> {
        Self::listing(self, digest).ok().flatten()
    }
}
