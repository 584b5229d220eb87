//! Source trees.

use std::path::{Path, PathBuf};

use crate::digest::Digest;

/// A source tree, resolved: where it comes from, and whether a node has to make it.
#[derive(Clone, Debug)]
pub struct Source {
    /// The directory, the checkout or the archive. Absolute, or relative to the working directory as the project is.
    pub path: PathBuf,
    /// What is at the path.
    pub origin: Origin,
}

/// What a source tree comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A directory, used where it is.
    Dir,
    /// The files of a git checkout as they are, used where they are, without `.git`.
    Checkout,
    /// The files of a commit, unpacked by a node.
    Commit {
        /// The commit, by any name git knows it.
        rev: String,
    },
    /// An archive, unpacked by a node.
    Tarball {
        /// The digest of the archive.
        digest: TarballDigest,
        /// Leading components to remove from each path in it.
        strip: u32,
    },
}

/// The digest a tarball must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TarballDigest {
    /// `sha256:HEX`, as kernel.org publishes.
    Sha256([u8; 32]),
    /// `blake3:HEX`.
    Blake3(Digest),
}

impl Source {
    /// Whether a node makes the tree before others can read it.
    pub const fn is_unpacked(&self) -> bool {
        matches!(self.origin, Origin::Commit { .. } | Origin::Tarball { .. })
    }

    /// The root of a tree that is used where it is; `None` where a node makes the tree.
    pub fn in_place(&self) -> Option<&Path> {
        (!self.is_unpacked()).then_some(self.path.as_path())
    }

    /// Entries of the root that are not part of the tree.
    pub const fn ignore(&self) -> &'static [&'static str] {
        match self.origin {
            Origin::Checkout => &[".git"],
            Origin::Dir | Origin::Commit { .. } | Origin::Tarball { .. } => &[],
        }
    }

    /// The git repository and the revision that the tree is of; `None` where git is not involved.
    pub fn revision(&self) -> Option<(&Path, &str)> {
        match &self.origin {
            Origin::Checkout => Some((&self.path, "HEAD")),
            Origin::Commit { rev } => Some((&self.path, rev)),
            Origin::Dir | Origin::Tarball { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_commits_and_archives_are_unpacked() {
        let of = |origin| Source { path: PathBuf::from("/p/x"), origin };
        let tarball = Origin::Tarball { digest: TarballDigest::Sha256([0; 32]), strip: 1 };
        let commit = Origin::Commit { rev: "v6.12".to_owned() };
        let (none, git): (&[&str], &[&str]) = (&[], &[".git"]);
        for (origin, unpacked, ignore, revision) in [
            (Origin::Dir, false, none, None),
            (Origin::Checkout, false, git, Some("HEAD")),
            (commit, true, none, Some("v6.12")),
            (tarball, true, none, None),
        ] {
            let source = of(origin);
            assert_eq!(source.is_unpacked(), unpacked, "{source:?}");
            assert_eq!(source.in_place().is_none(), unpacked, "{source:?}");
            assert_eq!(source.ignore(), ignore, "{source:?}");
            assert_eq!(source.revision().map(|(_, revision)| revision), revision, "{source:?}");
        }
    }
}
