//! A remote that is a directory: a file system that machines share, or a folder that a CI system keeps.
//!
//! ```text
//! PATH[/INSTANCE]/ac/ab/abcd...   an entry, by its key
//! PATH[/INSTANCE]/cas/ab/abcd...  a blob, by its BLAKE3 digest
//! PATH[/INSTANCE]/tmp/...         files on their way in
//! ```
//!
//! Several machines may use it at once, over NFS too: a file is written under a name of its own, synced, and renamed to
//! where it belongs, so that whoever reads sees all of it or nothing, and nothing is locked. The names of directories are
//! not synced: one that is lost in a power cut is a miss.
//!
//! Others may write here as well. So every directory below PATH is opened one after the other and without following
//! links, and what is read is a regular file of the size that is expected, or it is not read.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::libc;
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::{MAX_ENTRY, Name, Remote, RemoteError};
use crate::digest::Digest;

/// How much is copied at once.
const PIECE: usize = 1 << 20;

/// Files on their way in that are older than this belong to a machine that died.
const LEFT_OVER: Duration = Duration::from_hours(24);

/// A directory.
pub(super) struct DirRemote {
    home: PathBuf,
    /// Whether what dead writers left has been looked for.
    swept: AtomicBool,
}

/// The two maps, by their directories.
#[derive(Clone, Copy)]
enum Map {
    Entries,
    Blobs,
}

impl Map {
    const fn dir(self) -> &'static str {
        match self {
            Self::Entries => "ac",
            Self::Blobs => "cas",
        }
    }
}

impl DirRemote {
    /// The remote in that directory, which need not be there. `instance` is a path of plain names, or empty.
    pub(super) fn new(path: &Path, instance: &str) -> Self {
        let home = if instance.is_empty() { path.to_owned() } else { path.join(instance) };
        Self { home, swept: AtomicBool::new(false) }
    }

    /// Opens the directory in which what has that name is.
    fn shard(&self, map: Map, hex: &str) -> io::Result<OwnedFd> {
        let mut dir = self.open_home()?;
        for name in [map.dir(), &hex[..2]] {
            dir = open_dir(&dir, name)?;
        }
        Ok(dir)
    }

    /// The same, made where it is not there.
    fn made_shard(&self, map: Map, hex: &str) -> io::Result<OwnedFd> {
        made_dir(&made_dir(&self.open_home()?, map.dir())?, &hex[..2])
    }

