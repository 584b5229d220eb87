//! The listings of trees as a blob, and what servers call the files in them.
//!
//! Listings name files by their BLAKE3 digest; a server may know them by SHA-256 alone. A pack therefore has, for a tree
//! that is an output, the SHA-256 digests as well, in the order in which the listings first speak of the files. The
//! listings come in the order in which others first speak of them. So nothing in a pack has to be counted or named, and
//! nothing fits in that does not belong to the tree.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::name::{Name, Sha256};
use super::wire::{Format, FormatError, Unsqueezed, put_bytes, put_number, squeeze};
use crate::digest::Digest;
use crate::source::{Kind, Listing};
use crate::store::{Blob, MAX_DEPTH, TreeLimit, check_target};

/// The largest blob of a pack, in bytes.
pub(super) const MAX_BLOB: u64 = 128 << 20;

/// How much there can be to read, in bytes: some 2,000,000 files. Most of it are digests, which can't be compressed.
const MAX_RAW: u64 = 128 << 20;

/// How much of that is left for all but listings and names of files.
const MAX_REST: u64 = 1 << 20;

/// How many names there can be in all listings together, and in a tree.
pub(super) const MAX_ENTRIES: u64 = 4_000_000;

/// How many trees there can be in one pack.
const MAX_ROOTS: usize = 1024;

/// The listings of trees, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pack {
    /// The digests of the trees; sorted, each once. One for a tree that is an output.
    pub roots: Vec<Digest>,
    /// Their listings: those of the roots, then those that these speak of, and so on.
    pub listings: Vec<Listing>,
    /// The files of a tree that is an output, each content once. Empty in a pack of listings alone.
    pub blobs: Vec<Name>,
    /// Whether it is the pack of a tree that is an output.
    with_blobs: bool,
}

impl Pack {
    /// The pack of a tree that is an output. `None` where a listing or the name of a file is not to be had, and where
    /// others would refuse it.
    pub fn of_tree<E>(
        root: &Digest,
        listing: impl FnMut(&Digest) -> Result<Option<Listing>, E>,
        mut sha256: impl FnMut(&Blob) -> Result<Option<Sha256>, E>,
    ) -> Result<Option<Self>, E> {
        let Some(walk) = gather(&[*root], listing)? else { return Ok(None) };
        let mut blobs = Vec::with_capacity(walk.files.len());
        for blob in &walk.files {
            let Some(sha256) = sha256(blob)? else { return Ok(None) };
            blobs.push(Name { blake3: blob.digest, sha256, size: blob.size });
        }
        Ok(Some(Self { roots: vec![*root], listings: walk.listings, blobs, with_blobs: true }))
    }

    /// The pack of listings alone, of any trees. `None` as for [`Pack::of_tree`].
    pub fn of_listings<E>(
        roots: impl IntoIterator<Item = Digest>,
        listing: impl FnMut(&Digest) -> Result<Option<Listing>, E>,
    ) -> Result<Option<Self>, E> {
        let mut roots: Vec<Digest> = roots.into_iter().collect();
        roots.sort_unstable();
        roots.dedup();
        let walk = gather(&roots, listing)?.filter(|_| roots.len() <= MAX_ROOTS);
        Ok(walk.map(|walk| Self { roots, listings: walk.listings, ..Self::default() }))
    }

    /// Its blob. Equal trees have equal blobs.
    pub fn encode(&self) -> Vec<u8> {
        let mut raw = vec![u8::from(self.with_blobs)];
        put_number(&mut raw, self.roots.len() as u64);
        for root in &self.roots {
            raw.extend_from_slice(root.as_bytes());
        }
        for listing in &self.listings {
            put_bytes(&mut raw, listing.bytes());
        }
        for blob in &self.blobs {
            raw.extend_from_slice(&blob.sha256.0);
        }
        squeeze(Format::Pack, &raw)
    }

    /// The pack of a tree that is an output, from elsewhere. It is exactly that tree, and no larger than `limit`; it can be
    /// placed by the store.
    pub fn decode_tree(bytes: &[u8], root: &Digest, limit: TreeLimit) -> Result<Self, FormatError> {
        let (pack, walk) = decode(bytes, true)?;
        if pack.roots != [*root] {
            return Err(FormatError::Damaged("it is of another tree"));
        }
        check_placeable(&walk)?;
        let size = Measure { walk: &walk, known: HashMap::new() }.tree(root, 0)?;
        if (size.files, size.bytes) != (limit.files, limit.bytes) {
            return Err(FormatError::Damaged("its tree has another size than it is said to have"));
        }
        Ok(Self { listings: walk.listings, ..pack })
    }

