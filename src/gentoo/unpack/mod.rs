//! A root out of a stage3's tarball, as it was packed: owners by number, modes, times of directories too, extended
//! attributes with capabilities, hard links, and device nodes.
//!
//! The archive is walked here, over the tar crate's raw headers: the crate itself makes device nodes into empty files and
//! gets times of directories wrong, and GNU tar would have to be preceded by a pass of our own over all that it is to be
//! believed with, decompressing twice. Each name is resolved by the kernel, which is told to go through no symlink and not
//! out of the root (`openat2`), so that no look beforehand can be wrong by the time of the use.
//!
//! Where an archive breaks a rule, what has been unpacked is to be removed as a whole: nothing is worth keeping of it.

mod entry;
mod place;
mod stream;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use place::Place;

pub(in crate::gentoo) use entry::{Entries, Entry, Kind, bad};
pub(in crate::gentoo) use stream::{Stages, decompressed};

/// What there may be in a root, and what it may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of all files.
    pub bytes: u64,
    /// Entries of the archive.
    pub entries: u64,
}

impl Default for Limits {
    /// Several times the largest stage3.
    fn default() -> Self {
        Self { bytes: 32 << 30, entries: 1_000_000 }
    }
}

/// What becomes of device nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Devices {
    /// They are made, which only real root may do.
    Make,
    /// They are left out: the sandbox has its own `/dev`.
    LeaveOut,
}

/// What has been unpacked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Entries of the archive, those left out included.
    pub entries: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Device nodes that were left out.
    pub left_out: u64,
}

impl Unpacked {
    /// Counts an entry, if there may be one more like it.
    pub(in crate::gentoo) fn count(&mut self, entry: &Entry<'_>, limits: Limits) -> Result<(), UnpackError> {
        let bad = |problem: String| Err(bad(&entry.name, &problem));
        self.entries += 1;
        if self.entries > limits.entries {
            return bad(format!("is one more than the {} that a root may have", limits.entries));
        }
        self.bytes = self.bytes.saturating_add(entry.size);
        if self.bytes > limits.bytes {
            return bad(format!("is too large: a root may have {} bytes", limits.bytes));
        }
        if let Kind::Char(0, 0) = entry.kind {
            return bad("is a whiteout, which would hide a file of another layer".to_owned());
        }
        if entry.xattrs.iter().any(|(name, _)| entry::is_overlays(name)) {
            return bad("has an attribute that would steer an overlay".to_owned());
        }
        Ok(())
    }
}

/// Why an archive could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// An entry that no stage3 has: the archive is damaged, or somebody means harm.
    #[error("entry {entry:?} {problem}; nothing of the archive is used")]
    Entry {
        /// The entry's name.
        entry: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The archive can't be read, or is no archive.
    #[error("the archive can't be read: {0}")]
    Archive(io::Error),
    /// An entry can't be made here.
    #[error("{}: {source}{}", path.display(), hint(source))]
    Io {
        /// Which one.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
}

fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOSPC | Errno::EDQUOT) => " (make room, or point the cache elsewhere)",
        Some(Errno::EPERM) => " (owners and devices need root, or a user namespace with a range of ids)",
        Some(Errno::EOPNOTSUPP) => " (the file system of the cache has no extended attributes)",
        Some(Errno::ENOSYS) => " (kiln needs Linux 5.6 or later for this)",
        _ => "",
    }
}

/// Unpacks a `.tar.xz` into a directory that is not there yet. Where this fails, the directory is to be removed.
pub fn tar_xz(archive: File, to: &Path, limits: Limits, devices: Devices) -> Result<Unpacked, UnpackError> {
    stream::decompressed(archive, |stream| tar(stream, to, limits, devices))
}

/// The same for an archive that is not packed.
pub fn tar(archive: impl Read, to: &Path, limits: Limits, devices: Devices) -> Result<Unpacked, UnpackError> {
    let io_error = |path: &Path, source| UnpackError::Io { path: path.to_owned(), source };
    fs::create_dir(to).map_err(|error| io_error(to, error))?;
    let mut place = Place::new(to).map_err(|error| io_error(to, error))?;
    let mut archive = tar::Archive::new(archive);
    let mut entries = Entries::new(&mut archive).map_err(UnpackError::Archive)?;
    let mut done = Unpacked::default();
    while let Some(mut entry) = entries.next()? {
        done.count(&entry, limits)?;
        if matches!(entry.kind, Kind::Char(..) | Kind::Block(..)) && devices == Devices::LeaveOut {
            done.left_out += 1;
            continue;
        }
        place.make(&mut entry).map_err(|problem| problem.of(&entry.name, to))?;
    }
    place.finish().map_err(|(path, error)| io_error(&path, error))?;
    Ok(done)
}

#[cfg(test)]
pub(in crate::gentoo) mod tests;
