//! What can be wrong with a bundle.

use std::io;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::remote::FormatError;

/// A bundle can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It can't be opened, read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It is no bundle, or one of another version, or its header or index is damaged.
    #[error("{}: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: FormatError,
    },
    /// The end is not there.
    #[error("{}: the bundle is cut short: {has} of its {wants} bytes are there; copy it once more", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// How many bytes it has.
        has: u64,
        /// How many it should have.
        wants: u64,
    },
    /// What is in it is not what was put in.
    #[error(
        "{}: the bundle is damaged at byte {at} of {length}: {what}; copy it once more",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where what is damaged starts.
        at: u64,
        /// How long the file is.
        length: u64,
        /// What is damaged.
        what: String,
    },
    /// A file that was to be a blob of it has other content.
    #[error("{} does not hold what it should ({blob}): it was changed or damaged", path.display())]
    NotTheBlob {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        blob: Digest,
    },
    /// An entry that is none.
    #[error("an entry of {length} bytes is too large to be one")]
    EntryTooLarge {
        /// How long it is.
        length: usize,
    },
}

impl BundleError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    pub(super) fn format(path: &Path, source: FormatError) -> Self {
        Self::Format { path: path.to_owned(), source }
    }
}
