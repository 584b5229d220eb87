//! The names of what was opened, and whether they are reliable.
//!
//! The kernel gives the name that something has when the event is read, not when it was opened. These are the same unless
//! something was moved meanwhile. So at the end, each name has to lead to what was opened, and neither that nor a directory on the
//! way may have been moved since the beginning. A move changes the ctime of what is moved, and the mtime of both directories.
//! Both are required: an editor's swap file in a directory, or a new hard link to a file, moves nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CString, OsStr};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{FileStat, SFlag, fstatat};
use nix::sys::time::TimeSpec;

use super::{Opened, TraceError};

/// What was opened below one mount.
#[derive(Debug)]
pub(super) struct Names {
    /// The mount's path in the sandbox.
    mount: PathBuf,
    /// The mount's root, from which names are looked up.
    root: File,
    seen: BTreeMap<Box<[u8]>, Identity>,
}

/// The object that a name led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    directory: bool,
}

impl Identity {
    fn of(stat: &FileStat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino, directory: is_directory(stat) }
    }
}

pub(super) fn is_directory(stat: &FileStat) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR
}

impl Names {
    /// No names yet, of the mount at `mount` in the sandbox and at `path` here.
    pub(super) fn new(mount: PathBuf, path: &Path) -> io::Result<Self> {
        let flags = (OFlag::O_PATH | OFlag::O_CLOEXEC).bits();
        let root = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        Ok(Self { mount, root, seen: BTreeMap::new() })
    }

    /// The root, as a path of this process.
    pub(super) fn root(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.root.as_raw_fd()).into()
    }

    /// The mount's path in the sandbox.
    pub(super) fn mount(&self) -> &Path {
        &self.mount
    }

    /// Adds an object by its absolute path.
    pub(super) fn add(&mut self, path: &OsStr, stat: &FileStat) -> Result<(), TraceError> {
        let unnamed = |reason| Err(TraceError::Unnamed { path: path.into(), reason });
        let name = match path.as_bytes().strip_prefix(self.mount.as_os_str().as_bytes()) {
            Some([]) => &[][..],
            Some([b'/', name @ ..]) => name,
            _ => return unnamed("it is not below the mount through which it was opened"),
        };
        let identity = Identity::of(stat);
        match self.seen.get(name) {
            Some(known) if *known != identity => unnamed("two things were opened under this name"),
            Some(_) => Ok(()),
            None => {
                self.seen.insert(name.into(), identity);
                Ok(())
            }
        }
    }

    /// The names, if nothing was moved since then.
    pub(super) fn trusted(self, since: TimeSpec) -> Result<Opened, TraceError> {
        for (name, identity) in &self.seen {
            if Identity::of(&self.stat(name)?) != *identity {
                return Err(self.unnamed(name, "something else has this name now"));
            }
        }
        let all = self.seen.keys().flat_map(|name| with_parents(name)).collect::<BTreeSet<_>>();
        for name in all {
            let Some(parent) = parent(name) else { continue };
            if changed(&self.stat(name)?) > since && modified(&self.stat(parent)?) > since {
                return Err(self.unnamed(name, "it was changed while it was in use, and perhaps moved"));
            }
        }
        let mut opened = Opened::default();
        for (name, identity) in self.seen {
            if identity.directory { &mut opened.dirs } else { &mut opened.files }.push(name);
        }
        Ok(opened)
    }

    fn stat(&self, name: &[u8]) -> Result<FileStat, TraceError> {
        let lost = |_| self.unnamed(name, "nothing has this name any more");
        let path = CString::new(name).map_err(|_| self.unnamed(name, "it is no name"))?;
        let flags = AtFlags::AT_EMPTY_PATH | AtFlags::AT_SYMLINK_NOFOLLOW;
        fstatat(self.root.as_fd(), path.as_c_str(), flags).map_err(lost)
    }

    fn unnamed(&self, name: &[u8], reason: &'static str) -> TraceError {
        TraceError::Unnamed { path: self.mount.join(OsStr::from_bytes(name)), reason }
    }
}

/// The parent directory; none for the root.
fn parent(name: &[u8]) -> Option<&[u8]> {
    let slash = name.iter().rposition(|&byte| byte == b'/');
    (!name.is_empty()).then(|| &name[..slash.unwrap_or(0)])
}

fn with_parents(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(name), |name| parent(name))
}

fn changed(stat: &FileStat) -> TimeSpec {
    TimeSpec::new(stat.st_ctime, stat.st_ctime_nsec)
}

fn modified(stat: &FileStat) -> TimeSpec {
    TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec)
}
