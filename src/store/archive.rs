//! A directory as one compressed stream: how a kept output directory travels.
//!
//! tar with zstd. Times are kept to the nanosecond (as `mtime` in extended headers), as make goes by them. Owners are not:
//! the files belong to whoever unpacks them. Nothing is written outside of the directory that is made, or through a
//! symlink, whatever the archive says.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use tar::{EntryType, Header};

/// How hard it is compressed: object files gain little from more.
const LEVEL: i32 = 3;

/// No honest directory has more files.
const MAX_FILES: usize = 4_000_000;

/// Writes all that is in a directory. Files that are neither regular, directories nor symlinks are an error.
pub fn pack_dir(dir: &Path, to: impl Write) -> io::Result<()> {
    let mut archive = tar::Builder::new(zstd::Encoder::new(to, LEVEL)?);
    let mut dirs = vec![PathBuf::new()];
    while let Some(inside) = dirs.pop() {
        let mut entries: Vec<_> = fs::read_dir(dir.join(&inside))?.collect::<io::Result<_>>()?;
        entries.sort_unstable_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, stat) = (inside.join(entry.file_name()), entry.metadata()?);
            let mut header = Header::new_gnu();
            header.set_mode(stat.mode() & 0o777);
            let modified = stat.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
            let time = format!("{}.{:09}", modified.as_secs(), modified.subsec_nanos());
            archive.append_pax_extensions([("mtime", time.as_bytes())])?;
            if stat.is_dir() {
                header.set_entry_type(EntryType::Directory);
                header.set_size(0);
                archive.append_data(&mut header, &path, io::empty())?;
                dirs.push(path);
            } else if stat.is_symlink() {
                header.set_entry_type(EntryType::Symlink);
                header.set_size(0);
                archive.append_link(&mut header, &path, fs::read_link(entry.path())?)?;
            } else if stat.is_file() {
                header.set_entry_type(EntryType::Regular);
                header.set_size(stat.len());
                archive.append_data(&mut header, &path, File::open(entry.path())?.take(stat.len()))?;
            } else {
                return Err(refused(&path, "is a special file"));
            }
        }
    }
    archive.into_inner()?.finish()?.flush()
}

/// Makes a directory of what [`pack_dir`] wrote, of at most so many bytes.
pub fn unpack_dir(from: impl Read, dest: &Path, max: u64) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(dest)?;
    let mut archive = tar::Archive::new(zstd::Decoder::new(from)?);
    // What may be written into: directories that were made here, and are nothing else.
    let mut made = HashSet::from([PathBuf::new()]);
    let (mut files, mut left) = (0, max);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        files += 1;
        if files > MAX_FILES {
            return Err(refused(&path, "is one too many"));
        }
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        let Some(parent) = path.parent().filter(|_| plain && path.file_name().is_some()) else {
            return Err(refused(&path, "leads out of the directory"));
        };
        if !made.contains(parent) {
            return Err(refused(&path, "is in no directory of the archive"));
        }
        let time = modified(&mut entry)?;
        let mode = entry.header().mode()? & 0o777;
        let to = dest.join(&path);
        match entry.header().entry_type() {
            EntryType::Directory => {
                DirBuilder::new().mode(mode | 0o700).create(&to)?;
                made.insert(path);
            }
            EntryType::Symlink => {
                let target = entry.link_name()?.ok_or_else(|| refused(&path, "is a symlink to nothing"))?;
                std::os::unix::fs::symlink(target, &to)?;
                set_time(&to, time)?;
            }
            EntryType::Regular => {
                left = left
                    .checked_sub(entry.size())
                    .ok_or_else(|| refused(&path, "is more than was said to come"))?;
                let mut file = File::options().write(true).create_new(true).mode(0o600).open(&to)?;
                io::copy(&mut entry, &mut file)?;
                file.set_permissions(Permissions::from_mode(mode))?;
                set_time(&to, time)?;
            }
            _ => return Err(refused(&path, "is neither a file, a directory nor a symlink")),
        }
    }
    Ok(())
}

/// The time in an entry's extended header.
fn modified<R: Read>(entry: &mut tar::Entry<'_, R>) -> io::Result<SystemTime> {
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "an entry without a time");
    for extension in entry.pax_extensions()?.into_iter().flatten() {
        let extension = extension?;
        if extension.key_bytes() == b"mtime" {
            let text = extension.value().map_err(|_| damaged())?;
            let (seconds, nanos) = text.split_once('.').ok_or_else(damaged)?;
            let seconds = seconds.parse().map_err(|_| damaged())?;
            let nanos = nanos.parse().ok().filter(|&nanos| nanos < 1_000_000_000).ok_or_else(damaged)?;
            return UNIX_EPOCH.checked_add(Duration::new(seconds, nanos)).ok_or_else(damaged);
        }
    }
    Err(damaged())
}

