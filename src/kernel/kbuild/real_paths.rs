//! Resolves real paths in the source tree.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{join, parent, prefix};

/// The number of symbolic links that Linux follows in one path.
const MAX_LINKS: u32 = 40;

/// The longest path of a system call, in bytes.
const PATH_MAX: usize = 4096;

/// A source tree with a cache of resolved paths.
pub(super) struct SourceTree<'a> {
    root: &'a Path,
    /// The prefixes of absolute links into the tree: its path in the build, and its current path.
    roots: [Vec<u8>; 2],
    /// Path -> real path; `None` if it does not exist or is outside the tree.
    known: HashMap<Vec<u8>, Option<Vec<u8>>>,
}

impl<'a> SourceTree<'a> {
    pub(super) fn new(root: &'a Path, inside: &Path) -> Self {
        Self { root, roots: [prefix(inside), prefix(root)], known: HashMap::new() }
    }

    /// The real path of a file.
    pub(super) fn file(&mut self, path: &[u8]) -> Option<Vec<u8>> {
        self.real(path).filter(|real| self.kind(real).is_some_and(|kind| kind.is_file()))
    }

    /// Whether it is a directory.
    pub(super) fn is_dir(&mut self, path: &[u8]) -> bool {
        self.real(path).is_some_and(|real| self.kind(&real).is_some_and(|kind| kind.is_dir()))
    }

    fn real(&mut self, path: &[u8]) -> Option<Vec<u8>> {
        if path.len() >= PATH_MAX { None } else { self.follow(path, MAX_LINKS) }
    }

    /// Resolves a path like the kernel: `..` is relative to the target of a link.
    fn follow(&mut self, path: &[u8], links: u32) -> Option<Vec<u8>> {
        let Some(above) = parent(path) else { return Some(Vec::new()) };
        if let Some(known) = self.known.get(path) {
            return known.clone();
        }
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let real = self.follow(above, links).and_then(|above| match name {
            b"" | b"." => Some(above),
            b".." => parent(&above).map(<[u8]>::to_vec),
            _ => self.step(&above, name, links),
        });
        self.known.insert(path.to_vec(), real.clone());
        real
    }

    fn step(&mut self, above: &[u8], name: &[u8], links: u32) -> Option<Vec<u8>> {
        let path = join(above, name);
        if !self.kind(&path)?.is_symlink() {
            return Some(path);
        }
        let target = fs::read_link(self.root.join(OsStr::from_bytes(&path))).ok()?;
        let target = target.as_os_str().as_bytes();
        let target = match self.roots.iter().find_map(|root| target.strip_prefix(root.as_slice())) {
            Some(below) => below.to_vec(),
            None if target.starts_with(b"/") => return None,
            None => join(above, target),
        };
        self.follow(&target, links.checked_sub(1)?)
    }

    fn kind(&self, real: &[u8]) -> Option<fs::FileType> {
        let metadata = self.root.join(OsStr::from_bytes(real)).symlink_metadata().ok()?;
        Some(metadata.file_type())
    }
}
