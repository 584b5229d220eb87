//! Roots as layers of read-only squashfs images.
//!
//! squashfs keeps device nodes, capabilities, and overlayfs whiteouts. The base layer is a stage3. A second layer is the
//! upper directory of an overlay in which packages were installed, so an added package costs only its own size.

mod decompress;
mod entry;
mod from_tar;
mod image_writer;
mod limits;
mod pack;
mod root_time;

pub use from_tar::{FromTarError, from_tar_xz};
pub use image_writer::ImageWriter;
pub use limits::{ArchiveError, ArchiveTotals, Limits};
pub use pack::packer;

use std::io;
use std::path::{Path, PathBuf};

/// Why an image could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A required program could not be run.
    #[error("{program} can't be run: {source}; install {package}")]
    Program {
        /// The program.
        program: &'static str,
        /// The cause.
        source: io::Error,
        /// The package that has it.
        package: &'static str,
    },
    /// Packing failed, most often because the disk is full.
    #[error("packing {} failed: {message}", tree.display())]
    Pack {
        /// The packed tree.
        tree: PathBuf,
        /// The end of the program's output.
        message: String,
    },
    /// A file operation failed.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// The operation.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
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
