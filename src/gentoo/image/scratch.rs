//! Directories that last as long as somebody uses them, and what is left of those whose user was killed.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::ImageError;

/// What names of such directories begin with.
const PREFIX: &str = "root-";

/// The file in each whose lock its user holds.
const LOCK: &str = "lock";

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A directory for one use, removed with all that is in it when that ends.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    /// Held as long as the directory is used; the kernel lets go of it if kiln is killed.
    _lock: File,
}

impl Scratch {
    /// A new one below `home`.
    pub fn new(home: &Path) -> Result<Self, ImageError> {
        fs::create_dir_all(home).map_err(ImageError::at("make", home))?;
        loop {
            let name = format!("{PREFIX}{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
            let path = home.join(name);
            match fs::create_dir(&path) {
                // Left over from a process that had our number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made.map_err(ImageError::at("make", &path))?,
            }
            let made = File::create(path.join(LOCK)).and_then(|lock| lock.lock().map(|()| lock));
            match made {
                // A sweep took it for one that was left over, between the two steps.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                lock => {
                    let lock = lock.map_err(ImageError::at("lock", &path))?;
                    if path.join(LOCK).exists() {
                        return Ok(Self { path, _lock: lock });
                    }
                }
            }
        }
    }

    /// A directory in it for something, which is there then.
    pub fn dir(&self, name: &str) -> Result<PathBuf, ImageError> {
        let path = self.path.join(name);
        fs::create_dir(&path).map_err(ImageError::at("make", &path))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes what killed users left below `home`, and says how many there were. Mounts went with their users; what is
/// mounted in the namespace of the caller is not touched.
pub fn sweep(home: &Path) -> Result<usize, ImageError> {
    let entries = match fs::read_dir(home) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries.map_err(ImageError::at("read", home))?,
    };
    let mut removed = 0;
    for entry in entries {
        let path = entry.map_err(ImageError::at("read", home))?.path();
        let is_ours =
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(PREFIX));
        if !is_ours {
            continue;
        }
        match File::open(path.join(LOCK)).map(|lock| (lock.try_lock(), lock)) {
            Ok((Err(TryLockError::WouldBlock), _)) => continue,
            Ok((Err(TryLockError::Error(error)), _)) => return Err(ImageError::at("lock", &path)(error)),
            // Killed before it had a lock, or is just about to have one, and makes another directory then.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(ImageError::at("open", &path)(error));
            }
            Ok((Ok(()), _)) | Err(_) => {}
        }
        match fs::remove_dir_all(&path) {
            // Two sweeps at once.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => {
                done.map_err(ImageError::at("remove", &path))?;
                removed += 1;
            }
        }
    }
    Ok(removed)
}
