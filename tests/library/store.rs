//! The store through its public interface: what it keeps, and what it makes of damage, crashes and company.

use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, UNIX_EPOCH};

use kiln::digest::{Digest, Domain, Hasher};
use kiln::source::{Entry, EntryKind, Kind, Listing, PathEntry, PathSet, Provenance, Reads, Special};
use kiln::store::{
    Artifact, BlobError, Built, NodeRecord, NodeState, Origin, Outcome, PATH_SETS_PER_KEY, Placed, ProjectId,
    Run, RunId, Store, StoreError, StoredReads, StoredResult, TreeLimit, Warning,
};
use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;

/// A directory for a test, and the store in it.
fn store() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("cache")).unwrap();
    (dir, store)
}

fn key(text: &str) -> Digest {
    Hasher::new(Domain::ActionKey).text(text).finish()
}

fn whole_tree(input: &str) -> PathSet {
    PathSet::new(Provenance::Whole, [(input.to_owned(), Reads::Whole)])
}

/// A path set of these files of the input `linux`.
fn files(paths: &[&str]) -> PathSet {
    let entries = paths.iter().map(|path| PathEntry::new(EntryKind::File, path.as_bytes()));
    PathSet::new(Provenance::Opens, [("linux".to_owned(), Reads::only(entries.collect()))])
}

/// The path sets of an action key that can be had in full, newest first.
fn path_sets(store: &Store, action_key: &Digest) -> Vec<PathSet> {
    let table = store.entries().unwrap();
    store.path_sets(action_key).unwrap().iter().filter_map(|set| set.resolve(&table)).collect()
}

fn a_run(node: &str, outcome: Outcome, millis: u64) -> Run {
    Run {
        node: node.to_owned(),
        action_key: key(node),
        path_set: Some(whole_tree("linux").digest()),
        strong_key: Some(key("strong")),
        outcome,
        started: UNIX_EPOCH + Duration::from_secs(1_790_000_000),
        duration: Duration::from_millis(millis),
        cpu: Duration::from_millis(millis * 2),
        max_rss: 1 << 30,
        reasons: "[]".to_owned(),
        manifest: Some(b"opaque".to_vec()),
        log: None,
        pid: std::process::id(),
        continued: false,
    }
}

fn blob_path(store: &Store, digest: &Digest) -> PathBuf {
    let hex = digest.to_string();
    store.home().join("cas").join(&hex[..2]).join(hex)
}

/// The names in a directory, sorted.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

// ---- What it keeps ----

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
        action_key: key("action"),
        outcome: Outcome::Pass,
        outputs: vec![
            ("image".to_owned(), Artifact::file(store.put_bytes(b"image").unwrap(), false)),
            ("modules".to_owned(), Artifact::Absent),
        ],
        log: Some(store.put_bytes(b"log").unwrap()),
        run: run_id(&store),
        built: Built::FromNothing,
        origin: Origin::Local,
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

fn project(store: &Store) -> ProjectId {
    store.project(store.home().parent().unwrap()).unwrap()
}

