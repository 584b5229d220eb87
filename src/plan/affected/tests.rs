//! Which changes reach which reads, without a disk.

use std::collections::HashMap;
use std::sync::Arc;

use super::effect::{Cause, Effect};
use super::reached::Reached;
use crate::digest::Digest;
use crate::plan::reach::Reach;
use crate::plan::records::Records;
use crate::source::patch::{Link, Touch, Touched};
use crate::source::{Entry, EntryKind, Kind, Listing, Provenance};
use crate::store::{
    EntryTable, NodeRecord, NodeState, Outcome, RunId, StoreError, StoredPathSet, StoredReads,
};

/// The entries of all path sets of these tests.
const ENTRIES: [(EntryKind, &str); 5] = [
    (EntryKind::File, "kernel/fork.c"),
    (EntryKind::Searched, "include/linux/fork.h"),
    (EntryKind::Names, "drivers"),
    (EntryKind::Tree, "scripts"),
    (EntryKind::Names, ""),
];

/// Records in memory: one path set, and the listings of one tree.
struct InMemory {
    path_set: StoredPathSet,
    listings: HashMap<Digest, Listing>,
}

impl Records for InMemory {
    fn entries(&self) -> Result<EntryTable, StoreError> {
        Ok(table())
    }

    fn path_set(&self, digest: &Digest) -> Result<Option<StoredPathSet>, StoreError> {
        Ok((*digest == self.path_set.digest).then(|| self.path_set.clone()))
    }

    fn listing(&self, digest: &Digest) -> Option<Listing> {
        self.listings.get(digest).cloned()
    }
}

fn table() -> EntryTable {
    ENTRIES.iter().map(|(kind, path)| (*kind, path.as_bytes().to_vec())).collect()
}

/// A path set of these entries, of the input `src`.
fn path_set(entries: &[(EntryKind, &str)]) -> StoredPathSet {
    let table = table();
    let ids = entries.iter().map(|(kind, path)| table.find(*kind, path.as_bytes()).unwrap());
    let reads = StoredReads::Only(ids.collect());
    StoredPathSet {
        digest: Digest::of_bytes(b"path set"),
        provenance: Provenance::Opens,
        inputs: vec![("src".to_owned(), reads)],
    }
}

/// The effect of a change on a node that read `entries` in a tree whose root has the directories `dirs`, each with one file.
fn effect(entries: &[(EntryKind, &str)], dirs: &[&str], change: &[Touched]) -> Effect {
    let mut listings = HashMap::new();
    let mut add = |listing: Listing| {
        let digest = listing.digest();
        listings.insert(digest, listing);
        digest
    };
    let file = Kind::File { digest: Digest::of_bytes(b"text"), size: 4, executable: false };
    let dir = add(Listing::encode([Entry { name: b"only.c", kind: file }].into_iter()));
    let root = add(Listing::encode(
        dirs.iter().map(|name| Entry { name: name.as_bytes(), kind: Kind::Dir { digest: dir } }),
    ));
    let records = InMemory { path_set: path_set(entries), listings };
    let record = NodeRecord { trees: vec![("src".to_owned(), root)], ..NodeRecord::default() };
    let mut state = NodeState::new(RunId::ELSEWHERE, Outcome::Pass, Digest::of_bytes(b"action"), &record);
    state.path_set = Some(records.path_set.digest);
    let reach = Reach::new(Arc::new(table()));
    let mut reached = Reached::new(&records, &reach, change);
    reached.effect(&state, &["src"], Provenance::Opens).unwrap()
}

fn touched(path: &str, how: Touch) -> Touched {
    Touched { path: path.as_bytes().to_vec(), how, link: Link::No }
}

#[test]
fn a_change_reaches_what_was_read_and_nothing_else() {
    let all = &ENTRIES[..4];
    let cases = [
        ("a file that was read", "kernel/fork.c", Touch::Content, Some(Cause::File)),
        ("its removal", "kernel/fork.c", Touch::Removed, Some(Cause::File)),
        ("another file", "kernel/exit.c", Touch::Content, None),
        ("a new file beside it", "kernel/new.c", Touch::Added, None),
        ("the name of a searched header", "arch/x86/fork.h", Touch::Added, Some(Cause::Namesake)),
        ("other content under that name", "arch/x86/fork.h", Touch::Content, None),
        ("a new name in a listed directory", "drivers/new.c", Touch::Added, Some(Cause::Name)),
        ("content in a listed directory", "drivers/only.c", Touch::Content, None),
        ("content below a directory that counts whole", "scripts/a/b.sh", Touch::Content, Some(Cause::Tree)),
        ("any change of unknown kind", "kernel", Touch::Unknown, Some(Cause::File)),
    ];
    for (case, path, how, cause) in cases {
        let found = effect(all, &["kernel", "drivers"], &[touched(path, how)]);
        match (&found, cause) {
            (Effect::Untouched, None) => {}
            (Effect::Touched { because, .. }, Some(cause)) => assert_eq!(because[0].cause, cause, "{case}"),
            _ => panic!("{case}: {found:?}"),
        }
    }
}

/// A patch does not say which directories come and go; the recorded listings do.
#[test]
fn recorded_listings_decide_whether_a_directory_comes_or_goes() {
    let root = &ENTRIES[4..];
    let is_touched =
        |dirs: &[&str], change: &[Touched]| matches!(effect(root, dirs, change), Effect::Touched { .. });
    assert!(is_touched(&["kernel"], &[touched("sound/new.c", Touch::Added)]), "a new directory");
    assert!(!is_touched(&["sound"], &[touched("sound/new.c", Touch::Added)]), "it was there");
    assert!(is_touched(&["sound"], &[touched("sound/only.c", Touch::Removed)]), "its last file goes");
    let (goes, comes) = (touched("sound/only.c", Touch::Removed), touched("sound/new.c", Touch::Added));
    assert!(!is_touched(&["sound"], &[goes, comes]), "another file comes");
}

#[test]
fn many_changes_are_counted() {
    let change: Vec<Touched> = (0..15).map(|n| touched(&format!("scripts/{n:02}"), Touch::Content)).collect();
    let records = InMemory { path_set: path_set(&[]), listings: HashMap::new() };
    let reach = Reach::new(Arc::new(table()));
    let reached = Reached::new(&records, &reach, &change);
    let Effect::Touched { because, more } = reached.by_all(Cause::Whole) else { panic!("untouched") };
    assert_eq!((because.len(), more), (10, 5));
}
