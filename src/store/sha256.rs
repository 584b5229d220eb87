//! The other name of blobs: SHA-256, for servers that know no BLAKE3. Worked out once for each, and kept in the index.

use std::collections::HashMap;
use std::io::{self, Read};

use rusqlite::OptionalExtension;
use sha2::Digest as _;

use super::cas::{Blob, open_blob};
use super::error::{At, BlobError, StoreError};
use super::{Batch, Store};
use crate::digest::Digest;

/// How much is read at once.
const PIECE: usize = 1 << 18;

/// What a reader yields as a blob, and its SHA-256, in one pass.
pub fn both_digests(mut reader: impl Read) -> io::Result<(Blob, [u8; 32])> {
    let (mut blake3, mut sha256) = (blake3::Hasher::new(), sha2::Sha256::new());
    let mut piece = vec![0; PIECE];
    loop {
        let count = reader.read(&mut piece)?;
        if count == 0 {
            break;
        }
        blake3.update(&piece[..count]);
        sha256.update(&piece[..count]);
    }
    let digest = Digest::from_bytes(*blake3.finalize().as_bytes());
    Ok((Blob { digest, size: blake3.count() }, sha256.finalize().into()))
}

impl Store {
    /// The SHA-256 of a blob of that digest and size. Where it is not known, the blob is read and both digests are
    /// worked out in the same pass; one that is not what its name says is put aside.
    pub fn sha256(&self, digest: &Digest, size: u64) -> Result<[u8; 32], BlobError> {
        if let Some(known) = self.sha256s(&[*digest])?.remove(digest) {
            return Ok(known);
        }
        let path = self.blob_path(digest);
        let file = open_blob(&path)?;
        // Whatever the file has come to be, no more than that is read.
        let (found, sha256) = both_digests(file.take(size.saturating_add(1))).at(&path)?;
        if found.size > size {
            return Err(BlobError::TooLarge);
        }
        if found.digest != *digest {
            return Err(self.quarantine(digest)?);
        }
        self.batch(|batch| batch.put_sha256s([(digest, &sha256)]))?;
        Ok(sha256)
    }

    /// Those of these blobs' SHA-256 that are known.
    pub fn sha256s(&self, digests: &[Digest]) -> Result<HashMap<Digest, [u8; 32]>, StoreError> {
        self.read_index(|index| {
            let mut select = index.prepare_cached("SELECT sha256 FROM sha256 WHERE digest = ?1")?;
            let mut known = HashMap::with_capacity(digests.len());
            for digest in digests {
                let found = select
                    .query_row([digest.as_bytes()], |row| {
                        Ok(row.get_ref(0)?.as_blob().unwrap_or(&[]).try_into())
                    })
                    .optional()?;
                // One of another length is damage, and is worked out anew.
                if let Some(Ok(sha256)) = found {
                    known.insert(*digest, sha256);
                }
            }
            Ok(known)
        })
    }
}

impl Batch<'_> {
    /// Takes note of the SHA-256 of blobs, each worked out from the bytes that have that digest.
    pub fn put_sha256s<'a>(
        &mut self,
        names: impl IntoIterator<Item = (&'a Digest, &'a [u8; 32])>,
    ) -> Result<(), StoreError> {
        self.write(|index| {
            let mut insert = index.prepare_cached("INSERT OR REPLACE INTO sha256 VALUES (?1, ?2)")?;
            for (digest, sha256) in names {
                insert.execute((digest.as_bytes(), sha256))?;
            }
            Ok(())
        })
    }
}
