//! What a stat tells of a file.
//!
//! A file whose stat is what it was when it was hashed still has that digest, with exceptions. What file systems are
//! believed at all is [`super::file_system`]'s to say. On those, there is git's "racy" problem: file times advance in ticks, so
//! a file that is changed twice within a tick looks the same after the second change. The rule is therefore: **a digest is
//! remembered only if both times of the file are older than the moment its snapshot began, by more than a tick**. Whatever
//! is changed after that moment gets a time that differs from the remembered one. Such a file is hashed again next
//! time, and remembered then. And a file that somebody has open for writing may have been mapped, so that its next change
//! changes no time: it is not remembered either.
//!
//! `ctime` cannot be set by anyone, so a file that was changed and had its `mtime` set back is seen. A clock that is
//! set back does no harm: a later change gets an older `ctime`, which is as different as a newer one. Files with
//! times in the future are hashed every time.

use nix::sys::stat::{FileStat, SFlag};
use nix::time::{ClockId, clock_gettime};

use super::listing::Special;

/// What says that a file is the one that was hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    pub dev: u64,
    pub ino: u64,
    pub size: u64,
    pub mtime: i64,
    pub ctime: i64,
    pub mode: u32,
}

/// What a mode says a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    File,
    Dir,
    Symlink,
    Special(Special),
}

impl Stat {
    /// Times outside of what nanoseconds in 64 bits can tell (1677 to 2262) become the nearest that can be told.
    pub fn new(stat: &FileStat) -> Self {
        let nanos = |secs: i64, nanos: i64| secs.saturating_mul(1_000_000_000).saturating_add(nanos);
        Self {
            dev: stat.st_dev,
            ino: stat.st_ino,
            size: stat.st_size.cast_unsigned(),
            mtime: nanos(stat.st_mtime, stat.st_mtime_nsec),
            ctime: nanos(stat.st_ctime, stat.st_ctime_nsec),
            mode: stat.st_mode,
        }
    }

    pub fn file_type(&self) -> FileType {
        match SFlag::from_bits_truncate(self.mode) & SFlag::S_IFMT {
            SFlag::S_IFDIR => FileType::Dir,
            SFlag::S_IFLNK => FileType::Symlink,
            SFlag::S_IFIFO => FileType::Special(Special::Fifo),
            SFlag::S_IFSOCK => FileType::Special(Special::Socket),
            SFlag::S_IFCHR => FileType::Special(Special::CharDevice),
            SFlag::S_IFBLK => FileType::Special(Special::BlockDevice),
            _ => FileType::File,
        }
    }

    pub fn executable(&self) -> bool {
        self.mode & 0o111 != 0
    }
}

/// The time of this host, in nanoseconds. Without a clock it is so long ago that nothing is ever believed.
pub fn now() -> i64 {
    clock_gettime(ClockId::CLOCK_REALTIME)
        .map_or(i64::MIN, |time| time.tv_sec().saturating_mul(1_000_000_000).saturating_add(time.tv_nsec()))
}
