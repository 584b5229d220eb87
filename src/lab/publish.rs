//! Files for labs to fetch: `DIR/SHA256/NAME` of a directory that a web server serves.
//!
//! The digest in the path makes an address mean one content for ever, so that a job which waits in a queue gets what it was made
//! for. A file is linked from where it lies if nothing can be written through the link, and is copied otherwise. Two that publish
//! the same at once both succeed.

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

/// What is held while something is published, so that nothing is swept meanwhile.
const LOCK: &str = ".lock";

/// How temporary files begin. No web server shows files that begin with a dot, if it is set up with care.
const TEMPORARY: &str = ".new-";

/// A directory that a web server serves.
#[derive(Clone, Debug)]
pub struct Publisher {
    dir: PathBuf,
    /// Ends with a slash.
    url: String,
}

impl Publisher {
    /// A directory, and its address as labs see it. Nothing is looked at.
    pub fn new(dir: &Path, url: &str) -> Self {
        Self { dir: dir.to_owned(), url: format!("{}/", url.trim_end_matches('/')) }
    }

    /// Publishes a file of that size and digest under a name, and tells its address.
    pub fn put(&self, file: &Path, size: u64, sha256: &str, name: &str) -> Result<String, PublishError> {
        if !is_digest(sha256) || !is_name(name) {
            return Err(PublishError::Name { name: format!("{sha256}/{name}") });
        }
        make_dir(&self.dir)?;
        let _lock = self.lock(File::lock_shared)?;
        let dir = self.dir.join(sha256);
        make_dir(&dir)?;
        // What a sweep goes by. Not the file's own time: that may be the one of what it is linked to.
        touch(&dir)?;
        let to = dir.join(name);
        if !is_there(&to, file, size, sha256) {
            place(file, size, sha256, &to)?;
        }
        Ok(format!("{}{sha256}/{name}", self.url))
    }

    /// Whether what was published is to be had at its address: asked here, as a lab will ask.
    pub fn check(&self, url: &str, size: u64, timeout: Duration) -> Result<(), PublishError> {
        check::check(url, size, timeout).map_err(|why| PublishError::Unserved {
            url: url.to_owned(),
            dir: self.dir.clone(),
            why,
        })
    }

    /// Takes away what nobody has published for so long, and tells how many files that was. A directory that is not there has
    /// none, and what kiln did not put there stays.
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

    /// Takes the lock. Where the file system has none, it has to do without.
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

/// Whether a name is the same in a path and in an address.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-+,@=".contains(&byte))
}

/// A directory that everybody may look into, whatever the umask: a web server is another user.
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

/// Whether a file is published already: as a link to the very same, or as a copy that is still right.
fn is_there(to: &Path, file: &Path, size: u64, sha256: &str) -> bool {
    let Ok(there) = fs::symlink_metadata(to) else { return false };
    if !(there.is_file() && there.len() == size && is_safe(&there)) {
        return false;
    }
    let same = fs::metadata(file).is_ok_and(|from| (from.dev(), from.ino()) == (there.dev(), there.ino()));
    same || File::open(to)
        .is_ok_and(|mut to| copy(&mut to, &mut io::sink()).is_ok_and(|(_, is)| is == sha256))
}

/// Whether a file can be read by all and written by none.
fn is_safe(stat: &fs::Metadata) -> bool {
    stat.mode() & 0o222 == 0 && stat.mode() & 0o444 == 0o444
}

/// Puts a file in its place, in one step, replacing what is there.
fn place(from: &Path, size: u64, sha256: &str, to: &Path) -> Result<(), PublishError> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let temporary = to.with_file_name(format!("{TEMPORARY}{}-{number}", std::process::id()));
    // One of an earlier process of that id.
    let _ = fs::remove_file(&temporary);
    let placed =
        fill(from, size, sha256, &temporary).and_then(|()| fs::rename(&temporary, to).map_err(at(to)));
    // A rename to a link of the same file leaves both.
    let _ = fs::remove_file(&temporary);
    placed
}

/// Makes `to` hold the content, as a link or as a copy, and sees that it is the right one.
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

/// Copies, and tells how much it was and what it hashes to.
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
