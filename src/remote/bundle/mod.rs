//! A bundle: one file with entries and blobs, for caches of CI systems that keep files, and for labs without a network.
//!
//! Equal content gives an equal file: all is sorted, there are no times, and what is compressed is compressed by itself.
//! Numbers are little-endian.
//!
//! | part | bytes |
//! | --- | --- |
//! | header | `kiln`, `b`, version, 2 zero bytes; length of the file and place of the index (u64 each); BLAKE3 of the index; BLAKE3 of the header before it |
//! | entries | one behind the other, by key |
//! | blobs | one behind the other, by name, as they are or as one zstd frame: whichever is shorter |
//! | index | number of entries, number of blobs (u64 each), a record for each entry, one for each blob |
//!
//! There are no gaps, so the index has lengths alone.

mod error;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use error::BundleError;
pub use read::Bundle;
pub use write::BundleWriter;

use super::name::{Name, Sha256};
use super::wire::Format;
use super::{FormatError, MAX_ENTRY};
use crate::digest::Digest;

/// The header's length.
const HEADER: usize = 88;

/// An entry's record: key, length (u32), BLAKE3.
const ENTRY: usize = 32 + 4 + 32;

/// A blob's record: BLAKE3, SHA-256, size (u64), how it is stored (one byte), length as it is stored (u64).
const BLOB: usize = 32 + 32 + 8 + 1 + 8;

/// The largest index, in bytes: some 12,000,000 blobs.
const MAX_INDEX: u64 = 1 << 30;

/// How hard blobs are compressed: there are gigabytes of them.
const LEVEL: i32 = 3;

/// Where all is.
struct Header {
    /// How long the file is.
    length: u64,
    /// Where the index starts, which goes on to the end.
    index: u64,
    /// The digest of the index.
    sum: Digest,
}

impl Header {
    fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..6].copy_from_slice(&Format::Bundle.header());
        bytes[8..16].copy_from_slice(&self.length.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.index.to_le_bytes());
        bytes[24..56].copy_from_slice(self.sum.as_bytes());
        let sum = Digest::of_bytes(&bytes[..56]);
        bytes[56..].copy_from_slice(sum.as_bytes());
        bytes
    }

    fn decode(bytes: &[u8; HEADER]) -> Result<Self, FormatError> {
        let mut rest = Format::Bundle.strip(bytes)?;
        let rest = &mut rest;
        let zeros = take::<2>(rest);
        let (length, index) = (u64::from_le_bytes(take(rest)), u64::from_le_bytes(take(rest)));
        let header = Self { length, index, sum: Digest::from_bytes(take(rest)) };
        let sum = Digest::from_bytes(take(rest));
        if zeros != [0; 2] || sum != Digest::of_bytes(&bytes[..56]) {
            return Err(FormatError::Damaged("its header is not what was written"));
        }
        if index < HEADER as u64 || index.checked_add(16).is_none_or(|end| end > length) {
            return Err(FormatError::Damaged("its index is nowhere"));
        }
        if length - index > MAX_INDEX {
            return Err(FormatError::TooLarge("its index has more than 1 GiB"));
        }
        Ok(header)
    }
}

/// An entry in a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct EntryRecord {
    key: Digest,
    length: u32,
    sum: Digest,
}

impl EntryRecord {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.key.as_bytes());
        out.extend_from_slice(&self.length.to_le_bytes());
        out.extend_from_slice(self.sum.as_bytes());
    }

    fn decode(bytes: &[u8; ENTRY]) -> Result<Self, FormatError> {
        let rest = &mut &bytes[..];
        let key = Digest::from_bytes(take(rest));
        let length = u32::from_le_bytes(take(rest));
        let sum = Digest::from_bytes(take(rest));
        if u64::from(length) > MAX_ENTRY {
            return Err(FormatError::TooLarge("an entry has more than 1 MiB"));
        }
        Ok(Self { key, length, sum })
    }
}

/// How a blob is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stored {
    AsItIs,
    Zstd,
}

/// A blob in a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BlobRecord {
    name: Name,
    stored: Stored,
    /// As it is stored.
    length: u64,
}

impl BlobRecord {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.name.blake3.as_bytes());
        out.extend_from_slice(&self.name.sha256.0);
        out.extend_from_slice(&self.name.size.to_le_bytes());
        out.push(match self.stored {
            Stored::AsItIs => 0,
            Stored::Zstd => 1,
        });
        out.extend_from_slice(&self.length.to_le_bytes());
    }

    fn decode(bytes: &[u8; BLOB]) -> Result<Self, FormatError> {
        let rest = &mut &bytes[..];
        let blake3 = Digest::from_bytes(take(rest));
        let sha256 = Sha256(take(rest));
        let name = Name { blake3, sha256, size: u64::from_le_bytes(take(rest)) };
        let stored = match take(rest) {
            [0] => Stored::AsItIs,
            [1] => Stored::Zstd,
            _ => return Err(FormatError::Damaged("a blob is stored in an unknown way")),
        };
        let length = u64::from_le_bytes(take(rest));
        let fits = match stored {
            Stored::AsItIs => length == name.size,
            Stored::Zstd => length < name.size,
        };
        if fits {
            Ok(Self { name, stored, length })
        } else {
            Err(FormatError::Damaged("a blob has no good length"))
        }
    }
}

/// The next bytes of a record, which has them.
fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (head, tail) = rest.split_first_chunk::<N>().expect("records have fixed lengths");
    *rest = tail;
    *head
}
