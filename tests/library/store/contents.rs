//! Files, trees, results, nodes and runs come out as they went in.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kiln::digest::Digest;
use kiln::source::{EntryKind, Listing, PathEntry, PathSet, Provenance, Reads};
use kiln::store::{
    Artifact, BlobError, NodeRecord, NodeState, Outcome, PATH_SETS_PER_KEY, Placed, Store, StoreError,
    StoredReads, StoredResult, TreeLimit,
};

use super::{a_run, blob_path, files, key, names, passed, path_sets, store, whole_tree};

#[test]
fn a_new_cache_keeps_out_of_git_and_says_its_version() {
    let (_dir, store) = store();
    assert_eq!(fs::read_to_string(store.home().join(".gitignore")).unwrap(), "*\n");
    assert_eq!(fs::read_to_string(store.home().join("VERSION")).unwrap(), "kiln cache 5\n");
    assert!(store.warnings().is_empty());
}

#[test]
fn a_directory_of_something_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.tex"), "").unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(&error, StoreError::NotACache { entry, .. } if entry == "thesis.tex"), "{error}");
    assert_eq!(names(dir.path()), ["thesis.tex"]);

    // What a project may track in its cache directory is no hindrance, and stays as it is.
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("README.md"), "").unwrap();
    fs::write(dir.path().join(".gitignore"), "*\n!README.md\n").unwrap();
    drop(Store::open(dir.path()).unwrap());
    assert_eq!(fs::read_to_string(dir.path().join(".gitignore")).unwrap(), "*\n!README.md\n");
}

#[test]
fn files_come_out_as_they_went_in() {
    let (dir, store) = store();
    // Below and above the size from which hashing is done in parallel.
    for size in [0, 1, 70_000, 3_000_000] {
        let from = dir.path().join("from");
        let content: Vec<u8> = (0..size).map(|n: u32| n.to_le_bytes()[n as usize % 4]).collect();
        fs::write(&from, &content).unwrap();
        let blob = store.put_file(&from).unwrap();
        assert_eq!((blob.digest, blob.size), (Digest::of_bytes(&content), u64::from(size)));
        assert_eq!(store.put_bytes(&content).unwrap(), blob);
        assert!(store.has(&blob.digest, blob.size));
        assert!(!store.has(&blob.digest, blob.size + 1));
        assert_eq!(fs::metadata(blob_path(&store, &blob.digest)).unwrap().mode() & 0o777, 0o444);

        let to = dir.path().join("new/dir/to");
        store.copy_out(&blob.digest, &to, size == 1).unwrap();
        assert_eq!(fs::read(&to).unwrap(), content);
        assert_eq!(fs::metadata(&to).unwrap().mode() & 0o777, if size == 1 { 0o755 } else { 0o644 });
        assert_eq!(store.read(&blob.digest, blob.size).unwrap(), content);
        if size > 0 {
            assert!(matches!(store.read(&blob.digest, blob.size - 1), Err(BlobError::TooLarge)));
        }
    }
    assert!(matches!(store.read(&key("none"), 10), Err(BlobError::Missing)));
    assert!(matches!(store.copy_out(&key("none"), &dir.path().join("x"), false), Err(BlobError::Missing)));
    assert_eq!(names(&dir.path().join("new/dir")), ["to"], "nothing is left beside what was copied out");
}

#[test]
fn what_is_no_file_is_refused_at_once() {
    let (dir, store) = store();
    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for path in [fifo.as_path(), dir.path()] {
        let error = store.put_file(path).unwrap_err();
        assert!(matches!(error, StoreError::NotKeepable { .. }), "{error}");
    }
    let error = store.put_file(&dir.path().join("none")).unwrap_err();
    assert!(matches!(error, StoreError::NotReadable { .. }), "{error}");
}

