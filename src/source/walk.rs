//! The walk: every entry is stat-ed once, and what its stat does not vouch for is read.
//!
//! Directories are walked in parallel. Their entries are looked at relative to a descriptor of the directory, so no
//! path is put together for a file. A directory's descriptor is closed before its subdirectories are walked, so the
//! number of open ones does not depend on the shape of the tree.
//!
//! What is found of a file is remembered under the stat that was taken *before* it was read, and the names in a
//! directory under the directory's stat from before. Whatever changes in between gets another stat.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{Mode, fstat, fstatat};
use rayon::prelude::*;

use super::error::{Collector, Problem, ProblemKind};
use super::hash::hash_file;
use super::stat::{FileType, Moment, Stat};
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
    pub moment: Moment,
    /// The device on which an unchanged directory surely has the same names.
    pub names_kept_on: Option<u64>,
    pub problems: Collector,
    pub tally: Tally,
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
    settled: bool,
    node: &'a Arc<Node>,
}

/// An entry of a directory, as its stat tells.
struct Seen {
    name: Name,
    stat: Stat,
    /// The record of the same name from the last time.
    known: Option<u32>,
}

/// An entry that is left out: it is gone, or it is in the list of problems.
struct LeftOut;

impl Walk<'_> {
    pub fn run(&self, stat: Stat, known: Option<&Tree>) -> Option<Tree> {
        let known = known.map(|tree| Known { stat: &tree.stat, settled: tree.settled, node: &tree.top });
        let top = self.dir(&[], 0, &stat, known).ok()?;
        Some(Tree { stat, settled: self.settled(&stat, known), top })
    }

    /// Once a stat may be believed, it stays so for as long as it is the same.
    fn settled(&self, stat: &Stat, known: Option<Known<'_>>) -> bool {
        self.moment.settled(stat) || known.is_some_and(|known| known.settled && known.stat == stat)
    }

    fn dir(
        &self,
        path: &[u8],
        depth: usize,
        stat: &Stat,
        known: Option<Known<'_>>,
    ) -> Result<Arc<Node>, LeftOut> {
        if depth > MAX_DEPTH {
            return Err(self.problem(path, b"", ProblemKind::TooDeep));
        }
        let same_names = known
            .filter(|known| known.settled && known.stat == stat && self.names_kept_on == Some(stat.dev))
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
            let seen = self.stat_all(path, fd.as_fd(), &node.names, order, old);
            return Ok(self.look_below(fd, Looked { path, depth, names: Names::Known(node), seen, old }));
        }
        let mut dir = Dir::from_fd(fd).map_err(|errno| self.refused(path, b"", errno, true))?;
        let (names, order) = self.list(path, depth, &mut dir)?;
        self.tally.listed_dirs.fetch_add(1, Relaxed);
        let seen = self.stat_all(path, dir.as_fd(), &names, order.into_iter(), old);
        let names = match old.filter(|node| node.names == names) {
            Some(node) => Names::Known(node),
            None => Names::New(names),
        };
        Ok(self.look_below(dir, Looked { path, depth, names, seen, old }))
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
                    seen.push(Seen { name, stat: Stat::new(&stat), known });
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
        let unread: Vec<&Seen> = looked.seen.iter().filter(|seen| !looked.is_vouched_for(seen)).collect();
        let read = self.read_all(looked.path, dir.as_fd(), looked.names.text(), &unread);
        drop(dir);
        let walked = self.children(&looked);

        if let (Names::Known(node), true) = (&looked.names, read.is_empty())
            && self.nothing_changed(node, &looked.seen, &walked)
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
                    records.push(self.dir_record(seen, looked.record(seen)));
                }
            } else if looked.is_vouched_for(seen) {
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

    fn dir_record(&self, seen: &Seen, known: Option<&Record>) -> Record {
        let still = known.is_some_and(|record| record.settled && record.stat == seen.stat);
        let settled = still || self.moment.settled(&seen.stat);
        Record { name: seen.name, settled, stat: seen.stat, body: Body::Dir }
    }

    /// Whether a directory of which nothing had to be read is as it was, down to the last subdirectory.
    fn nothing_changed(&self, node: &Node, seen: &[Seen], walked: &[Result<Arc<Node>, LeftOut>]) -> bool {
        let mut children = node.children.iter().zip(walked);
        let mut is_same = |(seen, record): (&Seen, &Record)| {
            if !seen.is_dir() {
                // It was not read, so its stat is the record's.
                return true;
            }
            *record == self.dir_record(seen, Some(record))
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
            let path = join(looked.path, seen.name.bytes(looked.names.text()));
            self.dir(&path, looked.depth + 1, &seen.stat, *known)
        };
        match &dirs[..] {
            [] => Vec::new(),
            [one] => vec![walk(one)],
            many => many.par_iter().with_max_len(1).map(walk).collect(),
        }
    }

    /// Looks into files and links; `None` for what is left out.
    fn read_all(
        &self,
        path: &[u8],
        dir: BorrowedFd<'_>,
        names: &[u8],
        unread: &[&Seen],
    ) -> Vec<Option<Record>> {
        let read = |seen: &&Seen| match self.read(dir, seen.name.c_str(names), seen) {
            Ok(record) => Some(record),
            Err(errno) => {
                let LeftOut = self.refused(path, seen.name.bytes(names), errno, false);
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

    fn read(&self, dir: BorrowedFd<'_>, name: &CStr, seen: &Seen) -> Result<Record, Errno> {
        let mut stat = seen.stat;
        let mut settled = self.moment.settled(&stat);
        let body = match stat.file_type() {
            FileType::Dir => return Err(Errno::EISDIR),
            FileType::Special(special) => Body::Special(special),
            FileType::Symlink => Body::Symlink(readlinkat(dir, name)?.into_vec().into()),
            FileType::File => {
                // It may have become a pipe by now, which must not block, and must not be read.
                let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
                let file = File::from(openat(dir, name, flags | OFlag::O_CLOEXEC, Mode::empty())?);
                stat = Stat::new(&fstat(&file)?);
                if stat.file_type() != FileType::File {
                    return Err(Errno::ENXIO);
                }
                let (digest, size) = hash_file(file, stat.size)
                    .map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
                self.tally.hashed_files.fetch_add(1, Relaxed);
                self.tally.hashed_bytes.fetch_add(size, Relaxed);
                // A file that grew or shrank meanwhile is listed as what was hashed, and looked at again next time.
                settled = self.moment.settled(&stat) && stat.size == size;
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
}

impl<'a> Looked<'a> {
    fn record(&self, seen: &Seen) -> Option<&'a Record> {
        Some(&self.old?.records[seen.known? as usize])
    }

    /// Whether the entry need not be read: the cache knows it, or it is walked into.
    fn is_vouched_for(&self, seen: &Seen) -> bool {
        seen.is_dir() || self.record(seen).is_some_and(|record| record.settled && record.stat == seen.stat)
    }
}

impl Seen {
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
