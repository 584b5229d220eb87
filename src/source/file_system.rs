//! What the stats of a file system are worth, and for how long.
//!
//! A stat stands for a digest only where any change of content changes it. That is so where the kernel sets the ctime of
//! a file with each change, and nobody else can. So there are three kinds of file systems:
//!
//! * **Real times.** A file system of this host, which stamps each change with this host's clock. A stat is believed for as
//!   long as the file system is the same one, by its id. A ctime without a fraction of a second was not taken from that
//!   clock: the inodes have no room for one, so that two changes within a second look alike, or the image was filled by a
//!   program, as one that is built to be reproducible is. It is believed as those of the next kind are.
//! * **Times that hold for one mount.** An image that can't be written to does not change while it is mounted, and another
//!   one that is mounted later may have the same inode numbers and times. What an overlay or an NFS server shows may be
//!   exchanged while it is not mounted. Their stats are believed in the same boot, for the same mount, which the
//!   kernel gives a number that it never uses again (since Linux 6.8; before, they are not believed at all).
//! * **All others**, those that are not known to be any of these: FAT and exFAT store no ctime, FUSE and 9p hand on what
//!   a program says. Every file is read each time.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::statfs::{
    BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, F2FS_SUPER_MAGIC, FsType, ISOFS_SUPER_MAGIC, NFS_SUPER_MAGIC,
    OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, XFS_SUPER_MAGIC, fstatfs,
};
use nix::sys::statvfs::fstatvfs;

use super::raw::{try_read_lease, unique_mount_id};
use super::stat::{FileType, Stat};
use crate::digest::Digest;

// Those that the C library does not name.
const BCACHEFS: FsType = FsType(0xCA45_1A4E);
const EROFS: FsType = FsType(0xE0F5_E1E2);
const SQUASHFS: FsType = FsType(0x7371_7368);
const ZFS: FsType = FsType(0x2FC1_2FC1);

/// The clock that file systems use ticks at least every 10 ms.
const TICK: Duration = Duration::from_millis(50);
/// For times in whole seconds.
const SECONDS: Duration = Duration::from_secs(3);
/// For a server's clock, which may be wrong.
const SERVER: Duration = Duration::from_secs(10);

/// After this long the kernel has written a page that was written to through a map back to its file, so that the next
/// write to it changes the file's times again. By default it takes half as long.
const WRITTEN_BACK: Duration = Duration::from_secs(70);

/// How often, and how long apart, it is looked whether who has a file open for writing still has. A process that is just
/// being started has, for a moment, what its parent has.
const LOOKS: u32 = 5;
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);

/// For how long a stat may stand for what was found with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// Not at all: look again.
    No,
    /// For as long as the mount lasts.
    OnThisMount,
    /// For as long as the file system is the same.
    Always,
}

/// Whether anybody has a file open for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    Nobody,
    Somebody,
    /// It can't be told, such as of files of other users.
    Unknown,
}

/// Which kind of times a file system has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Times {
    /// Real ones. `memory`: what is written through maps is never written back.
    Real {
        memory: bool,
    },
    /// Those of an image that nobody can write to.
    Image,
    /// Real ones of files that may be exchanged while it is not mounted.
    Elsewhere,
    Unknown,
}

impl Times {
    fn of(fs: FsType) -> Self {
        match fs {
            // ext2 and ext3 have the same number.
            EXT4_SUPER_MAGIC | XFS_SUPER_MAGIC | BTRFS_SUPER_MAGIC | F2FS_SUPER_MAGIC | BCACHEFS | ZFS => {
                Self::Real { memory: false }
            }
            TMPFS_MAGIC => Self::Real { memory: true },
            SQUASHFS | EROFS | ISOFS_SUPER_MAGIC => Self::Image,
            OVERLAYFS_SUPER_MAGIC | NFS_SUPER_MAGIC => Self::Elsewhere,
            _ => Self::Unknown,
        }
    }
}

/// The file system that a file is on.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileSystem {
    times: Times,
    /// Which one it is.
    pub id: Option<Digest>,
    /// Which mount of which boot.
    pub mount: Option<Digest>,
}

