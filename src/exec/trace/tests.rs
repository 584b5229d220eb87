//! What no sandbox can be made to do at the right moment. As root alone, in mount namespaces of their own.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use nix::fcntl::AT_FDCWD;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::geteuid;
use tempfile::TempDir;

use super::group::{Event, Group, Queue};
use super::links::single_names;
use super::reader::Reader;
use super::{Opened, Trace, TraceError, Tracer, Watching};

/// Fills a directory, and mounts it in a namespace which dies with `act`: what that opens there is read thereafter.
/// `act` gets the mount, which is traced, and the directory itself, which is not.
fn traced(
    queue: Queue,
    fill: impl FnOnce(&Path),
    act: impl FnOnce(&Path, &Path) + Send,
) -> Option<Result<Trace, TraceError>> {
    if !geteuid().is_root() {
        println!("skipped: only root may trace");
        return None;
    }
    let dir = TempDir::new().unwrap();
    let [mounted, tree] = ["mounted", "tree"].map(|name| dir.path().canonicalize().unwrap().join(name));
    fs::create_dir(&mounted).unwrap();
    fs::create_dir(&tree).unwrap();
    fill(&tree);
    let inside = || {
        mount_in_a_namespace(&tree, &mounted);
        let root = Path::new("/proc/thread-self/root");
        let reader = Reader::open(root, std::slice::from_ref(&mounted), queue);
        act(&mounted, &tree);
        reader
    };
    let mut reader = thread::scope(|scope| scope.spawn(inside).join()).unwrap().unwrap();
    loop {
        match reader.step(0, true) {
            Ok(true) => {}
            Ok(false) => return Some(Tracer::watch(Watching::Mounts(reader)).unwrap().finish()),
            Err(error) => return Some(Err(error)),
        }
    }
}

/// Gives the calling thread a mount namespace of its own, with `from` at `to`.
fn mount_in_a_namespace(from: &Path, to: &Path) {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    mount(Some(from), to, none, MsFlags::MS_BIND, none).unwrap();
}

fn paths(paths: &[&str]) -> Vec<Box<[u8]>> {
    paths.iter().map(|path| path.as_bytes().into()).collect()
}

#[test]
fn names_are_right_when_the_namespace_is_gone_before_they_are_asked_for() {
    let fill = |top: &Path| {
        fs::create_dir(top.join("dir")).unwrap();
        fs::write(top.join("dir/file"), "").unwrap();
    };
    let Some(trace) = traced(Queue::Unlimited, fill, |mounted, _| {
        fs::read(mounted.join("dir/file")).unwrap();
        fs::read_dir(mounted).unwrap();
    }) else {
        return;
    };
    let opened = Opened { files: paths(&["dir/file"]), dirs: paths(&[""]) };
    assert_eq!(trace.unwrap().mounts, [opened]);
}

#[test]
fn what_is_ignored_has_no_event_any_more_but_what_is_in_an_ignored_directory_has() {
    if !geteuid().is_root() {
        return println!("skipped: only root may trace");
    }
    let dir = TempDir::new().unwrap();
    let top = dir.path();
    fs::create_dir(top.join("dir")).unwrap();
    for name in ["dir/a", "dir/b"] {
        fs::write(top.join(name), "").unwrap();
    }
    let test = || {
        mount_in_a_namespace(top, top);
        let group = Group::new(Queue::Unlimited).unwrap();
        group.watch_mount(AT_FDCWD, top).unwrap();
        let open = |names: &[&str]| names.iter().for_each(|name| drop(File::open(top.join(name)).unwrap()));
        let events = || {
            let mut count = 0;
            while let Some(Event::Open(file, _)) = group.next().unwrap() {
                group.ignore(file.as_fd()).unwrap();
                count += 1;
            }
            count
        };
        open(&["dir", "dir/a"]);
        assert_eq!(events(), 2);
        fs::OpenOptions::new().append(true).open(top.join("dir/a")).unwrap().write_all(b"more").unwrap();
        open(&["dir", "dir/a", "dir/b"]);
        assert_eq!(events(), 1);
    };
    thread::scope(|scope| scope.spawn(test).join()).unwrap();
}

#[test]
fn names_of_hard_links_are_complete_after_the_tree_was_searched_for_them() {
    let fill = |top: &Path| {
        fs::create_dir_all(top.join("tree/dir")).unwrap();
        fs::create_dir(top.join("outside")).unwrap();
        for name in ["one", "two"] {
            fs::write(top.join("tree").join(name), "").unwrap();
            fs::hard_link(top.join("tree").join(name), top.join("outside").join(name)).unwrap();
        }
        fs::hard_link(top.join("tree/two"), top.join("tree/dir/two")).unwrap();
    };
    let dir = TempDir::new().unwrap();
    fill(dir.path());
    let tree = dir.path().join("tree");
    let (one, two) = (fs::metadata(tree.join("one")).unwrap(), fs::metadata(tree.join("two")).unwrap());
    let single = single_names(&tree).unwrap();
    assert!(single.contains(&(one.dev(), one.ino())) && !single.contains(&(two.dev(), two.ino())));
    assert_eq!(single.len(), 1);

    // More events than it takes to have the tree searched; the search itself must not be taken for a step's.
    let Some(trace) = traced(Queue::Unlimited, fill, |mounted, _| {
        let read = || ["tree/one", "tree/two"].map(|name| fs::read(mounted.join(name)).unwrap());
        // From a new thread each time: the kernel takes equal events that wait for one.
        for _ in 0..600 {
            thread::scope(|scope| drop(scope.spawn(read).join().unwrap()));
        }
        fs::read(mounted.join("tree/dir/two")).unwrap();
        fs::read_dir(mounted.join("tree")).unwrap();
    }) else {
        return;
    };
    let opened = Opened { files: paths(&["tree/dir/two", "tree/one", "tree/two"]), dirs: paths(&["tree"]) };
    assert_eq!(trace.unwrap().mounts, [opened]);
}

