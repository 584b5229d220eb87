//! Blobs on their way in from elsewhere: in pieces, perhaps from several tries, and checked before they get their name.
//!
//! What has come of a blob lies in `partial/` under its digest, locked by whoever fetches it, so that a restore that
//! broke off goes on where it ended. It is not synced before it gets its name: what a power cut spoils is found when it
//! is read, and can be fetched again.

use std::fs::{self, File, Permissions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::libc;
use nix::unistd::linkat;

use super::cas::{Blob, hash_file, name_blob};
use super::error::{At, BlobError, StoreError};
use super::session::remove_any;
use super::{Store, make_dir};
use crate::digest::Digest;

/// A blob that is coming in. Dropped before it is whole, it leaves what has come for the next try.
pub struct Intake<'a> {
    store: &'a Store,
    expected: Blob,
    path: PathBuf,
    file: File,
    hasher: blake3::Hasher,
    /// Whether the next try may go on from what has come: nobody else writes to it.
    resumable: bool,
}

impl Store {
    /// Begins, or goes on with, taking in a blob. `None`: it is here already.
    pub fn intake(&self, expected: Blob) -> Result<Option<Intake<'_>>, StoreError> {
        self.claim([&expected.digest])?;
        if self.has(&expected.digest, expected.size) {
            return Ok(None);
        }
        let dir = self.home().join("partial");
        make_dir(&dir)?;
        let path = dir.join(expected.digest.to_string());
        let (path, mut file, resumable) = match open_partial(&path)? {
            Some(file) => (path, file, true),
            // Another kiln fetches it. Both may: the first to be done gives it its name.
            None => {
                let path = self.session.temp_path();
                let file = new_file().create_new(true).open(&path).at(&path)?;
                (path, file, false)
            }
        };
        let mut hasher = blake3::Hasher::new();
        // More than there is to be can't be the beginning of it.
        if file.metadata().at(&path)?.len() > expected.size {
            file.set_len(0).at(&path)?;
        }
        hasher.update_reader(&mut file).at(&path)?;
        Ok(Some(Intake { store: self, expected, path, file, hasher, resumable }))
    }

    /// Takes in a blob that a file holds, as another name of that very file: nothing is copied. False where that is not to
    /// be had: on another file system, or a file of somebody else's, or one that may be written to.
    pub fn adopt(&self, expected: Blob, file: &mut File) -> Result<bool, BlobError> {
        self.claim([&expected.digest])?;
        if self.has(&expected.digest, expected.size) {
            return Ok(true);
        }
        let stat = file.metadata().at(self.home())?;
        if stat.uid() != nix::unistd::geteuid().as_raw() || stat.mode() & 0o222 != 0 {
            return Ok(false);
        }
        let temp = self.session.temp_path();
        // The file that is open, whatever has its name by now.
        let open = format!("/proc/self/fd/{}", file.as_raw_fd());
        if linkat(AT_FDCWD, open.as_str(), AT_FDCWD, &temp, AtFlags::AT_SYMLINK_FOLLOW).is_err() {
            return Ok(false);
        }
        let named = match hash_file(file, &temp).at(&temp) {
            Ok(found) if found == (expected.digest, expected.size) => {
                name_blob(&temp, &self.blob_path(&expected.digest)).map_err(BlobError::from)
            }
            Ok(_) => Err(BlobError::Hostile { why: "its content is not what its digest says" }),
            Err(error) => Err(error.into()),
        };
        // Renamed away, or not to be: where both names are of one file already, a rename leaves them.
        let _ = fs::remove_file(&temp);
        named?;
        // What has come of it by another way is of no use any more.
        let _ = remove_partial_of(self, &expected.digest);
        self.added(expected.size);
        Ok(true)
    }

    /// Removes a blob that no row names: one that was only on its way through.
    pub fn drop_blob(&self, digest: &Digest) {
        let _ = fs::remove_file(self.blob_path(digest));
    }

    /// Where a blob is, for those who read it as it is and check it themselves.
    pub fn path_of(&self, digest: &Digest) -> PathBuf {
        self.blob_path(digest)
    }

    /// Opens a blob to be read as it is. Its content is not checked: whoever gets it has to.
    pub fn open_blob(&self, blob: &Blob) -> Result<File, BlobError> {
        if !self.has(&blob.digest, blob.size) {
            return Err(BlobError::Missing);
        }
        super::cas::open_blob(&self.blob_path(&blob.digest))
    }
}

impl Intake<'_> {
    /// How many bytes have come so far.
    pub fn len(&self) -> u64 {
        self.hasher.count()
    }

    /// Whether nothing has come yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether all has come.
    pub fn is_complete(&self) -> bool {
        self.len() == self.expected.size
    }

    /// Forgets what has come: it was wrong.
    pub fn start_again(&mut self) -> Result<(), StoreError> {
        self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0))).at(&self.path)?;
        self.hasher.reset();
        Ok(())
    }

    /// Gives the blob its name, if it is what that says. Else what has come is removed.
    pub fn finish(mut self) -> Result<(), BlobError> {
        let found = Digest::from_bytes(*self.hasher.finalize().as_bytes());
        if !self.is_complete() || found != self.expected.digest {
            self.resumable = false;
            return Err(BlobError::Hostile { why: "its content is not what its digest says" });
        }
        self.file.set_permissions(Permissions::from_mode(0o444)).at(&self.path)?;
        name_blob(&self.path, &self.store.blob_path(&self.expected.digest))?;
        self.store.added(self.expected.size);
        Ok(())
    }
}