impl FileSystem {
    /// The file system of an open file or directory.
    pub fn of(fd: impl AsFd) -> nix::Result<Self> {
        let fs = fstatfs(&fd)?.filesystem_type();
        let times = Times::of(fs);
        let id = match times {
            Times::Real { .. } => {
                let id = fstatvfs(&fd)?.filesystem_id();
                Some(Digest::of_bytes(format!("file system {:x} {id:x}", fs.0).as_bytes()))
            }
            _ => None,
        };
        let mount = match times {
            Times::Unknown => None,
            _ => unique_mount_id(&fd)
                .zip(boot())
                .map(|(mount, boot)| Digest::of_bytes(format!("mount {mount} of boot {boot}").as_bytes())),
        };
        Ok(Self { times, id, mount })
    }

    /// What a stat that is settled so holds for: this file system, or this mount.
    pub fn holds_for(&self, settled: Settled) -> Option<Digest> {
        match settled {
            Settled::No => None,
            Settled::OnThisMount => self.mount,
            Settled::Always => self.id,
        }
    }

    /// Whether a stat holds here that was settled for a file system or mount.
    pub fn is(&self, held_for: &Digest) -> bool {
        self.id.as_ref() == Some(held_for) || self.mount.as_ref() == Some(held_for)
    }

    /// Whether equal stats are of the same files in both.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.times == other.times
            && match self.times {
                Times::Real { .. } => self.id == other.id,
                _ => self.mount == other.mount,
            }
    }

    /// Whether the times of a directory change whenever a name in it does.
    pub const fn names_kept(&self) -> bool {
        !matches!(self.times, Times::Unknown)
    }

    /// One of which nothing is known.
    pub const UNKNOWN: Self = Self { times: Times::Unknown, id: None, mount: None };

    /// What of a stat tells whether a file stayed the same. Where times are unknown, inode numbers may be made up as they
    /// are asked for, and times of directories say nothing.
    pub fn comparable(&self, stat: &Stat) -> Stat {
        match (self.times, stat.file_type()) {
            (Times::Unknown, FileType::Dir) => Stat { ino: 0, size: 0, mtime: 0, ctime: 0, ..*stat },
            (Times::Unknown, _) => Stat { ino: 0, ctime: stat.mtime, ..*stat },
            _ => *stat,
        }
    }

    /// For how long the stat of a file stands for what is found in it from now on. `began` is when this was begun to be
    /// looked at: what changes from then on has another stat.
    pub fn settled(&self, stat: &Stat, began: i64, writer: Writer) -> Settled {
        let (slack, then) = match self.times {
            Times::Unknown => return Settled::No,
            Times::Image => return Settled::OnThisMount,
            Times::Elsewhere => (SERVER, Settled::OnThisMount),
            Times::Real { .. } if !stat.has_fraction() => (SECONDS, Settled::OnThisMount),
            Times::Real { .. } => (TICK, Settled::Always),
        };
        let older = |slack: Duration| {
            let moment = began.saturating_sub(nanos(slack));
            stat.mtime < moment && stat.ctime < moment
        };
        let no_writer = match writer {
            Writer::Nobody => true,
            Writer::Somebody => false,
            Writer::Unknown => self.times != Times::Real { memory: true } && older(WRITTEN_BACK),
        };
        if older(slack) && no_writer { then } else { Settled::No }
    }

    /// Until when a change of the file may leave it the stat that it has: within a tick of the clock that its times are from.
    pub fn racy_until(&self, stat: &Stat, began: i64) -> Option<i64> {
        let slack = match self.times {
            Times::Real { .. } if !stat.has_fraction() => SECONDS,
            Times::Real { .. } => TICK,
            // Of these it is not known.
            Times::Image | Times::Elsewhere | Times::Unknown => return None,
        };
        let until = stat.ctime.saturating_add(nanos(slack));
        // A clock that was set back since is not waited for.
        (until > began && stat.ctime <= began.saturating_add(nanos(slack))).then_some(until)
    }

    /// Whether anybody has the file open for writing. To be asked before its stat is taken: who opens it afterwards
    /// changes its times with the first write. Who has it mapped since before need not: a second write to the same page
    /// changes no time.
    pub fn writer_of(&self, file: &File) -> Writer {
        if matches!(self.times, Times::Image | Times::Unknown) {
            return Writer::Nobody;
        }
        for look in 0..LOOKS {
            match try_read_lease(file) {
                Ok(()) => return Writer::Nobody,
                Err(Errno::EAGAIN) if look + 1 < LOOKS => sleep(BETWEEN_LOOKS),
                Err(Errno::EAGAIN) => return Writer::Somebody,
                Err(_) => return Writer::Unknown,
            }
        }
        Writer::Unknown
    }
}

