//! Digests: BLAKE3-256, domain-separated by what is hashed.
//!
//! The content of a file is hashed plain, so that its digest is the one any BLAKE3 tool (or a Remote Execution
//! server with the BLAKE3 digest function) computes. Everything structured (listings, keys, identities) goes
//! through BLAKE3's key-derivation mode with a context string of its own, so that no file can be made to collide
//! with a structure, nor one kind of structure with another.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A BLAKE3-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of a blob's bytes.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The digest of all that `reader` yields, and how many bytes that was.
    ///
    /// # Errors
    /// Whatever the reader fails with.
    pub fn of_reader(reader: impl Read) -> io::Result<(Self, u64)> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(reader)?;
        Ok((Self(*hasher.finalize().as_bytes()), hasher.count()))
    }

    /// Wraps 32 bytes that are a digest already.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The raw 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 12 hex digits: enough for people to tell two apart.
    #[must_use]
    pub fn short(&self) -> String {
        let mut hex = self.to_string();
        hex.truncate(12);
        hex
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(blake3::Hash::from_bytes(self.0).to_hex().as_str())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.short())
    }
}

/// A text that is not 64 hex digits.
#[derive(Debug, thiserror::Error)]
#[error("not a digest (64 hex digits): {0:?}")]
pub struct NotADigest(String);

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        blake3::Hash::from_hex(text)
            .map(|hash| Self(*hash.as_bytes()))
            .map_err(|_| NotADigest(text.to_owned()))
    }
}

/// Hex in formats people read, raw bytes in the others.
impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
        } else {
            <[u8; 32]>::deserialize(deserializer).map(Self)
        }
    }
}

/// What a structured digest is a digest of. A context string is never reused for another meaning; its version
/// number rises when the hashed fields change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// The listing of a directory: names, kinds, modes, digests.
    Listing,
    /// A rule, as far as it decides what an action does.
    Rule,
    /// A commit or an archive that is unpacked to a source tree.
    UnpackedSource,
    /// A host program with the libraries and helpers it runs.
    Tool,
    /// All that is declared of an action.
    ActionKey,
    /// The paths an action read.
    PathSet,
    /// What a path of a path set holds.
    State,
    /// Action key, path set, and the digests of those paths.
    StrongKey,
    /// Whose a kept output directory is.
    Kept,
    /// What the files of a kept output directory were when it was kept.
    KeptFiles,
    /// Where a remote has the path sets of an action key.
    Candidates,
    /// Where a remote has a kept output directory.
    KeptRemote,
    /// Where a remote has a result that differs from another for the same inputs.
    Evidence,
}

impl Domain {
    const fn context(self) -> &'static str {
        match self {
            Self::Listing => "kiln 2026-11 listing v1",
            Self::Rule => "kiln 2026-11 rule v1",
            Self::UnpackedSource => "kiln 2026-11 unpacked source v1",
            Self::Tool => "kiln 2026-11 tool v1",
            Self::ActionKey => "kiln 2026-11 action key v1",
            Self::PathSet => "kiln 2026-11 path set v3",
            Self::State => "kiln 2026-11 state v1",
            Self::StrongKey => "kiln 2026-11 strong key v2",
            Self::Kept => "kiln 2026-11 kept directory v1",
            Self::KeptFiles => "kiln 2026-11 files of a kept directory v1",
            Self::Candidates => "kiln 2026-11 remote path sets v1",
            Self::KeptRemote => "kiln 2026-11 remote kept directory v1",
            Self::Evidence => "kiln 2026-11 remote evidence v1",
        }
    }
}

/// Hashes the fields of one structure. Every variable-length field is preceded by its length, so no two sequences
/// of fields share their bytes.
#[derive(Clone)]
pub struct Hasher(blake3::Hasher);

impl Hasher {
    /// A hasher for one structure of that domain.
    #[must_use]
    pub fn new(domain: Domain) -> Self {
        Self(blake3::Hasher::new_derive_key(domain.context()))
    }

    /// Adds a byte string.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    /// Adds a text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// Adds a number.
    pub fn number(&mut self, number: u64) -> &mut Self {
        self.0.update(&number.to_le_bytes());
        self
    }

    /// Adds a digest.
    pub fn digest(&mut self, digest: &Digest) -> &mut Self {
        self.0.update(&digest.0);
        self
    }

    /// The digest of all fields so far.
    #[must_use]
    pub fn finish(&self) -> Digest {
        Digest(*self.0.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_has_the_plain_blake3_digest() {
        // The digest of the empty input, from the BLAKE3 test vectors.
        let empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(Digest::of_bytes(b"").to_string(), empty);
        assert_eq!(empty.parse::<Digest>().unwrap(), Digest::of_bytes(b""));
    }

    #[test]
    fn fields_do_not_run_together() {
        let digest = |fields: &[&str]| {
            let mut hasher = Hasher::new(Domain::Rule);
            for field in fields {
                hasher.text(field);
            }
            hasher.finish()
        };
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
        assert_ne!(digest(&["ab"]), digest(&["ab", ""]));
    }

    #[test]
    fn domains_are_apart() {
        assert_ne!(Hasher::new(Domain::Rule).finish(), Hasher::new(Domain::Tool).finish());
        assert_ne!(Hasher::new(Domain::Rule).finish(), Digest::of_bytes(b""));
    }
}
