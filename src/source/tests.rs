//! Snapshots of real directories: whatever is done to a tree, the stat cache must not show.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use proptest::prelude::*;
use tempfile::TempDir;

use super::file_system::Settled;
use super::tree::{Body, Node};
use super::*;
use crate::digest::Digest;

/// Longer than the slack of the racy rule.
const SETTLE: Duration = Duration::from_millis(70);

/// A tree, and a place for its cache.
struct Fixture {
    dir: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("tree")).unwrap();
        Self { dir }
    }

    /// A small tree with something of everything.
    fn sample() -> Self {
        let fixture = Self::new();
        for dir in ["src/net", "src/empty", "doc"] {
            fs::create_dir_all(fixture.at(dir)).unwrap();
        }
        for file in ["Makefile", "src/a.c", "src/b.c", "src/net/tcp.c", "doc/README"] {
            fs::write(fixture.at(file), format!("content of {file}")).unwrap();
        }
        symlink("../src/a.c", fixture.at("doc/link")).unwrap();
        fixture
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("tree")
    }

    fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root().join(path)
    }

    fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    fn warm(&self) -> Snapshot {
        let cache = self.cache();
        Snapshot::take(&self.root(), &SnapshotOptions { cache_file: Some(&cache), ignore: &[] }).unwrap()
    }

    fn cold(&self) -> Snapshot {
        Snapshot::take(&self.root(), &SnapshotOptions::default()).unwrap()
    }

    /// The changes since `old`, as short texts.
    fn changes(&self, old: &Snapshot) -> Vec<String> {
        let new = self.warm();
        let stored: HashMap<_, _> = old.listings().chain(new.listings()).collect();
        let changes = diff(&old.digest(), &new.digest(), &stored).unwrap();
        changes
            .iter()
            .map(|change| {
                let kind = format!("{:?}", change.kind);
                let kind = kind.split([' ', '{']).next().unwrap();
                format!("{} {kind}", change.path.display())
            })
            .collect()
    }
}

fn set_mtime(path: &Path, time: SystemTime) {
    let file = File::options().read(true).open(path).unwrap();
    file.set_times(FileTimes::new().set_modified(time)).unwrap();
}

#[test]
fn nothing_is_read_when_nothing_changed() {
    let fixture = Fixture::sample();
    sleep(SETTLE);
    let first = fixture.warm();
    assert_eq!(first.stats().cache, CacheState::Cold { reason: ColdReason::Absent });
    assert_eq!((first.stats().files, first.stats().dirs, first.stats().symlinks), (5, 5, 1));
    assert_eq!((first.stats().hashed_files, first.stats().listed_dirs), (5, 5));
    assert_eq!(first.stats().write, CacheWrite::Written);

    let second = fixture.warm();
    assert_eq!(second.digest(), first.digest());
    assert_eq!(second.stats().cache, CacheState::Warm);
    assert_eq!(second.stats().hashed_files, 0);
    assert_eq!(second.stats().write, CacheWrite::Unchanged);

    fs::write(fixture.at("src/net/tcp.c"), "content OF src/net/tcp.c").unwrap();
    let third = fixture.warm();
    assert_eq!(third.stats().hashed_files, 1);
    assert_eq!(third.digest(), fixture.cold().digest());
    assert_ne!(third.digest(), first.digest());
}

#[test]
fn a_file_changed_within_the_tick_of_its_snapshot_is_seen() {
    let fixture = Fixture::new();
    let file = fixture.at("f");
    for round in 0..50 {
        fs::write(&file, format!("{round:04}")).unwrap();
        let warm = fixture.warm();
        let expected = Digest::of_bytes(format!("{round:04}").as_bytes());
        assert_eq!(
            warm.lookup(Path::new("f")),
            Some(Kind::File { executable: false, size: 4, digest: expected })
        );
    }
}

