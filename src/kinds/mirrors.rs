//! What the spec says of mirrors and of keys, made into what asks and checks.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::gentoo::fetch::{FetchError, Mirrors, Patience};
use crate::gentoo::signed::{Keyring, KeyringError, Pin};
use crate::spec::model::{Gentoo, Signers};

/// The largest file of keys that is read, in bytes: Gentoo's own has some 100 KB.
const MAX_KEYS: u64 = 16 << 20;

/// Why keys can't be had.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// Their file can't be read.
    #[error("the keys in {file}: {source}")]
    Read {
        /// The file, as the spec has it.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// They are none, or others than those that count.
    #[error("{file}: {source}")]
    Keys {
        /// The file, as the spec has it.
        file: String,
        /// What is wrong.
        source: KeyringError,
    },
}

/// The keys that count. `root` is the project's directory.
pub fn keyring(root: &Path, signers: &Signers) -> Result<Keyring, KeysError> {
    let file = || signers.keys.value.display().to_string();
    let mut bytes = Vec::new();
    File::open(root.join(&signers.keys.value))
        .and_then(|file| file.take(MAX_KEYS).read_to_end(&mut bytes))
        .map_err(|source| KeysError::Read { file: file(), source })?;
    let failed = |source| KeysError::Keys { file: file(), source };
    let pins: Result<Vec<Pin>, _> = signers.signers.iter().map(|signer| signer.value.parse()).collect();
    pins.and_then(|pins| Keyring::new(&bytes, &pins)).map_err(failed)
}

/// The mirrors, none of which has been asked.
pub fn mirrors(gentoo: &Gentoo) -> Result<Mirrors, FetchError> {
    Mirrors::new(gentoo.mirrors.iter().map(|mirror| mirror.value.as_str()), Patience::default())
}
