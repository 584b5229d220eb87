//! Repairs a tree that something has changed.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::tree::make_dir;
use crate::source::{Change, ChangeKind, EntryType};
use crate::store::remove_tree;

/// Makes the tree at `root` equal to the one at `fresh`, whose files it takes. `changes` lead from one to the other, directories
/// before their entries.
pub(super) fn repair(root: &Path, fresh: &Path, changes: &[Change]) -> io::Result<()> {
    for Change { path, kind } in changes {
        let (to, from) = (root.join(path), fresh.join(path));
        if let Some(parent) = to.parent() {
            writable(parent);
        }
        match kind {
            ChangeKind::Removed(_) => remove(&to)?,
            ChangeKind::Added(EntryType::Dir) => make_dir(&to)?,
            ChangeKind::Type { new: EntryType::Dir, .. } => {
                remove(&to)?;
                make_dir(&to)?;
            }
            ChangeKind::Type { .. } => {
                remove(&to)?;
                fs::rename(&from, &to)?;
            }
            // A file whose content and mode differ has two changes: it was moved at the first one.
            ChangeKind::Added(_)
            | ChangeKind::Content { .. }
            | ChangeKind::Mode { .. }
            | ChangeKind::Target { .. } => match fs::rename(&from, &to) {
                Err(error) if error.kind() == ErrorKind::NotFound && to.symlink_metadata().is_ok() => {}
                renamed => renamed?,
            },
        }
    }
    Ok(())
}

/// The paths that differ, without duplicates.
pub(super) fn paths(changes: &[Change]) -> Vec<&Path> {
    let mut paths: Vec<&Path> = changes.iter().map(|change| &*change.path).collect();
    paths.dedup();
    paths
}

/// Makes a directory writable for its owner, if possible.
pub(super) fn writable(dir: &Path) {
    if let Ok(stat) = fs::symlink_metadata(dir)
        && stat.is_dir()
        && stat.permissions().mode() & 0o700 != 0o700
    {
        let _ = fs::set_permissions(dir, Permissions::from_mode(stat.permissions().mode() | 0o700));
    }
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(stat) if stat.is_dir() => remove_tree(path).map_err(io::Error::other),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        // It was removed with its directory.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(()),
        removed => removed,
    }
}