fn set_time(path: &Path, time: SystemTime) -> io::Result<()> {
    let time = TimeSpec::from_duration(time.duration_since(UNIX_EPOCH).unwrap_or_default());
    utimensat(AT_FDCWD, path, &time, &time, UtimensatFlags::NoFollowSymlink)?;
    Ok(())
}

fn refused(path: &Path, why: &str) -> io::Error {
    let path = String::from_utf8_lossy(path.as_os_str().as_bytes());
    io::Error::new(io::ErrorKind::InvalidData, format!("{path} {why}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn packed(dir: &Path) -> Vec<u8> {
        let mut bytes = Vec::new();
        pack_dir(dir, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_directory_comes_back_with_modes_links_and_times() {
        let temp = tempfile::tempdir().unwrap();
        let from = temp.path().join("from");
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::write(from.join("a/b/file"), "content").unwrap();
        fs::set_permissions(from.join("a/b/file"), Permissions::from_mode(0o754)).unwrap();
        symlink("/kiln/in/source", from.join("source")).unwrap();
        let time = UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
        set_time(&from.join("a/b/file"), time).unwrap();
        let to = temp.path().join("to");
        unpack_dir(&*packed(&from), &to, 7).unwrap();
        let stat = fs::metadata(to.join("a/b/file")).unwrap();
        assert_eq!((stat.mode() & 0o7777, stat.modified().unwrap()), (0o754, time));
        assert_eq!(fs::read(to.join("a/b/file")).unwrap(), b"content");
        assert_eq!(fs::read_link(to.join("source")).unwrap(), Path::new("/kiln/in/source"));
        let smaller = temp.path().join("smaller");
        assert!(unpack_dir(&*packed(&from), &smaller, 6).unwrap_err().to_string().contains("more than"));
    }

    /// An archive with entries as they are given: (path, type, link).
    fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(zstd::Encoder::new(Vec::new(), 1).unwrap());
        for (path, kind, link) in entries {
            let mut header = Header::new_gnu();
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o4777);
            header.set_size(0);
            header.set_cksum();
            tar.append_pax_extensions([("mtime", &b"1.000000000"[..])]).unwrap();
            tar.append(&header, io::empty()).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn nothing_gets_out_of_the_directory() {
        use EntryType::{Block, Directory, Link, Regular, Symlink};
        let temp = tempfile::tempdir().unwrap();
        let outside = temp.path().join("outside");
        let link = outside.to_str().unwrap();
        let hostile: &[&[(&str, EntryType, &str)]] = &[
            &[("../outside", Regular, "")],
            &[("a/../../outside", Regular, "")],
            &[("missing/file", Regular, "")],
            &[("link", Symlink, link), ("link/file", Regular, "")],
            &[("link", Symlink, link), ("link", Regular, "")],
            &[("dir", Directory, ""), ("dir", Symlink, link), ("dir/file", Regular, "")],
            &[("device", Block, "")],
            &[("hard", Link, "/etc/passwd")],
        ];
        for (number, entries) in hostile.iter().enumerate() {
            let dest = temp.path().join(number.to_string());
            assert!(unpack_dir(&*archive(entries), &dest, 1000).is_err(), "{entries:?}");
            assert!(!outside.exists(), "{entries:?}");
        }
        let dest = temp.path().join("setuid");
        unpack_dir(&*archive(&[("file", Regular, "")]), &dest, 1000).unwrap();
        assert_eq!(fs::metadata(dest.join("file")).unwrap().mode() & 0o7777, 0o777, "no setuid");
    }

    #[test]
    fn one_that_is_cut_short_is_an_error() {
        let temp = tempfile::tempdir().unwrap();
        let from = temp.path().join("from");
        fs::create_dir(&from).unwrap();
        fs::write(from.join("file"), vec![7; 100_000]).unwrap();
        let whole = packed(&from);
        for end in [0, 1, whole.len() / 2, whole.len() - 1] {
            let dest = temp.path().join(end.to_string());
            assert!(unpack_dir(&whole[..end], &dest, 1 << 20).is_err(), "{end} of {}", whole.len());
        }
    }
}
