//! Where the dynamic loader looks for libraries.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::elf::{Elf, ElfKind};

/// Where loaders are, and how their names begin.
const LOADERS: ([&str; 3], [&str; 2]) = (["/lib64", "/lib", "/lib32"], ["ld-linux", "ld64.so"]);

/// The directories of `/etc/ld.so.conf`, then those that every loader knows.
#[derive(Debug)]
pub struct LibraryDirs {
    pub dirs: Vec<PathBuf>,
    /// Those of `/etc/ld.so.conf` that no loader of this host knows by itself: it finds them in `/etc/ld.so.cache`, which
    /// holds every library of the host, or has to be told.
    pub told: Vec<PathBuf>,
    /// The files and directories that say so.
    pub said_by: BTreeSet<PathBuf>,
}

impl LibraryDirs {
    pub fn of_host() -> Self {
        let mut this = Self { dirs: Vec::new(), told: Vec::new(), said_by: BTreeSet::new() };
        this.read(Path::new("/etc/ld.so.conf"), 0);
        let own: Vec<PathBuf> = loaders().iter().flat_map(|loader| own_dirs(loader)).collect();
        this.told = this.dirs.iter().filter(|dir| !own.contains(dir)).cloned().collect();
        this.dirs.extend(own);
        this.dirs.extend(["/lib64", "/usr/lib64", "/lib", "/usr/lib"].map(PathBuf::from));
        this
    }

    fn read(&mut self, conf: &Path, depth: usize) {
        self.said_by.insert(conf.to_owned());
        let text = fs::read_to_string(conf).unwrap_or_default();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if let Some(pattern) = line.strip_prefix("include ") {
                // A file that includes itself would never end.
                if depth < 8 {
                    self.include(&conf.with_file_name(pattern.trim()), depth + 1);
                }
            } else if line.starts_with('/') {
                self.dirs.push(line.into());
            }
        }
    }

    /// Includes all files that match, in the order of their names. Only the last part of a path may be a pattern.
    fn include(&mut self, pattern: &Path, depth: usize) {
        let (Some(dir), Some(name)) = (pattern.parent(), pattern.file_name().and_then(OsStr::to_str)) else {
            return;
        };
        let Ok(glob) = globset::Glob::new(name) else { return };
        let glob = glob.compile_matcher();
        self.said_by.insert(dir.to_owned());
        let mut files: Vec<PathBuf> = fs::read_dir(dir)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.file_name().is_some_and(|name| glob.is_match(name)))
            .collect();
        files.sort();
        for file in files {
            self.read(&file, depth);
        }
    }

    /// Whether the loader finds a library only where it is told to look.
    pub fn has_to_be_told(&self, library: &Path) -> bool {
        library.parent().is_some_and(|dir| self.told.iter().any(|told| told == dir))
    }

    /// The library of that name which the loader takes for `elf` at `origin`. Directories that are searched besides
    /// the common ones are added to `searched`.
    pub fn find(
        &self,
        name: &[u8],
        elf: &Elf,
        origin: &Path,
        searched: &mut BTreeSet<PathBuf>,
    ) -> Option<PathBuf> {
        let name = Path::new(OsStr::from_bytes(name));
        if name.components().count() > 1 {
            return name.exists().then(|| name.to_owned());
        }
        let own = if elf.runpath.is_empty() { &elf.rpath } else { &elf.runpath };
        let own: Vec<PathBuf> = String::from_utf8_lossy(own)
            .split(':')
            .filter(|dir| !dir.is_empty())
            .map(|dir| {
                let origin = origin.parent().unwrap_or(Path::new("/")).to_string_lossy();
                PathBuf::from(dir.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin))
            })
            .collect();
        searched.extend(own.iter().cloned());
        own.iter().chain(&self.dirs).map(|dir| dir.join(name)).find(|path| is_kind(path, elf.kind))
    }
}

/// What is in the loaders of this host.
fn loaders() -> Vec<Vec<u8>> {
    let (dirs, names) = LOADERS;
    let entries = dirs.iter().flat_map(|dir| fs::read_dir(dir).into_iter().flatten().flatten());
    let is_loader = |name: &OsStr| names.iter().any(|start| name.as_bytes().starts_with(start.as_bytes()));
    let loaders = entries.filter(|entry| is_loader(&entry.file_name()));
    loaders.filter_map(|loader| fs::read(loader.path()).ok()).collect()
}

/// The directories that a loader searches by itself, from the texts in it: glibc's end with a slash and a NUL.
fn own_dirs(loader: &[u8]) -> Vec<PathBuf> {
    let texts = loader.split(|&byte| byte == 0).filter_map(|text| text.strip_suffix(b"/"));
    let dirs = texts.filter(|text| text.starts_with(b"/lib") || text.starts_with(b"/usr/lib"));
    dirs.map(|dir| PathBuf::from(OsStr::from_bytes(dir))).collect()
}

fn is_kind(path: &Path, kind: ElfKind) -> bool {
    path.is_file() && Elf::read(path).is_some_and(|elf| elf.kind == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loaders_know_some_directories_by_themselves() {
        let loader = b"\x7fELF..\0/lib/x86_64-linux-gnu/\0/usr/lib/x86_64-linux-gnu/\0/lib/\0/usr\0/etc/ld.so.cache\0..";
        assert_eq!(
            own_dirs(loader),
            ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib"].map(PathBuf::from)
        );
    }
}