    /// The pack of listings alone, from elsewhere.
    pub fn decode_listings(bytes: &[u8]) -> Result<Self, FormatError> {
        let (pack, walk) = decode(bytes, false)?;
        Ok(Self { listings: walk.listings, ..pack })
    }
}

/// Trees, gone through breadth first: the one order that a pack can have.
#[derive(Default)]
struct Walk {
    /// What has been spoken of, in that order, and how many levels below a root it first was.
    order: Vec<(Digest, usize)>,
    places: HashMap<Digest, usize>,
    listings: Vec<Listing>,
    files: Vec<Blob>,
    sizes: HashMap<Digest, u64>,
    entries: u64,
    /// How many bytes that is in a pack.
    raw: u64,
}

impl Walk {
    fn of(roots: &[Digest]) -> Self {
        let mut walk = Self::default();
        for root in roots {
            walk.speak_of(*root, 0);
        }
        walk
    }

    /// The digest of the listing that comes next.
    fn next(&self) -> Option<Digest> {
        self.order.get(self.listings.len()).map(|(digest, _)| *digest)
    }

    fn speak_of(&mut self, digest: Digest, depth: usize) {
        if !self.places.contains_key(&digest) {
            self.places.insert(digest, self.order.len());
            self.order.push((digest, depth));
        }
    }

    /// Adds the listing that comes next.
    fn add(&mut self, listing: Listing) -> Result<(), FormatError> {
        let (_, depth) = self.order[self.listings.len()];
        self.raw += listing.bytes().len() as u64;
        for entry in listing.entries() {
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(FormatError::TooLarge("its trees have more than 4,000,000 names"));
            }
            match entry.kind {
                Kind::File { size, digest, .. } => match self.sizes.insert(digest, size) {
                    None => self.files.push(Blob { digest, size }),
                    Some(other) if other != size => {
                        return Err(FormatError::Damaged("one content has two sizes"));
                    }
                    Some(_) => {}
                },
                Kind::Dir { digest } => self.speak_of(digest, depth + 1),
                Kind::Symlink { .. } | Kind::Special(_) => {}
            }
        }
        if self.raw + 32 * self.files.len() as u64 > MAX_RAW - MAX_REST {
            return Err(FormatError::TooLarge("its trees take more than 127 MiB to list"));
        }
        self.listings.push(listing);
        Ok(())
    }
}

fn gather<E>(
    roots: &[Digest],
    mut listing: impl FnMut(&Digest) -> Result<Option<Listing>, E>,
) -> Result<Option<Walk>, E> {
    let mut walk = Walk::of(roots);
    while let Some(digest) = walk.next() {
        let Some(listing) = listing(&digest)? else { return Ok(None) };
        if walk.add(listing).is_err() {
            return Ok(None);
        }
    }
    Ok(Some(walk))
}

/// All but the listings, which are in the walk.
fn decode(bytes: &[u8], with_blobs: bool) -> Result<(Pack, Walk), FormatError> {
    if bytes.len() as u64 > MAX_BLOB {
        return Err(FormatError::TooLarge("a pack has at most 128 MiB"));
    }
    let mut from = Unsqueezed::new(Format::Pack, bytes, MAX_RAW)?;
    if from.array()? != [u8::from(with_blobs)] {
        return Err(FormatError::Damaged("it is another kind of pack"));
    }
    let count = from.count(MAX_ROOTS)?;
    let mut roots = Vec::new();
    for _ in 0..count {
        roots.push(Digest::from_bytes(from.array()?));
    }
    if !roots.is_sorted_by(|a, b| a < b) {
        return Err(FormatError::Damaged("its trees are out of order"));
    }
    let mut walk = Walk::of(&roots);
    while let Some(digest) = walk.next() {
        let bytes = from.bytes(usize::MAX)?;
        let listing =
            Listing::decode(bytes).map_err(|_| FormatError::Damaged("a listing in it can't be read"))?;
        if listing.digest() != digest {
            return Err(FormatError::Damaged("a listing in it is not the one that belongs there"));
        }
        walk.add(listing)?;
    }
    let mut blobs = Vec::new();
    if with_blobs {
        for blob in &walk.files {
            let sha256 = Sha256(from.array()?);
            blobs.push(Name { blake3: blob.digest, sha256, size: blob.size });
        }
    }
    from.end()?;
    Ok((Pack { roots, listings: Vec::new(), blobs, with_blobs }, walk))
}