fn run_id(store: &Store) -> RunId {
    let project = project(store);
    store.batch(|batch| batch.record_run(project, &a_run("some", Outcome::Pass, 1))).unwrap()
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

// ---- Kept output directories ----

/// A build's output directory in a work directory: objects, one of them under two names, and a read-only directory.
fn built(store: &Store, name: &str, bytes: usize) -> PathBuf {
    let out = store.fresh_work_dir(name).unwrap().join("out");
    fs::create_dir_all(out.join("read-only/deep")).unwrap();
    fs::write(out.join("kernel.o"), vec![1; bytes]).unwrap();
    fs::hard_link(out.join("kernel.o"), out.join("same.o")).unwrap();
    fs::write(out.join("read-only/deep/name"), name).unwrap();
    symlink("kernel.o", out.join("link")).unwrap();
    fs::set_permissions(out.join("read-only"), Permissions::from_mode(0o555)).unwrap();
    out
}

fn keep(store: &Store, name: &str, bytes: usize, limit: u64) {
    let out = built(store, name, bytes);
    store.keep(&key(name), name, &out, format!("record of {name}").as_bytes(), &[], limit).unwrap();
    assert!(!out.exists());
}

fn kept_nodes(store: &Store) -> Vec<String> {
    store.kept().unwrap().into_iter().map(|kept| kept.node).collect()
}

/// Nothing of a kept directory is anywhere but in `kept/` and in work directories.
fn assert_tidy(store: &Store) {
    for session in names(&store.home().join("tmp")) {
        assert_eq!(names(&store.home().join("tmp").join(session)), ["alive"]);
    }
}

#[test]
fn a_kept_directory_is_taken_once_with_its_record() {
    let (_dir, store) = store();
    assert_eq!(store.take_kept(&key("a"), &store.home().join("work/none")).unwrap(), None);
    keep(&store, "a", 100_000, u64::MAX);
    let [kept] = &store.kept().unwrap()[..] else { panic!("one is kept") };
    assert_eq!((kept.key, kept.node.as_str()), (key("a"), "a"));
    assert!((100_000..180_000).contains(&kept.bytes), "the hard link counts once: {}", kept.bytes);

    let to = store.fresh_work_dir("a").unwrap().join("out");
    assert_eq!(store.take_kept(&key("a"), &to).unwrap().unwrap(), b"record of a");
    assert_eq!(names(&to), ["kernel.o", "link", "read-only", "same.o"]);
    assert_eq!(fs::read(to.join("read-only/deep/name")).unwrap(), b"a");
    assert_eq!(fs::metadata(to.join("read-only")).unwrap().mode() & 0o777, 0o555);
    assert_eq!(store.take_kept(&key("a"), &to.with_file_name("again")).unwrap(), None);
    assert_eq!(kept_nodes(&store), [""; 0]);
    assert_tidy(&store);

    // Back again, and once more under the same key: the newer one counts.
    store.keep(&key("a"), "a", &to, b"second", &[], u64::MAX).unwrap();
    keep(&store, "a", 10, u64::MAX);
    let to = to.with_file_name("third");
    assert_eq!(store.take_kept(&key("a"), &to).unwrap().unwrap(), b"record of a");
    assert_eq!(fs::metadata(to.join("kernel.o")).unwrap().len(), 10);
    assert_tidy(&store);
}

#[test]
fn of_many_who_take_a_kept_directory_one_gets_it() {
    let (_dir, store) = store();
    let other = Store::open(store.home()).unwrap();
    let work = store.fresh_work_dir("taken").unwrap();
    for round in 0..20 {
        keep(&store, "a", 1000, u64::MAX);
        let start = std::sync::Barrier::new(2);
        let got: Vec<bool> = std::thread::scope(|scope| {
            let threads: Vec<_> = [&store, &other]
                .into_iter()
                .enumerate()
                .map(|(number, store)| {
                    let (start, to) = (&start, work.join(format!("{round}-{number}")));
                    scope.spawn(move || {
                        start.wait();
                        let record = store.take_kept(&key("a"), &to).unwrap();
                        assert_eq!(record.is_some(), to.join("read-only/deep/name").exists());
                        record.is_some()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(got.iter().filter(|got| **got).count(), 1);
    }
    // Both keep one under the same key, at the same time: one stays.
    std::thread::scope(|scope| {
        for store in [&store, &other] {
            scope.spawn(|| (0..10).for_each(|_| keep(store, "a", 1000, u64::MAX)));
        }
    });
    assert_eq!(kept_nodes(&store), ["a"]);
    assert_tidy(&store);
}

#[test]
fn kept_directories_stay_within_their_bound() {
    let (_dir, store) = store();
    for name in ["a", "b", "c"] {
        keep(&store, name, 1 << 20, u64::MAX);
    }
    assert_eq!(kept_nodes(&store), ["c", "b", "a"]);
    let each = store.kept().unwrap()[0].bytes;
    // Used, and kept again: it is the newest.
    let to = store.fresh_work_dir("a").unwrap().join("out");
    let record = store.take_kept(&key("a"), &to).unwrap().unwrap();
    store.keep(&key("a"), "a", &to, &record, &[], each * 3).unwrap();
    assert_eq!(kept_nodes(&store), ["a", "c", "b"]);
    keep(&store, "d", 1 << 20, each * 3);
    assert_eq!(kept_nodes(&store), ["d", "a", "c"], "the oldest goes");
    keep(&store, "too-large", 5 << 20, each * 3);
    assert_eq!(kept_nodes(&store), ["d", "a", "c"], "one that can't fit drives nobody out");
    keep(&store, "d", 5 << 20, each * 3);
    assert_eq!(kept_nodes(&store), ["a", "c"], "but takes the place of the one before");
    keep(&store, "e", 1000, each * 3 / 2);
    assert_eq!(kept_nodes(&store), ["e", "a"]);

    let total = store.kept().unwrap().iter().map(|kept| kept.bytes).sum::<u64>();
    assert_eq!(store.drop_kept().unwrap(), total);
    assert_eq!(store.drop_kept().unwrap(), 0);
    assert!(names(&store.home().join("kept")).is_empty());
    assert_tidy(&store);
}

#[test]
fn a_damaged_kept_directory_is_none_and_is_swept() {
    let damages: [(&str, fn(&Path)); 8] = [
        ("no record", |dir| fs::remove_file(dir.join("record")).unwrap()),
        ("another record", |dir| fs::write(dir.join("record"), "record of b").unwrap()),
        ("no about", |dir| fs::remove_file(dir.join("about")).unwrap()),
        ("a cut about", |dir| {
            File::options().write(true).open(dir.join("about")).unwrap().set_len(20).unwrap();
        }),
        ("no out", |dir| fs::remove_dir_all(dir.join("out")).unwrap()),
        ("out is a file", |dir| {
            fs::remove_dir_all(dir.join("out")).unwrap();
            fs::write(dir.join("out"), "").unwrap();
        }),
        ("another key", |dir| fs::rename(dir, dir.with_file_name(key("b").to_string())).unwrap()),
        ("a file", |dir| {
            fs::rename(dir, dir.with_file_name("elsewhere")).unwrap();
            fs::write(dir, "").unwrap();
        }),
    ];
    for (what, damage) in damages {
        let (_dir, store) = store();
        let home = store.home().to_owned();
        let place = home.join("kept").join(key("a").to_string());
        let to = store.fresh_work_dir("a").unwrap().join("out");
        keep(&store, "a", 10, u64::MAX);
        damage(&place);
        for name in ["a", "b"] {
            assert_eq!(store.take_kept(&key(name), &to).unwrap(), None, "{what}");
            assert!(!to.exists(), "{what}");
        }

        // It is no hindrance to the next, and goes with it.
        keep(&store, "a", 10, u64::MAX);
        damage(&place);
        keep(&store, "c", 10, u64::MAX);
        let nodes = kept_nodes(&store);
        // A record is read when it is taken, not each time that one is kept.
        let shows = if what == "another record" { vec!["c", "a"] } else { vec!["c"] };
        assert_eq!(nodes, shows, "{what}");
        assert_eq!(names(&home.join("kept")).len(), shows.len(), "{what}");
        keep(&store, "a", 10, u64::MAX);
        assert_eq!(store.take_kept(&key("a"), &to).unwrap().unwrap(), b"record of a", "{what}");

        keep(&store, "a", 10, u64::MAX);
        damage(&place);
        assert_tidy(&store);
        drop(store);
        let store = Store::open(&home).unwrap();
        assert_eq!(names(&home.join("kept")).len(), shows.len(), "{what}: opening sweeps too");
        drop(store);
    }
}

#[test]
fn child_that_keeps_until_it_is_killed() {
    let Some(home) = played_by_child() else { return };
    let store = Store::open(&home).unwrap();
    println!("ready");
    for n in 0.. {
        let to = store.fresh_work_dir("a").unwrap().join("out");
        if store.take_kept(&key("a"), &to).unwrap().is_none() {
            fs::create_dir(&to).unwrap();
        }
        // Between these two the directory belies any record.
        fs::write(to.join("object"), "half").unwrap();
        fs::write(to.join("object"), n.to_string()).unwrap();
        store.keep(&key("a"), "a", &to, n.to_string().as_bytes(), &[], u64::MAX).unwrap();
    }
}

#[test]
fn sudden_death_leaves_no_kept_directory_with_a_wrong_record() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("cache");
    for round in 0..10u64 {
        let mut child = child("child_that_keeps_until_it_is_killed", &home);
        wait_for(&mut child, "ready");
        std::thread::sleep(Duration::from_millis(3 + 11 * round));
        child.kill().unwrap();
        child.wait().unwrap();

        let store = Store::open(&home).unwrap();
        assert!(names(&home.join("work")).is_empty());
        let to = store.fresh_work_dir("a").unwrap().join("out");
        if let Some(record) = store.take_kept(&key("a"), &to).unwrap() {
            assert_eq!(fs::read(to.join("object")).unwrap(), record);
        }
        assert!(names(&home.join("kept")).is_empty());
        assert_tidy(&store);
    }
}

// ---- Damage ----

#[test]
fn a_damaged_blob_is_a_miss_and_is_set_aside() {
    let (dir, store) = store();
    let content = vec![7u8; 100_000];
    for damage in ["flip", "truncate"] {
        let blob = store.put_bytes(&content).unwrap();
        let path = blob_path(&store, &blob.digest);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        match damage {
            "flip" => file.write_all_at(&[6], 50_000).unwrap(),
            _ => file.set_len(99_999).unwrap(),
        }
        let dest = dir.path().join("dest");
        fs::write(&dest, "before").unwrap();
        match store.copy_out(&blob.digest, &dest, false).unwrap_err() {
            BlobError::Damaged { moved_to } => {
                assert!(moved_to.starts_with(store.home().join("cas/damaged")));
            }
            error => panic!("{damage}: {error}"),
        }
        assert_eq!(fs::read(&dest).unwrap(), b"before", "what was there is untouched");
        assert!(!store.has(&blob.digest, blob.size));
        assert!(matches!(store.read(&blob.digest, blob.size), Err(BlobError::Missing)));
    }
    // The producer ran again.
    let blob = store.put_bytes(&content).unwrap();
    assert_eq!(store.read(&blob.digest, blob.size).unwrap(), content);
}

#[test]
fn damaged_rows_are_misses_and_can_be_put_again() {
    let (_dir, store) = store();
    let listing = Listing::encode(std::iter::empty());
    let digest = listing.digest();
    let result = StoredResult {
        action_key: key("action"),
        outcome: Outcome::Pass,
        outputs: vec![],
        log: None,
        run: run_id(&store),
        built: Built::FromNothing,
        origin: Origin::Local,
    };
    let put = || {
        store.put_listings([(&digest, listing.bytes())]).unwrap();
        store.batch(|batch| batch.record(&key("strong"), &whole_tree("linux"), &result)).unwrap();
    };
    put();
    let index = Connection::open(store.home().join("index.sqlite")).unwrap();
    index
        .execute_batch(
            "UPDATE listing SET bytes = x'00'; UPDATE path_set SET body = x'ff'; UPDATE result SET outputs = x'0101';",
        )
        .unwrap();
    assert_eq!(store.listing(&digest).unwrap(), None);
    assert_eq!(path_sets(&store, &key("action")), []);
    assert_eq!(store.result(&key("strong")).unwrap(), None);
    put();
    assert_eq!(store.listing(&digest).unwrap(), Some(listing.clone()));
    assert_eq!(path_sets(&store, &key("action")), [whole_tree("linux")]);
    assert_eq!(store.result(&key("strong")).unwrap(), Some(result.clone()));
}

#[test]
fn a_path_set_with_damaged_entries_is_a_miss_and_can_be_put_again() {
    let damages = [
        "UPDATE entry SET path = x'62' WHERE path = x'61'",
        "UPDATE entry SET path = 'a text'",
        "UPDATE entry SET kind = 9",
        "UPDATE entry SET kind = 1",
        "UPDATE entry SET sum = 0",
        "UPDATE entry SET id = id + 100",
        "UPDATE entry SET id = 1 << 40 WHERE id = 1",
        "DELETE FROM entry",
        "DELETE FROM entry; DELETE FROM sqlite_sequence",
        "UPDATE path_set SET body = zeroblob(100)",
        "UPDATE path_set SET body = substr(body, 1, length(body) - 1)",
        "UPDATE path_set SET body = 'a text'",
        "CREATE TEMP TABLE old AS SELECT * FROM path_set;
         UPDATE path_set SET body = (SELECT body FROM old WHERE old.digest <> path_set.digest)",
    ];
    for damage in damages {
        let (_dir, store) = store();
        let result = StoredResult {
            action_key: key("action"),
            outcome: Outcome::Pass,
            outputs: vec![],
            log: None,
            run: run_id(&store),
            built: Built::FromNothing,
            origin: Origin::Local,
        };
        let (set, other) = (files(&["a", "c"]), files(&["a", "d"]));
        let put = |set| store.batch(|batch| batch.record(&key("strong"), set, &result)).unwrap();
        put(&other);
        put(&set);
        let index = Connection::open(store.home().join("index.sqlite")).unwrap();
        index.execute_batch(damage).unwrap();
        assert_eq!(path_sets(&store, &key("action")), [], "{damage}");
        put(&other);
        put(&set);
        assert_eq!(path_sets(&store, &key("action")), [set, other], "{damage}");
    }
}

/// Puts enough in a cache for its index to have many pages, and closes it.
fn filled_cache() -> (TempDir, PathBuf) {
    let (dir, store) = store();
    let project = store.project(dir.path()).unwrap();
    store
        .batch(|batch| {
            (0..2000).try_for_each(|n| {
                batch.record_run(project, &a_run(&format!("node {n}"), Outcome::Pass, n)).map(|_| ())
            })
        })
        .unwrap();
    let index = store.home().join("index.sqlite");
    (dir, index)
}

#[test]
fn an_index_beyond_use_is_set_aside() {
    let truncate = |keep: u64| move |file: &File| file.set_len(keep).unwrap();
    let damages: [Box<dyn Fn(&File)>; 4] = [
        Box::new(truncate(10)),
        Box::new(truncate(5000)),
        Box::new(|file| file.set_len(file.metadata().unwrap().len() / 2).unwrap()),
        Box::new(|file| file.write_all_at(b"this is no database", 0).unwrap()),
    ];
    for (number, damage) in damages.iter().enumerate() {
        let (dir, index) = filled_cache();
        damage(&File::options().write(true).open(&index).unwrap());
        let store = Store::open(&dir.path().join("cache")).unwrap();
        let [Warning::IndexSetAside { moved_to, .. }, ..] = store.warnings() else {
            panic!("damage {number}")
        };
        assert!(moved_to.ends_with("index.sqlite.damaged-1") && moved_to.exists());
        let project = store.project(dir.path()).unwrap();
        assert!(store.runs(project, "node 1", 9).unwrap().is_empty());
        drop(store);
        assert!(Store::open(&dir.path().join("cache")).unwrap().warnings().is_empty());
    }
}

#[test]
fn damage_met_in_use_is_mended_by_the_next_open() {
    let (dir, index) = filled_cache();
    // All but the first pages, which opening reads.
    let file = File::options().write(true).open(&index).unwrap();
    let len = file.metadata().unwrap().len();
    let first = 20 * 4096;
    file.write_all_at(&vec![0xa5; usize::try_from(len).unwrap() - first], first as u64).unwrap();

    let home = dir.path().join("cache");
    let store = Store::open(&home).unwrap();
    assert!(store.warnings().is_empty());
    let project = store.project(dir.path()).unwrap();
    let error = (0..2000)
        .find_map(|n| store.runs(project, &format!("node {n}"), 9).err())
        .expect("the damage to be met");
    assert!(matches!(error, StoreError::IndexDamaged { .. }), "{error}");
    assert!(error.help().unwrap().contains("again"));
    drop(store);
    // Where nothing can be read of the jobs at labs, that is told as well.
    let store = Store::open(&home).unwrap();
    let [Warning::IndexSetAside { .. }, Warning::JournalLost { .. }] = store.warnings() else {
        panic!("{:?}", store.warnings());
    };
    assert!(Store::open(&home).unwrap().warnings().is_empty());
}

#[test]
fn another_version_is_refused_and_left_alone() {
    let (dir, index) = filled_cache();
    let home = dir.path().join("cache");
    let refused = |found: &str| {
        let error = Store::open(&home).unwrap_err();
        assert!(matches!(&error, StoreError::OtherVersion { found: text, .. } if text == found), "{error}");
        assert!(error.help().unwrap().contains("kiln clean --cache"));
    };
    fs::write(home.join("VERSION"), "kiln cache 2\n").unwrap();
    refused("2");
    fs::write(home.join("VERSION"), "kiln cache 5\n").unwrap();
    Connection::open(&index).unwrap().pragma_update(None, "user_version", 7).unwrap();
    refused("7");
    Connection::open(&index).unwrap().pragma_update(None, "user_version", 5).unwrap();
    // A crash may leave it empty.
    fs::write(home.join("VERSION"), "").unwrap();
    let store = Store::open(&home).unwrap();
    let project = store.project(dir.path()).unwrap();
    assert_eq!(store.runs(project, "node 1", 9).unwrap().len(), 1);
}

// ---- Places that can't be written ----

#[test]
fn a_place_that_can_not_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Store::open(&file.join("cache")).unwrap_err();
    assert!(matches!(error, StoreError::NotWritable { .. }), "{error}");
    assert!(error.to_string().contains(file.to_str().unwrap()) && error.help().is_some());
}

/// A file system of its own, unmounted at the end.
struct Mount(TempDir);

impl Mount {
    /// `None`, with a word on why, where this user may not mount.
    fn tmpfs(options: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(dir.path()).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(dir)),
            other => {
                eprintln!("skipped: can't mount a tmpfs: {other:?}");
                None
            }
        }
    }

    fn remount(&self, options: &str) {
        let done =
            Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(self.0.path()).status();
        assert!(done.unwrap().success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_read_only_file_system_is_named() {
    let Some(mount) = Mount::tmpfs("size=8M") else { return };
    let home = mount.0.path().join("cache");
    drop(Store::open(&home).unwrap());
    mount.remount("ro");
    let error = Store::open(&home).unwrap_err();
    assert!(matches!(error, StoreError::NotWritable { .. }), "{error}");
    assert!(error.help().is_some());
}

#[test]
fn a_full_disk_costs_what_did_not_fit() {
    let Some(mount) = Mount::tmpfs("size=1M") else { return };
    let home = mount.0.path().join("cache");
    let store = Store::open(&home).unwrap();
    let project = store.project(mount.0.path()).unwrap();
    let kept = store.put_bytes(b"kept").unwrap();

    let source = tempfile::tempdir().unwrap();
    let large = source.path().join("large");
    fs::write(&large, vec![1; 4 << 20]).unwrap();
    let full = |error: StoreError| {
        assert!(matches!(error, StoreError::DiskFull { .. }), "{error:?}");
        assert!(error.help().is_some());
    };
    full(store.put_file(&large).unwrap_err());
    full(store.put_tree(source.path(), &|_| true).unwrap_err());
    // The failed ones left no room taken; now fill it, so that the index gets none.
    let error = (0..10_000u32)
        .find_map(|n| store.put_bytes(&[n.to_le_bytes().as_slice(), &[0; 1020]].concat()).err())
        .expect("the disk to fill");
    full(error);
    let error = (0..10_000)
        .find_map(|n| {
            store
                .batch(|batch| batch.record_run(project, &a_run(&format!("node {n}"), Outcome::Pass, 1)))
                .err()
        })
        .expect("the index to find no room");
    full(error);

    // What was there before is there still, and with room again it goes on.
    assert_eq!(store.read(&kept.digest, 9).unwrap(), b"kept");
    mount.remount("size=16M");
    store.batch(|batch| batch.record_run(project, &a_run("after", Outcome::Pass, 1))).unwrap();
    store.put_file(&large).unwrap();
    drop(store);
    let store = Store::open(&home).unwrap();
    assert!(store.warnings().is_empty());
    assert_eq!(store.runs(project, "after", 9).unwrap().len(), 1);
}

// ---- Company, and sudden death ----

/// Runs the test `name` of this file in a process of its own, where `KILN_TEST_HOME` tells it to play its part.
fn child(name: &str, home: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("store::{name}"), "--nocapture", "--test-threads=1"])
        .env("KILN_TEST_HOME", home)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until a child has printed this line.
fn wait_for(child: &mut Child, line: &str) {
    let out = BufReader::new(child.stdout.as_mut().unwrap());
    assert!(out.lines().any(|read| read.unwrap().ends_with(line)), "the child never said {line:?}");
}

/// The home, where this process is such a child.
fn played_by_child() -> Option<PathBuf> {
    std::env::var_os("KILN_TEST_HOME").map(PathBuf::from)
}

#[test]
fn child_that_puts_until_it_is_killed() {
    let Some(home) = played_by_child() else { return };
    let store = Store::open(&home).unwrap();
    let project = store.project(Path::new("/")).unwrap();
    let work = store.fresh_work_dir("kernel/arm64").unwrap();
    fs::create_dir(work.join("read-only")).unwrap();
    fs::write(work.join("read-only/file"), "").unwrap();
    fs::set_permissions(work.join("read-only"), Permissions::from_mode(0o555)).unwrap();
    let _lock = store.try_lock(&key("lock"), "kernel/arm64").unwrap().unwrap();
    println!("ready");
    for n in 0u64.. {
        let blob = store.put_bytes(&n.to_le_bytes().repeat(20_000)).unwrap();
        let mut run = a_run("node", Outcome::Pass, n);
        run.log = Some(blob);
        store.batch(|batch| batch.record_run(project, &run)).unwrap();
    }
}

#[test]
fn a_killed_process_leaves_a_good_store() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("cache");
    for round in 0..6u64 {
        let mut child = child("child_that_puts_until_it_is_killed", &home);
        wait_for(&mut child, "ready");
        std::thread::sleep(Duration::from_millis(3 + 17 * round));
        {
            // The living are left alone.
            let store = Store::open(&home).unwrap();
            assert_eq!(names(&home.join("work")).len(), 1);
            assert!(store.try_lock(&key("lock"), "me").unwrap().is_none());
            assert_eq!(
                store.lock_holder(&key("lock")).unwrap().to_string(),
                format!("{} kernel/arm64", child.id())
            );
        }
        child.kill().unwrap();
        child.wait().unwrap();

        let store = Store::open(&home).unwrap();
        assert!(store.warnings().is_empty());
        assert!(names(&home.join("work")).is_empty(), "what the dead left in work/ is removed");
        assert_eq!(names(&home.join("tmp")).len(), 1, "and in tmp/, but for our own");
        assert!(store.try_lock(&key("lock"), "me").unwrap().is_some(), "and its lock is free");
        // Whatever a row names is there and whole.
        let project = store.project(Path::new("/")).unwrap();
        for (_, run) in store.runs(project, "node", 10_000).unwrap() {
            let log = run.log.unwrap();
            assert_eq!(store.read(&log.digest, log.size).unwrap().len() as u64, log.size);
        }
    }
}

/// Puts and reads the same things as all others do at the same time.
fn hammer(home: &Path) {
    for round in 0..10u32 {
        let store = Store::open(home).unwrap();
        assert!(store.warnings().is_empty());
        let project = store.project(Path::new("/")).unwrap();
        for n in 0..20 {
            let content = format!("{round} {n}").repeat(1000);
            let blob = store.put_bytes(content.as_bytes()).unwrap();
            let result = StoredResult {
                action_key: key("action"),
                outcome: Outcome::Pass,
                outputs: vec![("out".to_owned(), Artifact::file(blob, false))],
                log: None,
                run: store
                    .batch(|batch| batch.record_run(project, &a_run("node", Outcome::Pass, 1)))
                    .unwrap(),
                built: Built::FromNothing,
                origin: Origin::Local,
            };
            let strong = key(&format!("{round} {n}"));
            let set = whole_tree(&n.to_string());
            store.batch(|batch| batch.record(&strong, &set, &result)).unwrap();
            let found = store.result(&strong).unwrap().unwrap();
            assert_eq!(found.outputs, result.outputs);
            assert_eq!(store.read(&blob.digest, blob.size).unwrap(), content.as_bytes());
        }
    }
}

#[test]
fn child_that_hammers() {
    if let Some(home) = played_by_child() {
        hammer(&home);
    }
}

#[test]
fn threads_and_processes_share_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("cache");
    let mut children: Vec<Child> = (0..2).map(|_| child("child_that_hammers", &home)).collect();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| hammer(&home));
        }
    });
    for child in &mut children {
        let mut out = String::new();
        child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        assert!(child.wait().unwrap().success(), "{out}");
    }
    let store = Store::open(&home).unwrap();
    let project = store.project(Path::new("/")).unwrap();
    assert_eq!(store.runs(project, "node", 10_000).unwrap().len(), 4 * 200);
    assert_eq!(names(&home.join("tmp")).len(), 1);
}

