//! The directory that becomes a root, and how entries are made in it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::sys::stat::{
    FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, fstatat, futimens, makedev, mkdirat,
    mknodat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, LinkatFlags, Uid, UnlinkatFlags, fchown, fchownat, linkat, symlinkat, unlinkat};
use xattr::FileExt as _;

use super::UnpackError;
use super::entry::{Entry, Kind, bad};

/// Why an entry could not be made.
pub(super) enum Problem {
    /// The entry's fault.
    Bad(&'static str),
    /// The archive's.
    Archive(io::Error),
    /// This machine's.
    Io(io::Error),
}

impl Problem {
    pub fn of(self, name: &[u8], root: &Path) -> UnpackError {
        match self {
            Self::Bad(problem) => bad(name, problem),
            Self::Archive(error) => UnpackError::Archive(error),
            Self::Io(source) => UnpackError::Io { path: root.join(OsStr::from_bytes(name)), source },
        }
    }
}

impl From<Errno> for Problem {
    fn from(errno: Errno) -> Self {
        match errno {
            // What the kernel answers where a name would go through a symlink or out of the root.
            Errno::ELOOP => Self::Bad("passes through a symlink"),
            Errno::EXDEV => Self::Bad("leads out of the root"),
            Errno::ENOTDIR => Self::Bad("passes through something that is no directory"),
            Errno::ENAMETOOLONG => Self::Bad("has a name that is too long"),
            _ => Self::Io(errno.into()),
        }
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

type Made = Result<(), Problem>;

/// A root that is being made.
pub(super) struct Place {
    path: PathBuf,
    root: OwnedFd,
    /// The directory of the entry before, as most entries share theirs.
    parent: Option<(PathBuf, OwnedFd)>,
    /// Times of directories are set when nothing is made in them any more.
    directories: Vec<(PathBuf, (i64, i64))>,
    buffer: Vec<u8>,
}

impl Place {
    pub fn new(path: &Path) -> io::Result<Self> {
        let root = open(path, OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
        let (parent, directories) = (None, Vec::new());
        Ok(Self { path: path.to_owned(), root, parent, directories, buffer: vec![0; 256 << 10] })
    }

    /// Makes an entry, in place of one that came before.
    pub fn make(&mut self, entry: &mut Entry<'_>) -> Made {
        if entry.path.as_os_str().is_empty() {
            let root = File::from(self.root.try_clone()?);
            self.directories.push((PathBuf::new(), entry.modified));
            return adorn(&root, entry);
        }
        let name = entry.path.file_name().unwrap_or_default().to_owned();
        self.enter(entry.path.parent().unwrap_or(Path::new("")))?;
        match entry.kind.clone() {
            Kind::File => self.file(&name, entry),
            Kind::Directory => self.directory(&name, entry),
            Kind::Symlink(target) => {
                let make = |parent: &OwnedFd| symlinkat(&*target, parent, &*name);
                self.in_place_of(&name, make)?;
                self.adorn_by_name(&name, entry)
            }
            Kind::HardLink(target) => self.link(&name, &target),
            Kind::Char(major, minor) => self.node(&name, SFlag::S_IFCHR, makedev(major, minor), entry),
            Kind::Block(major, minor) => self.node(&name, SFlag::S_IFBLK, makedev(major, minor), entry),
            Kind::Fifo => self.node(&name, SFlag::S_IFIFO, 0, entry),
        }
    }

    /// Gives directories their times.
    pub fn finish(mut self) -> Result<(), (PathBuf, io::Error)> {
        self.parent = None;
        for (path, modified) in self.directories.iter().rev() {
            let times = times(*modified);
            let set = if path.as_os_str().is_empty() {
                futimens(&self.root, &times.0, &times.1)
            } else {
                beneath(&self.root, path, OFlag::O_DIRECTORY | OFlag::O_RDONLY)
                    .and_then(|directory| futimens(&directory, &times.0, &times.1))
            };
            match set {
                // A later entry has taken its place.
                Err(Errno::ENOTDIR | Errno::ENOENT | Errno::ELOOP) | Ok(()) => {}
                Err(errno) => return Err((self.path.join(path), errno.into())),
            }
        }
        Ok(())
    }

    /// Opens the directory that the next entry is made in, and makes it where the archive has left it out.
    fn enter(&mut self, path: &Path) -> Made {
        if self.parent.as_ref().is_some_and(|(entered, _)| entered == path) {
            return Ok(());
        }
        self.parent = None;
        let directory = if path.as_os_str().is_empty() {
            self.root.try_clone()?
        } else {
            match beneath(&self.root, path, OFlag::O_PATH | OFlag::O_DIRECTORY) {
                Err(Errno::ENOENT) => {
                    let mut at = PathBuf::new();
                    for part in path.components() {
                        let above = if at.as_os_str().is_empty() {
                            self.root.try_clone()?
                        } else {
                            beneath(&self.root, &at, OFlag::O_PATH | OFlag::O_DIRECTORY)?
                        };
                        match mkdirat(&above, part.as_os_str(), Mode::from_bits_truncate(0o755)) {
                            Err(Errno::EEXIST) | Ok(()) => {}
                            Err(errno) => return Err(errno.into()),
                        }
                        at.push(part);
                    }
                    beneath(&self.root, path, OFlag::O_PATH | OFlag::O_DIRECTORY)?
                }
                opened => opened?,
            }
        };
        self.parent = Some((path.to_owned(), directory));
        Ok(())
    }

    fn parent(&self) -> &OwnedFd {
        self.parent.as_ref().map_or(&self.root, |(_, directory)| directory)
    }

    /// Makes something under a name that something else may have, which goes then.
    fn in_place_of<T>(&self, name: &OsStr, make: impl Fn(&OwnedFd) -> nix::Result<T>) -> Result<T, Problem> {
        match make(self.parent()) {
            Err(Errno::EEXIST) => {
                match unlinkat(self.parent(), name, UnlinkatFlags::NoRemoveDir) {
                    Err(Errno::EISDIR) => return Err(Problem::Bad("takes the place of a directory")),
                    removed => removed?,
                }
                Ok(make(self.parent())?)
            }
            made => Ok(made?),
        }
    }

    fn file(&mut self, name: &OsStr, entry: &mut Entry<'_>) -> Made {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let make = |parent: &OwnedFd| openat(parent, name, flags, Mode::from_bits_truncate(0o600));
        let mut file = File::from(self.in_place_of(name, make)?);
        let mut left = entry.size;
        while left > 0 {
            let read = entry.content.read(&mut self.buffer).map_err(Problem::Archive)?;
            if read == 0 {
                return Err(Problem::Bad("is cut off"));
            }
            file.write_all(&self.buffer[..read])?;
            left = left.checked_sub(read as u64).ok_or(Problem::Bad("is longer than it says"))?;
        }
        adorn(&file, entry)?;
        let (accessed, modified) = times(entry.modified);
        Ok(futimens(&file, &accessed, &modified)?)
    }

    fn directory(&mut self, name: &OsStr, entry: &Entry<'_>) -> Made {
        match mkdirat(self.parent(), name, Mode::from_bits_truncate(0o700)) {
            Err(Errno::EEXIST) | Ok(()) => {}
            Err(errno) => return Err(errno.into()),
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let directory = File::from(openat(self.parent(), name, flags, Mode::empty())?);
        self.directories.push((entry.path.clone(), entry.modified));
        adorn(&directory, entry)
    }

    fn link(&self, name: &OsStr, target: &Path) -> Made {
        let (above, target_name) = (target.parent().unwrap_or(Path::new("")), target.file_name());
        let target_name = target_name.ok_or(Problem::Bad("is a hard link to the root"))?;
        let directory = if above.as_os_str().is_empty() {
            self.root.try_clone()?
        } else {
            beneath(&self.root, above, OFlag::O_PATH | OFlag::O_DIRECTORY)?
        };
        let stat = match fstatat(&directory, target_name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => return Err(Problem::Bad("is a hard link to what is not there")),
            stat => stat?,
        };
        if SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFDIR {
            return Err(Problem::Bad("is a hard link to a directory"));
        }
        let here = fstatat(self.parent(), name, AtFlags::AT_SYMLINK_NOFOLLOW);
        if here.is_ok_and(|here| (here.st_dev, here.st_ino) == (stat.st_dev, stat.st_ino)) {
            return Ok(());
        }
        self.in_place_of(name, |parent| linkat(&directory, target_name, parent, name, LinkatFlags::empty()))
    }

    fn node(&self, name: &OsStr, kind: SFlag, device: u64, entry: &Entry<'_>) -> Made {
        let mode = Mode::from_bits_truncate(0o600);
        self.in_place_of(name, |parent| mknodat(parent, name, kind, mode, device))?;
        self.adorn_by_name(name, entry)
    }

    /// What [`adorn`] does, for what can't be opened.
    fn adorn_by_name(&self, name: &OsStr, entry: &Entry<'_>) -> Made {
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        fchownat(self.parent(), name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
        if !matches!(entry.kind, Kind::Symlink(_)) {
            // It was made a moment ago, and nobody else is at work here.
            let mode = Mode::from_bits_truncate(entry.mode);
            fchmodat(self.parent(), name, mode, FchmodatFlags::FollowSymlink)?;
        }
        let path = Path::new("/proc/self/fd").join(self.parent().as_raw_fd().to_string()).join(name);
        for (attribute, value) in &entry.xattrs {
            // Does not follow the last name.
            allow(attribute, xattr::set(&path, attribute, value))?;
        }
        let (accessed, modified) = times(entry.modified);
        Ok(utimensat(self.parent(), name, &accessed, &modified, UtimensatFlags::NoFollowSymlink)?)
    }
}

/// Owner, then mode, as a change of owner takes away set-id bits; then attributes, as it takes capabilities as well.
fn adorn(file: &File, entry: &Entry<'_>) -> Made {
    fchown(file, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)))?;
    fchmod(file, Mode::from_bits_truncate(entry.mode))?;
    for (attribute, value) in &entry.xattrs {
        allow(attribute, file.set_xattr(attribute, value))?;
    }
    Ok(())
}

/// `SELinux`'s labels mean nothing on a host without it, and can't be set there.
fn allow(attribute: &OsString, set: io::Result<()>) -> Made {
    match set {
        Err(error)
            if attribute == "security.selinux"
                && matches!(
                    error.raw_os_error().map(Errno::from_raw),
                    Some(Errno::EOPNOTSUPP | Errno::EINVAL)
                ) =>
        {
            Ok(())
        }
        set => Ok(set?),
    }
}

/// Opens a path below the root. The kernel goes through no symlink, and does not leave the root.
fn beneath(root: &OwnedFd, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
    let resolve = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_MAGICLINKS
        | ResolveFlag::RESOLVE_NO_XDEV;
    openat2(root, path, OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve))
}

fn times((seconds, nanoseconds): (i64, i64)) -> (TimeSpec, TimeSpec) {
    let time = TimeSpec::new(seconds, nanoseconds);
    (time, time)
}