/// Kernels since 6.13 tell times apart that were one tick before, so there nothing is ever racy. This makes it so: a
/// cache that is wrong about a file, and about the names in a directory, under stats that are right.
#[test]
fn only_what_is_settled_is_believed() {
    fn forge(node: &Node, settled: Settled) -> Node {
        let mut records = node.records.to_vec();
        for record in &mut records {
            record.settled = settled;
            if matches!(record.body, Body::File(_)) {
                record.body = Body::File(Digest::of_bytes(b"wrong"));
            }
        }
        let children: Vec<_> = node.children.iter().map(|child| Arc::new(forge(child, settled))).collect();
        // The last name of a directory that has no subdirectories is forgotten.
        let mut names = node.names.to_vec();
        if children.is_empty()
            && let Some(last) = records.pop()
        {
            names.truncate(last.name.start as usize);
        }
        Node::new(names.into(), records.into(), children.into())
    }
    let fixture = Fixture::new();
    for file in ["dir/a", "dir/b", "dir/sub/a", "dir/sub/b"] {
        fs::create_dir_all(fixture.at(file).parent().unwrap()).unwrap();
        fs::write(fixture.at(file), "right").unwrap();
    }
    sleep(SETTLE);
    let right = fixture.warm().digest();
    for settled in [Settled::No, Settled::OnThisMount, Settled::Always] {
        let mut tree = tree_cache::load(&fixture.cache(), &[]).unwrap();
        tree.settled = settled;
        tree.top = Arc::new(forge(&tree.top, settled));
        tree_cache::save(&fixture.cache(), &[], &tree).unwrap();
        // That the forgery is believed when it is called settled shows that it is a good one.
        let forged = fixture.warm();
        assert_eq!(forged.stats().cache, CacheState::Warm);
        assert_eq!(forged.digest() == right, settled == Settled::No, "{settled:?}");
    }
}

#[test]
fn what_is_new_is_not_settled() {
    fn settled(node: &Node) -> bool {
        node.records.iter().any(|record| record.settled != Settled::No)
            || node.children.iter().any(|child| settled(child))
    }
    let fixture = Fixture::sample();
    fixture.warm();
    let tree = tree_cache::load(&fixture.cache(), &[]).unwrap();
    assert!(tree.settled == Settled::No && !settled(&tree.top), "neither files nor the names in directories");
}

#[test]
fn a_tree_that_changes_meanwhile_is_seen_as_it_ends() {
    let fixture = Fixture::sample();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut round = 0u32;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                round += 1;
                // A file comes and goes, another changes and keeps its size, and a directory moves.
                fs::write(fixture.at("src/comes"), "x").unwrap();
                fs::write(fixture.at("src/a.c"), format!("{round:08}")).unwrap();
                fs::rename(fixture.at("src/net"), fixture.at("doc/net")).unwrap();
                fs::remove_file(fixture.at("src/comes")).unwrap();
                fs::rename(fixture.at("doc/net"), fixture.at("src/net")).unwrap();
            }
        });
        for _ in 0..200 {
            fixture.warm();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(fixture.warm().digest(), fixture.cold().digest());
}

#[test]
fn setting_the_times_back_hides_nothing() {
    let fixture = Fixture::sample();
    let file = fixture.at("src/a.c");
    let old = SystemTime::now() - Duration::from_hours(1);
    set_mtime(&file, old);
    sleep(SETTLE);
    let before = fixture.warm();
    fs::write(&file, "CONTENT of src/a.c").unwrap();
    set_mtime(&file, old);
    let after = fixture.warm();
    assert_ne!(after.digest(), before.digest());
    assert_eq!(after.digest(), fixture.cold().digest());
}

#[test]
fn files_from_the_future_are_read_each_time() {
    let fixture = Fixture::sample();
    set_mtime(&fixture.at("src/a.c"), SystemTime::now() + Duration::from_hours(1));
    sleep(SETTLE);
    fixture.warm();
    let again = fixture.warm();
    assert_eq!(again.stats().hashed_files, 1);
    assert_eq!(again.stats().write, CacheWrite::Unchanged, "it is still what it was");
}