#[test]
fn a_queue_that_overflows_makes_the_trace_unusable() {
    let most = fs::read_to_string("/proc/sys/fs/fanotify/max_queued_events");
    let most: usize = most.map_or(16384, |text| text.trim().parse().unwrap());
    let name = |top: &Path, number: usize| top.join(number.to_string());
    for (queue, works) in [(Queue::Bounded, false), (Queue::Unlimited, true)] {
        let fill = |top: &Path| (0..=most).for_each(|number| drop(File::create(name(top, number)).unwrap()));
        let act =
            |top: &Path, _: &Path| (0..=most).for_each(|number| drop(File::open(name(top, number)).unwrap()));
        match traced(queue, fill, act) {
            None => return,
            Some(Ok(trace)) => assert!(works && trace.mounts[0].files.len() == most + 1),
            Some(Err(error)) => assert!(!works && matches!(error, TraceError::Overflow), "{error}"),
        }
    }
}

/// Opens `opened`, then does what changes the tree, all before the first event is read.
fn moved(opened: &'static str, change: impl FnOnce(&Path) + Send) -> Option<Result<Trace, TraceError>> {
    let fill = |top: &Path| {
        for dir in ["a/in", "b/in"] {
            fs::create_dir_all(top.join(dir)).unwrap();
            fs::write(top.join(dir).join("file"), dir).unwrap();
        }
    };
    traced(Queue::Unlimited, fill, |mounted, tree| {
        drop(File::open(mounted.join(opened)).unwrap());
        change(tree);
    })
}

#[test]
fn what_was_moved_or_removed_meanwhile_has_no_name() {
    fn rename(top: &Path, from: &str, to: &str) {
        fs::rename(top.join(from), top.join(to)).unwrap();
    }
    type Change = fn(&Path);
    let changes: [(&'static str, Change); 8] = [
        ("a/in/file", |top| fs::remove_file(top.join("a/in/file")).unwrap()),
        ("a/in/file", |top| rename(top, "a/in/file", "a/in/other")),
        ("a/in/file", |top| rename(top, "b/in/file", "a/in/file")),
        ("a/in/file", |top| {
            // The name it is known by then exists, as that of the very same file.
            fs::hard_link(top.join("a/in/file"), top.join("a/in/file (deleted)")).unwrap();
            fs::remove_file(top.join("a/in/file")).unwrap();
        }),
        ("a/in/file", |top| rename(top, "a", "c")),
        ("a/in/file", |top| {
            rename(top, "a/in", "c");
            rename(top, "b/in", "a/in");
            rename(top, "c", "b/in");
        }),
        ("a/in", |top| rename(top, "a/in", "b/other")),
        ("a/in", |top| fs::remove_dir_all(top.join("a")).unwrap()),
    ];
    for (index, (opened, change)) in changes.into_iter().enumerate() {
        let Some(trace) = moved(opened, change) else { return };
        assert!(matches!(trace, Err(TraceError::Unnamed { .. })), "{index}: {trace:?}");
    }
}

#[test]
fn changes_that_move_nothing_leave_the_names() {
    let changes: [fn(&Path); 3] = [
        |top| fs::write(top.join("a/in/.file.swp"), "").unwrap(),
        |top| fs::write(top.join("a/in/file"), "new").unwrap(),
        |top| fs::hard_link(top.join("a/in/file"), top.join("b/second")).unwrap(),
    ];
    for change in changes {
        let Some(trace) = moved("a/in/file", change) else { return };
        assert_eq!(trace.unwrap().mounts[0].files, paths(&["a/in/file"]));
    }
}

#[test]
fn a_thread_that_panics_gives_no_trace() {
    let thread = thread::spawn(|| panic!("as told"));
    let tracer = Tracer { stop: None, thread: Some(thread) };
    assert!(matches!(tracer.finish(), Err(TraceError::Panicked)));
}

#[test]
fn only_what_is_mounted_can_be_watched() {
    if !geteuid().is_root() {
        return println!("skipped: only root may trace");
    }
    let error = Tracer::start(Path::new("/proc/self/root"), &[PathBuf::from("/proc/self")]).unwrap_err();
    assert!(matches!(error, TraceError::NotMounted { .. }), "{error}");
    let error = Tracer::start(Path::new("/proc/0/root"), &[]).unwrap_err();
    assert!(matches!(error, TraceError::Sandbox { .. }), "{error}");
}
