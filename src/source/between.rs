//! Whether what was read of a tree stayed the same between two snapshots of it.
//!
//! Equal content in both proves nothing: a file can become another and turn back while a run reads it. The times and
//! inode numbers of the second snapshot give that away, as nobody can set a ctime:
//!
//! * a file that was written to, replaced, moved away and back, or given another mode has another ctime or inode;
//! * a directory in which a name came and went has another mtime;
//! * a directory that was itself moved away and back, or closed for a while, has another ctime, and either its own
//!   mtime is the same (no name came or went in it) or that of the directory above it is another. All that is below
//!   it was gone meanwhile.
//!
//! Where times say nothing (see [`super::file_system`]), size, mtime and content have to do.
//!
//! Only what the path set names is compared: what nobody read or looked for may change.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use super::path_set::{EntryKind, PathEntry, Reads};
use super::snapshot::Snapshot;
use super::stat::Stat;
use super::states::split;
use super::tree::{Body, Node, Record};

/// A path that counts for a run, and that was something else for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disturbance {
    /// Where, from the root of the tree; `""` is the root itself.
    pub path: Box<[u8]>,
    /// What tells.
    pub by: DisturbedBy,
}

/// What tells that a path was something else for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisturbedBy {
    /// Its inode number or times.
    Stat,
    /// The times of the directory: a name in it came or went.
    Names,
    /// Somebody has it open for writing, so that what it holds may change without a trace.
    Writer,
}

/// The first of these reads that was something else for a time between the snapshots. Reads that hold something else
/// in the second one are for [`States`](super::States) to find.
pub fn disturbance(reads: &Reads, then: &Snapshot, now: &Snapshot) -> Option<Disturbance> {
    let differences = Differences::between(then, now);
    if differences.found.is_empty() {
        return None;
    }
    match reads {
        Reads::Whole => differences.below(b""),
        Reads::Only(entries) => differences.first(entries),
    }
}

/// What of a path differs between two snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Difference {
    /// It was written to, and was there all the time.
    Written,
    /// It may have been gone, or something else, or have had another mode.
    Gone,
    /// A directory in which a name came or went.
    Names,
    /// A file that somebody has open for writing.
    Open,
}

impl Difference {
    const fn tells(self) -> DisturbedBy {
        match self {
            Self::Written | Self::Gone => DisturbedBy::Stat,
            Self::Names => DisturbedBy::Names,
            Self::Open => DisturbedBy::Writer,
        }
    }
}

struct Differences<'a> {
    snapshots: [&'a Snapshot; 2],
    found: BTreeMap<Box<[u8]>, Difference>,
    /// Names of files and links that may have been gone, and the directories that hold them.
    gone_names: HashSet<Box<[u8]>>,
    gone_from: HashSet<Box<[u8]>>,
    /// The first link that differs.
    link: Option<Box<[u8]>>,
}

impl<'a> Differences<'a> {
    fn between(then: &'a Snapshot, now: &'a Snapshot) -> Self {
        let mut this = Self {
            snapshots: [then, now],
            found: BTreeMap::new(),
            gone_names: HashSet::new(),
            gone_from: HashSet::new(),
            link: None,
        };
        for path in then.written.iter().chain(&now.written) {
            this.found.insert(path.clone(), Difference::Open);
        }
        let dirs = Dirs {
            then: Some((&then.tree.stat, &then.tree.top)),
            now: Some((&now.tree.stat, &now.tree.top)),
        };
        // Another mount of the same device may be of another image with the same times.
        let was_gone = then.is_mounted_otherwise(now);
        if was_gone {
            this.found.insert((*b"").into(), Difference::Gone);
        }
        this.compare_dirs(&mut Vec::new(), dirs, Above { was_gone, names_changed: false });
        this
    }

    fn first(&self, entries: &[PathEntry]) -> Option<Disturbance> {
        entries.iter().find_map(|entry| {
            let path = &entry.path;
            match entry.kind {
                EntryKind::File => self.at(path),
                EntryKind::Searched => self.at(path).or_else(|| {
                    let gone = self.gone_names.contains(split(path).1);
                    gone.then(|| Disturbance { path: path.clone(), by: DisturbedBy::Stat })
                }),
                EntryKind::Names => {
                    let names = self.found.contains_key(path) || self.gone_from.contains(path);
                    names.then(|| Disturbance { path: path.clone(), by: DisturbedBy::Names })
                }
                EntryKind::Tree => self.below(path),
                EntryKind::Links => self.link.clone().map(|path| Disturbance { path, by: DisturbedBy::Stat }),
            }
        })
    }

    /// The difference of a file; of a directory, the first of anything in it.
    fn at(&self, path: &[u8]) -> Option<Disturbance> {
        match self.found.get(path)? {
            Difference::Names => self.below(path),
            difference => Some(Disturbance { path: path.into(), by: difference.tells() }),
        }
    }

    /// The first difference at a path or below it. What differs itself is named rather than the directory around it.
    fn below(&self, path: &[u8]) -> Option<Disturbance> {
        let is_below = |found: &[u8]| {
            path.is_empty() || found.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        };
        let from = (Bound::Included(path), Bound::Unbounded);
        let mut names = None;
        for (found, difference) in self.found.range::<[u8], _>(from) {
            if !found.starts_with(path) {
                break;
            }
            match difference {
                _ if !is_below(found) => {}
                Difference::Names => names = names.or(Some(found)),
                difference => {
                    return Some(Disturbance { path: found.clone(), by: difference.tells() });
                }
            }
        }
        names.map(|path| Disturbance { path: path.clone(), by: DisturbedBy::Names })
    }

