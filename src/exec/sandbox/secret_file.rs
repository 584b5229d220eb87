//! Files with secrets, such as private keys.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::path_serde::os_path;

/// A file that only steps can read. It is on the sandbox's own tmpfs, never on a disk, and goes with the sandbox.
#[derive(Clone, Serialize, Deserialize)]
pub struct SecretFile {
    /// Its path in the sandbox: absolute, below `/kiln`.
    #[serde(with = "os_path")]
    to: PathBuf,
    content: Vec<u8>,
}

impl SecretFile {
    /// A file at that path.
    pub const fn new(to: PathBuf, content: Vec<u8>) -> Self {
        Self { to, content }
    }

    /// Its path in the sandbox.
    pub(super) fn path(&self) -> &Path {
        &self.to
    }

    pub(super) fn content(&self) -> &[u8] {
        &self.content
    }
}

impl fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretFile").field("to", &self.to).finish_non_exhaustive()
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        self.content.zeroize();
    }
}
