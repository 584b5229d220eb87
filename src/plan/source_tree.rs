//! Source trees: where each one is, and what kiln unpacks it from.

use std::path::PathBuf;

use crate::digest::{Digest, Domain, Hasher};
use crate::host::git::{ObjectId, Repository};
use crate::spec::model::TarballDigest;

/// Raised when the same commit or tarball is unpacked to a different tree. Trees of an older version then have other
/// names and are not used.
const UNPACK_VERSION: u64 = 2;

/// A source tree on disk.
#[derive(Debug, Clone)]
pub struct SourceTree {
    /// The root directory.
    pub root: PathBuf,
    /// Entries of the root that are not part of the tree.
    pub ignore: &'static [&'static str],
    /// What kiln unpacks there; `None` for a directory of the user's own.
    pub unpacked: Option<Unpacked>,
}

/// A tree that kiln unpacks.
#[derive(Debug, Clone)]
pub struct Unpacked {
    /// The directory's name below the cache's `sources/`: a digest of its origin.
    pub name: Digest,
    /// The origin.
    pub from: UnpackedFrom,
}

impl Unpacked {
    /// The tree that is unpacked from `from`.
    pub(super) fn new(from: UnpackedFrom) -> Self {
        Self { name: from.name(), from }
    }
}

/// What a tree is unpacked from.
#[derive(Debug, Clone)]
pub enum UnpackedFrom {
    /// A commit.
    Commit {
        /// Its repository.
        repository: Repository,
        /// Its full object id.
        commit: ObjectId,
        /// The directory of the commit that becomes the tree's root; empty for the whole commit.
        prefix: PathBuf,
    },
    /// An archive.
    Tarball {
        /// The file.
        path: PathBuf,
        /// The digest that the file must have.
        digest: TarballDigest,
        /// The number of leading components to strip from each path in the archive.
        strip: u32,
    },
}

impl UnpackedFrom {
    fn name(&self) -> Digest {
        let mut hasher = Hasher::new(Domain::UnpackedSource);
        hasher.number(UNPACK_VERSION);
        match self {
            Self::Commit { commit, prefix, .. } => {
                hasher.text("git").text(commit.as_str()).bytes(prefix.as_os_str().as_encoded_bytes())
            }
            Self::Tarball { digest: TarballDigest::Sha256(digest), strip, .. } => {
                hasher.text("sha256").bytes(digest).number((*strip).into())
            }
            Self::Tarball { digest: TarballDigest::Blake3(digest), strip, .. } => {
                hasher.text("blake3").digest(digest).number((*strip).into())
            }
        };
        hasher.finish()
    }
}
