//! Names of git's objects.

use std::fmt::{self, Write as _};

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// The name of an object: the hash of what it holds, in hex. 40 digits are SHA-1, 64 are SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(String);

impl ObjectId {
    /// From hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (hex && matches!(text.len(), 40 | 64)).then(|| Self(text.to_owned()))
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        Self(hex(bytes))
    }

    /// The hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The length of the names in this object's repository, in bytes.
    pub(super) const fn raw_length(&self) -> usize {
        self.0.len() / 2
    }

    /// Begins to hash an object of the kind and size that this one is said to be.
    pub(super) fn check(&self, kind: &str, size: u64) -> Check<'_> {
        let mut hash =
            if self.raw_length() == 20 { Hash::Sha1(Sha1::new()) } else { Hash::Sha256(Sha256::new()) };
        hash.update(format!("{kind} {size}\0").as_bytes());
        Check { id: self, hash }
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether content is that of an object.
pub(super) struct Check<'a> {
    id: &'a ObjectId,
    hash: Hash,
}

enum Hash {
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Hash {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(hash) => hash.update(bytes),
            Self::Sha256(hash) => hash.update(bytes),
        }
    }
}

impl Check<'_> {
    pub fn update(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
    }

    pub fn holds(self) -> bool {
        let found = match self.hash {
            Hash::Sha1(hash) => hex(&hash.finalize()),
            Hash::Sha256(hash) => hex(&hash.finalize()),
        };
        found == self.id.0
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_has_the_name_that_git_gives_it() {
        let hello = [
            "ce013625030ba8dba906f756967f9e9ca394464a", // git hash-object, and the same in a SHA-256 repository
            "2cf8d83d9ee29543b34a87727421fdecb7e3f3a183d337639025de576db9ebb4",
        ];
        for id in hello.map(|id| ObjectId::parse(id).unwrap()) {
            let mut check = id.check("blob", 6);
            check.update(b"hel");
            check.update(b"lo\n");
            assert!(check.holds());
            let mut check = id.check("blob", 6);
            check.update(b"hell0\n");
            assert!(!check.holds());
            assert!(!id.check("tree", 6).holds());
        }
    }

    #[test]
    fn only_full_names_are_names() {
        for text in ["", "ce01", "HEAD", "CE013625030ba8dba906f756967f9e9ca394464a", &"a".repeat(41)] {
            assert_eq!(ObjectId::parse(text), None, "{text}");
        }
    }
}