    fn open_home(&self) -> io::Result<OwnedFd> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(nix::fcntl::open(&self.home, flags, Mode::empty())?)
    }

    /// Opens a file to read it; `None`: there is none. With its size.
    fn open(&self, map: Map, hex: &str) -> Result<Option<(File, u64)>, RemoteError> {
        let opened = self.shard(map, hex).and_then(|shard| {
            // Without O_NONBLOCK, opening a FIFO would wait for a writer.
            let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
            let file = File::from(openat(&shard, hex, flags, Mode::empty())?);
            let stat = file.metadata()?;
            Ok((file, stat))
        });
        match opened {
            Ok((file, stat)) if stat.is_file() => Ok(Some((file, stat.len()))),
            Ok(_) => Err(self.not_a_file(map, hex)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn not_a_file(&self, map: Map, hex: &str) -> RemoteError {
        let dir = self.home.join(map.dir()).join(&hex[..2]);
        RemoteError::Nonsense(format!("{} is not a regular file", dir.join(hex).display()))
    }

    /// What is there under that name.
    fn stat(&self, map: Map, hex: &str) -> Result<Option<FileStat>, RemoteError> {
        let found = self.shard(map, hex).and_then(|shard| Ok(stat_at(&shard, hex)?));
        match found {
            Ok(stat) => Ok(Some(stat)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Whether a blob is there, as far as can be told without reading it.
    fn has(&self, blob: &Name) -> Result<bool, RemoteError> {
        let stat = self.stat(Map::Blobs, &blob.blake3.to_string())?;
        Ok(stat.is_some_and(|stat| is_file(&stat) && u64::try_from(stat.st_size) == Ok(blob.size)))
    }

    /// Puts what `from` yields, `size` bytes, under that name.
    fn write(&self, map: Map, hex: &str, from: &mut dyn Read, size: u64) -> Result<(), RemoteError> {
        fs::create_dir_all(&self.home).map_err(|error| self.failed(error))?;
        let tmp = self.open_home().and_then(|home| made_dir(&home, "tmp")).map_err(|e| self.failed(e))?;
        let name = temporary_name()?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        // Who else may read it is for the umask to say. Nobody writes to it any more: caches on this machine may link it.
        let file = openat(&tmp, &*name, flags, Mode::from_bits_truncate(0o444));
        let mut file = File::from(file.map_err(|error| self.failed(error.into()))?);
        if !self.swept.swap(true, Ordering::Relaxed) {
            sweep(&tmp, &file);
        }
        let written = self.fill(&mut file, from, size).and_then(|()| {
            let shard = self.made_shard(map, hex).map_err(|error| self.failed(error))?;
            renameat(&tmp, &*name, &shard, hex).map_err(|error| self.failed(error.into()))
        });
        if written.is_err() {
            let _ = unlinkat(&tmp, &*name, UnlinkatFlags::NoRemoveDir);
        }
        written
    }

    fn fill(&self, file: &mut File, from: &mut dyn Read, size: u64) -> Result<(), RemoteError> {
        let mut from = from.take(size);
        let mut piece = vec![0; usize::try_from(size).map_or(PIECE, |size| size.clamp(1, PIECE))];
        let mut left = size;
        while left > 0 {
            let read = read_some(&mut from, &mut piece).map_err(RemoteError::Local)?;
            if read == 0 {
                return Err(RemoteError::Local(ErrorKind::UnexpectedEof.into()));
            }
            file.write_all(&piece[..read]).map_err(|error| self.failed(error))?;
            left -= read as u64;
        }
        file.sync_data().map_err(|error| self.failed(error))
    }

    /// What a failure of the directory means.
    fn failed(&self, error: io::Error) -> RemoteError {
        let text = format!("{}: {error}", self.home.display());
        match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => RemoteError::Denied(text),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                RemoteError::Refused(text)
            }
            ErrorKind::NotADirectory | ErrorKind::IsADirectory => RemoteError::Nonsense(text),
            _ if error.raw_os_error() == Some(libc::ELOOP) => RemoteError::Nonsense(format!(
                "{}: a symbolic link where there must be none",
                self.home.display()
            )),
            _ => RemoteError::Unreachable(text),
        }
    }
}

impl Remote for DirRemote {
    fn entry(&self, key: &Digest) -> Result<Option<Vec<u8>>, RemoteError> {
        let Some((file, size)) = self.open(Map::Entries, &key.to_string())? else { return Ok(None) };
        if size > MAX_ENTRY {
            return Err(RemoteError::Nonsense(format!("an entry of {size} bytes")));
        }
        let mut bytes = Vec::new();
        // It is replaced, never changed; but others may write here.
        file.take(MAX_ENTRY + 1).read_to_end(&mut bytes).map_err(|error| self.failed(error))?;
        if bytes.len() as u64 != size {
            return Err(RemoteError::Nonsense("an entry changed while it was read".to_owned()));
        }
        Ok(Some(bytes))
    }

    fn put_entry(&self, key: &Digest, mut entry: &[u8], _: &[Name]) -> Result<(), RemoteError> {
        let size = entry.len() as u64;
        if size > MAX_ENTRY {
            return Err(RemoteError::Refused(format!("an entry of {size} bytes")));
        }
        self.write(Map::Entries, &key.to_string(), &mut entry, size)
    }

    fn missing(&self, blobs: &[Name]) -> Result<Vec<Name>, RemoteError> {
        let mut missing = Vec::new();
        for blob in blobs {
            if !self.has(blob)? {
                missing.push(*blob);
            }
        }
        Ok(missing)
    }

    fn get(&self, blob: &Name, offset: u64, to: &mut dyn Write) -> Result<(), RemoteError> {
        let found = self.open(Map::Blobs, &blob.blake3.to_string())?;
        let (mut file, size) = found.ok_or(RemoteError::Missing)?;
        if size != blob.size {
            let text = format!("blob {} has {size} bytes instead of {}", blob.blake3.short(), blob.size);
            return Err(RemoteError::Nonsense(text));
        }
        file.seek(SeekFrom::Start(offset)).map_err(|error| self.failed(error))?;
        let mut left = size.saturating_sub(offset);
        let mut piece = vec![0; usize::try_from(left).map_or(PIECE, |left| left.min(PIECE))];
        while left > 0 {
            let wanted = usize::try_from(left).map_or(piece.len(), |left| left.min(piece.len()));
            let read = read_some(&mut file, &mut piece[..wanted]).map_err(|error| self.failed(error))?;
            if read == 0 {
                return Err(RemoteError::Unreachable(format!("blob {} broke off", blob.blake3.short())));
            }
            to.write_all(&piece[..read]).map_err(RemoteError::Local)?;
            left -= read as u64;
        }
        Ok(())
    }

    fn file(&self, blob: &Name) -> Result<Option<File>, RemoteError> {
        let found = self.open(Map::Blobs, &blob.blake3.to_string())?;
        Ok(found.filter(|(_, size)| *size == blob.size).map(|(file, _)| file))
    }

    fn put(&self, blob: &Name, from: &mut File) -> Result<(), RemoteError> {
        // In place of one that is there, which may be wrong: whoever puts has asked what is missing.
        from.rewind().map_err(RemoteError::Local)?;
        self.write(Map::Blobs, &blob.blake3.to_string(), from, blob.size)
    }

    fn put_several(&self, blobs: &[(Name, Vec<u8>)]) -> Result<(), RemoteError> {
        for (blob, bytes) in blobs {
            self.write(Map::Blobs, &blob.blake3.to_string(), &mut &bytes[..], blob.size)?;
        }
        Ok(())
    }
}

fn open_dir(dir: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(openat(dir, name, flags, Mode::empty())?)
}

fn made_dir(dir: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    match open_dir(dir, name) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            match mkdirat(dir, name, Mode::from_bits_truncate(0o777)) {
                // Another machine was faster.
                Ok(()) | Err(Errno::EEXIST) => open_dir(dir, name),
                Err(error) => Err(error.into()),
            }
        }
        result => result,
    }
}

fn stat_at(dir: &OwnedFd, name: &str) -> nix::Result<FileStat> {
    fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW)
}

