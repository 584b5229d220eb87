//! The host files that a sandbox shows: the closure whose digest is in the action's key.

use std::path::Path;

use super::sandbox::{HostFiles, Link};
use crate::host::{Closure, HostEntry};

/// Directories that the sandbox itself provides.
const OWN: [&str; 4] = ["/proc", "/sys", "/dev", "/kiln"];

/// The files of a closure.
pub(super) fn files_of(closure: &Closure) -> HostFiles {
    let mut files = HostFiles { library_dirs: closure.library_dirs().to_owned(), ..HostFiles::default() };
    for (path, entry) in closure.outermost() {
        if OWN.iter().any(|own| path.starts_with(Path::new(own))) {
            continue;
        }
        match entry {
            HostEntry::Absent => {}
            HostEntry::File { .. } | HostEntry::Dir(_) => files.paths.push(path.to_owned()),
            HostEntry::Link(target) => {
                files.links.push(Link { path: path.to_owned(), target: target.clone() });
            }
        }
    }
    files
}
