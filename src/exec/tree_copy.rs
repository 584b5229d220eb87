//! Copies of source trees by their snapshots: names, link targets, permissions and contents are the snapshot's. Each content
//! is hashed while it is copied, so a copy is what the action's key says, or it is an error.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, SFlag, mknod};
use rayon::prelude::*;

use super::file_times;
use super::free_memory::PAGE;
use crate::digest::Digest;
use crate::source::{Kind, Snapshot, Special};

/// Why a tree can't be copied.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    /// A file has changed since the snapshot was taken.
    #[error("{} changed while it was copied: nothing is recorded; run kiln again", .0.display())]
    Changed(PathBuf),
    /// A file can't be read or written.
    #[error("cannot copy {}: {source}", path.display())]
    Io {
        /// Its path.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

/// The memory that a copy takes, in bytes.
pub(super) fn room(snapshot: &Snapshot) -> u64 {
    let mut room = 0;
    let _: Option<()> = snapshot.each(|_, kind| {
        // Each entry also takes an inode and a name.
        room += PAGE / 2
            + match kind {
                Kind::File { size, .. } => size.next_multiple_of(PAGE),
                _ => 0,
            };
        ControlFlow::Continue(())
    });
    room
}

struct Wanted {
    path: PathBuf,
    executable: bool,
    digest: Digest,
}

/// Copies the tree at `from`, as the snapshot has it, to the empty directory `to`. Names at the top that the snapshot leaves
/// out become empty directories. All times are that of staged files.
pub(super) fn copy(snapshot: &Snapshot, from: &Path, ignored: &[&str], to: &Path) -> Result<(), CopyError> {
    let (mut files, mut dirs) = (Vec::new(), vec![to.to_owned()]);
    let failed = snapshot.each(|path, kind| {
        let path = Path::new(OsStr::from_bytes(path));
        let at = to.join(path);
        let made = match kind {
            Kind::File { executable, digest, .. } => {
                files.push(Wanted { path: path.to_owned(), executable, digest });
                return ControlFlow::Continue(());
            }
            Kind::Dir { .. } => {
                dirs.push(at.clone());
                fs::create_dir(&at).and_then(|()| fs::set_permissions(&at, Permissions::from_mode(0o755)))
            }
            Kind::Symlink { target } => symlink(OsStr::from_bytes(target), &at)
                .and_then(|()| file_times::set(&at, file_times::staged())),
            Kind::Special(special) => make_special(special, &at),
        };
        match made {
            Ok(()) => ControlFlow::Continue(()),
            Err(source) => ControlFlow::Break(CopyError::Io { path: at, source }),
        }
    });
    if let Some(error) = failed {
        return Err(error);
    }
    files.par_iter().try_for_each(|file| copy_file(file, from, to))?;
    for name in ignored {
        leave_empty(&from.join(name), &to.join(name))?;
    }
    // Last: making their entries changed the times of directories.
    dirs.iter().try_for_each(|dir| {
        file_times::set(dir, file_times::staged())
            .map_err(|source| CopyError::Io { path: dir.clone(), source })
    })
}

fn copy_file(file: &Wanted, from: &Path, to: &Path) -> Result<(), CopyError> {
    let (source, target) = (from.join(&file.path), to.join(&file.path));
    let bytes = match fs::read(&source) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(CopyError::Changed(source)),
        Err(error) => return Err(CopyError::Io { path: source, source: error }),
    };
    if Digest::of_bytes(&bytes) != file.digest {
        return Err(CopyError::Changed(source));
    }
    let mode = if file.executable { 0o755 } else { 0o644 };
    let write = || -> io::Result<()> {
        let mut made = File::create_new(&target)?;
        made.write_all(&bytes)?;
        made.set_permissions(Permissions::from_mode(mode))?;
        made.set_modified(file_times::staged())
    };
    write().map_err(|source| CopyError::Io { path: target.clone(), source })
}

/// Makes an ignored name without its content, as a mask would show it.
fn leave_empty(from: &Path, to: &Path) -> Result<(), CopyError> {
    let made = match fs::symlink_metadata(from) {
        Ok(found) if found.is_dir() => fs::create_dir(to),
        Ok(_) => File::create_new(to).map(drop),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
    };
    made.and_then(|()| file_times::set(to, file_times::staged()))
        .map_err(|source| CopyError::Io { path: to.to_owned(), source })
}

fn make_special(special: Special, at: &Path) -> io::Result<()> {
    let kind = match special {
        Special::Fifo => SFlag::S_IFIFO,
        Special::Socket => SFlag::S_IFSOCK,
        _ => return Err(io::Error::other("a device can't be shown to steps: remove it")),
    };
    mknod(at, kind, Mode::from_bits_truncate(0o644), 0)?;
    file_times::set(at, file_times::staged())
}

/// Replaces a file in a copy, and keeps the time of the new one.
pub(super) fn replace(from: &Path, to: &Path) -> Result<(), CopyError> {
    let write = || -> io::Result<()> {
        let time = fs::metadata(from)?.modified()?;
        fs::write(to, fs::read(from)?)?;
        file_times::set(to, time)
    };
    write().map_err(|source| CopyError::Io { path: from.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::source::SnapshotOptions;

    #[test]
    fn a_copy_is_what_the_snapshot_says_or_there_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("sub/empty")).unwrap();
        fs::create_dir(from.join(".git")).unwrap();
        fs::write(from.join(".git/HEAD"), "x").unwrap();
        fs::write(from.join("sub/plain"), "1").unwrap();
        fs::write(from.join("script"), "2").unwrap();
        fs::set_permissions(from.join("script"), Permissions::from_mode(0o711)).unwrap();
        symlink("sub/plain", from.join("link")).unwrap();
        let options = SnapshotOptions { cache_file: None, ignore: &[".git"] };
        let take = |dir: &Path| Snapshot::take(dir, &options).unwrap();
        let snapshot = take(&from);

        fs::create_dir(&to).unwrap();
        copy(&snapshot, &from, &[".git", ".none"], &to).unwrap();
        assert_eq!(take(&to).digest(), snapshot.digest());
        assert_eq!(fs::read_dir(to.join(".git")).unwrap().count(), 0);
        assert!(!to.join(".none").exists());
        let mode = |name: &str| fs::symlink_metadata(to.join(name)).unwrap().mode() & 0o777;
        assert_eq!([mode("script"), mode("sub/plain"), mode("sub")], [0o755, 0o644, 0o755]);
        for name in ["sub/plain", "sub", "link", "sub/empty", ""] {
            let time = fs::symlink_metadata(to.join(name)).unwrap().modified().unwrap();
            assert_eq!(time, file_times::staged(), "{name}");
        }

        // Of the same size, and with the time of before.
        let time = fs::metadata(from.join("sub/plain")).unwrap().modified().unwrap();
        fs::write(from.join("sub/plain"), "3").unwrap();
        file_times::set(&from.join("sub/plain"), time).unwrap();
        let other = dir.path().join("other");
        fs::create_dir(&other).unwrap();
        let error = copy(&snapshot, &from, &[], &other).unwrap_err();
        assert!(matches!(&error, CopyError::Changed(path) if path.ends_with("sub/plain")), "{error}");
    }
}
