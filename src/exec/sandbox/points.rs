//! Mount points, made in a root that is being built.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::error::{During, Failure, Stage};
use super::mounts::{bind, bind_only, restrict_all};

/// Where the host's root is while ours is built.
pub(super) const HOST: &str = "/.host";

/// Where trees of images are meanwhile, each under its number.
pub(super) const IMAGES: &str = "/.images";

/// Where the file that covers masked ones is while it is put there.
pub(super) const EMPTY: &str = "/.empty";

/// What nothing may be put at or below, whatever path leads there: it would reach the host itself.
pub(super) const RESERVED: [&str; 3] = [HOST, IMAGES, EMPTY];

/// A path of the host, as it is reached meanwhile.
pub(super) fn on_host(path: &Path) -> PathBuf {
    Path::new(HOST).join(path.strip_prefix("/").unwrap_or(path))
}

/// Binds `from` to `to`, with a mount point of its kind.
pub(super) fn bind_to(from: &Path, to: &Path, flags: nix::mount::MsFlags) -> Result<(), Failure> {
    let metadata =
        fs::metadata(from).during(Stage::Input, || format!("find the source of {}", to.display()))?;
    if metadata.is_dir() {
        directory(to)?;
    } else {
        file(to)?;
    }
    bind(from, to, flags)
}

/// Binds files and directories to their places, which no link leads to, and restricts all of them together: one by one,
/// hundreds of them would take longer than many a step.
pub(super) fn bind_all<'a>(
    all: impl Iterator<Item = (PathBuf, &'a Path)>,
    flags: nix::mount::MsFlags,
) -> Result<(), Failure> {
    let mut places = BTreeSet::new();
    for (from, to) in all {
        let metadata =
            fs::metadata(&from).during(Stage::Input, || format!("find the source of {}", to.display()))?;
        if metadata.is_dir() {
            directory(to)?;
        } else {
            file(to)?;
        }
        bind_only(&from, to)?;
        places.insert(to);
    }
    restrict_all(|path| path.ancestors().any(|part| places.contains(part)), flags)
}

/// Makes a directory, with those that it is in, unless it is there.
pub(super) fn directory(path: &Path) -> Result<(), Failure> {
    stays_inside(path)?;
    fs::create_dir_all(path).during(Stage::Mount, || format!("create mount point {}", path.display()))
}

/// Makes an empty file, with the directories that it is in, unless it is there.
pub(super) fn file(path: &Path) -> Result<(), Failure> {
    if let Some(parent) = path.parent() {
        directory(parent)?;
    }
    stays_inside(path)?;
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result.map(drop).during(Stage::Mount, || format!("create mount point {}", path.display())),
    }
}

/// Refuses a path on which a symlink, of an image's say, leads back to the host.
pub(super) fn stays_inside(path: &Path) -> Result<(), Failure> {
    let there = path.ancestors().find_map(|path| fs::canonicalize(path).ok());
    match there {
        Some(real) if RESERVED.iter().any(|reserved| real.starts_with(reserved)) => {
            Err(Errno::ELOOP).during(Stage::Escape, || format!("create mount point {}", path.display()))
        }
        _ => Ok(()),
    }
}
