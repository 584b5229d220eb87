//! States: what the paths of a path set hold in one tree.
//!
//! The state of an entry is one digest. Two trees in which all entries of a path set have equal states are the same
//! to the action that has it, however much else differs.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use crate::digest::{Digest, Domain, Hasher};

use super::diff::Listings;
use super::listing::{Kind, Listing};
use super::path_set::EntryKind;
use super::snapshot::Snapshot;

/// A tree that can be looked into.
pub trait Contents: Send + Sync {
    /// The digest of the root's listing.
    fn digest(&self) -> Digest;

    /// Calls `found` with what is at a path; with `None` where there is nothing. Links are not followed.
    fn look(&self, path: &[u8], found: &mut dyn FnMut(Option<Kind<'_>>));

    /// The listing of the directory at a path, where there is one.
    fn listing(&self, path: &[u8]) -> Option<Listing>;

    /// Calls `visit` with path and kind of each entry below the root.
    fn each(&self, visit: &mut dyn FnMut(&[u8], Kind<'_>));
}

impl Contents for Snapshot {
    fn digest(&self) -> Digest {
        Self::digest(self)
    }

    fn look(&self, path: &[u8], found: &mut dyn FnMut(Option<Kind<'_>>)) {
        found(self.at(path));
    }

    fn listing(&self, path: &[u8]) -> Option<Listing> {
        self.listing_at(path)
    }

    fn each(&self, visit: &mut dyn FnMut(&[u8], Kind<'_>)) {
        let _: Option<()> = Self::each(self, |path, kind| {
            visit(path, kind);
            ControlFlow::Continue(())
        });
    }
}

impl<T: Contents> Contents for Arc<T> {
    fn digest(&self) -> Digest {
        T::digest(self)
    }

    fn look(&self, path: &[u8], found: &mut dyn FnMut(Option<Kind<'_>>)) {
        T::look(self, path, found);
    }

    fn listing(&self, path: &[u8]) -> Option<Listing> {
        T::listing(self, path)
    }

    fn each(&self, visit: &mut dyn FnMut(&[u8], Kind<'_>)) {
        T::each(self, visit);
    }
}

/// A tree of which only the listings are known, such as another node's output. A listing that is not kept any more is
/// an empty one: the states then differ from those of any tree that had something there.
pub struct Listed {
    root: Digest,
    listings: HashMap<Digest, Listing>,
}

impl Listed {
    /// The tree whose root has that digest.
    pub fn read(root: Digest, from: &dyn Listings) -> Self {
        let mut listings = HashMap::new();
        let mut left = vec![root];
        while let Some(digest) = left.pop() {
            if listings.contains_key(&digest) {
                continue;
            }
            let Some(listing) = from.listing(&digest) else { continue };
            left.extend(listing.entries().filter_map(|entry| match entry.kind {
                Kind::Dir { digest } => Some(digest),
                _ => None,
            }));
            listings.insert(digest, listing);
        }
        Self { root, listings }
    }

    fn below(&self, dir: &Digest, path: &mut Vec<u8>, visit: &mut dyn FnMut(&[u8], Kind<'_>)) {
        let Some(listing) = self.listings.get(dir) else { return };
        let above = path.len();
        for entry in listing.entries() {
            if above > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(entry.name);
            visit(path, entry.kind);
            if let Kind::Dir { digest } = entry.kind {
                self.below(&digest, path, visit);
            }
            path.truncate(above);
        }
    }

    fn dir(&self, path: &[u8]) -> Option<&Listing> {
        let mut listing = self.listings.get(&self.root)?;
        for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            let Some(Kind::Dir { digest }) = listing.get(name) else { return None };
            listing = self.listings.get(&digest)?;
        }
        Some(listing)
    }
}

impl Contents for Listed {
    fn digest(&self) -> Digest {
        self.root
    }

    fn look(&self, path: &[u8], found: &mut dyn FnMut(Option<Kind<'_>>)) {
        if path.is_empty() {
            return found(Some(Kind::Dir { digest: self.root }));
        }
        let (dir, name) = split(path);
        found(self.dir(dir).and_then(|listing| listing.get(name)));
    }

    fn listing(&self, path: &[u8]) -> Option<Listing> {
        self.dir(path).cloned()
    }

    fn each(&self, visit: &mut dyn FnMut(&[u8], Kind<'_>)) {
        self.below(&self.root, &mut Vec::new(), visit);
    }
}

/// The directory of a path, and the name in it.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

/// The states of one tree. What concerns the whole of it is worked out once, when it is first asked for.
pub struct States {
    contents: Box<dyn Contents>,
    namesakes: OnceLock<Namesakes>,
    links: OnceLock<Digest>,
}

impl States {
    /// The states of that tree.
    pub fn of(contents: impl Contents + 'static) -> Self {
        Self { contents: Box::new(contents), namesakes: OnceLock::new(), links: OnceLock::new() }
    }

    /// The digest of the whole tree: the state of all of it.
    pub fn whole(&self) -> Digest {
        self.contents.digest()
    }

    /// The paths of all symbolic links.
    pub fn link_paths(&self) -> Vec<Vec<u8>> {
        let mut paths = Vec::new();
        self.contents.each(&mut |path, kind| {
            if let Kind::Symlink { .. } = kind {
                paths.push(path.to_vec());
            }
        });
        paths
    }

    /// The state of one entry.
    pub fn of_entry(&self, kind: EntryKind, path: &[u8]) -> Digest {
        match kind {
            EntryKind::File => self.file(path).finish(),
            EntryKind::Searched => {
                let mut hasher = self.file(path);
                let namesakes = self.namesakes.get_or_init(|| Namesakes::of(&*self.contents));
                namesakes.hash(split(path).1, &mut hasher);
                hasher.finish()
            }
            EntryKind::Names => self.names(path),
            EntryKind::Tree => self.file(path).finish(),
            EntryKind::Links => *self.links.get_or_init(|| self.links()),
        }
    }

    fn file(&self, path: &[u8]) -> Hasher {
        let mut hasher = Hasher::new(Domain::State);
        self.contents.look(path, &mut |kind| {
            match kind {
                None => hasher.number(0),
                Some(Kind::File { executable, digest, .. }) => {
                    hasher.number(1).number(executable.into()).digest(&digest)
                }
                Some(Kind::Dir { digest }) => hasher.number(2).digest(&digest),
                Some(Kind::Symlink { target }) => hasher.number(3).bytes(target),
                Some(Kind::Special(special)) => hasher.number(4).number(special.tag().into()),
            };
        });
        hasher
    }

    fn names(&self, path: &[u8]) -> Digest {
        let mut hasher = Hasher::new(Domain::State);
        match self.contents.listing(path) {
            None => {
                hasher.number(5);
            }
            Some(listing) => {
                hasher.number(6);
                for entry in listing.entries() {
                    hasher.bytes(entry.name);
                    match entry.kind {
                        Kind::File { executable, .. } => hasher.number(1).number(executable.into()),
                        Kind::Dir { .. } => hasher.number(2),
                        Kind::Symlink { target } => hasher.number(3).bytes(target),
                        Kind::Special(special) => hasher.number(4).number(special.tag().into()),
                    };
                }
            }
        }
        hasher.finish()
    }

    fn links(&self) -> Digest {
        let mut hasher = Hasher::new(Domain::State);
        hasher.number(7);
        self.contents.each(&mut |path, kind| {
            if let Kind::Symlink { target } = kind {
                hasher.bytes(path).bytes(target);
            }
        });
        hasher.finish()
    }
}

/// Where in a tree each name occurs, directories aside: a directory is not found where a file is looked for.
struct Namesakes {
    /// The last path of each name.
    last: HashMap<Box<[u8]>, u32>,
    /// The paths, each with the one before it that has the same name.
    paths: Vec<(Box<[u8]>, Option<u32>)>,
}

impl Namesakes {
    fn of(contents: &dyn Contents) -> Self {
        let mut all = Self { last: HashMap::new(), paths: Vec::new() };
        contents.each(&mut |path, kind| {
            if matches!(kind, Kind::Dir { .. }) {
                return;
            }
            let number = u32::try_from(all.paths.len()).expect("fewer than 2^32 files");
            let (dir, name) = split(path);
            let before = match all.last.get_mut(name) {
                Some(last) => Some(std::mem::replace(last, number)),
                None => {
                    all.last.insert(name.into(), number);
                    None
                }
            };
            all.paths.push((dir.into(), before));
        });
        all
    }

    fn hash(&self, name: &[u8], hasher: &mut Hasher) {
        let mut next = self.last.get(name).copied();
        while let Some(number) = next {
            let (dir, before) = &self.paths[number as usize];
            hasher.bytes(dir);
            next = *before;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Entry;
    use std::collections::HashMap;

    type Trees = HashMap<Digest, Listing>;

    /// A tree from paths and contents; `->` makes a link.
    fn tree(files: &[(&str, &str)]) -> (Digest, Trees) {
        fn dir(files: &[(&str, &str)], trees: &mut Trees) -> Digest {
            let mut names: Vec<&str> =
                files.iter().map(|(path, _)| path.split('/').next().unwrap()).collect();
            names.sort_unstable();
            names.dedup();
            let entries: Vec<(&str, Digest, bool, Option<&str>)> = names
                .into_iter()
                .map(|name| match files.iter().find(|(path, _)| *path == name) {
                    Some((_, content)) => {
                        (name, Digest::of_bytes(content.as_bytes()), false, content.strip_prefix("->"))
                    }
                    None => {
                        let below: Vec<(&str, &str)> = files
                            .iter()
                            .filter_map(|(path, content)| {
                                Some((path.strip_prefix(name)?.strip_prefix('/')?, *content))
                            })
                            .collect();
                        (name, dir(&below, trees), true, None)
                    }
                })
                .collect();
            let listing = Listing::encode(entries.iter().map(|(name, digest, is_dir, target)| {
                let kind = match target {
                    Some(target) => Kind::Symlink { target: target.as_bytes() },
                    None if *is_dir => Kind::Dir { digest: *digest },
                    None => Kind::File { executable: false, size: 0, digest: *digest },
                };
                Entry { name: name.as_bytes(), kind }
            }));
            let digest = listing.digest();
            trees.insert(digest, listing);
            digest
        }
        let mut trees = Trees::new();
        let root = dir(files, &mut trees);
        (root, trees)
    }

    const BASE: &[(&str, &str)] = &[
        ("include/a.h", "a"),
        ("include/sub/b.h", "b"),
        ("link", "->include"),
        ("lib/c.c", "c"),
        ("top", "t"),
    ];

    /// Which of the entries have another state once these files differ.
    fn changed(edit: &[(&str, Option<&str>)], entries: &[(EntryKind, &str)]) -> Vec<usize> {
        let mut after: Vec<(&str, &str)> = BASE.to_vec();
        for (path, content) in edit {
            after.retain(|(known, _)| known != path);
            after.extend(content.map(|content| (*path, content)));
        }
        let (before, after) = (tree(BASE), tree(&after));
        let states = |(root, trees): &(Digest, Trees)| -> Vec<Digest> {
            let states = States::of(Listed::read(*root, trees));
            entries.iter().map(|(kind, path)| states.of_entry(*kind, path.as_bytes())).collect()
        };
        let (before, after) = (states(&before), states(&after));
        (0..entries.len()).filter(|&n| before[n] != after[n]).collect()
    }

    #[test]
    fn an_entry_sees_what_its_kind_says_and_no_more() {
        use EntryKind::{File, Links, Names, Searched, Tree};
        let entries = [
            (File, "include/a.h"),
            (Searched, "include/a.h"),
            (Names, "include"),
            (Names, ""),
            (Tree, "include"),
            (Links, ""),
            (File, "lib/none"),
        ];
        assert_eq!(changed(&[], &entries), [0usize; 0]);
        assert_eq!(changed(&[("include/a.h", Some("A"))], &entries), [0, 1, 4], "content");
        assert_eq!(changed(&[("lib/c.c", Some("C"))], &entries), [0usize; 0], "a file that nobody reads");
        assert_eq!(changed(&[("include/new.h", Some(""))], &entries), [2, 4], "a name in a directory");
        assert_eq!(changed(&[("include/sub/new.h", Some(""))], &entries), [4], "a name further down");
        assert_eq!(changed(&[("lib/a.h", Some(""))], &entries), [1], "a namesake elsewhere");
        assert_eq!(changed(&[("lib/a.h/x", Some(""))], &entries), [0usize; 0], "a directory is no namesake");
        assert_eq!(changed(&[("include/a.h", None)], &entries), [0, 1, 2, 4], "removed");
        assert_eq!(changed(&[("link", Some("->lib"))], &entries), [3, 5], "a link points elsewhere");
        assert_eq!(changed(&[("lib/l", Some("->.."))], &entries), [5], "a new link");
        assert_eq!(changed(&[("lib/none", Some(""))], &entries), [6], "what was not there is");
        let became_dir = [("include/a.h", None), ("include/a.h/x", Some(""))];
        assert_eq!(changed(&became_dir, &entries), [0, 1, 2, 4], "a file became a directory");
    }

    #[test]
    fn a_snapshot_and_its_listings_have_equal_states() {
        let dir = tempfile::tempdir().unwrap();
        for (path, content) in BASE {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            match content.strip_prefix("->") {
                Some(target) => std::os::unix::fs::symlink(target, path).unwrap(),
                None => std::fs::write(path, content).unwrap(),
            }
        }
        let snapshot = Snapshot::take(dir.path(), &crate::source::SnapshotOptions::default()).unwrap();
        let listings: Trees = snapshot.listings().collect();
        let listed = States::of(Listed::read(snapshot.digest(), &listings));
        let taken = States::of(snapshot);
        for kind in
            [EntryKind::File, EntryKind::Searched, EntryKind::Names, EntryKind::Tree, EntryKind::Links]
        {
            for path in
                ["", "include", "include/a.h", "include/sub/b.h", "link", "lib/c.c", "none", "none/none"]
            {
                let path = path.as_bytes();
                assert_eq!(listed.of_entry(kind, path), taken.of_entry(kind, path), "{kind:?} {path:?}");
            }
        }
    }
}
