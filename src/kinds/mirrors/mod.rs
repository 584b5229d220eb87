//! Mirrors, keys, downloads and the project's lock, for the kinds that make roots.

mod download;
mod locked_dir;
mod project_lock;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::gentoo::fetch::{FetchError, Mirrors, TransferLimits};
use crate::gentoo::signed::{Keyring, KeyringError, Pin};
use crate::spec::model::{Gentoo, Signers};

pub(super) use download::{failure, progress};
pub(super) use locked_dir::LockedDir;
pub(super) use project_lock::{ProjectLock, not_locked};
pub use project_lock::{takes_ebuilds, unlocked};

/// The largest key file that is read, in bytes: Gentoo's has some 100 KB.
const MAX_KEYS: u64 = 16 << 20;

/// Why a keyring can't be made.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The key file can't be read.
    #[error("the keys in {file}: {source}")]
    Read {
        /// The file, as the spec names it.
        file: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The file has no keys, or lacks a pinned one.
    #[error("{file}: {source}")]
    Keys {
        /// The file, as the spec names it.
        file: String,
        /// The problem.
        source: KeyringError,
    },
}

/// The keyring of `signers`. `root` is the project directory.
pub fn keyring(root: &Path, signers: &Signers) -> Result<Keyring, KeysError> {
    let file = || signers.keys.display().to_string();
    let mut bytes = Vec::new();
    File::open(root.join(&signers.keys))
        .and_then(|file| file.take(MAX_KEYS).read_to_end(&mut bytes))
        .map_err(|source| KeysError::Read { file: file(), source })?;
    let failed = |source| KeysError::Keys { file: file(), source };
    let pins: Result<Vec<Pin>, _> = signers.signers.iter().map(|signer| signer.parse()).collect();
    pins.and_then(|pins| Keyring::new(&bytes, &pins)).map_err(failed)
}

/// The mirrors of a project. Sends no request.
pub fn mirrors(gentoo: &Gentoo) -> Result<Mirrors, FetchError> {
    Mirrors::new(gentoo.mirrors.iter().map(String::as_str), TransferLimits::default())
}
