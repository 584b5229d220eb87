//! Files that are in memory alone: what must not get onto a disk, such as private keys.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::RunAs;
use super::error::{During, Failure, Stage};
use super::identity::id_on_host;
use super::points::directory;
use super::wire::os_path;

/// A file that the steps alone can read. It is on the sandbox's own tmpfs, and goes with it.
#[derive(Clone, Serialize, Deserialize)]
pub struct SecretFile {
    /// Where steps see it: absolute, below `/kiln`.
    #[serde(with = "os_path")]
    to: PathBuf,
    content: Vec<u8>,
}

impl SecretFile {
    /// A file at that path.
    pub const fn new(to: PathBuf, content: Vec<u8>) -> Self {
        Self { to, content }
    }

    /// Where steps see it.
    pub(super) fn path(&self) -> &Path {
        &self.to
    }

    /// Makes the file. `mapped`: whether steps have other ids on the host than in the sandbox.
    pub(super) fn show(&self, run_as: RunAs, mapped: bool) -> Result<(), Failure> {
        let operation = || format!("create {}", self.to.display());
        if let Some(parent) = self.to.parent() {
            directory(parent)?;
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(&self.to);
        file.and_then(|mut file| file.write_all(&self.content)).during(Stage::Other, operation)?;
        match run_as {
            // Whoever makes files here makes them for user 0.
            RunAs::Stripped | RunAs::Installer => Ok(()),
            RunAs::User { id } => {
                let owner = if mapped { id_on_host(run_as) } else { id };
                chown(&self.to, Some(owner), Some(owner)).during(Stage::Other, operation)
            }
        }
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
