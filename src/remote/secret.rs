//! Secrets: keys and tokens, and the files that they are kept in.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;
use zeroize::{Zeroize, Zeroizing};

/// Something that is never shown, and wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Why a file is not one to keep a secret in, or can't be read. Nothing of it is shown.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct SecretFileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, and what to do.
    pub why: String,
}

impl Secret {
    /// Takes a secret in.
    pub const fn new(secret: String) -> Self {
        Self(secret)
    }

    /// The text of a file, of at most `max` bytes. It must be a regular file (or a link to one) of this user or root, which
    /// nobody else can read.
    pub fn read(path: &Path, max: usize) -> Result<Self, SecretFileError> {
        let refuse = |why: String| SecretFileError { path: path.to_owned(), why };
        let no_access = |error: io::Error| refuse(error.to_string());
        // Without O_NONBLOCK, opening a FIFO would wait for a writer.
        let mut options = File::options();
        let opened = options.read(true).custom_flags(libc::O_NONBLOCK).open(path);
        let mut file = opened.map_err(no_access)?;
        let stat = file.metadata().map_err(no_access)?;
        if !stat.is_file() {
            return Err(refuse("it is not a regular file".to_owned()));
        }
        if stat.uid() != 0 && stat.uid() != nix::unistd::geteuid().as_raw() {
            return Err(refuse(format!("it belongs to user {}, and may be replaced by that", stat.uid())));
        }
        if stat.mode() & 0o077 != 0 {
            let mode = stat.mode() & 0o777;
            return Err(refuse(format!(
                "others can get at it (its mode is {mode:04o}): `chmod 600` it, and have what is in it replaced"
            )));
        }
        // Made in full at once, as what a growing vector leaves behind is not wiped.
        let mut text = Zeroizing::new(vec![0; max + 1]);
        let mut length = 0;
        while length < text.len() {
            match file.read(&mut text[length..]) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(no_access(error)),
            }
        }
        if length > max {
            return Err(refuse("it is too large to be one".to_owned()));
        }
        match std::str::from_utf8(&text[..length]) {
            Ok(text) => Ok(Self::new(text.to_owned())),
            Err(_) => Err(refuse("it is not text".to_owned())),
        }
    }

    /// The secret, for the one who needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The same without space around it.
    #[must_use]
    pub fn trimmed(&self) -> Self {
        Self::new(self.0.trim().to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
