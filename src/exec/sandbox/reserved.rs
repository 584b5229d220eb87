//! Paths that a sandbox uses while its root is built.

use std::path::{Path, PathBuf};

/// The host's root.
pub(super) const HOST: &str = "/.host";

/// Trees of images, each under its number.
pub(super) const IMAGES: &str = "/.images";

/// The empty file that covers masked files.
pub(super) const EMPTY: &str = "/.empty";

/// A tree in memory, while it is mounted.
pub(super) const MEMORY: &str = "/.memory";

/// Nothing may be mounted at or below these: it would reach the host.
pub(super) const RESERVED: [&str; 4] = [HOST, IMAGES, EMPTY, MEMORY];

/// A path of the host, below [`HOST`].
pub(super) fn on_host(path: &Path) -> PathBuf {
    Path::new(HOST).join(path.strip_prefix("/").unwrap_or(path))
}
