//! The walk: every entry is stat-ed once, and what its stat does not vouch for is read.
//!
//! Directories are walked in parallel. Their entries are looked at relative to a descriptor of the directory, so no
//! path is put together for a file. A directory's descriptor is closed before its subdirectories are walked, so the
//! number of open ones does not depend on the shape of the tree.
//!
//! A mount below the root may be of another file system, with another clock. Each directory knows which one it is on, and
//! that is asked for again where a device differs from that of the directory above.
//!
//! What is found of a file is remembered under the stat that was taken *before* it was read, and the names in a
//! directory under the directory's stat from before. Whatever changes in between gets another stat.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{Mode, fstat, fstatat};
use rayon::prelude::*;

use super::error::{Collector, Problem, ProblemKind};
use super::file_system::{Believed, Devices, FileSystem, Settled, Writer};
use super::hash::hash_file;
use super::stat::{FileType, Stat};
use super::tree::{Body, Name, Node, Record, Tree, push_name};

/// How many directories deep a tree may be. Deeper ones exist by mistake only, and stacks have an end.
pub const MAX_DEPTH: usize = 256;

/// From this many bytes on, the files of one directory are hashed in parallel.
const PARALLEL_BYTES: u64 = 512 * 1024;

/// One walk over one tree.
pub(super) struct Walk<'a> {
    pub root: OwnedFd,
    /// Names to leave out of the root directory.
    pub ignore: &'a [&'a str],
    /// When it began: what changes from then on has other times than what is remembered.
    pub began: i64,
    /// The file systems that stats of the last time were taken on.
    pub believed: Believed,
    /// Those that this walk comes to.
    pub devices: Devices,
    pub problems: Collector,
    pub tally: Tally,
    /// Files that somebody has open for writing.
    pub written: Mutex<Vec<Box<[u8]>>>,
    /// Until when a change may leave a file the stat that it has.
    pub racy_until: AtomicI64,
}

/// The file system that a directory is on.
#[derive(Clone, Copy)]
struct On {
    dev: u64,
    fs: FileSystem,
    /// Which stats of the last time are believed here.
    believes: [bool; 3],
}

impl On {
    fn believes(&self, settled: Settled) -> bool {
        self.believes[settled as usize]
    }
}

/// What a walk had to do.
#[derive(Default)]
pub(super) struct Tally {
    pub hashed_files: AtomicU64,
    pub hashed_bytes: AtomicU64,
    pub listed_dirs: AtomicU64,
}

/// What is known of a directory from the last time.
#[derive(Clone, Copy)]
struct Known<'a> {
    stat: &'a Stat,
    settled: Settled,
    node: &'a Arc<Node>,
}

/// An entry of a directory, as its stat tells.
struct Seen {
    name: Name,
    stat: Stat,
    /// The record of the same name from the last time.
    known: Option<u32>,
    /// Whether that is still right of what is no directory.
    vouched_for: bool,
}

/// An entry that is left out: it is gone, or it is in the list of problems.
struct LeftOut;

