//! Roots as read-only images: ready in milliseconds, and in layers, so that a new package costs what it holds.
//!
//! An image is squashfs, which every kernel reads and which packs devices, capabilities, and what an overlay leaves of a
//! removed file (a whiteout). The base is a stage3; each delta is the upper directory of an overlay in which packages were
//! installed. An action gets the layers below an overlay of its own, in a mount namespace of its own: the mounts go when the
//! last process in there does, however it ends, and each takes its loop device along.
//!
//! (erofs can be mounted from a file without a loop device, from Linux 6.12 on; its images of a root are half as large
//! again, and packing one takes several times as long.)

mod device;
mod from_tar;
mod mount;
mod pack;
mod root_time;
mod scratch;

pub use from_tar::{FromTarError, from_tar_xz};
pub use mount::{Layers, own_mounts};
pub use pack::pack;
pub use scratch::{Scratch, sweep};

use std::io;
use std::path::{Path, PathBuf};

/// Why an image can't be made or used.
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
    #[error("cannot {what} {}: {source}{}", path.display(), hint(what, source))]
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

fn hint(what: &str, error: &io::Error) -> &'static str {
    match (what, error.kind()) {
        (_, io::ErrorKind::PermissionDenied) => {
            " (mounting images needs root; `kiln doctor` says what else works)"
        }
        (MOUNT, io::ErrorKind::InvalidInput) => {
            " (the image is damaged, or the kernel lacks squashfs with zstd)"
        }
        (OVERLAY, io::ErrorKind::InvalidInput) => {
            " (the cache is on a file system that can't be an overlay's upper layer, such as another overlay)"
        }
        (DEVICE, io::ErrorKind::NotFound) => " (there are no loop devices: is the module `loop` loaded?)",
        _ => "",
    }
}

const MOUNT: &str = "mount image";
const OVERLAY: &str = "lay an overlay over";
const DEVICE: &str = "find a loop device for";

#[cfg(test)]
mod tests;
