//! Roots as read-only images, in layers, so that a new package costs what it holds.
//!
//! An image is squashfs, which every kernel reads and which packs devices, capabilities, and what an overlay leaves of a
//! removed file (a whiteout). The base is a stage3; each delta is the upper directory of an overlay in which packages were
//! installed.

mod archive;
mod entry;
mod fed;
mod from_tar;
mod pack;
mod root_time;
mod stream;

pub use archive::{ArchiveError, Contents, Limits};
pub use fed::Fed;
pub use from_tar::{FromTarError, from_tar_xz};
pub use pack::packer;

use std::io;
use std::path::{Path, PathBuf};

/// Why an image can't be made.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A program that kiln needs.
    #[error("{program} can't be run: {source}; install {package}")]
    Program {
        /// Which one.
        program: &'static str,
        /// What failed.
        source: io::Error,
        /// Where it comes from.
        package: &'static str,
    },
    /// Packing failed, for want of room most often.
    #[error("packing {} failed: {message}", tree.display())]
    Pack {
        /// What was to be packed.
        tree: PathBuf,
        /// The end of what the program said.
        message: String,
    },
    /// The kernel, or a file system.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// How the kernel answered.
        source: io::Error,
    },
}

impl ImageError {
    fn at(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

#[cfg(test)]
pub(super) mod hostile;
#[cfg(test)]
pub(super) mod tests;
