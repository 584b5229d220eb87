//! The other name of blobs: SHA-256, for servers that know no BLAKE3.

use sha2::Digest as _;

use super::Store;
use super::error::BlobError;
use crate::digest::Digest;

impl Store {
    /// The SHA-256 of a blob of that digest and size.
    pub fn sha256(&self, digest: &Digest, size: u64) -> Result<[u8; 32], BlobError> {
        Ok(sha2::Sha256::digest(self.read(digest, size)?).into())
    }
}