    fn compare_dirs(&mut self, path: &mut Vec<u8>, dirs: Dirs<'_>, above: Above) {
        let mut below = Above { was_gone: above.was_gone, names_changed: true };
        if let (Some((then, _)), Some((now, _))) = (dirs.then, dirs.now) {
            let (then, now) = (self.snapshots[0].comparable(then), self.snapshots[1].comparable(now));
            let replaced = (then.dev, then.ino, then.mode) != (now.dev, now.ino, now.mode);
            let same_names = then.mtime == now.mtime;
            let moved = then.ctime != now.ctime && (same_names || above.names_changed);
            below = Above {
                was_gone: above.was_gone || replaced || moved,
                names_changed: replaced || !same_names,
            };
            if replaced || then.mtime != now.mtime || then.ctime != now.ctime {
                let difference = if replaced || moved { Difference::Gone } else { Difference::Names };
                self.found.insert(path.as_slice().into(), difference);
            }
        } else {
            below.was_gone = true;
            self.found.insert(path.as_slice().into(), Difference::Gone);
        }
        if let (Some((_, then)), Some((_, now)), false) = (dirs.then, dirs.now, below.was_gone)
            && Arc::ptr_eq(then, now)
        {
            return;
        }
        let empty = Entries::default();
        let then = dirs.then.map_or(empty, |(_, node)| Entries::of(node));
        let now = dirs.now.map_or(empty, |(_, node)| Entries::of(node));
        merge(then, now, |name, then, now| {
            let length = path.len();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            let dirs = Dirs { then: then.and_then(Entry::dir), now: now.and_then(Entry::dir) };
            if dirs.then.is_some() || dirs.now.is_some() {
                self.compare_dirs(path, dirs, below);
            } else {
                self.compare_entries(path, then, now, below);
            }
            path.truncate(length);
        });
    }

    fn compare_entries(
        &mut self,
        path: &[u8],
        then: Option<Entry<'_>>,
        now: Option<Entry<'_>>,
        above: Above,
    ) {
        let is_link = |entry: Option<Entry<'_>>| {
            entry.is_some_and(|entry| matches!(entry.record.body, Body::Symlink(_)))
        };
        let difference = match (then, now) {
            _ if above.was_gone => Difference::Gone,
            (Some(then), Some(now)) => {
                let [before, after] = self.snapshots;
                let (then, now) = (before.comparable(&then.record.stat), after.comparable(&now.record.stat));
                if then == now {
                    return;
                }
                // A write sets both times; what sets the ctime alone may have been a move, or a change of mode. A file that
                // was removed and made anew may have the inode that it had.
                let gone = (then.dev, then.ino, then.mode) != (now.dev, now.ino, now.mode)
                    || then.mtime == now.mtime
                    || above.names_changed;
                if gone { Difference::Gone } else { Difference::Written }
            }
            _ => Difference::Gone,
        };
        let link = is_link(then) || is_link(now);
        if link && self.link.is_none() {
            self.link = Some(path.into());
        }
        if difference == Difference::Gone || link {
            let (dir, name) = split(path);
            self.gone_names.insert(name.into());
            self.gone_from.insert(dir.into());
        }
        self.found.insert(path.into(), difference);
    }
}

/// A directory in both snapshots; `None` where it is none.
#[derive(Clone, Copy)]
struct Dirs<'a> {
    then: Option<(&'a Stat, &'a Arc<Node>)>,
    now: Option<(&'a Stat, &'a Arc<Node>)>,
}

/// What is known of the directory above.
#[derive(Clone, Copy)]
struct Above {
    was_gone: bool,
    names_changed: bool,
}

/// An entry of a directory, with its node if it is one itself.
#[derive(Clone, Copy)]
struct Entry<'a> {
    record: &'a Record,
    child: Option<&'a Arc<Node>>,
}

impl<'a> Entry<'a> {
    fn dir(self) -> Option<(&'a Stat, &'a Arc<Node>)> {
        self.child.map(|node| (&self.record.stat, node))
    }
}

/// The entries of a directory, in the order of their names.
#[derive(Clone, Copy, Default)]
struct Entries<'a> {
    names: &'a [u8],
    records: &'a [Record],
    children: &'a [Arc<Node>],
}

impl<'a> Entries<'a> {
    fn of(node: &'a Node) -> Self {
        Self { names: &node.names, records: &node.records, children: &node.children }
    }

    fn name(&self) -> Option<&'a [u8]> {
        self.records.first().map(|record| record.name.bytes(self.names))
    }

    fn next(&mut self) -> Option<Entry<'a>> {
        let (record, records) = self.records.split_first()?;
        self.records = records;
        let child = if record.is_dir() {
            let (child, children) = self.children.split_first()?;
            self.children = children;
            Some(child)
        } else {
            None
        };
        Some(Entry { record, child })
    }
}

/// Calls `visit` for each name that is in either, with what is there in each.
fn merge<'a>(
    mut then: Entries<'a>,
    mut now: Entries<'a>,
    mut visit: impl FnMut(&'a [u8], Option<Entry<'a>>, Option<Entry<'a>>),
) {
    loop {
        match (then.name(), now.name()) {
            (None, None) => return,
            (Some(a), Some(b)) if a == b => visit(a, then.next(), now.next()),
            (Some(a), b) if b.is_none_or(|b| a < b) => visit(a, then.next(), None),
            (_, Some(b)) => visit(b, None, now.next()),
            (Some(a), None) => visit(a, then.next(), None),
        }
    }
}
