//! Records of any content survive encoding; hostile ones do no harm.

use kiln::digest::Digest;
use kiln::source::{Entry, EntryKind, Kind, Listing, PathEntry, PathSet, Provenance, Reads, Special};
use kiln::store::{Artifact, BlobError, TreeLimit};
use proptest::prelude::*;

use super::store;

#[test]
fn hostile_listings_write_nothing() {
    let (dir, store) = store();
    let blob = store.put_bytes(b"evil").unwrap();
    let file = Kind::File { executable: false, size: blob.size, digest: blob.digest };
    let link = |target: &'static str| Kind::Symlink { target: target.as_bytes() };
    let dir_of = |digest| Kind::Dir { digest };
    let put = |entries: Vec<(&str, Kind<'_>)>| {
        let entries = entries.into_iter().map(|(name, kind)| Entry { name: name.as_bytes(), kind });
        let listing = Listing::encode(entries);
        let digest = listing.digest();
        store.put_listings([(&digest, listing.bytes())]).unwrap();
        digest
    };
    let limit = TreeLimit { files: 1000, bytes: 1000 };
    let dest = dir.path().join("out/dest");
    let mut hostile = vec![
        put(vec![("x", Kind::Special(Special::BlockDevice))]),
        put(vec![("x", link("/etc"))]),
        put(vec![("x", link("../y"))]),
        put(vec![("x", link(""))]),
        // Through a symlink: the same name twice, first a link and then a directory.
        put(vec![("x", link(".")), ("x", file)]),
        put(vec![("b", file), ("a", file)]),
    ];
    for name in ["", ".", "..", "/etc/evil", "a/b", "../evil", "a\0b"] {
        hostile.push(put(vec![(name, file)]));
    }
    for digest in hostile {
        let below = put(vec![("d", dir_of(digest))]);
        for digest in [digest, below] {
            match store.copy_tree_out(&digest, limit, &dest) {
                // What is not in canonical form is no listing at all: damage, and so a miss.
                Err(error @ (BlobError::Hostile { .. } | BlobError::Missing)) => assert!(error.is_miss()),
                // One level down this one is all right.
                Ok(()) if digest == below => kiln::store::remove_tree(&dest).unwrap(),
                other => panic!("{other:?}"),
            }
            assert!(!dest.exists() && !dir.path().join("evil").exists());
        }
    }

    // Sixty listings that stand for 2^60 files.
    let mut bomb = put(vec![("f", file)]);
    for _ in 0..60 {
        bomb = put(vec![("a", dir_of(bomb)), ("b", dir_of(bomb))]);
    }
    assert!(matches!(store.copy_tree_out(&bomb, limit, &dest), Err(BlobError::TooLarge)));
}

fn any_digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::from_bytes)
}

fn any_artifact() -> impl Strategy<Value = Artifact> {
    prop_oneof![
        (any_digest(), any::<u64>(), any::<bool>()).prop_map(|(digest, size, executable)| Artifact::File {
            digest,
            size,
            executable
        }),
        (any_digest(), any::<u64>(), any::<u64>()).prop_map(|(digest, files, bytes)| Artifact::Tree {
            digest,
            files,
            bytes
        }),
        Just(Artifact::Absent),
    ]
}

proptest! {
    #[test]
    fn artifacts_survive_encoding(artifact in any_artifact()) {
        let json = serde_json::to_string(&artifact).unwrap();
        prop_assert_eq!(serde_json::from_str::<Artifact>(&json).unwrap(), artifact);
        let bytes = postcard::to_stdvec(&artifact).unwrap();
        prop_assert_eq!(postcard::from_bytes::<Artifact>(&bytes).unwrap(), artifact);
    }

    #[test]
    fn arbitrary_bytes_are_no_artifact_that_panics(bytes in any::<Vec<u8>>()) {
        let _ = postcard::from_bytes::<Artifact>(&bytes);
    }
}

proptest! {
    // Each makes a cache of its own.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn path_sets_come_out_as_they_went_in(sets in prop::collection::vec(any_path_set(), 1..4)) {
        let (_dir, store) = store();
        let digests: Vec<Digest> = store
            .batch(|batch| sets.iter().map(|set| batch.put_path_set(set)).collect())
            .unwrap();
        let table = store.entries().unwrap();
        for (set, digest) in sets.iter().zip(digests) {
            let stored = store.path_set(&digest).unwrap().unwrap();
            let resolved = stored.resolve(&table);
            prop_assert_eq!(resolved.as_ref(), Some(set));
        }
    }
}

fn any_path_set() -> impl Strategy<Value = PathSet> {
    let kind = (0..=4_u8).prop_map(|number| EntryKind::from_number(number).unwrap());
    // Few paths, so that sets and inputs share some.
    let entry = (kind, "[ab]{0,2}").prop_map(|(kind, path)| PathEntry::new(kind, path.into_bytes()));
    let only = prop::collection::vec(entry, 0..20).prop_map(Reads::only);
    let reads = prop_oneof![1 => Just(Reads::Whole), 3 => only];
    let provenance = (1_u8..4).prop_map(|number| Provenance::from_number(number).unwrap());
    let inputs = prop::collection::vec(("[a-c]?", reads), 0..4);
    (provenance, inputs).prop_map(|(provenance, inputs)| PathSet::new(provenance, inputs))
}