fn sample_tree(root: &Path) {
    fs::create_dir_all(root.join("a/b/empty")).unwrap();
    fs::write(root.join("a/file"), "content").unwrap();
    fs::write(root.join("a/same"), "content").unwrap();
    fs::write(root.join("a/b/tool"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(root.join("a/b/tool"), Permissions::from_mode(0o755)).unwrap();
    symlink("../file", root.join("a/b/up")).unwrap();
    fs::write(root.join("left-out"), "").unwrap();
    // Enough of them for the store to sync them all at once.
    for number in 0..50 {
        fs::write(root.join(format!("a/b/{number}")), number.to_string()).unwrap();
    }
}

#[test]
fn trees_come_out_as_they_went_in() {
    let (dir, store) = store();
    let from = dir.path().join("from");
    sample_tree(&from);
    let tree = store.put_tree(&from, &|path| path != Path::new("left-out")).unwrap();
    let Artifact::Tree { digest, files, bytes } = tree else { panic!("{tree:?}") };
    assert_eq!((files, bytes), (53, 7 + 7 + 10 + 10 + 80));
    assert!(store.has_artifact(&tree).unwrap());

    let to = dir.path().join("out/to");
    for _ in 0..2 {
        store.place(&tree, &to).unwrap();
        assert_eq!(names(&to), ["a"]);
        assert_eq!(fs::read_link(to.join("a/b/up")).unwrap(), Path::new("../file"));
        assert_eq!(fs::read_to_string(to.join("a/b/up")).unwrap(), "content");
        assert!(to.join("a/b/empty").is_dir());
        assert_eq!(fs::metadata(to.join("a/b/tool")).unwrap().mode() & 0o777, 0o755);
        assert_eq!(store.put_tree(&to, &|_| true).unwrap(), tree);
        // The second time it takes the place of a tree that has something else in it.
        fs::write(to.join("a/more"), "").unwrap();
    }
    assert_eq!(names(&dir.path().join("out")), ["to"]);

    // Less than the tree has is not enough.
    let too_little = TreeLimit { files: files - 1, bytes };
    assert!(matches!(store.copy_tree_out(&digest, too_little, &to), Err(BlobError::TooLarge)));

    // A file takes the place of a tree, and nothing that of a file.
    let blob = store.put_bytes(b"file").unwrap();
    store.place(&Artifact::file(blob, false), &to).unwrap();
    assert_eq!(fs::read(&to).unwrap(), b"file");
    store.place(&tree, &to).unwrap();
    assert!(to.is_dir());
    store.place(&Artifact::Absent, &to).unwrap();
    assert_eq!(names(&dir.path().join("out")), [""; 0]);

    fs::remove_file(blob_path(&store, &Digest::of_bytes(b"content"))).unwrap();
    assert!(!store.has_artifact(&tree).unwrap());
    assert!(matches!(store.place(&tree, &to), Err(BlobError::Missing)));
}

#[test]
fn trees_that_depend_on_their_place_are_refused() {
    let (dir, store) = store();
    let root = dir.path().join("tree");
    for target in ["/etc/passwd", "..", "../sibling", "sub/../../x"] {
        fs::create_dir_all(root.join("sub")).unwrap();
        symlink(target, root.join("link")).unwrap();
        let error = store.put_tree(&root, &|_| true).unwrap_err();
        assert!(matches!(error, StoreError::NotKeepable { .. }), "{target}: {error}");
        fs::remove_dir_all(&root).unwrap();
    }
    fs::create_dir(&root).unwrap();
    nix::unistd::mkfifo(&root.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(matches!(store.put_tree(&root, &|_| true), Err(StoreError::NotKeepable { .. })));
    assert!(store.put_tree(&root, &|path| path != Path::new("fifo")).is_ok());
}

#[test]
fn results_are_found_in_two_phases() {
    let (_dir, store) = store();
    let result = StoredResult {
        outputs: vec![
            ("image".to_owned(), Artifact::file(store.put_bytes(b"image").unwrap(), false)),
            ("modules".to_owned(), Artifact::Absent),
        ],
        log: Some(store.put_bytes(b"log").unwrap()),
        ..passed(&store)
    };
    store.batch(|batch| batch.record(&key("strong"), &whole_tree("linux"), &result)).unwrap();
    assert_eq!(path_sets(&store, &key("action")), [whole_tree("linux")]);
    let stored = store.path_set(&whole_tree("linux").digest()).unwrap().unwrap();
    assert_eq!(stored.inputs, [("linux".to_owned(), StoredReads::Whole)]);
    assert_eq!(store.path_set(&whole_tree("other").digest()).unwrap(), None);
    assert_eq!(store.result(&key("strong")).unwrap(), Some(result.clone()));
    assert_eq!(store.result(&key("other")).unwrap(), None);

    // Newest first, each once, and no more than the bound.
    for number in 0..40 {
        let set = whole_tree(&format!("input {number}"));
        store.batch(|batch| batch.record(&key(&number.to_string()), &set, &result)).unwrap();
    }
    store.batch(|batch| batch.record(&key("again"), &whole_tree("input 30"), &result)).unwrap();
    let sets = path_sets(&store, &key("action"));
    assert_eq!(sets.len(), PATH_SETS_PER_KEY as usize);
    assert_eq!(sets[..3], ["input 30", "input 39", "input 38"].map(whole_tree));
    assert_eq!(sets.iter().filter(|set| **set == whole_tree("input 30")).count(), 1);

    // An outcome that says nothing of the action is not kept.
    let infra = StoredResult { outcome: Outcome::Infra, ..result };
    store.batch(|batch| batch.record(&key("infra"), &whole_tree("linux"), &infra)).unwrap();
    assert_eq!(store.result(&key("infra")).unwrap(), None);
}

#[test]
fn each_path_is_kept_once_for_all_path_sets() {
    let (_dir, store) = store();
    let names = PathEntry::new(EntryKind::Names, *b"a.c");
    let two = PathSet::new(
        Provenance::Opens,
        [
            (
                "patches".to_owned(),
                Reads::only(vec![names.clone(), PathEntry::new(EntryKind::File, *b"a.c")]),
            ),
            ("toolchain".to_owned(), Reads::Whole),
            ("unread".to_owned(), Reads::only(vec![])),
        ],
    );
    let sets = [files(&["a.c", "z.c", "b/c.h"]), files(&["d.c", "a.c"]), two];
    let put = || -> Vec<Digest> {
        store.batch(|batch| sets.iter().map(|set| batch.put_path_set(set)).collect()).unwrap()
    };
    let digests = put();
    assert_eq!(digests, sets.iter().map(PathSet::digest).collect::<Vec<_>>());

    let table = store.entries().unwrap();
    let entries: Vec<_> = table.by_rank().iter().map(|&id| table.get(id).unwrap()).collect();
    let file = |path: &'static str| (EntryKind::File, path.as_bytes());
    let all = [file("a.c"), file("b/c.h"), file("d.c"), file("z.c"), (EntryKind::Names, b"a.c".as_slice())];
    assert_eq!(entries, all, "in canonical order");
    assert_eq!(table.len(), 5);
    for (rank, (kind, path)) in all.into_iter().enumerate() {
        let id = table.find(kind, path).unwrap();
        assert_eq!(table.ranks()[id as usize] as usize, rank);
    }
    assert_eq!(table.find(EntryKind::Tree, b"a.c"), None);
    assert_eq!(table.find(EntryKind::File, b"a"), None);
    assert_eq!(table.get(99), None);

    for (digest, set) in digests.iter().zip(&sets) {
        assert_eq!(store.path_set(digest).unwrap().unwrap().resolve(&table).as_ref(), Some(set));
    }
    put();
    assert_eq!(store.entries().unwrap(), table, "known ones get no new numbers");
    // An older table does not have what came later.
    let later = store.batch(|batch| batch.put_path_set(&files(&["a.c", "later.c"]))).unwrap();
    assert_eq!(store.path_set(&later).unwrap().unwrap().resolve(&table), None);
}

#[test]
fn nodes_and_runs_are_remembered_by_project() {
    let (dir, store) = store();
    let project = store.project(dir.path()).unwrap();
    assert_eq!(store.project(&dir.path().join("cache/..")).unwrap(), project);
    let other = store.project(Path::new("/")).unwrap();
    assert_ne!(other, project);

    let placed = dir.path().join("placed");
    fs::write(&placed, "placed").unwrap();
    let artifact = Artifact::file(store.put_file(&placed).unwrap(), false);
    let record = NodeRecord {
        trees: Vec::new(),
        outputs: vec![("image".to_owned(), artifact)],
        placed: vec![Placed::new(
            "arm64/Image".to_owned(),
            artifact,
            &fs::symlink_metadata(&placed).unwrap(),
        )],
    };
    let state = store
        .batch(|batch| {
            let run = batch.record_run(project, &a_run("kernel/arm64", Outcome::Pass, 70))?;
            let mut state = NodeState::new(run, Outcome::Pass, key("action"), &record);
            state.strong_key = Some(key("strong"));
            batch.set_node(project, "kernel/arm64", &state)?;
            Ok(state)
        })
        .unwrap();
    assert_eq!(store.node(project, "kernel/arm64").unwrap().as_ref(), Some(&state));
    assert_eq!(store.load_nodes(project).unwrap().get("kernel/arm64"), Some(&state));
    assert_eq!(state.record().unwrap(), record);
    assert!(store.load_nodes(other).unwrap().is_empty());
    assert!(record.placed[0].is_untouched(&fs::symlink_metadata(&placed).unwrap()));
    fs::set_permissions(&placed, Permissions::from_mode(0o600)).unwrap();
    assert!(!record.placed[0].is_untouched(&fs::symlink_metadata(&placed).unwrap()));

    for (outcome, millis) in
        [(Outcome::Fail, 1), (Outcome::Pass, 10), (Outcome::Pass, 90), (Outcome::Cancelled, 2)]
    {
        store.batch(|batch| batch.record_run(project, &a_run("kernel/arm64", outcome, millis))).unwrap();
    }
    let runs = store.runs(project, "kernel/arm64", 3).unwrap();
    assert_eq!(
        runs.iter().map(|(_, run)| run.outcome.as_str()).collect::<Vec<_>>(),
        ["cancelled", "pass", "pass"]
    );
    assert_eq!(runs[1].1, a_run("kernel/arm64", Outcome::Pass, 90));
    assert_eq!(store.run(runs[1].0).unwrap().as_ref(), Some(&runs[1].1));
    let expected = |millis| Some(Duration::from_millis(millis));
    assert_eq!(store.durations(project).unwrap().get("kernel/arm64").copied(), expected(70));
    for _ in 0..5 {
        store.batch(|batch| batch.record_run(project, &a_run("kernel/arm64", Outcome::Pass, 5))).unwrap();
    }
    assert_eq!(store.durations(project).unwrap().get("kernel/arm64").copied(), expected(5));
}

#[test]
fn a_batch_that_fails_leaves_nothing() {
    let (_dir, store) = store();
    let listing = Listing::encode(std::iter::empty());
    let digest = listing.digest();
    let failed: Result<(), _> = store.batch(|batch| {
        batch.put_listings([(&digest, listing.bytes())])?;
        Err(StoreError::DiskFull { path: PathBuf::new() })
    });
    assert!(failed.is_err());
    assert_eq!(store.listing(&digest).unwrap(), None);
    store.put_listings([(&digest, listing.bytes())]).unwrap();
    store.put_listings([(&digest, listing.bytes())]).unwrap();
    assert_eq!(store.listing(&digest).unwrap(), Some(listing));
}
