//! Hard links: files that have several names, but only one in a tree.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Device and inode of each file below a directory that has several names, but only one of them here.
pub(super) fn single_names(top: &Path) -> io::Result<HashSet<(u64, u64)>> {
    let mut names: HashMap<_, u64> = HashMap::new();
    let mut dirs: Vec<PathBuf> = vec![top.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                dirs.push(entry.path());
            } else if metadata.nlink() > 1 {
                *names.entry((metadata.dev(), metadata.ino())).or_default() += 1;
            }
        }
    }
    Ok(names.into_iter().filter_map(|(file, count)| (count == 1).then_some(file)).collect())
}
