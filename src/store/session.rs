//! What belongs to one open store, and goes when its process does: temporary files and work directories.
//!
//! A session is a directory `tmp/PID-START-N/` with a locked file `alive` in it, and, if need be, a directory of the
//! same name under `work/`. The lock, not the name, tells whether it lives: process numbers mean nothing to a process
//! in another container that shares the cache, and the kernel drops the lock however its owner ends.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::{At, StoreError};
use super::{lock_file, make_dir};

pub(super) struct Session {
    tmp: PathBuf,
    work: PathBuf,
    next: AtomicU64,
    _alive: File,
}

impl Session {
    /// Begins a session, and takes over the directories of dead ones; those returned are the caller's to remove.
    ///
    /// The caller holds the lock on opening, so that no session is looked at between its directory and its lock.
    pub fn begin(home: &Path) -> Result<(Self, Vec<PathBuf>), StoreError> {
        let (id, tmp) = make_session_dir(&home.join("tmp"))?;
        let alive = tmp.join("alive");
        let file = lock_file(&alive)?;
        file.lock().at(&alive)?;
        let work = home.join("work").join(&id);
        let session = Self { tmp, work, next: AtomicU64::new(0), _alive: file };
        let left_behind = session.sweep(home)?;
        Ok((session, left_behind))
    }

    /// Moves what dead sessions left into this one, where no other sweep will look at it.
    fn sweep(&self, home: &Path) -> Result<Vec<PathBuf>, StoreError> {
        let mut left_behind = Vec::new();
        for area in ["tmp", "work"] {
            let area = home.join(area);
            for entry in fs::read_dir(&area).at(&area)? {
                let entry = entry.at(&area)?;
                if is_alive(&home.join("tmp").join(entry.file_name()))? {
                    continue;
                }
                let taken = self.temp_path();
                // Moving a directory to another parent needs to write to it, for its `..`.
                let _ = fs::set_permissions(entry.path(), Permissions::from_mode(0o700));
                match fs::rename(entry.path(), &taken) {
                    Ok(()) => left_behind.push(taken),
                    // Its session is just ending in order, and was faster.
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(StoreError::io(&entry.path(), error)),
                }
            }
        }
        Ok(left_behind)
    }

    /// Puts what can't be removed where the next sweep will find it, beside this session and not in it: it would lie deeper each
    /// time. Gives its place.
    pub fn put_back(&self, dir: PathBuf) -> PathBuf {
        let mut name = self.tmp.as_os_str().to_owned();
        name.push(format!("-left-{}", self.next.fetch_add(1, Ordering::Relaxed)));
        let beside = PathBuf::from(name);
        match fs::rename(&dir, &beside) {
            Ok(()) => beside,
            Err(_) => dir,
        }
    }

    /// A name for a temporary file or directory, on the file system of the cache, that nothing has yet.
    pub fn temp_path(&self) -> PathBuf {
        self.tmp.join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }

    pub fn tmp(&self) -> &Path {
        &self.tmp
    }

    /// A name for a temporary file next to `path`, that nothing has yet.
    pub fn temp_beside(&self, path: &Path) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let id = self.tmp.file_name().expect("named after the session").to_string_lossy();
        path.with_file_name(format!(".kiln-{id}-{number}"))
    }

    pub fn fresh_work_dir(&self, name: &str) -> Result<PathBuf, StoreError> {
        make_dir(&self.work)?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        // Node names have slashes, and may be longer than a file name can be.
        let mut name: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' })
            .take(80)
            .collect();
        if name.starts_with('.') {
            name.insert(0, '_');
        }
        let dir = self.work.join(format!("{name}-{number}"));
        fs::create_dir(&dir).at(&dir)?;
        Ok(dir)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Whatever stays behind is for the next sweep.
        let _ = remove_tree(&self.work);
        let _ = remove_tree(&self.tmp);
    }
}

fn make_session_dir(tmp: &Path) -> Result<(String, PathBuf), StoreError> {
    let pid = std::process::id();
    let start = start_time();
    for number in 0u32.. {
        let id = format!("{pid}-{start}-{number}");
        let dir = tmp.join(&id);
        match DirBuilder::new().mode(0o700).create(&dir) {
            Ok(()) => return Ok((id, dir)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(StoreError::io(&dir, error)),
        }
    }
    unreachable!("a free number")
}

/// When this process started, in clock ticks since boot: with the process number, its name for people.
fn start_time() -> u64 {
    // The command's name, in parentheses, may itself hold spaces and parentheses.
    fs::read_to_string("/proc/self/stat")
        .ok()
        .and_then(|stat| stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok())
        .unwrap_or(0)
}

pub(super) fn is_alive(session: &Path) -> Result<bool, StoreError> {
    let alive = session.join("alive");
    let file = match File::open(&alive) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(false);
        }
        // Another user's session: not ours to judge.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(true),
        Err(error) => return Err(StoreError::io(&alive, error)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(StoreError::io(&alive, error)),
    }
}

/// Removes a directory with all that is in it, making its directories writable where need be.
pub(super) fn remove_tree(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            make_removable(dir)?;
            fs::remove_dir_all(dir)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Removes whatever has that name.
pub(super) fn remove_any(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(stat) if stat.is_dir() => remove_tree(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn make_removable(dir: &Path) -> io::Result<()> {
    fs::set_permissions(dir, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            make_removable(&entry.path())?;
        }
    }
    Ok(())
}