#[test]
fn one_at_a_time_has_a_lock() {
    let (_dir, store) = store();
    let other = Store::open(store.home()).unwrap();
    let guard = store.try_lock(&key("lock"), "kernel").unwrap().unwrap();
    assert!(other.try_lock(&key("lock"), "me").unwrap().is_none());
    assert!(other.try_lock(&key("another"), "me").unwrap().is_some());
    assert_eq!(
        other.lock_holder(&key("lock")).unwrap().to_string(),
        format!("{} kernel", std::process::id())
    );
    drop(guard);
    assert_eq!(other.lock_holder(&key("lock")), None);
    assert!(names(&store.home().join("locks")).is_empty());

    // Many take it in turn, and the name is removed each time: no two may ever have it at once.
    let held = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut taken = 0;
                while taken < 100 {
                    if let Some(_guard) = store.try_lock(&key("lock"), "thread").unwrap() {
                        assert_eq!(held.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        held.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                        taken += 1;
                    }
                }
            });
        }
    });
}

#[test]
fn work_directories_are_new_and_within() {
    let (_dir, store) = store();
    let dirs = ["a/b", "a/b", "..", "", "/", &"long".repeat(100), "\u{e9}\n"]
        .map(|n| store.fresh_work_dir(n).unwrap());
    for dir in &dirs {
        assert!(dir.starts_with(store.home().join("work")) && !dir.ends_with(".."));
        assert!(names(dir).is_empty());
    }
    kiln::store::remove_tree(&dirs[0]).unwrap();
    kiln::store::remove_tree(&dirs[0]).unwrap();
    let home = store.home().to_owned();
    drop(store);
    assert!(names(&home.join("work")).is_empty() && names(&home.join("tmp")).is_empty());
}