impl Write for Intake<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.expected.size - self.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "more came than the blob has"));
        }
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Intake<'_> {
    fn drop(&mut self) {
        if !self.resumable || self.is_empty() {
            // After `finish` it has been renamed away.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn new_file() -> fs::OpenOptions {
    let mut options = File::options();
    options.read(true).write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    options
}

/// Opens and locks what has come of a blob. `None`: another has it.
fn open_partial(path: &Path) -> Result<Option<File>, StoreError> {
    loop {
        let file = match new_file().create(true).truncate(false).open(path) {
            // One of another user's, who shares the cache.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(None),
            file => file.at(path)?,
        };
        if !matches!(file.try_lock(), Ok(())) {
            return Ok(None);
        }
        // Whoever had it locked may have given it its name meanwhile: then it is a blob, and must not be written to.
        let ours = file.metadata().at(path)?;
        match fs::symlink_metadata(path) {
            Ok(there) if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) => return Ok(Some(file)),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(StoreError::io(path, error)),
            _ => {}
        }
    }
}

fn remove_partial_of(store: &Store, digest: &Digest) -> Result<(), StoreError> {
    let path = store.home().join("partial").join(digest.to_string());
    if path.exists() { remove_partial(&path) } else { Ok(()) }
}

/// Removes what has come of a blob, unless somebody is fetching it now.
pub(super) fn remove_partial(path: &Path) -> Result<(), StoreError> {
    let Ok(Some(_locked)) = open_partial(path) else { return Ok(()) };
    // Under the lock: whoever comes next sees that it is gone, and makes a new one.
    remove_any(path).at(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("cache")).unwrap();
        (dir, store)
    }

    fn blob(bytes: &[u8]) -> Blob {
        Blob { digest: Digest::of_bytes(bytes), size: bytes.len() as u64 }
    }

    #[test]
    fn what_came_in_pieces_and_tries_is_one_blob() {
        let (dir, store) = store();
        let bytes = b"some bytes that come in two tries";
        let mut intake = store.intake(blob(bytes)).unwrap().unwrap();
        intake.write_all(&bytes[..10]).unwrap();
        drop(intake);
        drop(store);
        // Another process goes on.
        let store = Store::open(&dir.path().join("cache")).unwrap();
        let mut intake = store.intake(blob(bytes)).unwrap().unwrap();
        assert_eq!(intake.len(), 10);
        intake.write_all(&bytes[10..]).unwrap();
        intake.finish().unwrap();
        assert_eq!(store.read(&blob(bytes).digest, 100).unwrap(), bytes);
        assert!(store.intake(blob(bytes)).unwrap().is_none(), "it is here");
        assert_eq!(fs::read_dir(store.home().join("partial")).unwrap().count(), 0);
    }

    #[test]
    fn wrong_bytes_get_no_name_and_leave_nothing() {
        let (_dir, store) = store();
        let mut intake = store.intake(blob(b"right")).unwrap().unwrap();
        intake.write_all(b"wrong").unwrap();
        assert!(intake.write_all(b"!").is_err(), "more than there is to be");
        assert!(matches!(intake.finish(), Err(BlobError::Hostile { .. })));
        assert!(!store.has(&blob(b"right").digest, 5));
        let mut intake = store.intake(blob(b"right")).unwrap().unwrap();
        assert_eq!(intake.len(), 0);
        intake.write_all(b"wr").unwrap();
        intake.start_again().unwrap();
        intake.write_all(b"right").unwrap();
        intake.finish().unwrap();
    }

    #[test]
    fn a_file_that_nobody_writes_to_is_linked_and_any_other_is_not() {
        let (dir, store) = store();
        let bytes = b"bytes that are here already";
        let put = |name: &str, bytes: &[u8], mode| {
            let path = dir.path().join(name);
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            File::open(path).unwrap()
        };
        assert!(!store.adopt(blob(bytes), &mut put("writable", bytes, 0o644)).unwrap());
        let wrong = store.adopt(blob(bytes), &mut put("wrong", b"bytes that are something els", 0o444));
        assert!(matches!(wrong, Err(BlobError::Hostile { .. })), "{wrong:?}");
        assert!(!store.has(&blob(bytes).digest, bytes.len() as u64));

        let mut file = put("right", bytes, 0o444);
        assert!(store.adopt(blob(bytes), &mut file).unwrap());
        assert_eq!(store.read(&blob(bytes).digest, 100).unwrap(), bytes);
        let linked = fs::metadata(store.path_of(&blob(bytes).digest)).unwrap();
        assert_eq!(
            (linked.ino(), linked.nlink()),
            (file.metadata().unwrap().ino(), 2),
            "one file, and no third name"
        );
        assert!(store.adopt(blob(bytes), &mut file).unwrap(), "it is here");
    }

    #[test]
    fn two_who_fetch_the_same_do_not_write_into_one_file() {
        let (_dir, store) = store();
        let mut first = store.intake(blob(b"bytes")).unwrap().unwrap();
        let mut second = store.intake(blob(b"bytes")).unwrap().unwrap();
        first.write_all(b"by").unwrap();
        second.write_all(b"bytes").unwrap();
        second.finish().unwrap();
        first.write_all(b"tes").unwrap();
        first.finish().unwrap();
        assert_eq!(store.read(&blob(b"bytes").digest, 5).unwrap(), b"bytes");
    }

    #[test]
    fn what_somebody_is_fetching_is_not_removed() {
        let (_dir, store) = store();
        let mut intake = store.intake(blob(b"bytes")).unwrap().unwrap();
        intake.write_all(b"by").unwrap();
        let path = store.home().join("partial").join(blob(b"bytes").digest.to_string());
        remove_partial(&path).unwrap();
        assert!(path.exists());
        drop(intake);
        remove_partial(&path).unwrap();
        assert!(!path.exists());
    }
}
