//! Mount points in a root that is being built.

use std::collections::BTreeSet;
use std::fs::{self, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::failure::{During, Failure, SetupPart};
use super::identity::Identity;
use super::mounts::{Detached, bind, bind_only, restrict_all};
use super::reserved::RESERVED;

/// Binds `from` to `to`, at a mount point of the same type.
pub(super) fn bind_to(from: &Path, to: &Path, flags: nix::mount::MsFlags) -> Result<(), Failure> {
    make_point(from, to)?;
    bind(from, to, flags)
}

/// As [`bind_to`], for what steps read: it is shown as theirs, whoever owns it on the host.
pub(super) fn show_to(
    from: &Path,
    to: &Path,
    flags: nix::mount::MsFlags,
    identity: &Identity,
) -> Result<(), Failure> {
    let metadata = make_point(from, to)?;
    if let Some(shift) = identity.shift_of(&metadata) {
        if let Some(shifted) = Detached::shifted(from, flags, shift)? {
            return shifted.attach(to);
        }
        let wanted = if metadata.is_dir() { 0o5 } else { 0o4 };
        if metadata.mode() & wanted != wanted {
            return Err(Failure::Refused {
                part: SetupPart::Owner,
                operation: format!("show {} to the steps, which are another user", to.display()),
                reason: "its owner alone may read it, and its file system can't show it to others".to_owned(),
            });
        }
    }
    bind(from, to, flags)
}

/// Makes a mount point of the type of `from`.
fn make_point(from: &Path, to: &Path) -> Result<Metadata, Failure> {
    let metadata =
        fs::metadata(from).during(SetupPart::Input, || format!("find the source of {}", to.display()))?;
    if metadata.is_dir() {
        directory(to)?;
    } else {
        file(to)?;
    }
    Ok(metadata)
}

/// Binds files and directories to paths without links, and restricts all of them together: for hundreds of mounts, one by one
/// would take longer than many a step.
pub(super) fn bind_all<'a>(
    all: impl Iterator<Item = (PathBuf, &'a Path)>,
    flags: nix::mount::MsFlags,
) -> Result<(), Failure> {
    let mut places = BTreeSet::new();
    for (from, to) in all {
        let metadata = fs::metadata(&from)
            .during(SetupPart::Input, || format!("find the source of {}", to.display()))?;
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

/// Makes a directory and its parents, unless they exist.
pub(super) fn directory(path: &Path) -> Result<(), Failure> {
    stays_inside(path)?;
    fs::create_dir_all(path).during(SetupPart::Mount, || format!("create mount point {}", path.display()))
}

/// Makes an empty file and its parents, unless they exist.
pub(super) fn file(path: &Path) -> Result<(), Failure> {
    if let Some(parent) = path.parent() {
        directory(parent)?;
    }
    stays_inside(path)?;
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => {
            result.map(drop).during(SetupPart::Mount, || format!("create mount point {}", path.display()))
        }
    }
}

/// Refuses a path on which a symlink, such as one of an image, leads back to the host.
pub(super) fn stays_inside(path: &Path) -> Result<(), Failure> {
    let there = path.ancestors().find_map(|path| fs::canonicalize(path).ok());
    match there {
        Some(real) if RESERVED.iter().any(|reserved| real.starts_with(reserved)) => {
            Err(Errno::ELOOP).during(SetupPart::Escape, || format!("create mount point {}", path.display()))
        }
        _ => Ok(()),
    }
}