// ---- Hostile content ----

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

// ---- How fast ----

/// `cargo test --release --test library -- --ignored --nocapture how_fast_a_build`
#[test]
#[ignore = "a measurement"]
fn how_fast_a_build_is_kept() {
    const FILES: usize = 6_000;
    // Not /tmp, which may be memory.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let store = Store::open(&dir.path().join("cache")).unwrap();
    for what in ["just written", "on disk for long", "and again"] {
        let to = store.fresh_work_dir("kernel").unwrap().join("out");
        let begun = Instant::now();
        if store.take_kept(&key("kernel"), &to).unwrap().is_none() {
            for n in 0..FILES {
                let dir = to.join(format!("dir-{}", n / 60));
                fs::create_dir_all(&dir).unwrap();
                fs::write(dir.join(format!("{n}.o")), vec![1; 150_000_000 / FILES]).unwrap();
            }
        } else {
            println!("take: {:?}", begun.elapsed());
        }
        let begun = Instant::now();
        store.keep(&key("kernel"), "kernel", &to, &vec![1; 1 << 20], &[], u64::MAX).unwrap();
        println!("keep, {what}: {:?}", begun.elapsed());
    }
    let begun = Instant::now();
    store.drop_kept().unwrap();
    println!("drop: {:?}", begun.elapsed());
}