/// The file systems and mounts that the stats of a walk were taken on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Believed(Vec<Digest>);

impl Believed {
    /// From what was stored.
    pub fn new(ids: Vec<Digest>) -> Self {
        Self(ids)
    }

    pub fn ids(&self) -> &[Digest] {
        &self.0
    }

    fn add(&mut self, fs: &FileSystem) {
        for id in fs.id.iter().chain(&fs.mount) {
            if !self.0.contains(id) {
                self.0.push(*id);
            }
        }
    }

    /// Whether a stat that was settled so is still believed of a file on this file system.
    pub fn believes(&self, settled: Settled, fs: &FileSystem) -> bool {
        fs.holds_for(settled).is_some_and(|id| self.0.contains(&id))
    }
}

/// The file systems of some devices, each looked at once.
///
/// One mount of a file system stands for all of them: as long as it is there, so is the file system.
#[derive(Debug, Default)]
pub(super) struct Devices(Mutex<Vec<(u64, FileSystem)>>);

impl Devices {
    /// The file system of a device, which `look` looks at. One that can't be looked at is not believed.
    pub fn file_system(&self, dev: u64, look: impl FnOnce() -> nix::Result<FileSystem>) -> FileSystem {
        if let Some(known) = self.get(dev) {
            return known;
        }
        let fs = look().unwrap_or(FileSystem::UNKNOWN);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((dev, fs));
        fs
    }

    pub fn get(&self, dev: u64) -> Option<FileSystem> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|(known, _)| *known == dev).map(|(_, fs)| *fs)
    }

    /// Whether a device of both is another file system, or another mount where that may make a difference.
    pub fn any_differs(&self, other: &Self) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().any(|(dev, fs)| other.get(*dev).is_some_and(|other| !fs.is_same_as(&other)))
    }

    /// Their ids and those of their mounts, in an order that is the same every time.
    pub fn ids(&self) -> Believed {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = Believed::default();
        known.iter().for_each(|(_, fs)| all.add(fs));
        all.0.sort_unstable();
        all
    }
}

/// What the kernel calls this boot.
fn boot() -> Option<&'static str> {
    static BOOT: OnceLock<Option<String>> = OnceLock::new();
    let read = || Some(fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned());
    BOOT.get_or_init(read).as_deref()
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