impl Walk<'_> {
    pub fn run(&self, stat: Stat, known: Option<&Tree>) -> Option<Tree> {
        let known = known.map(|tree| Known { stat: &tree.stat, settled: tree.settled, node: &tree.top });
        let on = self.on(b"", stat.dev);
        let top = self.dir(&[], 0, &stat, known, on).ok()?;
        let settled = self.dir_settled(&stat, known.map(|known| (known.settled, known.stat)), on);
        Some(Tree { stat, settled, top, on: self.devices.ids() })
    }

    /// The file system of a device, which the path is on.
    fn on(&self, path: &[u8], dev: u64) -> On {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let path = if path.is_empty() { &b"."[..] } else { path };
        let look = || openat(&self.root, path, flags, Mode::empty()).and_then(FileSystem::of);
        let fs = self.devices.file_system(dev, look);
        let believes =
            [Settled::No, Settled::OnThisMount, Settled::Always].map(|how| self.believed.believes(how, &fs));
        On { dev, fs, believes }
    }

    /// The file system of an entry of a directory.
    fn on_below(&self, above: On, path: &[u8], name: &[u8], stat: &Stat) -> On {
        if stat.dev == above.dev { above } else { self.on(&join(path, name), stat.dev) }
    }

    /// Once the stat of a directory may be believed, it stays so for as long as it is the same.
    fn dir_settled(&self, stat: &Stat, known: Option<(Settled, &Stat)>, on: On) -> Settled {
        match known {
            Some((settled, known)) if on.believes(settled) && known == stat => settled,
            _ => self.settled(stat, on.fs, Writer::Nobody),
        }
    }

    /// For how long what is found with a stat holds.
    fn settled(&self, stat: &Stat, fs: FileSystem, writer: Writer) -> Settled {
        let settled = fs.settled(stat, self.began, writer);
        if settled == Settled::No
            && let Some(until) = fs.racy_until(stat, self.began)
        {
            self.racy_until.fetch_max(until, Relaxed);
        }
        settled
    }

    fn dir(
        &self,
        path: &[u8],
        depth: usize,
        stat: &Stat,
        known: Option<Known<'_>>,
        on: On,
    ) -> Result<Arc<Node>, LeftOut> {
        if depth > MAX_DEPTH {
            return Err(self.problem(path, b"", ProblemKind::TooDeep));
        }
        let same_names = known
            .filter(|known| on.believes(known.settled) && known.stat == stat && on.fs.names_kept())
            .map(|known| known.node);
        // Names that are known need no right to list the directory, only to reach into it.
        let access = if same_names.is_some() { OFlag::O_PATH } else { OFlag::O_RDONLY };
        let fd = openat(
            &self.root,
            if path.is_empty() { &b"."[..] } else { path },
            access | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC,
            Mode::empty(),
        )
        .map_err(|errno| self.refused(path, b"", errno, true))?;

        let old = known.map(|known| known.node);
        if let Some(node) = same_names {
            let order = node.records.iter().map(|record| record.name);
            let seen = self.stat_all(path, fd.as_fd(), &node.names, order, old, on);
            return Ok(self.look_below(fd, Looked { path, depth, names: Names::Known(node), seen, old, on }));
        }
        let mut dir = Dir::from_fd(fd).map_err(|errno| self.refused(path, b"", errno, true))?;
        let (names, order) = self.list(path, depth, &mut dir)?;
        self.tally.listed_dirs.fetch_add(1, Relaxed);
        let seen = self.stat_all(path, dir.as_fd(), &names, order.into_iter(), old, on);
        let names = match old.filter(|node| node.names == names) {
            Some(node) => Names::Known(node),
            None => Names::New(names),
        };
        Ok(self.look_below(dir, Looked { path, depth, names, seen, old, on }))
    }

    /// The names in a directory, sorted.
    fn list(&self, path: &[u8], depth: usize, dir: &mut Dir) -> Result<(Box<[u8]>, Vec<Name>), LeftOut> {
        let mut text = Vec::new();
        let mut order = Vec::new();
        for entry in dir.iter() {
            let entry = entry.map_err(|errno| self.refused(path, b"", errno, true))?;
            let name = entry.file_name().to_bytes();
            let ignored = depth == 0 && self.ignore.iter().any(|ignored| ignored.as_bytes() == name);
            if name != b"." && name != b".." && !ignored {
                order.push(push_name(&mut text, name));
            }
        }
        order.sort_unstable_by(|a, b| a.bytes(&text).cmp(b.bytes(&text)));
        let mut sorted = Vec::with_capacity(text.len());
        for name in &mut order {
            *name = push_name(&mut sorted, name.bytes(&text));
        }
        Ok((sorted.into(), order))
    }

    /// The stat of every entry that is still there, and which record of the last time it goes with.
    fn stat_all(
        &self,
        path: &[u8],
        dir: BorrowedFd<'_>,
        names: &[u8],
        order: impl ExactSizeIterator<Item = Name>,
        old: Option<&Arc<Node>>,
        on: On,
    ) -> Vec<Seen> {
        let mut seen = Vec::with_capacity(order.len());
        let mut records = old.map_or(&[][..], |node| &node.records).iter().zip(0u32..).peekable();
        for name in order {
            match fstatat(dir, name.c_str(names), AtFlags::AT_SYMLINK_NOFOLLOW) {
                Ok(stat) => {
                    let bytes = name.bytes(names);
                    let old_name = |record: &Record| record.name.bytes(&old.expect("it has records").names);
                    while records.next_if(|(record, _)| old_name(record) < bytes).is_some() {}
                    let known = records.next_if(|(record, _)| old_name(record) == bytes).map(|(_, at)| at);
                    let stat = Stat::new(&stat);
                    let vouches = |at: u32| {
                        let record = &old.expect("it has records").records[at as usize];
                        record.stat == stat && self.on_below(on, path, bytes, &stat).believes(record.settled)
                    };
                    seen.push(Seen { name, stat, known, vouched_for: known.is_some_and(vouches) });
                }
                Err(errno) => {
                    let LeftOut = self.refused(path, name.bytes(names), errno, false);
                }
            }
        }
        seen
    }

    /// The node of a directory whose entries were stat-ed: the known one, if nothing changed.
    fn look_below(&self, dir: impl AsFd, looked: Looked<'_>) -> Arc<Node> {
        let unread: Vec<&Seen> = looked.seen.iter().filter(|seen| !seen.need_not_be_read()).collect();
        let read = self.read_all(&looked, dir.as_fd(), &unread);
        drop(dir);
        let walked = self.children(&looked);

        if let (Names::Known(node), true) = (&looked.names, read.is_empty())
            && self.nothing_changed(node, &looked, &walked)
        {
            return Arc::clone(node);
        }
        let mut read = read.into_iter();
        let mut walked = walked.into_iter();
        let mut records = Vec::with_capacity(looked.seen.len());
        let mut children = Vec::new();
        for seen in &looked.seen {
            if seen.is_dir() {
                if let Some(Ok(child)) = walked.next() {
                    children.push(child);
                    records.push(self.dir_record(&looked, seen));
                }
            } else if seen.need_not_be_read() {
                records
                    .extend(looked.record(seen).map(|record| Record { name: seen.name, ..record.clone() }));
            } else {
                records.extend(read.next().flatten());
            }
        }
        // What had to be read again may turn out to be what it was.
        if let Names::Known(node) = &looked.names
            && *node.records == *records
            && node.children.iter().zip(&children).all(|(a, b)| Arc::ptr_eq(a, b))
        {
            return Arc::clone(node);
        }
        let names = looked.names.only_of(&mut records);
        Arc::new(Node::new(names, records.into(), children.into()))
    }

    fn dir_record(&self, looked: &Looked<'_>, seen: &Seen) -> Record {
        let on = self.on_below(looked.on, looked.path, seen.name.bytes(looked.names.text()), &seen.stat);
        let known = looked.record(seen).map(|record| (record.settled, &record.stat));
        let settled = self.dir_settled(&seen.stat, known, on);
        Record { name: seen.name, settled, stat: seen.stat, body: Body::Dir }
    }

    /// Whether a directory of which nothing had to be read is as it was, down to the last subdirectory.
    fn nothing_changed(
        &self,
        node: &Node,
        looked: &Looked<'_>,
        walked: &[Result<Arc<Node>, LeftOut>],
    ) -> bool {
        let seen = &looked.seen;
        let mut children = node.children.iter().zip(walked);
        let mut is_same = |(seen, record): (&Seen, &Record)| {
            if !seen.is_dir() {
                // It was not read, so its stat is the record's.
                return true;
            }
            *record == self.dir_record(looked, seen)
                && children.next().is_some_and(|(a, b)| b.as_ref().is_ok_and(|b| Arc::ptr_eq(a, b)))
        };
        seen.len() == node.records.len() && seen.iter().zip(&node.records).all(&mut is_same)
    }

    fn children(&self, looked: &Looked<'_>) -> Vec<Result<Arc<Node>, LeftOut>> {
        // The node of a known directory is found by its place among the directories, counted on the way.
        let (mut at, mut place) = (0, 0);
        let mut dirs = Vec::new();
        for seen in looked.seen.iter().filter(|seen| seen.is_dir()) {
            let known = looked.old.zip(seen.known).and_then(|(node, index)| {
                let index = index as usize;
                let record = &node.records[index];
                place += node.records[at..index].iter().filter(|record| record.is_dir()).count();
                at = index;
                record.is_dir().then(|| Known {
                    stat: &record.stat,
                    settled: record.settled,
                    node: &node.children[place],
                })
            });
            dirs.push((seen, known));
        }
        let walk = |(seen, known): &(&Seen, Option<Known<'_>>)| {
            let name = seen.name.bytes(looked.names.text());
            let on = self.on_below(looked.on, looked.path, name, &seen.stat);
            self.dir(&join(looked.path, name), looked.depth + 1, &seen.stat, *known, on)
        };
        match &dirs[..] {
            [] => Vec::new(),
            [one] => vec![walk(one)],
            many => many.par_iter().with_max_len(1).map(walk).collect(),
        }
    }

    /// Looks into files and links; `None` for what is left out.
    fn read_all(&self, looked: &Looked<'_>, dir: BorrowedFd<'_>, unread: &[&Seen]) -> Vec<Option<Record>> {
        let names = looked.names.text();
        let read = |seen: &&Seen| match self.read(looked, dir, seen.name.c_str(names), seen) {
            Ok(record) => Some(record),
            Err(errno) => {
                let LeftOut = self.refused(looked.path, seen.name.bytes(names), errno, false);
                None
            }
        };
        let bytes: u64 = unread.iter().map(|seen| seen.stat.size).sum();
        if bytes >= PARALLEL_BYTES && unread.len() > 1 {
            unread.par_iter().map(read).collect()
        } else {
            unread.iter().map(read).collect()
        }
    }

    fn read(
        &self,
        looked: &Looked<'_>,
        dir: BorrowedFd<'_>,
        name: &CStr,
        seen: &Seen,
    ) -> Result<Record, Errno> {
        let mut stat = seen.stat;
        let fs = self.on_below(looked.on, looked.path, name.to_bytes(), &stat).fs;
        let mut settled = self.settled(&stat, fs, Writer::Nobody);
        let body = match stat.file_type() {
            FileType::Dir => return Err(Errno::EISDIR),
            FileType::Special(special) => Body::Special(special),
            FileType::Symlink => Body::Symlink(readlinkat(dir, name)?.into_vec().into()),
            FileType::File => {
                // It may have become a pipe by now, which must not block, and must not be read.
                let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
                let file = File::from(openat(dir, name, flags | OFlag::O_CLOEXEC, Mode::empty())?);
                let writer = fs.writer_of(&file);
                stat = Stat::new(&fstat(&file)?);
                if stat.file_type() != FileType::File {
                    return Err(Errno::ENXIO);
                }
                let (digest, size) = hash_file(file, stat.size)
                    .map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
                self.tally.hashed_files.fetch_add(1, Relaxed);
                self.tally.hashed_bytes.fetch_add(size, Relaxed);
                if writer == Writer::Somebody {
                    let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
                    written.push(join(looked.path, name.to_bytes()).into());
                }
                // A file that grew or shrank meanwhile is listed as what was hashed, and looked at again next time. One
                // that was replaced by one of another file system is, too.
                let same = stat.size == size && stat.dev == seen.stat.dev;
                settled = if same { self.settled(&stat, fs, writer) } else { Settled::No };
                stat.size = size;
                Body::File(digest)
            }
        };
        Ok(Record { name: seen.name, settled, stat, body })
    }

    /// A file that is gone is no problem: the tree without it is as true as the one with it.
    fn refused(&self, path: &[u8], name: &[u8], errno: Errno, directory: bool) -> LeftOut {
        if errno == Errno::ENOENT {
            return LeftOut;
        }
        self.problem(path, name, ProblemKind::new(errno, directory))
    }

    fn problem(&self, path: &[u8], name: &[u8], kind: ProblemKind) -> LeftOut {
        let path = PathBuf::from(OsStr::from_bytes(&join(path, name)));
        self.problems.add(Problem { path, kind });
        LeftOut
    }
}

