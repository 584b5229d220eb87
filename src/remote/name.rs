//! Blobs by name: kiln's own digest, and the one that most servers want.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::TOGETHER;
use crate::digest::Digest;

/// A SHA-256 digest. It names blobs on servers; what counts is the other one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sha256(pub [u8; 32]);

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256({self})")
    }
}

/// A blob, by both of its digests. They are the same length in hex, so nothing but the place tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Name {
    /// BLAKE3: what is checked when it is read.
    pub blake3: Digest,
    /// SHA-256: where it is on servers that know no BLAKE3.
    pub sha256: Sha256,
    /// In bytes.
    pub size: u64,
}

impl Name {
    /// The name of these bytes.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let sha256 = Sha256(sha2::Sha256::digest(bytes).into());
        Self { blake3: Digest::of_bytes(bytes), sha256, size: bytes.len() as u64 }
    }
}

/// Small blobs in groups, each of which goes over at once. One that is too large for a group is one by itself.
pub(super) fn groups(blobs: impl IntoIterator<Item = Name>) -> Vec<Vec<Name>> {
    let mut groups: Vec<Vec<Name>> = Vec::new();
    let mut size = 0_u64;
    for blob in blobs {
        size = size.saturating_add(blob.size);
        match groups.last_mut() {
            Some(group) if size <= TOGETHER => group.push(blob),
            _ => {
                size = blob.size;
                groups.push(vec![blob]);
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_as_large_as_they_may_be_and_no_larger() {
        let blob = |size| Name { size, ..Name::of_bytes(b"") };
        let sizes = |of: &[u64]| -> Vec<Vec<u64>> {
            let groups = groups(of.iter().map(|&size| blob(size)));
            groups.iter().map(|group| group.iter().map(|blob| blob.size).collect()).collect()
        };
        assert_eq!(sizes(&[]), Vec::<Vec<u64>>::new());
        assert_eq!(sizes(&[TOGETHER, 0, 1]), [vec![TOGETHER, 0], vec![1]]);
        assert_eq!(sizes(&[1, TOGETHER + 1, 1, 1]), [vec![1], vec![TOGETHER + 1], vec![1, 1]]);
        assert_eq!(sizes(&[u64::MAX, u64::MAX]), [[u64::MAX], [u64::MAX]]);
    }
}