impl Stat {
    /// Whether its ctime has a fraction of a second, as all have that were taken from a clock.
    const fn has_fraction(&self) -> bool {
        self.ctime % 1_000_000_000 != 0
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const SECOND: i64 = 1_000_000_000;
    const NOW: i64 = 1_000_000 * SECOND;

    fn fs(times: Times) -> FileSystem {
        FileSystem { times, id: None, mount: None }
    }

    fn at(mtime: i64, ctime: i64) -> Stat {
        Stat { dev: 1, ino: 1, size: 0, mtime, ctime, mode: 0o100_644 }
    }

    #[test]
    fn only_files_from_before_the_moment_are_settled() {
        let disk = fs(Times::Real { memory: false });
        let settled = |mtime, ctime| disk.settled(&at(mtime, ctime), NOW, Writer::Nobody);
        let (old, new) = (NOW - SECOND / 2, NOW - SECOND / 100);
        assert_eq!(settled(old, old + 1), Settled::Always);
        assert_eq!(settled(new, old + 1), Settled::No, "as new as the snapshot");
        assert_eq!(settled(old, new), Settled::No, "changed, and its mtime set back");
        assert_eq!(settled(i64::MAX, old + 1), Settled::No, "from the future");
    }

    #[test]
    fn times_in_whole_seconds_prove_less() {
        let disk = fs(Times::Real { memory: false });
        let settled = |ago| disk.settled(&at(NOW - ago * SECOND, NOW - ago * SECOND), NOW, Writer::Nobody);
        assert_eq!(settled(1), Settled::No, "a second change within that second looks the same");
        assert_eq!(settled(10), Settled::OnThisMount, "another image may have the same times");
    }

    #[test]
    fn what_is_written_to_through_a_map_settles_when_that_has_ended() {
        let (disk, memory) = (fs(Times::Real { memory: false }), fs(Times::Real { memory: true }));
        let minute = at(NOW - 50 * SECOND + 1, NOW - 50 * SECOND + 1);
        let hour = at(NOW - 3600 * SECOND + 1, NOW - 3600 * SECOND + 1);
        assert_eq!(disk.settled(&hour, NOW, Writer::Somebody), Settled::No);
        assert_eq!(disk.settled(&minute, NOW, Writer::Unknown), Settled::No);
        assert_eq!(disk.settled(&hour, NOW, Writer::Unknown), Settled::Always);
        assert_eq!(memory.settled(&hour, NOW, Writer::Unknown), Settled::No, "nothing is ever written back");
        assert_eq!(memory.settled(&hour, NOW, Writer::Nobody), Settled::Always);
    }

    #[test]
    fn file_systems_without_real_times_settle_for_a_mount_or_not_at_all() {
        const MSDOS: FsType = FsType(0x4d44);
        const EXFAT: FsType = FsType(0x2011_BAB0);
        const FUSE: FsType = FsType(0x6573_5546);
        const V9FS: FsType = FsType(0x0102_1997);
        let old = at(NOW - 3600 * SECOND + 1, NOW - 3600 * SECOND + 1);
        let settled = |fs_type| fs(Times::of(fs_type)).settled(&old, NOW, Writer::Nobody);
        assert_eq!(settled(EXT4_SUPER_MAGIC), Settled::Always);
        for image in [SQUASHFS, EROFS, ISOFS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, NFS_SUPER_MAGIC] {
            assert_eq!(settled(image), Settled::OnThisMount, "{image:?}");
        }
        for unknown in [MSDOS, EXFAT, FUSE, V9FS, FsType(0x1234)] {
            assert_eq!(settled(unknown), Settled::No, "{unknown:?}");
        }
    }

    #[test]
    fn another_mount_is_not_believed() {
        let id = |text: &str| Some(Digest::of_bytes(text.as_bytes()));
        let disk = FileSystem { times: Times::Real { memory: false }, id: id("disk"), mount: id("first") };
        let mut believed = Believed::default();
        assert!(!believed.believes(Settled::Always, &disk));
        believed.add(&disk);
        let again = FileSystem { mount: id("second"), ..disk };
        let other = FileSystem { id: id("other"), mount: id("third"), ..disk };
        let on =
            |fs| [Settled::No, Settled::OnThisMount, Settled::Always].map(|how| believed.believes(how, fs));
        assert_eq!(on(&disk), [false, true, true]);
        assert_eq!(on(&again), [false, false, true]);
        assert_eq!(on(&other), [false, false, false]);
        assert!(!believed.believes(Settled::Always, &fs(Times::Unknown)));
    }

    #[test]
    fn who_has_a_file_open_for_writing_is_seen() {
        let mut written = tempfile::NamedTempFile::new().unwrap();
        written.write_all(b"x").unwrap();
        let file = File::open(written.path()).unwrap();
        let fs = FileSystem::of(&file).unwrap();
        if fs.times == Times::Unknown || fs.writer_of(&file) == Writer::Unknown {
            return println!("skipped: the file system of temporary files has no leases");
        }
        assert_eq!(fs.writer_of(&file), Writer::Somebody);
        drop(written.into_temp_path());
        assert_eq!(fs.writer_of(&file), Writer::Nobody);
    }

    #[test]
    fn a_boot_and_a_mount_have_names() {
        let dir = File::open("/").unwrap();
        let fs = FileSystem::of(&dir).unwrap();
        let release = nix::sys::utsname::uname().unwrap();
        let release = release.release().to_string_lossy().into_owned();
        let mut parts = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
        let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        if version >= (6, 8) && fs.times != Times::Unknown {
            assert!(fs.mount.is_some());
            assert_eq!(FileSystem::of(&dir).unwrap().mount, fs.mount);
        }
    }
}
