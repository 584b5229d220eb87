//! When a stat result may stand for a digest.
//!
//! A file whose stat is what it was when it was hashed still has that digest, with one exception, which is git's
//! "racy" problem: file times advance in ticks, so a file that is changed twice within a tick looks the same after
//! the second change. The rule is therefore: **a digest is remembered only if both times of the file are older than
//! the moment its snapshot began, by more than a tick**. Whatever is changed after that moment gets a time that
//! differs from the remembered one. Such a file is hashed again next time, and remembered then.
//!
//! `ctime` cannot be set by anyone, so a file that was changed and had its `mtime` set back is seen. A clock that is
//! set back does no harm: a later change gets an older `ctime`, which is as different as a newer one. Files with
//! times in the future are hashed every time.

use std::time::Duration;

use nix::sys::stat::{FileStat, SFlag};
use nix::sys::statfs::{
    BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, F2FS_SUPER_MAGIC, FsType, TMPFS_MAGIC, XFS_SUPER_MAGIC,
};
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

/// How far the times of files may lag behind or be rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    slack: Duration,
    /// Whether a directory's times change whenever a name in it does.
    names_kept: bool,
}

impl Clock {
    /// A file system of this host stamps files with this host's clock, in ticks of at most 10 ms.
    const LOCAL: Self = Self { slack: Duration::from_millis(50), names_kept: true };
    /// Any other may have another host's clock, whole seconds (two with FAT), and directories whose times tell
    /// nothing (FAT, FUSE) or not all (an overlay whose lower layer was swapped while it was not mounted).
    const OTHER: Self = Self { slack: Duration::from_secs(10), names_kept: false };

    pub fn of(fs: FsType) -> Self {
        // ZFS is not in the Linux tree, and so not in the headers.
        const ZFS: FsType = FsType(0x2FC1_2FC1);
        // Besides them, as ext2 and ext3 share the number of ext4: what a Linux build host keeps its sources on.
        let local =
            [EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC, F2FS_SUPER_MAGIC, TMPFS_MAGIC, ZFS];
        if local.contains(&fs) { Self::LOCAL } else { Self::OTHER }
    }

    pub const fn names_kept(self) -> bool {
        self.names_kept
    }

    /// Starts to look at files: those that are as they were before now may be remembered.
    pub fn begin(self) -> Moment {
        self.moment(now())
    }

    /// The moment for what is looked at from `now` on.
    pub fn moment(self, now: i64) -> Moment {
        let slack = i64::try_from(self.slack.as_nanos()).unwrap_or(i64::MAX);
        Moment(now.saturating_sub(slack))
    }
}

/// The time of this host, in nanoseconds. Without a clock it is so long ago that nothing is ever believed.
pub fn now() -> i64 {
    clock_gettime(ClockId::CLOCK_REALTIME)
        .map_or(i64::MIN, |time| time.tv_sec().saturating_mul(1_000_000_000).saturating_add(time.tv_nsec()))
}

/// The moment that files must be older than for their stat to be believed next time.
#[derive(Clone, Copy, Debug)]
pub struct Moment(i64);

impl Moment {
    pub const fn settled(self, stat: &Stat) -> bool {
        stat.mtime < self.0 && stat.ctime < self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_from_before_the_moment_are_settled() {
        let moment = Moment(100);
        let at = |mtime, ctime| Stat { dev: 1, ino: 1, size: 0, mtime, ctime, mode: 0o100_644 };
        assert!(moment.settled(&at(99, 99)));
        assert!(!moment.settled(&at(100, 99)), "as new as the snapshot");
        assert!(!moment.settled(&at(99, 100)), "changed, and its mtime set back");
        assert!(!moment.settled(&at(i64::MAX, 99)), "from the future");
    }

    #[test]
    fn file_systems_of_unknown_habits_get_more_slack() {
        assert_eq!(Clock::of(EXT4_SUPER_MAGIC), Clock::LOCAL);
        assert_eq!(Clock::of(nix::sys::statfs::NFS_SUPER_MAGIC), Clock::OTHER);
        assert!(!Clock::of(nix::sys::statfs::OVERLAYFS_SUPER_MAGIC).names_kept());
    }
}
