//! Exporting: a node's outputs appear below `out/`.
//!
//! They are copies: editing one does not harm the cache, and the next run replaces it.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::graph::Action;
use crate::store::{Artifact, BlobError, Placed, Store, StoreError};

/// Exports outputs. Gives the exported files; none for a rule that does not export.
pub(super) fn export_outputs(
    store: &Store,
    action: &Action,
    outputs: &[(String, Artifact)],
    out: &Path,
) -> Result<Vec<Placed>, BlobError> {
    let mut placed = Vec::new();
    let mut places = HashSet::new();
    for (output, artifact) in outputs {
        let Some(relative) = action.export_path(output) else { continue };
        let path = out.join(relative);
        // Two outputs may name the same file.
        if !places.insert(path.clone()) {
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|source| BlobError::Store(StoreError::io(parent, source)))?;
        }
        store.place(artifact, &path)?;
        for file in files(&path) {
            let stat = fs::symlink_metadata(&file)
                .map_err(|source| BlobError::Store(StoreError::io(&file, source)))?;
            let below_out = file.strip_prefix(out).unwrap_or(&file).to_string_lossy().into_owned();
            placed.push(Placed::new(below_out, *artifact, &stat));
        }
    }
    Ok(placed)
}

/// A path, or all files below it where it is a directory. Directories are left out: files that a user adds to one are not
/// kiln's.
fn files(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![path.to_owned()];
    while let Some(path) = left.pop() {
        match fs::symlink_metadata(&path) {
            Ok(stat) if stat.is_dir() => {
                left.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
            }
            Ok(_) => found.push(path),
            Err(_) => {}
        }
    }
    found.sort();
    found
}