#[test]
fn paths_are_looked_up_without_following_links() {
    let fixture = Fixture::sample();
    symlink("src", fixture.at("alias")).unwrap();
    fs::set_permissions(fixture.at("src/b.c"), Permissions::from_mode(0o755)).unwrap();
    let snapshot = fixture.warm();
    let lookup = |path: &str| snapshot.lookup(Path::new(path));
    let digest = Digest::of_bytes(b"content of src/b.c");
    assert_eq!(lookup("src/b.c"), Some(Kind::File { executable: true, size: 18, digest }));
    assert_eq!(lookup("./src//b.c"), lookup("src/b.c"));
    assert_eq!(lookup("doc/link"), Some(Kind::Symlink { target: b"../src/a.c" }));
    assert_eq!(lookup("alias"), Some(Kind::Symlink { target: b"src" }));
    for nowhere in ["alias/b.c", "src/none", "src/b.c/x", "src/../Makefile", "/Makefile"] {
        assert_eq!(lookup(nowhere), None, "{nowhere}");
    }
    let listing = snapshot.listing(Path::new("src")).unwrap();
    assert_eq!(lookup("src"), Some(Kind::Dir { digest: listing.digest() }));
    assert_eq!(lookup(""), Some(Kind::Dir { digest: snapshot.digest() }));
    let names: Vec<_> = listing.entries().map(|entry| entry.name.to_vec()).collect();
    assert_eq!(names, [&b"a.c"[..], b"b.c", b"empty", b"net"]);
    assert_eq!(snapshot.listing(Path::new("src/b.c")), None);
}

#[test]
fn strange_trees_are_only_strange() {
    let fixture = Fixture::new();
    let name = OsStr::from_bytes(b"\xff\xfe\n");
    fs::write(fixture.at(name), "x").unwrap();
    symlink(".", fixture.at("loop")).unwrap();
    symlink("b", fixture.at("a")).unwrap();
    symlink("a", fixture.at("b")).unwrap();
    mkfifo(&fixture.at("fifo"), Mode::S_IRUSR).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(fixture.at("socket")).unwrap();
    let snapshot = fixture.warm();
    assert!(matches!(snapshot.lookup(Path::new(name)), Some(Kind::File { size: 1, .. })));
    assert_eq!(snapshot.lookup(Path::new("fifo")), Some(Kind::Special(Special::Fifo)));
    assert_eq!(snapshot.lookup(Path::new("socket")), Some(Kind::Special(Special::Socket)));
    assert_eq!(snapshot.stats().symlinks, 3);
    assert_eq!(fixture.warm().digest(), snapshot.digest());
    let mut seen = Vec::new();
    snapshot.each(|path, _| {
        seen.push(path.to_vec());
        std::ops::ControlFlow::<()>::Continue(())
    });
    assert_eq!(seen, [&b"a"[..], b"b", b"fifo", b"loop", b"socket", b"\xff\xfe\n"]);
}

#[test]
fn a_root_that_is_none_is_named() {
    let fixture = Fixture::sample();
    let take = |path: &str| Snapshot::take(&fixture.at(path), &SnapshotOptions::default()).err().unwrap();
    assert!(matches!(take("none"), SourceError::Missing { .. }));
    assert!(matches!(take("Makefile"), SourceError::NotADirectory { .. }));
    assert!(take("none").to_string().ends_with("tree/none does not exist"));
}

#[test]
fn a_tree_too_deep_is_an_error_not_a_crash() {
    let fixture = Fixture::new();
    let mut dir = fixture.root();
    for _ in 0..=super::walk::MAX_DEPTH {
        dir.push("d");
    }
    fs::create_dir_all(&dir).unwrap();
    let error = Snapshot::take(&fixture.root(), &SnapshotOptions::default()).err().unwrap();
    let SourceError::Unreadable { problems, total: 1, .. } = error else { panic!("{error}") };
    assert_eq!(problems[0].kind, ProblemKind::TooDeep);
}

