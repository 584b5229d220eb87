//! Making a tree that something has changed what it was.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::tree::make_dir;
use crate::source::{Change, ChangeKind, EntryType};
use crate::store::remove_tree;

/// Makes the tree at `root` hold what the one at `fresh` does, which it takes files from. `changes` leads from the one to
/// the other, directories before what they hold.
pub(super) fn mend(root: &Path, fresh: &Path, changes: &[Change]) -> io::Result<()> {
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
            // A file has two changes where its content and its mode differ: it is here after the first.
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

/// The paths that differ, each once.
pub(super) fn paths(changes: &[Change]) -> Vec<&Path> {
    let mut paths: Vec<&Path> = changes.iter().map(|change| &*change.path).collect();
    paths.dedup();
    paths
}

/// Lets the owner write to a directory, where that is possible.
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
        // It went with the directory that it was in.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(()),
        removed => removed,
    }
}
