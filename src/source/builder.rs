//! Trees that are not looked at but known: entries by path, and the listings that they come to.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use crate::digest::Digest;

use super::listing::{Entry, Kind, Listing};

/// A tree in the making.
#[derive(Debug, Default)]
pub struct TreeBuilder {
    top: Dir,
}

type Dir = BTreeMap<Box<[u8]>, Node>;

#[derive(Debug)]
enum Node {
    File { executable: bool, size: u64, digest: Digest },
    Symlink(Box<[u8]>),
    Dir(Dir),
}

/// What a tree comes to.
#[derive(Debug)]
pub struct Built {
    /// That of a snapshot of the tree.
    pub digest: Digest,
    /// Every listing of it.
    pub listings: HashMap<Digest, Listing>,
}

/// A path that leads through something that is no directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is below something that is no directory")]
pub struct NotBelow;

impl TreeBuilder {
    /// Adds a file, in the place of what has been added there.
    pub fn file(&mut self, path: &Path, executable: bool, size: u64, digest: Digest) -> Result<(), NotBelow> {
        self.put(path, Node::File { executable, size, digest })
    }

    /// Adds a symbolic link, in the place of what has been added there.
    pub fn symlink(&mut self, path: &Path, target: &OsStr) -> Result<(), NotBelow> {
        self.put(path, Node::Symlink(target.as_bytes().into()))
    }

    /// Adds a directory, if it is not there. Those above an entry need not be added.
    pub fn dir(&mut self, path: &Path) -> Result<(), NotBelow> {
        below(&mut self.top, path).map(|_| ())
    }

    fn put(&mut self, path: &Path, node: Node) -> Result<(), NotBelow> {
        let name = path.file_name().ok_or(NotBelow)?;
        let dir = below(&mut self.top, path.parent().unwrap_or(Path::new("")))?;
        dir.insert(name.as_bytes().into(), node);
        Ok(())
    }

    /// All of it.
    pub fn finish(&self) -> Built {
        let mut listings = HashMap::new();
        let digest = finish(&self.top, &mut listings);
        Built { digest, listings }
    }
}

fn below<'a>(mut dir: &'a mut Dir, path: &Path) -> Result<&'a mut Dir, NotBelow> {
    for component in path.components() {
        let Component::Normal(name) = component else { return Err(NotBelow) };
        dir = match dir.entry(name.as_bytes().into()).or_insert_with(|| Node::Dir(Dir::new())) {
            Node::Dir(dir) => dir,
            Node::File { .. } | Node::Symlink(_) => return Err(NotBelow),
        };
    }
    Ok(dir)
}

fn finish(dir: &Dir, listings: &mut HashMap<Digest, Listing>) -> Digest {
    let below: Vec<Option<Digest>> = dir
        .values()
        .map(|node| match node {
            Node::Dir(dir) => Some(finish(dir, listings)),
            Node::File { .. } | Node::Symlink(_) => None,
        })
        .collect();
    let listing = Listing::encode(dir.iter().zip(below).map(|((name, node), below)| {
        let kind = match (node, below) {
            (Node::File { executable, size, digest }, _) => {
                Kind::File { executable: *executable, size: *size, digest: *digest }
            }
            (Node::Symlink(target), _) => Kind::Symlink { target },
            (Node::Dir(_), digest) => Kind::Dir { digest: digest.expect("it was made for each directory") },
        };
        Entry { name, kind }
    }));
    let digest = listing.digest();
    listings.insert(digest, listing);
    digest
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::source::{Snapshot, SnapshotOptions};

    #[test]
    fn a_tree_that_is_known_has_the_digest_of_one_that_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let mut builder = TreeBuilder::default();
        for (path, content) in [("b", "1"), ("a/b", ""), ("a/c/d", "2"), ("a-b", "3"), ("z/ü", "4")] {
            let at = dir.path().join(path);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            fs::write(&at, content).unwrap();
            let executable = content == "2";
            fs::set_permissions(&at, fs::Permissions::from_mode(if executable { 0o755 } else { 0o644 }))
                .unwrap();
            let digest = Digest::of_bytes(content.as_bytes());
            builder.file(Path::new(path), executable, content.len() as u64, digest).unwrap();
        }
        fs::create_dir(dir.path().join("empty")).unwrap();
        builder.dir(Path::new("empty")).unwrap();
        symlink("../a", dir.path().join("a/link")).unwrap();
        builder.symlink(Path::new("a/link"), OsStr::new("elsewhere")).unwrap();
        assert_ne!(
            builder.finish().digest,
            Snapshot::take(dir.path(), &SnapshotOptions::default()).unwrap().digest()
        );
        builder.symlink(Path::new("a/link"), OsStr::new("../a")).unwrap();

        let taken = Snapshot::take(dir.path(), &SnapshotOptions::default()).unwrap();
        let built = builder.finish();
        assert_eq!(built.digest, taken.digest());
        assert_eq!(built.listings, taken.listings().collect());
    }

    #[test]
    fn nothing_is_below_a_file_or_a_link() {
        let mut builder = TreeBuilder::default();
        builder.file(Path::new("a"), false, 0, Digest::of_bytes(b"")).unwrap();
        builder.symlink(Path::new("b"), OsStr::new("c")).unwrap();
        for path in ["a/x", "b/x", "../x", "/x"] {
            assert_eq!(builder.dir(Path::new(path)), Err(NotBelow), "{path}");
            assert_eq!(builder.symlink(Path::new(path), OsStr::new("t")), Err(NotBelow), "{path}");
        }
    }
}
