//! Writes trees, and describes what was written.

use std::fs::{self, File, FileTimes, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::digest::Digest;
use crate::source::TreeBuilder;

/// A tree that was written.
pub(super) struct Written {
    /// Its content.
    pub tree: TreeBuilder,
    /// Notes for the user.
    pub notes: Vec<String>,
}

/// A file that is being written.
pub(super) struct FileWriter {
    file: File,
    executable: bool,
    hasher: blake3::Hasher,
}

impl FileWriter {
    /// Creates a file.
    pub fn create(path: &Path, executable: bool) -> io::Result<Self> {
        let file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Self { file, executable, hasher: blake3::Hasher::new() })
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.file.write_all(bytes)
    }

    /// Sets its mode, whatever the umask is, and its time; gives its size and digest.
    pub fn finish(self, modified: SystemTime) -> io::Result<(u64, Digest)> {
        self.file.set_permissions(Permissions::from_mode(if self.executable { 0o755 } else { 0o644 }))?;
        self.file.set_times(FileTimes::new().set_modified(modified))?;
        Ok((self.hasher.count(), Digest::from_bytes(*self.hasher.finalize().as_bytes())))
    }
}

/// Creates a directory.
pub(super) fn make_dir(path: &Path) -> io::Result<()> {
    fs::create_dir(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

/// A time of a commit or an archive. A time that no file can have becomes the earliest.
pub(super) fn time(seconds: i64) -> SystemTime {
    let seconds = u64::try_from(seconds).unwrap_or(0).min(u64::from(u32::MAX));
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}
