//! The content-addressed store: `cas/ab/ab12…` holds the bytes whose digest is `ab12…`.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::libc;
use serde::{Deserialize, Serialize};

use super::error::{At, BlobError, StoreError};
use super::session::remove_any;
use super::{Store, make_dir};
use crate::digest::Digest;

/// From this size on a file is hashed in parallel through a memory map: below it, setting that up costs more.
const HASH_IN_PARALLEL: u64 = 1 << 20;

/// From this many new blobs on, one sync of the whole file system is cheaper than one of each file.
const SYNC_ALL: usize = 32;

/// Content in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Blob {
    /// The digest of the bytes.
    pub digest: Digest,
    /// How many bytes.
    pub size: u64,
}

/// Content under a temporary name, which goes if it is not published.
pub(super) struct Staged {
    pub blob: Blob,
    path: PathBuf,
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Published ones have been renamed away.
        let _ = fs::remove_file(&self.path);
    }
}

impl Store {
    /// Keeps the content of a regular file, following symlinks. When this returns, the blob survives a power cut.
    pub fn put_file(&self, path: &Path) -> Result<Blob, StoreError> {
        let staged = self.stage_file(path, true)?;
        let blob = staged.blob;
        self.publish(vec![staged])?;
        Ok(blob)
    }

    /// Keeps some bytes. When this returns, the blob survives a power cut.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Blob, StoreError> {
        let blob = Blob { digest: Digest::of_bytes(bytes), size: bytes.len() as u64 };
        self.claim([&blob.digest])?;
        if !self.has(&blob.digest, blob.size) {
            let path = self.session.temp_path();
            let staged = Staged { blob, path };
            create(&staged.path, 0o444).and_then(|mut file| file.write_all(bytes)).at(&staged.path)?;
            self.publish(vec![staged])?;
        }
        Ok(blob)
    }

    /// Whether a blob of that digest and size is there. Its content is looked at when it is used, not here.
    pub fn has(&self, digest: &Digest, size: u64) -> bool {
        fs::symlink_metadata(self.blob_path(digest)).is_ok_and(|stat| stat.is_file() && stat.len() == size)
    }

    /// Copies a blob to `dest`, replacing a file there. `dest` never holds anything but the right bytes.
    pub fn copy_out(&self, digest: &Digest, dest: &Path, executable: bool) -> Result<(), BlobError> {
        self.replace(
            dest,
            |temp| self.copy_verified(digest, temp, executable).map(|_| ()),
            |temp, dest| fs::rename(temp, dest),
        )
    }

    /// The bytes of a blob of at most `max` bytes.
    pub fn read(&self, digest: &Digest, max: u64) -> Result<Vec<u8>, BlobError> {
        let path = self.blob_path(digest);
        let mut file = open_blob(&path)?;
        let size = file.metadata().at(&path)?.len();
        if size > max {
            return Err(BlobError::TooLarge);
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).map_err(|_| BlobError::TooLarge)?);
        file.read_to_end(&mut bytes).at(&path)?;
        if Digest::of_bytes(&bytes) != *digest {
            return Err(self.quarantine(digest)?);
        }
        Ok(bytes)
    }

    /// The file of a blob, for those who read it where it is. `digest_of` says what a file holds, and may know it without
    /// reading all of it: an image that is mounted a hundred times a day can't be hashed each time.
    pub fn file_of(
        &self,
        digest: &Digest,
        digest_of: impl Fn(&Path) -> io::Result<Digest>,
    ) -> Result<PathBuf, BlobError> {
        let path = self.blob_path(digest);
        open_blob(&path)?;
        if digest_of(&path).at(&path)? == *digest { Ok(path) } else { Err(self.quarantine(digest)?) }
    }

    /// Copies a file to a temporary name and hashes the copy: whatever happens to the original meanwhile, the digest
    /// is that of the bytes we keep.
    pub(super) fn stage_file(&self, path: &Path, follow: bool) -> Result<Staged, StoreError> {
        // Without O_NONBLOCK, opening a FIFO would wait for a writer.
        let flags = libc::O_NONBLOCK | if follow { 0 } else { libc::O_NOFOLLOW };
        let mut from = File::options().read(true).custom_flags(flags).open(path).reading(path)?;
        if !from.metadata().reading(path)?.is_file() {
            return Err(StoreError::NotKeepable { path: path.to_owned(), why: "it is not a regular file" });
        }
        let temp = self.session.temp_path();
        let blank = Blob { digest: Digest::from_bytes([0; 32]), size: 0 };
        let mut staged = Staged { blob: blank, path: temp };
        let mut to = create(&staged.path, 0o444).at(&staged.path)?;
        copy(&mut from, path, &mut to, &staged.path)?;
        let (digest, size) = hash_file(&mut to, &staged.path).at(&staged.path)?;
        staged.blob = Blob { digest, size };
        Ok(staged)
    }

    /// Syncs staged blobs, then gives them their names.
    pub(super) fn publish(&self, staged: Vec<Staged>) -> Result<(), StoreError> {
        let mut new = staged;
        // Before it is looked whether they are there: what is there by then stays.
        self.claim(new.iter().map(|staged| &staged.blob.digest))?;
        new.retain(|staged| !self.has(&staged.blob.digest, staged.blob.size));
        if new.len() >= SYNC_ALL {
            let tmp = self.session.tmp();
            let dir = File::open(tmp).at(tmp)?;
            nix::unistd::syncfs(dir).map_err(io::Error::from).at(tmp)?;
        } else {
            for staged in &new {
                File::open(&staged.path).and_then(|file| file.sync_data()).at(&staged.path)?;
            }
        }
        // The directories are not synced: a name lost in a power cut is a missing blob, hence a miss.
        for staged in &new {
            name_blob(&staged.path, &self.blob_path(&staged.blob.digest))?;
            self.added(staged.blob.size);
        }
        Ok(())
    }

    /// Copies a blob to a new file `to` and gives its size, or leaves nothing there.
    pub(super) fn copy_verified(
        &self,
        digest: &Digest,
        to: &Path,
        executable: bool,
    ) -> Result<u64, BlobError> {
        let path = self.blob_path(digest);
        let mut from = open_blob(&path)?;
        let mut copied = create(to, if executable { 0o755 } else { 0o644 }).at(to)?;
        let found = copy(&mut from, &path, &mut copied, to).and_then(|()| hash_file(&mut copied, to).at(to));
        match found {
            Ok((found, size)) if found == *digest => Ok(size),
            Ok(_) => {
                let _ = fs::remove_file(to);
                Err(self.quarantine(digest)?)
            }
            Err(error) => {
                let _ = fs::remove_file(to);
                Err(error.into())
            }
        }
    }

    /// Fills a temporary place with `fill` and moves it to `dest` with `install`.
    ///
    /// The place is in the cache where that is on the same file system (a crash then leaves nothing in the project),
    /// and beside `dest` otherwise.
    pub(super) fn replace(
        &self,
        dest: &Path,
        fill: impl Fn(&Path) -> Result<(), BlobError>,
        install: impl Fn(&Path, &Path) -> io::Result<()>,
    ) -> Result<(), BlobError> {
        let parent = dest.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(parent).at(parent)?;
        let device = |path: &Path| fs::metadata(path).map(|stat| stat.dev()).at(path);
        if device(parent)? == device(self.session.tmp())? {
            let temp = self.session.temp_path();
            fill(&temp)?;
            match install(&temp, dest) {
                // Two mounts of one file system: the same device, and yet no rename between them.
                Err(error) if error.kind() == ErrorKind::CrossesDevices => remove_any(&temp).at(&temp)?,
                Err(error) => {
                    remove_any(&temp).at(&temp)?;
                    return Err(StoreError::io(dest, error).into());
                }
                Ok(()) => return Ok(()),
            }
        }
        let temp = self.session.temp_beside(dest);
        fill(&temp)?;
        install(&temp, dest).or_else(|error| {
            remove_any(&temp).at(&temp)?;
            Err(StoreError::io(dest, error).into())
        })
    }

    /// Sets a blob aside whose content was found to be wrong, and says what to tell of it.
    pub(super) fn quarantine(&self, digest: &Digest) -> Result<BlobError, StoreError> {
        let path = self.blob_path(digest);
        // Look again: it may have been the copy that went wrong, or another process may have mended the blob.
        match File::open(&path).and_then(|mut file| hash_file(&mut file, &path)) {
            Ok((found, _)) if found == *digest => {
                let source = io::Error::other("a copy of it differs from it");
                return Err(StoreError::Io { path, source });
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BlobError::Missing),
            _ => {}
        }
        let damaged = self.home.join("cas/damaged");
        make_dir(&damaged)?;
        let moved_to = damaged.join(digest.to_string());
        match fs::rename(&path, &moved_to) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(BlobError::Missing),
            result => result.at(&path).map(|()| BlobError::Damaged { moved_to }),
        }
    }

    pub(super) fn blob_path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.to_string();
        let mut path = self.home.join("cas");
        path.push(&hex[..2]);
        path.push(hex);
        path
    }
}