/// Whether the store would make all that is in the tree: it refuses the same, but only when it is asked to.
fn check_placeable(walk: &Walk) -> Result<(), FormatError> {
    for (listing, (_, depth)) in walk.listings.iter().zip(&walk.order) {
        for entry in listing.entries() {
            match entry.kind {
                // The first mention of a directory is the one with the fewest levels above it.
                Kind::Symlink { target } => check_target(Path::new(OsStr::from_bytes(target)), *depth)
                    .map_err(FormatError::Damaged)?,
                Kind::Special(_) => return Err(FormatError::Damaged("it has a special file")),
                Kind::File { .. } | Kind::Dir { .. } => {}
            }
        }
    }
    Ok(())
}

/// What a tree comes to when it is placed. A directory counts as often as it is there, but is looked at once: a few
/// kilobytes of listings can stand for any number of files.
struct Measure<'a> {
    walk: &'a Walk,
    known: HashMap<Digest, Size>,
}

#[derive(Clone, Copy, Default)]
struct Size {
    files: u64,
    bytes: u64,
    names: u64,
    /// How many levels of directories are below.
    levels: usize,
}

const TOO_DEEP: FormatError = FormatError::Damaged("it is nested too deeply");
const TOO_MANY: FormatError = FormatError::TooLarge("its tree has more than 4,000,000 names");

