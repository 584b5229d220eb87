//! The canonical form of inputs: permissions and times that depend on nothing but the action key.
//!
//! The key holds names, contents, link targets, and whether a file is executable. Archivers, `cp -p` and kbuild's initramfs
//! scripts read more: all permission bits, owner, time and hard links. In a staged copy these are the same on every machine: 0755
//! for directories and executable files, 0644 for all others, the user who runs kiln, one time, one link.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, SFlag, mknod};
use rayon::prelude::*;

use super::file_times;

/// Copies a file or a directory to a new path, without the names in `ignore` at the top of the directory.
///
/// # Errors
///
/// When something can't be read, or is a device.
pub(super) fn copy(from: &Path, to: &Path, ignore: &[&str]) -> io::Result<()> {
    let mut files = Vec::new();
    lay_out(from, to, ignore, &mut files)?;
    files.par_iter().try_for_each(|(from, to)| fs::copy(from, to).map(drop).map_err(at(from)))?;
    settle(to)
}

/// Makes the directories and special files of a copy, and lists its regular files.
fn lay_out(from: &Path, to: &Path, ignore: &[&str], files: &mut Vec<(PathBuf, PathBuf)>) -> io::Result<()> {
    let stat = fs::symlink_metadata(from).map_err(at(from))?;
    if stat.is_dir() {
        fs::create_dir(to).map_err(at(to))?;
        for entry in fs::read_dir(from).map_err(at(from))? {
            let entry = entry.map_err(at(from))?;
            if !ignore.iter().any(|ignored| entry.file_name() == *ignored) {
                lay_out(&entry.path(), &to.join(entry.file_name()), &[], files)?;
            }
        }
        Ok(())
    } else if stat.is_file() {
        files.push((from.to_owned(), to.to_owned()));
        Ok(())
    } else if stat.is_symlink() {
        fs::read_link(from).and_then(|target| symlink(target, to)).map_err(at(from))
    } else {
        special(&stat, to).map_err(at(from))
    }
}

/// Makes a named pipe or a socket, which needs no privilege.
fn special(stat: &Metadata, to: &Path) -> io::Result<()> {
    let kind = match stat.file_type() {
        kind if kind.is_fifo() => SFlag::S_IFIFO,
        kind if kind.is_socket() => SFlag::S_IFSOCK,
        _ => return Err(io::Error::other("a device can't be shown to steps: remove it")),
    };
    Ok(mknod(to, kind, Mode::from_bits_truncate(0o644), 0)?)
}

/// Sets canonical permissions and times at and below a path.
pub(super) fn settle(path: &Path) -> io::Result<()> {
    file_times::each(path, &mut |path, stat| {
        if !stat.is_symlink() {
            let program = stat.permissions().mode() & 0o111 != 0;
            let mode = if stat.is_dir() || program { 0o755 } else { 0o644 };
            fs::set_permissions(path, Permissions::from_mode(mode)).map_err(at(path))?;
        }
        file_times::set(path, file_times::staged()).map_err(at(path))
    })
}

/// Adds the path to an error.
fn at(path: &Path) -> impl Fn(io::Error) -> io::Error {
    let path = path.to_owned();
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_copy_has_nothing_of_the_original_but_what_the_key_holds() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("sub/.git")).unwrap();
        fs::create_dir(from.join(".git")).unwrap();
        let mode = |name: &str, mode: u32| {
            fs::set_permissions(from.join(name), Permissions::from_mode(mode)).unwrap();
        };
        fs::write(from.join("plain"), "1").unwrap();
        mode("plain", 0o660);
        fs::hard_link(from.join("plain"), from.join("same")).unwrap();
        fs::write(from.join("sub/program"), "2").unwrap();
        mode("sub/program", 0o4711);
        mode("sub", 0o1777);
        symlink("nowhere", from.join("link")).unwrap();
        mknod(&from.join("pipe"), SFlag::S_IFIFO, Mode::S_IRUSR, 0).unwrap();

        copy(&from, &to, &[".git"]).unwrap();

        let stat = |name: &str| fs::symlink_metadata(to.join(name)).unwrap();
        let modes = ["", "plain", "same", "sub", "sub/.git", "sub/program", "pipe"]
            .map(|name| stat(name).mode() & 0o7777);
        assert_eq!(modes, [0o755, 0o644, 0o644, 0o755, 0o755, 0o755, 0o644]);
        assert_eq!(stat("plain").nlink(), 1);
        assert_eq!(stat("plain").modified().unwrap(), file_times::staged());
        assert_eq!(stat("link").modified().unwrap(), file_times::staged());
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("nowhere"));
        assert!(stat("pipe").file_type().is_fifo());
        assert!(!to.join(".git").exists());
        assert_eq!(fs::read(to.join("sub/program")).unwrap(), b"2");
    }

    #[test]
    fn what_can_not_be_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = copy(&dir.path().join("gone"), &dir.path().join("to"), &[]).unwrap_err();
        assert!(error.to_string().contains("gone"), "{error}");
    }
}
