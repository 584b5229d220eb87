//! Snapshots: the state of a whole directory tree.

use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, fstat};

use crate::digest::Digest;

use super::envelope::ColdReason;
use super::error::{Collector, SourceError};
use super::file_system::{Devices, FileSystem};
use super::listing::{Kind, Listing};
use super::stat::{Stat, now};
use super::states::split;
use super::tree::{Body, Node, Tree};
use super::tree_cache;
use super::walk::{Tally, Walk};

/// How to take a snapshot.
#[derive(Clone, Copy, Debug, Default)]
pub struct SnapshotOptions<'a> {
    /// Where the stat cache of this tree is kept; outside of the tree. Without one, every file is read.
    pub cache_file: Option<&'a Path>,
    /// Names to leave out of the root directory, such as `.git`.
    pub ignore: &'a [&'a str],
}

/// The state of a directory tree: every entry of every directory, and the digest of each.
pub struct Snapshot {
    pub(super) tree: Tree,
    devices: Devices,
    /// Files that somebody had open for writing.
    pub(super) written: Vec<Box<[u8]>>,
    racy_until: i64,
    stats: SnapshotStats,
}

/// What a snapshot found, and what it had to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotStats {
    /// Regular files in the tree.
    pub files: u64,
    /// Directories, with the root.
    pub dirs: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Pipes, sockets and devices.
    pub specials: u64,
    /// Files that were read, as the cache did not vouch for them.
    pub hashed_files: u64,
    /// How many bytes were read from them.
    pub hashed_bytes: u64,
    /// Directories whose names were read.
    pub listed_dirs: u64,
    /// What the stat cache was good for.
    pub cache: CacheState,
    /// What became of the stat cache.
    pub write: CacheWrite,
}

/// What a stat cache was good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheState {
    /// None was asked for.
    Off,
    /// It was read.
    Warm,
    /// It was of no use, so every file was read.
    Cold {
        /// Why.
        reason: ColdReason,
    },
}

/// What became of a stat cache after a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheWrite {
    /// There was nothing new to write.
    Unchanged,
    /// It was replaced.
    Written,
    /// It could not be written. The snapshot is right all the same, but the next will be as slow.
    Failed(String),
}

impl Snapshot {
    /// Takes a snapshot of the tree at `root`.
    ///
    /// A tree that changes meanwhile gives a state between the old and the new one; the next snapshot sees all of it.
    pub fn take(root: &Path, options: &SnapshotOptions<'_>) -> Result<Self, SourceError> {
        let (known, cache) = match options.cache_file.map(|file| tree_cache::load(file, options.ignore)) {
            None => (None, CacheState::Off),
            Some(Ok(tree)) => (Some(tree), CacheState::Warm),
            Some(Err(reason)) => (None, CacheState::Cold { reason }),
        };
        Self::walk(root, options, known.as_ref(), cache)
    }

    /// Takes another snapshot of the same tree, with this one for a stat cache.
    pub fn again(&self, root: &Path, options: &SnapshotOptions<'_>) -> Result<Self, SourceError> {
        Self::walk(root, options, Some(&self.tree), CacheState::Warm)
    }

