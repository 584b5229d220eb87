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
            let seen = self.stat_all(path, fd.as_fd(), &node.names, node.records.iter().map(|r| r.name), old);
            return self.node(path, depth, fd, NodeNames::Known(node), &seen, old);
        }
        let mut dir = Dir::from_fd(fd).map_err(|errno| self.refused(path, b"", errno, true))?;
        let (names, order) = self.list(path, depth, &mut dir)?;
        self.tally.listed_dirs.fetch_add(1, Relaxed);
        let seen = self.stat_all(path, dir.as_fd(), &names, order.into_iter(), old);
        match old.filter(|node| node.names == names) {
            Some(node) => self.node(path, depth, dir, NodeNames::Known(node), &seen, old),
            None => self.node(path, depth, dir, NodeNames::New(names), &seen, old),
        }
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
    fn node(
        &self,
        path: &[u8],
        depth: usize,
        dir: impl AsFd,
        names: NodeNames<'_>,
        seen: &[Seen],
        old: Option<&Arc<Node>>,
    ) -> Result<Arc<Node>, LeftOut> {
        let record = |seen: &Seen| Some(&old?.records[seen.known? as usize]);
        let unread: Vec<&Seen> = seen
            .iter()
            .filter(|seen| seen.stat.file_type() != FileType::Dir)
            .filter(|seen| !record(seen).is_some_and(|record| record.settled && record.stat == seen.stat))
            .collect();
        let read = self.read_all(path, dir.as_fd(), names.text(), &unread);
        drop(dir);
        let walked = self.children(path, depth, names.text(), seen, old);

        if let (NodeNames::Known(node), true) = (&names, read.is_empty())
            && self.nothing_changed(node, seen, &walked)
        {
            return Ok(Arc::clone(node));
        }
        let mut read = read.into_iter();
        let mut walked = walked.into_iter();
        let mut unread = unread.into_iter().peekable();
        let mut records = Vec::with_capacity(seen.len());
        let mut children = Vec::new();
        for seen in seen {
            if unread.next_if(|next| std::ptr::eq(*next, seen)).is_some() {
                records.extend(read.next().flatten());
            } else if seen.stat.file_type() == FileType::Dir {
                if let Some(Ok(child)) = walked.next() {
                    children.push(child);
                    let known = known_dir(seen, old);
                    let settled = self.settled(&seen.stat, known);
                    records.push(Record { name: seen.name, settled, stat: seen.stat, body: Body::Dir });
                }
            } else if let Some(record) = record(seen) {
                records.push(Record { name: seen.name, ..record.clone() });
            }
        }
        // What had to be read again may turn out to be what it was.
        if let NodeNames::Known(node) = &names
            && *node.records == *records
            && node.children.iter().zip(&children).all(|(a, b)| Arc::ptr_eq(a, b))
        {
            return Ok(Arc::clone(node));
        }
        Ok(Arc::new(Node::new(
            names.into_text(records.len(), seen.len(), &mut records),
            records.into(),
            children.into(),
        )))
    }

    /// Whether a directory of which nothing had to be read is as it was, down to the last subdirectory.
    fn nothing_changed(&self, node: &Node, seen: &[Seen], walked: &[Result<Arc<Node>, LeftOut>]) -> bool {
        let mut children = node.children.iter().zip(walked);
        seen.len() == node.records.len()
            && seen.iter().zip(&node.records).all(|(seen, record)| {
                match (seen.stat.file_type(), &record.body) {
                    (FileType::Dir, Body::Dir) => {
                        seen.stat == record.stat
                            && (record.settled || !self.moment.settled(&seen.stat))
                            && children
                                .next()
                                .is_some_and(|(a, b)| b.as_ref().is_ok_and(|b| Arc::ptr_eq(a, b)))
                    }
                    (FileType::Dir, _) | (_, Body::Dir) => false,
                    // It was not read, so its stat is the record's.
                    _ => true,
                }
            })
    }

    fn children(
        &self,
        path: &[u8],
        depth: usize,
        names: &[u8],
        seen: &[Seen],
        old: Option<&Arc<Node>>,
    ) -> Vec<Result<Arc<Node>, LeftOut>> {
        // The node of a known directory is found by its place among the directories, counted on the way.
        let mut at = 0;
        let mut place = 0;
        let mut dirs = Vec::new();
        for seen in seen.iter().filter(|seen| seen.stat.file_type() == FileType::Dir) {
            let known = old.zip(seen.known).and_then(|(node, index)| {
                let record = &node.records[index as usize];
                matches!(record.body, Body::Dir).then(|| {
                    place += node.records[at..index as usize]
                        .iter()
                        .filter(|record| matches!(record.body, Body::Dir))
                        .count();
                    at = index as usize;
                    Known { stat: &record.stat, settled: record.settled, node: &node.children[place] }
                })
            });
            dirs.push((seen, known));
        }
        let walk = |(seen, known): &(&Seen, Option<Known<'_>>)| {
            let path = join(path, seen.name.bytes(names));
            self.dir(&path, depth + 1, &seen.stat, *known)
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

/// The names of the node to be made.
enum NodeNames<'a> {
    /// Those of this node.
    Known(&'a Arc<Node>),
    New(Box<[u8]>),
}

impl NodeNames<'_> {
    fn text(&self) -> &[u8] {
        match self {
            Self::Known(node) => &node.names,
            Self::New(names) => names,
        }
    }

    /// The names of those entries only that were not left out.
    fn into_text(self, kept: usize, seen: usize, records: &mut [Record]) -> Box<[u8]> {
        let all = match self {
            Self::Known(node) => node.names.clone(),
            Self::New(names) => names,
        };
        let complete = kept == seen
            && records.last().map_or(0, |last| last.name.start as usize + usize::from(last.name.len) + 1)
                == all.len();
        if complete {
            return all;
        }
        let mut names = Vec::with_capacity(all.len());
        for record in records {
            record.name = push_name(&mut names, record.name.bytes(&all));
        }
        names.into()
    }
}

fn known_dir<'a>(seen: &Seen, old: Option<&'a Arc<Node>>) -> Option<Known<'a>> {
    let node = old?;
    let record = &node.records[seen.known? as usize];
    Some(Known { stat: &record.stat, settled: record.settled, node })
}

/// A path below the root; either part may be empty.
fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    let separator: &[u8] = if path.is_empty() || name.is_empty() { b"" } else { b"/" };
    [path, separator, name].concat()
}
