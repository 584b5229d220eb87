//! Publishes files for labs to fetch: `DIR/SHA256/NAME` in a directory that a web server serves.
//!
//! The digest in the path makes every URL immutable, so a queued job fetches the files that it was made for. A file is
//! hard-linked if it is not writable, and copied otherwise. Concurrent publications of one file both succeed.

mod check;
mod error;

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

pub use error::{PublishError, Unserved};

/// The lock file: shared while publishing, exclusive while sweeping.
const LOCK: &str = ".lock";

/// The prefix of temporary files. Web servers are usually configured to hide dot files.
const TEMPORARY: &str = ".new-";

/// A directory that a web server serves.
#[derive(Clone, Debug)]
pub struct Publisher {
    dir: PathBuf,
    /// Ends with a slash.
    url: String,
}

impl Publisher {
    /// A directory and its URL as labs see it. Accesses no file.
    pub fn new(dir: &Path, url: &str) -> Self {
        Self { dir: dir.to_owned(), url: format!("{}/", url.trim_end_matches('/')) }
    }

    /// The URL of a published file.
    pub fn url(&self, sha256: &str, name: &str) -> String {
        format!("{}{sha256}/{name}", self.url)
    }

    /// Publishes a file with this size and digest under a name, and returns its URL.
    pub fn put(&self, file: &Path, size: u64, sha256: &str, name: &str) -> Result<String, PublishError> {
        if !is_digest(sha256) || !is_name(name) {
            return Err(PublishError::Name { name: format!("{sha256}/{name}") });
        }
        make_dir(&self.dir)?;
        let _lock = self.lock(File::lock_shared)?;
        let dir = self.dir.join(sha256);
        make_dir(&dir)?;
        // A sweep uses the directory's time: the file's time is that of the linked file.
        touch(&dir)?;
        let to = dir.join(name);
        if !is_there(&to, file, size, sha256) {
            place(file, size, sha256, &to)?;
        }
        Ok(self.url(sha256, name))
    }

    /// Checks that a published file is served at its URL, with a request from this machine.
    pub fn check(&self, url: &str, size: u64, timeout: Duration) -> Result<(), PublishError> {
        check::check(url, size, timeout).map_err(|why| PublishError::Unserved {
            url: url.to_owned(),
            dir: self.dir.clone(),
            why,
        })
    }

    /// Removes files that have not been published for `age`, and returns their number. Files of others stay; a missing directory
    /// has none.
    pub fn sweep(&self, age: Duration, now: SystemTime) -> Result<usize, PublishError> {
        if !self.dir.is_dir() {
            return Ok(0);
        }
        let _lock = self.lock(File::lock)?;
        let mut swept = 0;
        for entry in fs::read_dir(&self.dir).map_err(at(&self.dir))? {
            let entry = entry.map_err(at(&self.dir))?;
            let path = entry.path();
            let ours = entry.file_name().to_str().is_some_and(is_digest);
            let stat = entry.metadata().map_err(at(&path))?;
            let old = stat.modified().is_ok_and(|time| now.duration_since(time).is_ok_and(|is| is > age));
            if !(ours && stat.is_dir() && old) {
                continue;
            }
            for file in fs::read_dir(&path).map_err(at(&path))? {
                let file = file.map_err(at(&path))?.path();
                fs::remove_file(&file).map_err(at(&file))?;
                swept += 1;
            }
            fs::remove_dir(&path).map_err(at(&path))?;
        }
        Ok(swept)
    }

    /// Takes the lock, if the file system supports locks.
    fn lock(&self, take: fn(&File) -> io::Result<()>) -> Result<File, PublishError> {
        let path = self.dir.join(LOCK);
        let file = File::options().read(true).append(true).create(true).open(&path).map_err(at(&path))?;
        match take(&file) {
            Err(error) if error.kind() != ErrorKind::Unsupported => Err(at(&path)(error)),
            _ => Ok(file),
        }
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> PublishError {
    let path = path.to_owned();
    move |source| PublishError::Io { path: path.clone(), source }
}

fn is_digest(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether a name needs no escapes in a URL.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-+,@=".contains(&byte))
}

/// Makes a world-readable directory, whatever the umask: the web server runs as another user.
fn make_dir(dir: &Path) -> Result<(), PublishError> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir).map_err(at(dir))?;
    fs::set_permissions(dir, Permissions::from_mode(0o755)).map_err(at(dir))
}

fn touch(dir: &Path) -> Result<(), PublishError> {
    File::open(dir).and_then(|dir| dir.set_modified(SystemTime::now())).map_err(at(dir))
}

/// Whether a file is published already, as a link to the same inode or as an intact copy.
fn is_there(to: &Path, file: &Path, size: u64, sha256: &str) -> bool {
    let Ok(there) = fs::symlink_metadata(to) else { return false };
    if !(there.is_file() && there.len() == size && is_safe(&there)) {
        return false;
    }
    let same = fs::metadata(file).is_ok_and(|from| (from.dev(), from.ino()) == (there.dev(), there.ino()));
    same || File::open(to)
        .is_ok_and(|mut to| copy(&mut to, &mut io::sink()).is_ok_and(|(_, is)| is == sha256))
}

/// Whether a file is world-readable and not writable.
fn is_safe(stat: &fs::Metadata) -> bool {
    stat.mode() & 0o222 == 0 && stat.mode() & 0o444 == 0o444
}

/// Puts a file in place atomically.
fn place(from: &Path, size: u64, sha256: &str, to: &Path) -> Result<(), PublishError> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let temporary = to.with_file_name(format!("{TEMPORARY}{}-{number}", std::process::id()));
    // A left-over of an earlier process with the same id.
    let _ = fs::remove_file(&temporary);
    let placed =
        fill(from, size, sha256, &temporary).and_then(|()| fs::rename(&temporary, to).map_err(at(to)));
    // A rename onto a link to the same inode leaves both.
    let _ = fs::remove_file(&temporary);
    placed
}

/// Creates `to` as a link or as a copy, and verifies its content.
fn fill(from: &Path, size: u64, sha256: &str, to: &Path) -> Result<(), PublishError> {
    let mut source = File::open(from).map_err(at(from))?;
    let stat = source.metadata().map_err(at(from))?;
    let linked = is_safe(&stat) && fs::hard_link(from, to).is_ok();
    let (read, is) = if linked {
        copy(&mut source, &mut io::sink()).map_err(at(from))?
    } else {
        let mut copied = File::options().write(true).create_new(true).mode(0o444).open(to).map_err(at(to))?;
        copied.set_permissions(Permissions::from_mode(0o444)).map_err(at(to))?;
        let done = copy(&mut source, &mut copied).map_err(at(to))?;
        copied.sync_all().map_err(at(to))?;
        done
    };
    if (read, is.as_str()) == (size, sha256) {
        return Ok(());
    }
    Err(PublishError::Content { path: from.to_owned(), expected: sha256.to_owned(), found: is })
}

/// Copies, and returns the size and the digest.
fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<(u64, String)> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut size = 0;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
        size += read as u64;
    }
    Ok((size, hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}

#[cfg(test)]
mod tests;