/// `cargo test --release --test library -- --ignored --nocapture how_fast_100`
#[test]
#[ignore = "a measurement"]
fn how_fast_100_000_nodes_are() {
    const NODES: u32 = 100_000;
    let (dir, store) = store();
    let project = store.project(dir.path()).unwrap();
    let stat = fs::metadata(dir.path()).unwrap();
    let time = |what: &str, begun: Instant| println!("{what}: {:?}", begun.elapsed());

    let begun = Instant::now();
    for chunk in (0..NODES).collect::<Vec<_>>().chunks(10_000) {
        store
            .batch(|batch| {
                for n in chunk {
                    let node = format!("source/arch/defconfig/toolchain/{n:06}");
                    let artifact = Artifact::File { digest: key(&node), size: 1, executable: false };
                    let record = NodeRecord {
                        trees: Vec::new(),
                        outputs: vec![("out".to_owned(), artifact)],
                        placed: vec![Placed::new(node.clone(), artifact, &stat)],
                    };
                    let mut run = a_run(&node, Outcome::Pass, 5);
                    run.strong_key = Some(key(&n.to_string()));
                    let id = batch.record_run(project, &run)?;
                    let result = StoredResult {
                        action_key: run.action_key,
                        outcome: Outcome::Pass,
                        outputs: record.outputs.clone(),
                        log: None,
                        run: id,
                        built: Built::FromNothing,
                        origin: Origin::Local,
                    };
                    let set = whole_tree("linux");
                    batch.record(&key(&n.to_string()), &set, &result)?;
                    let mut state = NodeState::new(id, Outcome::Pass, run.action_key, &record);
                    state.path_set = Some(set.digest());
                    state.strong_key = run.strong_key;
                    batch.set_node(project, &node, &state)?;
                }
                Ok(())
            })
            .unwrap();
    }
    time("record 100,000 runs, results and nodes", begun);

    let home = store.home().to_owned();
    drop(store);
    for _ in 0..3 {
        let begun = Instant::now();
        let store = Store::open(&home).unwrap();
        time("open", begun);
        let begun = Instant::now();
        let nodes = store.load_nodes(project).unwrap();
        time("load_nodes", begun);
        assert_eq!(nodes.len(), NODES as usize);
        let begun = Instant::now();
        let placed: usize = nodes.values().map(|node| node.record().unwrap().placed.len()).sum();
        time("decode all records", begun);
        assert_eq!(placed, NODES as usize);
        let begun = Instant::now();
        assert_eq!(store.durations(project).unwrap().len(), NODES as usize);
        time("durations", begun);
    }
    println!("index: {} bytes", fs::metadata(home.join("index.sqlite")).unwrap().len());
}
