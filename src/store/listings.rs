//! Directory listings: digest -> canonical bytes. In the index rather than the CAS, as they are many and small.

use rusqlite::OptionalExtension;

use super::error::StoreError;
use super::{Batch, Store};
use crate::digest::Digest;
use crate::source::{Listing, Listings};

impl Store {
    /// The listing of that digest. A damaged one is removed, so that it can be put again, and is a miss.
    pub fn listing(&self, digest: &Digest) -> Result<Option<Listing>, StoreError> {
        self.read_index(|index| {
            let bytes: Option<Vec<u8>> = index
                .prepare_cached("SELECT bytes FROM listing WHERE digest = ?1")?
                .query_row([digest.as_bytes()], |row| row.get(0))
                .optional()?;
            let Some(bytes) = bytes else { return Ok(None) };
            match Listing::decode(bytes) {
                Ok(listing) if listing.digest() == *digest => Ok(Some(listing)),
                _ => {
                    index.execute("DELETE FROM listing WHERE digest = ?1", [digest.as_bytes()])?;
                    Ok(None)
                }
            }
        })
    }

    /// Whether there is a listing of that digest. Whether it is whole is looked at when it is used.
    pub fn has_listing(&self, digest: &Digest) -> Result<bool, StoreError> {
        self.read_index(|index| {
            index.prepare_cached("SELECT 1 FROM listing WHERE digest = ?1")?.exists([digest.as_bytes()])
        })
    }

    /// Keeps listings, each as its digest and canonical bytes, in one transaction.
    pub fn put_listings<'a>(
        &self,
        listings: impl IntoIterator<Item = (&'a Digest, &'a [u8])>,
    ) -> Result<(), StoreError> {
        self.batch(|batch| batch.put_listings(listings))
    }
}

/// A listing that can't be read is one that is not there.
impl Listings for Store {
    fn listing(&self, digest: &Digest) -> Option<Listing> {
        Self::listing(self, digest).ok().flatten()
    }
}

impl Batch<'_> {
    /// Keeps listings, each as its digest and canonical bytes. Those already there are left alone, but for damaged
    /// ones: whoever puts a tree must find all of it afterwards.
    pub fn put_listings<'a>(
        &mut self,
        listings: impl IntoIterator<Item = (&'a Digest, &'a [u8])>,
    ) -> Result<(), StoreError> {
        self.write(|index| {
            let mut insert = index.prepare_cached(
                "INSERT INTO listing VALUES (?1, ?2)
                 ON CONFLICT (digest) DO UPDATE SET bytes = excluded.bytes WHERE bytes <> excluded.bytes",
            )?;
            for (digest, bytes) in listings {
                insert.execute((digest.as_bytes(), bytes))?;
            }
            Ok(())
        })
    }
}