/// A directory of which every entry was stat-ed.
struct Looked<'a> {
    path: &'a [u8],
    depth: usize,
    names: Names<'a>,
    seen: Vec<Seen>,
    old: Option<&'a Arc<Node>>,
    on: On,
}

impl<'a> Looked<'a> {
    fn record(&self, seen: &Seen) -> Option<&'a Record> {
        Some(&self.old?.records[seen.known? as usize])
    }
}

impl Seen {
    /// Whether the entry need not be read: the cache knows it, or it is walked into.
    fn need_not_be_read(&self) -> bool {
        self.is_dir() || self.vouched_for
    }

    fn is_dir(&self) -> bool {
        self.stat.file_type() == FileType::Dir
    }
}

/// The names of the node to be made.
enum Names<'a> {
    /// Those of this node.
    Known(&'a Arc<Node>),
    New(Box<[u8]>),
}

impl Names<'_> {
    fn text(&self) -> &[u8] {
        match self {
            Self::Known(node) => &node.names,
            Self::New(names) => names,
        }
    }

    /// The names of these entries, without those of entries that were left out.
    fn only_of(self, records: &mut [Record]) -> Box<[u8]> {
        let length: usize = records.iter().map(|record| usize::from(record.name.len) + 1).sum();
        match self {
            Self::New(names) if names.len() == length => names,
            Self::Known(node) if node.names.len() == length => node.names.clone(),
            all => {
                let mut names = Vec::with_capacity(length);
                for record in records {
                    record.name = push_name(&mut names, record.name.bytes(all.text()));
                }
                names.into()
            }
        }
    }
}

/// A path below the root; either part may be empty.
fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    let separator: &[u8] = if path.is_empty() || name.is_empty() { b"" } else { b"/" };
    [path, separator, name].concat()
}