#[test]
fn all_that_cannot_be_read_is_reported_at_once() {
    if nix::unistd::geteuid().is_root() && std::env::var_os("KILN_TEST_AS_NOBODY").is_none() {
        return as_nobody("source::tests::all_that_cannot_be_read_is_reported_at_once");
    }
    let fixture = Fixture::sample();
    fs::set_permissions(fixture.at("src/a.c"), Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(fixture.at("doc"), Permissions::from_mode(0o000)).unwrap();
    let error = Snapshot::take(&fixture.root(), &SnapshotOptions::default()).err().unwrap();
    let SourceError::Unreadable { problems, total, .. } = &error else { panic!("{error}") };
    assert_eq!(*total, 2);
    assert_eq!(problems[0].path, Path::new("doc"));
    assert_eq!(problems[0].kind, ProblemKind::Denied { directory: true });
    assert_eq!(problems[1].path, Path::new("src/a.c"));
    assert!(error.to_string().contains("src/a.c: permission denied (make it readable: chmod u+r"));
    fs::set_permissions(fixture.at("doc"), Permissions::from_mode(0o755)).unwrap();
}

/// Runs one test again in a process whose permissions count. Root has none to lack.
fn as_nobody(test: &str) {
    use std::os::unix::process::CommandExt;
    // The test program is copied to where anyone may run it.
    let dir = tempfile::Builder::new().permissions(Permissions::from_mode(0o755)).tempdir().unwrap();
    let program = dir.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let output = std::process::Command::new(&program)
        .args([test, "--exact", "--nocapture"])
        .env("KILN_TEST_AS_NOBODY", "1")
        .current_dir("/")
        .uid(65534)
        .gid(65534)
        .output();
    match output {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
        Err(error) => eprintln!("skipped: root cannot become nobody here: {error}"),
    }
}

#[test]
fn what_is_ignored_is_part_of_what_a_cache_is_for() {
    let fixture = Fixture::sample();
    fs::create_dir_all(fixture.at(".git/objects")).unwrap();
    fs::create_dir_all(fixture.at("src/.git")).unwrap();
    let cache = fixture.cache();
    let take = |ignore: &[&str]| {
        Snapshot::take(&fixture.root(), &SnapshotOptions { cache_file: Some(&cache), ignore }).unwrap()
    };
    let with = take(&[]);
    let without = take(&[".git"]);
    assert_eq!(without.stats().cache, CacheState::Cold { reason: ColdReason::OtherOptions });
    assert_eq!(without.lookup(Path::new(".git")), None);
    assert!(without.lookup(Path::new("src/.git")).is_some(), "only the root's");
    assert_ne!(with.digest(), without.digest());
}

#[test]
fn a_cache_that_cannot_be_written_is_only_slow() {
    let fixture = Fixture::sample();
    let cache = fixture.at("Makefile/cache");
    let options = SnapshotOptions { cache_file: Some(&cache), ignore: &[] };
    let snapshot = Snapshot::take(&fixture.root(), &options).unwrap();
    assert!(matches!(snapshot.stats().write, CacheWrite::Failed(_)));
    assert_eq!(snapshot.digest(), fixture.cold().digest());
}

#[test]
fn listings_come_bottom_up_and_known_ones_are_skipped() {
    let fixture = Fixture::sample();
    let old = fixture.warm();
    let all: Vec<_> = old.listings().collect();
    assert_eq!(all.len(), 5);
    assert_eq!(all.last().unwrap().0, old.digest());
    let mut stored: HashMap<Digest, Listing> = HashMap::new();
    for (digest, listing) in all {
        assert_eq!(listing.digest(), digest);
        for entry in listing.entries() {
            if let Kind::Dir { digest } = entry.kind {
                assert!(stored.contains_key(&digest), "stored before what holds it");
            }
        }
        stored.insert(digest, listing);
    }
    fs::write(fixture.at("src/net/udp.c"), "").unwrap();
    let new: Vec<_> = fixture.warm().listings_unless(|digest| stored.contains_key(digest)).collect();
    assert_eq!(new.len(), 3, "src/net, src, and the root");
    assert_eq!(fixture.warm().listings_unless(|_| true).count(), 0);
}

#[test]
fn differences_are_named() {
    let fixture = Fixture::sample();
    let old = fixture.warm();
    assert!(fixture.changes(&old).is_empty());
    fs::write(fixture.at("src/a.c"), "other").unwrap();
    fs::set_permissions(fixture.at("Makefile"), Permissions::from_mode(0o755)).unwrap();
    fs::remove_file(fixture.at("doc/link")).unwrap();
    symlink("elsewhere", fixture.at("doc/link")).unwrap();
    fs::remove_file(fixture.at("src/b.c")).unwrap();
    fs::create_dir(fixture.at("src/b.c")).unwrap();
    fs::write(fixture.at("src/b.c/inner"), "").unwrap();
    fs::remove_dir_all(fixture.at("src/net")).unwrap();
    fs::rename(fixture.at("doc/README"), fixture.at("doc/readme")).unwrap();
    assert_eq!(
        fixture.changes(&old),
        [
            "Makefile Mode",
            "doc/README Removed(File)",
            "doc/link Target",
            "doc/readme Added(File)",
            "src/a.c Content",
            "src/b.c Type",
            "src/b.c/inner Added(File)",
            "src/net Removed(Dir)",
            "src/net/tcp.c Removed(File)",
        ]
    );
}

#[test]
fn a_missing_listing_names_its_directory() {
    let fixture = Fixture::sample();
    let old = fixture.warm();
    fs::write(fixture.at("src/net/udp.c"), "").unwrap();
    let new = fixture.warm();
    let mut stored: HashMap<_, _> = old.listings().chain(new.listings()).collect();
    let gone = old.listing(Path::new("src/net")).unwrap().digest();
    stored.remove(&gone);
    let error = diff(&old.digest(), &new.digest(), &stored).unwrap_err();
    assert_eq!(error, MissingListing { path: "src/net".into(), digest: gone });
}

#[test]
fn a_large_directory_is_hashed_in_parallel_and_right() {
    let fixture = Fixture::new();
    for number in 0..40u8 {
        fs::write(fixture.at(format!("f{number}")), vec![number; 50_000]).unwrap();
    }
    let snapshot = fixture.warm();
    for number in 0..40u8 {
        let Some(Kind::File { digest, .. }) = snapshot.lookup(Path::new(&format!("f{number}"))) else {
            panic!()
        };
        assert_eq!(digest, Digest::of_bytes(&vec![number; 50_000]));
    }
}

/// What can be done to a tree.
#[derive(Clone, Debug)]
enum Edit {
    /// A size and a letter, so that edits of the same size are common.
    Write(usize, usize, u8),
    Rename(usize, usize),
    Chmod(usize, bool),
    Symlink(usize, usize),
    Delete(usize),
    MakeDir(usize),
    /// Changes a file that the cache vouches for, and sets its mtime back to what it was.
    Sneak(usize, u8),
    TouchFuture(usize),
    Settle,
    Snapshot,
}

/// Few paths, so that they meet: files become directories, and directories are renamed into each other.
const PATHS: [&str; 9] = ["a", "b", "d", "d/a", "d/b", "d/e", "d/e/f", "g", "g/h"];

fn edit() -> impl Strategy<Value = Edit> {
    let path = 0..PATHS.len();
    prop_oneof![
        4 => (path.clone(), 1usize..4, any::<u8>()).prop_map(|(p, size, byte)| Edit::Write(p, size, byte)),
        2 => (path.clone(), path.clone()).prop_map(|(a, b)| Edit::Rename(a, b)),
        1 => (path.clone(), any::<bool>()).prop_map(|(p, x)| Edit::Chmod(p, x)),
        1 => (path.clone(), path.clone()).prop_map(|(a, b)| Edit::Symlink(a, b)),
        2 => path.clone().prop_map(Edit::Delete),
        2 => path.clone().prop_map(Edit::MakeDir),
        1 => (path.clone(), any::<u8>()).prop_map(|(p, byte)| Edit::Sneak(p, byte)),
        1 => path.prop_map(Edit::TouchFuture),
        1 => Just(Edit::Settle),
        4 => Just(Edit::Snapshot),
    ]
}

impl Edit {
    /// Does it, if it can be done to the tree as it is.
    fn apply(&self, fixture: &Fixture) -> std::io::Result<()> {
        let at = |path: &usize| fixture.at(PATHS[*path]);
        match self {
            Self::Write(path, size, byte) => fs::write(at(path), vec![*byte; *size]),
            Self::Rename(from, to) => fs::rename(at(from), at(to)),
            Self::Chmod(path, executable) => {
                fs::set_permissions(at(path), Permissions::from_mode(if *executable { 0o755 } else { 0o700 }))
            }
            Self::Symlink(target, path) => symlink(PATHS[*target], at(path)),
            Self::Delete(path) => {
                let path = at(path);
                if path.symlink_metadata()?.is_dir() {
                    fs::remove_dir_all(path)
                } else {
                    fs::remove_file(path)
                }
            }
            Self::MakeDir(path) => fs::create_dir(at(path)),
            Self::Sneak(path, byte) => {
                let path = at(path);
                let before = path.symlink_metadata()?;
                if before.is_file() {
                    sleep(SETTLE);
                    fixture.warm();
                    fs::write(&path, vec![*byte; usize::try_from(before.len()).unwrap()])?;
                    set_mtime(&path, before.modified()?);
                }
                Ok(())
            }
            Self::TouchFuture(path) => {
                if at(path).symlink_metadata()?.is_file() {
                    set_mtime(&at(path), SystemTime::now() + Duration::from_mins(1));
                }
                Ok(())
            }
            Self::Settle => {
                sleep(SETTLE);
                Ok(())
            }
            Self::Snapshot => Ok(()),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_walk_of_edits_makes_the_cache_show(edits in prop::collection::vec(edit(), 1..40)) {
        let fixture = Fixture::new();
        fs::create_dir_all(fixture.at("d/e")).unwrap();
        for file in ["a", "b", "d/a", "d/e/f"] {
            fs::write(fixture.at(file), file).unwrap();
        }
        let mut last: Option<Snapshot> = None;
        for edit in &edits {
            let _ = edit.apply(&fixture);
            if !matches!(edit, Edit::Snapshot) {
                continue;
            }
            let (warm, cold) = (fixture.warm(), fixture.cold());
            prop_assert_eq!(warm.digest(), cold.digest());
            let (mut a, mut b) = (warm.listings(), cold.listings());
            prop_assert!(a.by_ref().eq(b.by_ref()));
            drop((a, b));
            if let Some(last) = &last {
                let stored: HashMap<_, _> = last.listings().chain(warm.listings()).collect();
                let changes = diff(&last.digest(), &warm.digest(), &stored).unwrap();
                prop_assert_eq!(changes.is_empty(), last.digest() == warm.digest());
                for change in changes {
                    let (old, new) = (last.lookup(&change.path), warm.lookup(&change.path));
                    prop_assert_ne!(old, new);
                }
            }
            last = Some(warm);
        }
        prop_assert_eq!(fixture.warm().digest(), fixture.cold().digest());
    }

    #[test]
    fn no_damage_to_the_cache_shows(at in any::<prop::sample::Index>(), flip in 1u8.., cut in any::<bool>()) {
        let fixture = Fixture::sample();
        sleep(SETTLE);
        let right = fixture.warm().digest();
        let mut bytes = fs::read(fixture.cache()).unwrap();
        let at = at.index(bytes.len());
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at] ^= flip;
        }
        fs::write(fixture.cache(), bytes).unwrap();
        let again = fixture.warm();
        prop_assert_eq!(again.digest(), right);
        let is_cold = matches!(again.stats().cache, CacheState::Cold { .. });
        prop_assert!(is_cold);
        prop_assert_eq!(fixture.warm().stats().cache.clone(), CacheState::Warm, "it was replaced");
    }
}

#[test]
fn a_file_that_somebody_has_open_for_writing_is_read_each_time() {
    let fixture = Fixture::sample();
    let writer = File::options().append(true).open(fixture.at("src/a.c")).unwrap();
    sleep(SETTLE);
    fixture.warm();
    assert_eq!(fixture.warm().stats().hashed_files, 1);
    drop(writer);
    assert_eq!(fixture.warm().stats().hashed_files, 1, "it is remembered from now on");
    assert_eq!(fixture.warm().stats().hashed_files, 0);
}

/// Files of an image that has no fractions of seconds, below a tree whose file system has.
#[test]
fn a_mount_with_a_slow_clock_below_a_fast_one_goes_by_its_own() {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("skipped: needs root");
    }
    let fixture = Fixture::sample();
    let image = fixture.dir.path().join("image");
    File::create(&image).unwrap().set_len(4 << 20).unwrap();
    let run = |program: &str, args: &[&OsStr]| {
        std::process::Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
    };
    let slow = fixture.at("doc");
    let (image, at) = (image.as_os_str(), slow.as_os_str());
    if !run("mkfs.ext2", &["-q".as_ref(), "-I".as_ref(), "128".as_ref(), image])
        || !run("mount", &["-o".as_ref(), "loop".as_ref(), image, at])
    {
        return eprintln!("skipped: no image can be mounted here");
    }
    let file = slow.join("file");
    let ctime = || std::os::unix::fs::MetadataExt::ctime(&fs::metadata(&file).unwrap());
    let mut tries = 0..20;
    let seen = loop {
        fs::write(&file, "one").unwrap();
        let written = ctime();
        sleep(SETTLE);
        fixture.warm();
        fs::write(&file, "two").unwrap();
        let right = fixture.warm().digest() == fixture.cold().digest();
        // What counts are two writes within a second.
        if ctime() == written || tries.next().is_none() {
            break right;
        }
    };
    let unmounted = run("umount", &[at]);
    assert!(seen && unmounted);
}