fn is_file(stat: &FileStat) -> bool {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG
}

fn read_some(from: &mut impl Read, piece: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(piece) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// A name that no other machine thinks of.
fn temporary_name() -> Result<String, RemoteError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| RemoteError::Local(io::Error::other(error.to_string())))?;
    Ok(format!("{:032x}", u128::from_le_bytes(random)))
}

/// Removes what writers left that died. The time now is that of a file just made: clocks of machines differ.
fn sweep(tmp: &OwnedFd, just_made: &File) {
    let modified = just_made.metadata().and_then(|stat| stat.modified());
    let Some(before) = modified.ok().and_then(|now| now.checked_sub(LEFT_OVER)) else { return };
    let Ok(before) = before.duration_since(SystemTime::UNIX_EPOCH) else { return };
    let Ok(dir) = open_dir(tmp, ".") else { return };
    let Ok(mut dir) = Dir::from_fd(dir) else { return };
    for entry in dir.iter().flatten() {
        let name = entry.file_name();
        let old = fstatat(tmp, name, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok_and(|stat| {
            is_file(&stat) && u64::try_from(stat.st_mtime).is_ok_and(|at| at < before.as_secs())
        });
        if old {
            let _ = unlinkat(tmp, name, UnlinkatFlags::NoRemoveDir);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::remote::Sha256;

    fn remote() -> (tempfile::TempDir, DirRemote) {
        let dir = tempfile::tempdir().unwrap();
        let remote = DirRemote::new(&dir.path().join("shared"), "");
        (dir, remote)
    }

    fn name(bytes: &[u8]) -> Name {
        use sha2::Digest as _;
        let sha256 = Sha256(sha2::Sha256::digest(bytes).into());
        Name { blake3: Digest::of_bytes(bytes), sha256, size: bytes.len() as u64 }
    }

    fn path(remote: &DirRemote, blob: &Name) -> PathBuf {
        let hex = blob.blake3.to_string();
        remote.home.join("cas").join(&hex[..2]).join(hex)
    }

    #[test]
    fn a_blob_of_another_size_is_missing_and_mended_by_a_put() {
        let (_dir, remote) = remote();
        let blob = name(b"content");
        remote.put_several(&[(blob, b"content".to_vec())]).unwrap();
        fs::write(path(&remote, &blob), b"cont").unwrap();
        let error = remote.get(&blob, 0, &mut Vec::new()).unwrap_err();
        assert!(matches!(error, RemoteError::Nonsense(_)), "{error}");
        assert_eq!(remote.missing(&[blob]).unwrap(), [blob]);
        remote.put_several(&[(blob, b"content".to_vec())]).unwrap();
        assert_eq!(fs::read(path(&remote, &blob)).unwrap(), b"content");
    }

    #[test]
    fn links_fifos_and_directories_are_not_read() {
        let (dir, remote) = remote();
        let blob = name(b"content");
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join(blob.blake3.to_string()), b"content").unwrap();
        let path = path(&remote, &blob);
        let nonsense = || {
            let error = remote.get(&blob, 0, &mut Vec::new()).unwrap_err();
            assert!(matches!(error, RemoteError::Nonsense(_)), "{error}");
        };

        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(outside.join(blob.blake3.to_string()), &path).unwrap();
        nonsense();
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        nonsense();
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        nonsense();

        fs::remove_dir_all(path.parent().unwrap()).unwrap();
        symlink(&outside, path.parent().unwrap()).unwrap();
        nonsense();
        let error = remote.put_several(&[(name(b"content"), b"content".to_vec())]).unwrap_err();
        assert!(matches!(error, RemoteError::Nonsense(_)), "{error}");
    }

    #[test]
    fn a_put_that_fails_leaves_nothing_and_one_that_died_is_removed_after_a_day() {
        let (dir, remote) = remote();
        let short = dir.path().join("short");
        fs::write(&short, b"cont").unwrap();
        let blob = name(b"content");
        let error = remote.put(&blob, &mut File::open(&short).unwrap()).unwrap_err();
        assert!(matches!(error, RemoteError::Local(_)), "{error}");
        let tmp = remote.home.join("tmp");
        assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0);

        for (name, hours) in [("fresh", 23), ("old", 25)] {
            let file = File::create(tmp.join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_hours(hours)).unwrap();
        }
        DirRemote::new(&remote.home, "").put_several(&[(blob, b"content".to_vec())]).unwrap();
        assert!(tmp.join("fresh").exists());
        assert!(!tmp.join("old").exists());
    }

    #[test]
    fn an_entry_that_is_too_large_is_neither_read_nor_written() {
        let (_dir, remote) = remote();
        let key = Digest::of_bytes(b"key");
        let large = vec![0; usize::try_from(MAX_ENTRY).unwrap() + 1];
        let error = remote.put_entry(&key, &large, &[]).unwrap_err();
        assert!(matches!(error, RemoteError::Refused(_)), "{error}");
        remote.write(Map::Entries, &key.to_string(), &mut &large[..], large.len() as u64).unwrap();
        let error = remote.entry(&key).unwrap_err();
        assert!(matches!(error, RemoteError::Nonsense(_)), "{error}");
    }

    #[test]
    fn a_directory_that_is_a_file_is_told_from_one_that_is_not_there() {
        let (dir, remote) = remote();
        let blob = name(b"content");
        assert_eq!(remote.missing(&[blob]).unwrap(), [blob]);
        assert!(remote.entry(&blob.blake3).unwrap().is_none());
        fs::write(dir.path().join("shared"), b"").unwrap();
        let error = remote.missing(&[blob]).unwrap_err();
        assert!(matches!(error, RemoteError::Nonsense(_)), "{error}");
    }
}