pub(super) fn open_blob(path: &Path) -> Result<File, BlobError> {
    match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Err(BlobError::Missing),
        result => {
            let file = result.at(path)?;
            // Damage can make it anything.
            if file.metadata().at(path)?.is_file() { Ok(file) } else { Err(BlobError::Missing) }
        }
    }
}

/// Moves content to the name of its blob.
pub(super) fn name_blob(from: &Path, path: &Path) -> Result<(), StoreError> {
    match fs::rename(from, path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make_dir(path.parent().expect("blobs are in a directory"))?;
            fs::rename(from, path).at(path)
        }
        Err(error) if error.kind() == ErrorKind::IsADirectory => {
            remove_any(path).at(path)?;
            fs::rename(from, path).at(path)
        }
        result => result.at(path),
    }
}

/// A new file of that mode, whatever the umask: what users of a shared cache may do must not depend on who came first.
fn create(path: &Path, mode: u32) -> io::Result<File> {
    let file = File::options().read(true).write(true).create_new(true).mode(mode).open(path)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    Ok(file)
}

/// Copies in the kernel, where the file system can by sharing the blocks.
fn copy(from: &mut File, from_path: &Path, to: &mut File, to_path: &Path) -> Result<(), StoreError> {
    match io::copy(from, to) {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
            Err(StoreError::io(to_path, error))
        }
        Err(error) => Err(error).reading(from_path),
    }
}

/// The digest and size of a whole file, of which `path` is a name.
pub(super) fn hash_file(file: &mut File, path: &Path) -> io::Result<(Digest, u64)> {
    if file.metadata()?.len() < HASH_IN_PARALLEL {
        file.rewind()?;
        return Digest::of_reader(file);
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_mmap_rayon(path)?;
    Ok((Digest::from_bytes(*hasher.finalize().as_bytes()), hasher.count()))
}