impl Measure<'_> {
    fn tree(&mut self, digest: &Digest, depth: usize) -> Result<Size, FormatError> {
        if let Some(size) = self.known.get(digest) {
            return if depth + size.levels > MAX_DEPTH { Err(TOO_DEEP) } else { Ok(*size) };
        }
        // Nor does a chain of listings that leads back to itself come past this, should anyone find one.
        if depth > MAX_DEPTH {
            return Err(TOO_DEEP);
        }
        let walk = self.walk;
        let mut sum = Size::default();
        for entry in walk.listings[walk.places[digest]].entries() {
            let below = match entry.kind {
                Kind::File { size, .. } => Size { files: 1, bytes: size, ..Size::default() },
                Kind::Dir { digest } => self.tree(&digest, depth + 1)?,
                Kind::Symlink { .. } | Kind::Special(_) => Size::default(),
            };
            let is_dir = matches!(entry.kind, Kind::Dir { .. });
            sum.files += below.files;
            sum.bytes = sum.bytes.checked_add(below.bytes).ok_or(TOO_MANY)?;
            sum.names += 1 + below.names;
            sum.levels = sum.levels.max(below.levels + usize::from(is_dir));
            if sum.names > MAX_ENTRIES {
                return Err(TOO_MANY);
            }
        }
        self.known.insert(*digest, sum);
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;
    use crate::source::{Entry, Special};

    /// Listings by digest, put together from the leaves.
    #[derive(Default)]
    struct Trees(BTreeMap<Digest, Listing>);

    impl Trees {
        fn dir(&mut self, entries: &[(&str, Kind<'_>)]) -> Digest {
            let mut entries: Vec<_> = entries.to_vec();
            entries.sort_by_key(|(name, _)| name.as_bytes());
            let entries = entries.iter().map(|(name, kind)| Entry { name: name.as_bytes(), kind: *kind });
            let listing = Listing::encode(entries);
            let digest = listing.digest();
            self.0.insert(digest, listing);
            digest
        }

        fn pack(&self, root: &Digest) -> Pack {
            Pack::of_tree(root, |digest| Ok::<_, Infallible>(self.0.get(digest).cloned()), sha256)
                .unwrap()
                .unwrap()
        }

        fn blob(&self, root: &Digest) -> Vec<u8> {
            self.pack(root).encode()
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "as packs ask for it")]
    fn sha256<E>(blob: &Blob) -> Result<Option<Sha256>, E> {
        Ok(Some(Sha256(*Digest::of_bytes(blob.digest.as_bytes()).as_bytes())))
    }

    fn file(content: &str) -> Kind<'static> {
        let digest = Digest::of_bytes(content.as_bytes());
        Kind::File { executable: false, size: content.len() as u64, digest }
    }

    const fn limit(files: u64, bytes: u64) -> TreeLimit {
        TreeLimit { files, bytes }
    }

    fn damaged(why: &'static str) -> Result<Pack, FormatError> {
        Err(FormatError::Damaged(why))
    }

    /// Two directories that are the same, and a file that is in them and above them: 5 files, 11 bytes.
    fn sample() -> (Trees, Digest) {
        let mut trees = Trees::default();
        let inner =
            trees.dir(&[("a", file("one")), ("b", file("")), ("up", Kind::Symlink { target: b"../c" })]);
        let root = trees.dir(&[
            ("c", file("three")),
            ("x", Kind::Dir { digest: inner }),
            ("y", Kind::Dir { digest: inner }),
        ]);
        (trees, root)
    }

    #[test]
    fn a_tree_is_what_it_was() {
        let (trees, root) = sample();
        let pack = trees.pack(&root);
        assert_eq!(pack.listings.len(), 2, "each listing once");
        assert_eq!(pack.blobs.len(), 3, "each content once");
        let again = Pack::decode_tree(&pack.encode(), &root, limit(5, 11)).unwrap();
        assert_eq!(again, pack);
        assert_eq!(again.listings[0].digest(), root);
        let named = again.blobs.iter().find(|blob| blob.size == 5).unwrap();
        assert_eq!(named.blake3, Digest::of_bytes(b"three"));
        assert_eq!(again.encode(), pack.encode());
    }

    #[test]
    fn what_the_store_says_of_a_tree_is_what_its_pack_comes_to() {
        let dir = tempfile::tempdir().unwrap();
        let store = crate::store::Store::open(&dir.path().join("cache")).unwrap();
        let tree = dir.path().join("tree");
        for below in ["lib/modules", "lib/copy", "empty"] {
            std::fs::create_dir_all(tree.join(below)).unwrap();
        }
        for (path, content) in [("a", "one"), ("lib/modules/a", "one"), ("lib/copy/a", "one"), ("b", "")] {
            std::fs::write(tree.join(path), content).unwrap();
        }
        std::os::unix::fs::symlink("../modules/a", tree.join("lib/copy/up")).unwrap();
        let artifact = store.put_tree(&tree, &|_| true).unwrap();
        let crate::store::Artifact::Tree { digest, files, bytes } = artifact else { panic!("{artifact:?}") };
        let pack = Pack::of_tree(&digest, |digest| store.listing(digest), sha256).unwrap().unwrap();
        assert_eq!((pack.listings.len(), pack.blobs.len()), (5, 2));
        assert_eq!(Pack::decode_tree(&pack.encode(), &digest, limit(files, bytes)), Ok(pack));
    }

    #[test]
    fn a_tree_of_another_size_or_digest_is_refused() {
        let (trees, root) = sample();
        let blob = trees.blob(&root);
        for wrong in [limit(4, 11), limit(6, 11), limit(5, 10), limit(5, 12), limit(3, 8)] {
            let why = "its tree has another size than it is said to have";
            assert_eq!(Pack::decode_tree(&blob, &root, wrong), damaged(why), "{wrong:?}");
        }
        let other = Digest::of_bytes(b"other");
        assert_eq!(Pack::decode_tree(&blob, &other, limit(5, 11)), damaged("it is of another tree"));
        assert_eq!(Pack::decode_listings(&blob), damaged("it is another kind of pack"));
    }

    #[test]
    fn what_is_not_to_be_had_can_not_be_packed() {
        let (mut trees, root) = sample();
        let none = Pack::of_tree(
            &root,
            |digest| Ok::<_, Infallible>(trees.0.get(digest).cloned()),
            |blob| Ok((blob.size > 0).then_some(Sha256([0; 32]))),
        );
        assert_eq!(none, Ok(None));
        trees.0.retain(|digest, _| *digest == root);
        let none = Pack::of_tree(&root, |digest| Ok::<_, Infallible>(trees.0.get(digest).cloned()), sha256);
        assert_eq!(none, Ok(None));
        assert_eq!(Pack::of_tree(&root, |_| Err("disk"), sha256), Err("disk"));
    }

    #[test]
    fn listings_alone_may_be_of_several_trees_and_of_anything() {
        let mut trees = Trees::default();
        let shared = trees.dir(&[("etc", Kind::Symlink { target: b"/etc" })]);
        let pipe = Kind::Special(Special::Fifo);
        let one = trees.dir(&[("a", file("one")), ("pipe", pipe), ("s", Kind::Dir { digest: shared })]);
        let two = trees.dir(&[("a", file("two")), ("s", Kind::Dir { digest: shared })]);
        let of = |roots: &[Digest]| {
            let listing = |digest: &Digest| Ok::<_, Infallible>(trees.0.get(digest).cloned());
            Pack::of_listings(roots.iter().copied(), listing).unwrap().unwrap()
        };
        let pack = of(&[one, two, one]);
        assert_eq!(pack.listings.len(), 3);
        assert!(pack.blobs.is_empty());
        assert_eq!(pack.encode(), of(&[two, one]).encode());
        assert_eq!(Pack::decode_listings(&pack.encode()), Ok(pack));
        let none = of(&[]);
        assert_eq!(Pack::decode_listings(&none.encode()), Ok(none));
        // The same tree can't be an output.
        let blob = trees.blob(&one);
        assert!(Pack::decode_tree(&blob, &one, limit(1, 3)).is_err());
    }

    #[test]
    fn trees_that_reach_out_are_refused() {
        let refused = |entries: &[(&str, Kind<'_>)], why| {
            let mut trees = Trees::default();
            let root = trees.dir(entries);
            assert_eq!(Pack::decode_tree(&trees.blob(&root), &root, limit(0, 0)), damaged(why));
        };
        refused(
            &[("a", Kind::Symlink { target: b"/etc/passwd" })],
            "it is a symlink with an absolute target",
        );
        refused(&[("a", Kind::Symlink { target: b".." })], "it is a symlink that leads out of the tree");
        refused(&[("a", Kind::Special(Special::CharDevice))], "it has a special file");
        for name in ["..", ".", "a/b", "/a", "a\0", ""] {
            refused(&[(name, Kind::Symlink { target: b"b" })], "a listing in it can't be read");
        }
    }

    #[test]
    fn a_link_is_judged_where_the_fewest_levels_are_above_it() {
        let mut trees = Trees::default();
        let links = trees.dir(&[("up", Kind::Symlink { target: b"../../a" })]);
        let deep = trees.dir(&[("links", Kind::Dir { digest: links })]);
        let root = trees.dir(&[("deep", Kind::Dir { digest: deep })]);
        assert!(Pack::decode_tree(&trees.blob(&root), &root, limit(0, 0)).is_ok());
        // First met two levels down in the order of names, and yet one level down, too.
        let root = trees.dir(&[("deep", Kind::Dir { digest: deep }), ("links", Kind::Dir { digest: links })]);
        let out = damaged("it is a symlink that leads out of the tree");
        assert_eq!(Pack::decode_tree(&trees.blob(&root), &root, limit(0, 0)), out);
    }

    #[test]
    fn names_that_differ_in_case_alone_are_kept_apart() {
        let mut trees = Trees::default();
        let root = trees.dir(&[("xt_DSCP.h", file("upper")), ("xt_dscp.h", file("lower"))]);
        let pack = Pack::decode_tree(&trees.blob(&root), &root, limit(2, 10)).unwrap();
        assert_eq!(pack.blobs.len(), 2);
    }

    #[test]
    fn a_tree_that_blows_up_when_placed_is_refused() {
        let mut trees = Trees::default();
        let mut dir = trees.dir(&[("a", file("a")), ("b", file("b"))]);
        for _ in 0..63 {
            dir = trees.dir(&[("a", Kind::Dir { digest: dir }), ("b", Kind::Dir { digest: dir })]);
        }
        let blob = trees.blob(&dir);
        assert!(blob.len() < 10_000);
        assert_eq!(Pack::decode_tree(&blob, &dir, limit(u64::MAX, u64::MAX)), Err(TOO_MANY));
        let mut deep = trees.dir(&[]);
        for _ in 0..MAX_DEPTH {
            deep = trees.dir(&[("a", Kind::Dir { digest: deep })]);
        }
        assert!(Pack::decode_tree(&trees.blob(&deep), &deep, limit(0, 0)).is_ok());
        let deeper = trees.dir(&[("a", Kind::Dir { digest: deep })]);
        assert_eq!(Pack::decode_tree(&trees.blob(&deeper), &deeper, limit(0, 0)), Err(TOO_DEEP));
        // The long way is found behind the short one as well.
        let (mut end, mut long) = (trees.dir(&[]), deep);
        for _ in 0..10 {
            end = trees.dir(&[("a", Kind::Dir { digest: end })]);
            long = trees.dir(&[("a", Kind::Dir { digest: long })]);
        }
        let root = trees.dir(&[("0", Kind::Dir { digest: end }), ("1", Kind::Dir { digest: long })]);
        assert_eq!(Pack::decode_tree(&trees.blob(&root), &root, limit(0, 0)), Err(TOO_DEEP));
    }

    #[test]
    fn nothing_fits_in_that_does_not_belong_to_the_tree() {
        let (mut trees, root) = sample();
        let stranger = trees.dir(&[("s", file("stranger"))]);
        let whole = trees.pack(&root);
        let refused = |change: &dyn Fn(&mut Pack)| {
            let mut pack = whole.clone();
            change(&mut pack);
            assert!(Pack::decode_tree(&pack.encode(), &root, limit(5, 11)).is_err(), "{pack:?}");
        };
        refused(&|pack| pack.listings.push(trees.0[&stranger].clone()));
        refused(&|pack| pack.listings.swap(0, 1));
        refused(&|pack| {
            pack.listings.pop();
        });
        refused(&|pack| pack.blobs.push(pack.blobs[0]));
        refused(&|pack| {
            pack.blobs.pop();
        });
        refused(&|pack| pack.roots.push(stranger));
        refused(&|pack| pack.roots.clear());
    }

    #[test]
    fn one_content_has_one_size() {
        let mut trees = Trees::default();
        let digest = Digest::of_bytes(b"a");
        let root = trees.dir(&[
            ("a", Kind::File { executable: false, size: 1, digest }),
            ("b", Kind::File { executable: true, size: 1 << 60, digest }),
        ]);
        let mut raw = vec![1];
        put_number(&mut raw, 1);
        raw.extend_from_slice(root.as_bytes());
        put_bytes(&mut raw, trees.0[&root].bytes());
        raw.extend_from_slice(&[0; 64]);
        let blob = squeeze(Format::Pack, &raw);
        let two = damaged("one content has two sizes");
        assert_eq!(Pack::decode_tree(&blob, &root, limit(2, 2)), two);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes: Vec<u8>, with_blobs: bool) {
            bytes.insert(0, u8::from(with_blobs));
            let blob = squeeze(Format::Pack, &bytes);
            let _ = Pack::decode_listings(&blob);
            let root = Digest::of_bytes(&bytes);
            prop_assert!(Pack::decode_tree(&blob, &root, limit(u64::MAX, u64::MAX)).is_err());
        }

        #[test]
        fn no_change_of_the_raw_bytes_but_of_a_name_for_servers_is_the_same_tree(
            at: prop::sample::Index,
            byte: u8,
        ) {
            let (trees, root) = sample();
            let pack = trees.pack(&root);
            let mut raw = zstd::decode_all(&pack.encode()[6..]).unwrap();
            let at = at.index(raw.len());
            prop_assume!(raw[at] != byte);
            raw[at] = byte;
            let decoded = Pack::decode_tree(&squeeze(Format::Pack, &raw), &root, limit(5, 11));
            let is_name = at >= raw.len() - 3 * 32;
            prop_assert_eq!(decoded.is_ok(), is_name);
            if let Ok(decoded) = decoded {
                prop_assert_eq!(decoded.listings, pack.listings);
            }
        }

        #[test]
        fn no_truncation_is_a_pack(cut: prop::sample::Index) {
            let (trees, root) = sample();
            let blob = trees.blob(&root);
            let blob = &blob[..cut.index(blob.len())];
            prop_assert!(Pack::decode_tree(blob, &root, limit(5, 11)).is_err());
        }
    }
}