    fn walk(
        root: &Path,
        options: &SnapshotOptions<'_>,
        known: Option<&Tree>,
        cache: CacheState,
    ) -> Result<Self, SourceError> {
        let refused = |errno| match errno {
            Errno::ENOENT => SourceError::Missing { root: root.to_owned() },
            Errno::ENOTDIR => SourceError::NotADirectory { root: root.to_owned() },
            errno => SourceError::Root { root: root.to_owned(), source: errno.into() },
        };
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = open(root, flags, Mode::empty()).map_err(refused)?;
        let began = now();
        let stat = Stat::new(&fstat(&fd).map_err(refused)?);

        let walk = Walk {
            root: fd,
            ignore: options.ignore,
            began,
            believed: known.map(|known| known.on.clone()).unwrap_or_default(),
            devices: Devices::default(),
            problems: Collector::default(),
            tally: Tally::default(),
            written: Mutex::default(),
            racy_until: AtomicI64::new(i64::MIN),
        };
        let tree = walk.run(stat, known);
        if let Some(error) = walk.problems.into_error(root.to_owned()) {
            return Err(error);
        }
        let tree = tree.ok_or_else(|| SourceError::Missing { root: root.to_owned() })?;

        let write = match options.cache_file {
            Some(file) if !known.is_some_and(|known| is_same(known, &tree)) => {
                match tree_cache::save(file, options.ignore, &tree) {
                    Ok(()) => CacheWrite::Written,
                    Err(error) => CacheWrite::Failed(error.to_string()),
                }
            }
            _ => CacheWrite::Unchanged,
        };
        let stats = SnapshotStats {
            files: tree.top.counts.files,
            dirs: tree.top.counts.dirs,
            symlinks: tree.top.counts.symlinks,
            specials: tree.top.counts.specials,
            hashed_files: walk.tally.hashed_files.into_inner(),
            hashed_bytes: walk.tally.hashed_bytes.into_inner(),
            listed_dirs: walk.tally.listed_dirs.into_inner(),
            cache,
            write,
        };
        let written = walk.written.into_inner().unwrap_or_else(PoisonError::into_inner);
        let racy_until = walk.racy_until.into_inner();
        Ok(Self { tree, devices: walk.devices, written, racy_until, stats })
    }

    /// The digest of the tree: that of its root directory's listing.
    pub fn digest(&self) -> Digest {
        self.tree.top.digest
    }

    /// What was found and done.
    pub const fn stats(&self) -> &SnapshotStats {
        &self.stats
    }

    /// Until when a change of a file may leave it the stat that it had here, in nanoseconds of this host's clock: its times
    /// are as new as the snapshot. Long ago where all are older.
    pub const fn racy_until(&self) -> i64 {
        self.racy_until
    }

    /// Whether some device of both trees is mounted anew in the other one.
    pub(super) fn is_mounted_otherwise(&self, other: &Self) -> bool {
        self.devices.any_differs(&other.devices)
    }

    /// What of a stat of this tree tells whether a file stayed the same.
    pub(super) fn comparable(&self, stat: &Stat) -> Stat {
        self.devices.get(stat.dev).unwrap_or(FileSystem::UNKNOWN).comparable(stat)
    }

    /// What is at `path`, relative to the root; a directory's digest is that of its listing. The path `""` is the
    /// root. Links are not followed, neither the last nor any on the way, and `..` leads nowhere.
    pub fn lookup(&self, path: &Path) -> Option<Kind<'_>> {
        self.find(path).map(|(kind, _)| kind)
    }

    /// The listing of the directory at `path`.
    pub fn listing(&self, path: &Path) -> Option<Listing> {
        self.find(path)?.1.map(|node| node.listing())
    }

    /// As [`lookup`](Self::lookup), for a path in the form of path sets: bytes, with one `/` between names.
    pub(super) fn at(&self, path: &[u8]) -> Option<Kind<'_>> {
        self.find_bytes(path).map(|(kind, _)| kind)
    }

    /// The listing of the directory at such a path.
    pub(super) fn listing_at(&self, path: &[u8]) -> Option<Listing> {
        self.find_bytes(path)?.1.map(|node| node.listing())
    }

    /// The permissions of the root and of every file and directory below it, in an order that the names alone decide. They
    /// are no part of the tree's digest, and count where files are read by another user than their owner.
    pub fn permissions(&self) -> impl Iterator<Item = u32> {
        let mut nodes = vec![&self.tree.top];
        let below = std::iter::from_fn(move || {
            let node = nodes.pop()?;
            nodes.extend(&node.children);
            Some(node.records.iter().filter(|record| matches!(record.body, Body::File(_) | Body::Dir)))
        });
        let below = below.flatten().map(|record| record.stat.mode & 0o777);
        std::iter::once(self.tree.stat.mode & 0o777).chain(below)
    }

    /// When a file or link was last modified, as its file system says; `None` for directories, and where there is
    /// nothing.
    pub fn modified(&self, path: &[u8]) -> Option<SystemTime> {
        let (dir, name) = split(path);
        let record = self.find_bytes(dir)?.1?.record(name)?;
        let nanos = u64::try_from(record.stat.mtime).unwrap_or(0);
        (!record.is_dir()).then(|| SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos))
    }

    /// Device and inode of what is at a path; `""` is the root.
    pub fn file_id(&self, path: &[u8]) -> Option<(u64, u64)> {
        let stat = match split(path) {
            (b"", b"") => &self.tree.stat,
            (dir, name) => &self.find_bytes(dir)?.1?.record(name)?.stat,
        };
        Some((stat.dev, stat.ino))
    }

    fn find_bytes(&self, path: &[u8]) -> Option<(Kind<'_>, Option<&Arc<Node>>)> {
        let top = &self.tree.top;
        let mut found = (Kind::Dir { digest: top.digest }, Some(top));
        for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            found = found.1?.get(name)?;
        }
        Some(found)
    }

    fn find(&self, path: &Path) -> Option<(Kind<'_>, Option<&Arc<Node>>)> {
        let top = &self.tree.top;
        let mut found = (Kind::Dir { digest: top.digest }, Some(top));
        for component in path.components() {
            match component {
                Component::CurDir => {}
                Component::Normal(name) => found = found.1?.get(name.as_bytes())?,
                Component::RootDir | Component::ParentDir | Component::Prefix(_) => return None,
            }
        }
        Some(found)
    }

    /// Every listing of the tree, those of subdirectories before those of the directories that hold them.
    pub fn listings(&self) -> impl Iterator<Item = (Digest, Listing)> {
        self.listings_unless(|_| false)
    }

    /// The listings that are not `known` yet. Below a known directory nothing is looked at, so recording a tree that
    /// differs little from a recorded one takes as long as the difference is large.
    ///
    /// Subdirectories come first: whoever stores the listings in this order may conclude from one that is stored
    /// that all below it are.
    pub fn listings_unless(
        &self,
        mut known: impl FnMut(&Digest) -> bool,
    ) -> impl Iterator<Item = (Digest, Listing)> {
        let mut stack: Vec<(&Node, usize)> = Vec::new();
        if !known(&self.tree.top.digest) {
            stack.push((&self.tree.top, 0));
        }
        std::iter::from_fn(move || {
            loop {
                let (node, next) = stack.last_mut()?;
                if let Some(child) = node.children.get(*next) {
                    *next += 1;
                    if !known(&child.digest) {
                        stack.push((child, 0));
                    }
                } else {
                    let done = (node.digest, node.listing());
                    stack.pop();
                    return Some(done);
                }
            }
        })
    }

    /// Calls `visit` with the path and kind of each entry below the root, directories before what they hold, in the
    /// order of names; ends with what `visit` breaks with.
    pub fn each<B>(&self, mut visit: impl FnMut(&[u8], Kind<'_>) -> ControlFlow<B>) -> Option<B> {
        fn dir<B>(
            node: &Node,
            path: &mut Vec<u8>,
            visit: &mut impl FnMut(&[u8], Kind<'_>) -> ControlFlow<B>,
        ) -> ControlFlow<B> {
            let mut children = node.children.iter();
            let above = path.len();
            for entry in node.entries() {
                if above > 0 {
                    path.push(b'/');
                }
                path.extend_from_slice(entry.name);
                visit(path, entry.kind)?;
                if matches!(entry.kind, Kind::Dir { .. })
                    && let Some(child) = children.next()
                {
                    dir(child, path, visit)?;
                }
                path.truncate(above);
            }
            ControlFlow::Continue(())
        }
        dir(&self.tree.top, &mut Vec::new(), &mut visit).break_value()
    }
}

fn is_same(known: &Tree, tree: &Tree) -> bool {
    Arc::ptr_eq(&known.top, &tree.top)
        && known.stat == tree.stat
        && known.settled == tree.settled
        && known.on == tree.on
}
