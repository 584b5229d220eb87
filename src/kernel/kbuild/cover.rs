//! A superset of the source files that a build read, derived from kbuild's records.
//!
//! The records have the files that compilers read and that commands name. They lack what make includes, what scripts open,
//! what the assembler reads by `.incbin`, and files whose existence make only tests. These rules add them:
//!
//! | missing | added |
//! | --- | --- |
//! | makefiles | `Makefile` and `Kbuild` of every directory that was visited, may have been entered (`subdir-y`, `include`), or belongs to the built arch |
//! | tables, linker scripts, scripts | all files of visited directories that no compiler reads |
//! | data in directories of its own | directories without a makefile below visited ones, whole |
//! | what makefiles name (`$(srctree)/..`) | that file; that directory, whole, if it was not visited |
//! | programs that run during the build, and their data | `scripts`, `certs`, `usr`, parts of `tools`, `arch/*/tools`, `arch/x86/entry/syscalls`, whole |
//! | `.incbin` | the files that are named where it stands |
//! | values of the configuration that are paths | that file, or that directory, whole |
//!
//! `tests/real/kbuild_cover.rs` compares the result with fanotify's events in real builds.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::incbin::{self, Incbin};
use super::makefile::Makefile;
use super::settings::{SETTINGS, Settings};
use super::{MAKEFILES, Records, join, parent};

/// The covered files and directories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cover {
    /// Files, none of them below one of `trees`.
    pub files: BTreeSet<Vec<u8>>,
    /// Directories whose entry names count.
    pub dirs: BTreeSet<Vec<u8>>,
    /// Directories that count with all their content.
    pub trees: BTreeSet<Vec<u8>>,
}

/// Why the cover is unknown.
#[derive(Debug, thiserror::Error)]
pub enum CoverError {
    /// A file or directory can't be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The build read a file that neither a record nor a rule covers.
    #[error("{0}")]
    Unknown(String),
}

/// Directories of programs that run during a build, and of the data that they read or pack. scripts/checksyscalls.sh reads the
/// table of x86's system calls, whatever is built.
const TREES: [&str; 12] = [
    "arch/x86/entry/syscalls",
    "scripts",
    "certs",
    "usr",
    "security/selinux/include",
    "tools/arch",
    "tools/bpf/resolve_btfids",
    "tools/build",
    "tools/include",
    "tools/lib",
    "tools/objtool",
    "tools/scripts",
];

/// Options that process all headers without records.
const OF_HEADERS: [&str; 3] = ["CONFIG_IKHEADERS", "CONFIG_HEADERS_INSTALL", "CONFIG_UAPI_HEADER_TEST"];

/// An option that looks for every document that a comment names.
const OF_DOCUMENTS: &str = "CONFIG_WARN_MISSING_DOCUMENTS";

/// An option whose files may name further files.
const OF_LISTS: &str = "CONFIG_INITRAMFS_SOURCE";

/// Suffixes of files that are compiled, and thus in the records, or that no build reads.
const NOT_BESIDE: [&str; 9] = [".c", ".h", ".S", ".dts", ".dtsi", ".dtso", ".rs", ".rst", ".gitignore"];

/// Files of the root directory that no build reads.
const FOR_PEOPLE: [&str; 12] = [
    "COPYING",
    "CREDITS",
    "MAINTAINERS",
    "README",
    ".clang-format",
    ".cocciconfig",
    ".editorconfig",
    ".get_maintainer.ignore",
    ".gitattributes",
    ".gitignore",
    ".mailmap",
    ".rustfmt.toml",
];

/// Directories without parts of the build: headers, which the records have, and documents.
const NO_PARTS: [&str; 3] = ["include", "Documentation", "tools"];

/// The cover of a build in `out` with these records. `inside`: the source path in the build; `source`: its current path.
pub fn cover(records: &Records, out: &Path, inside: &Path, source: &Path) -> Result<Cover, CoverError> {
    let settings =
        Settings::read(out).map_err(|source| CoverError::Io { path: out.join(SETTINGS), source })?;
    let mut covering = Covering { source, cover: Cover::default() };
    covering.cover.files.clone_from(&records.files);
    let mut trees = trees(records, &settings)?;
    trees.retain(|tree| covering.is_dir(tree));
    covering.cover.trees.extend(trees);
    for dir in &records.dirs {
        covering.enter(dir)?;
    }
    for arch in archs(records) {
        covering.makefiles_below(&[b"arch/", arch].concat())?;
    }
    for path in named_by(&settings) {
        covering.name(path.as_bytes());
    }
    let found = incbin::search(out, inside, &records.files, source)?;
    for Incbin { path } in found {
        covering.name(&path);
    }
    Ok(covering.finish())
}

/// The arches of the build.
fn archs(records: &Records) -> BTreeSet<&[u8]> {
    let below = records.dirs.iter().filter_map(|dir| dir.strip_prefix(b"arch/"));
    below.filter(|arch| !arch.is_empty() && !arch.contains(&b'/')).collect()
}

/// Directories that count whole for every build, or because of these settings.
fn trees(records: &Records, settings: &Settings) -> Result<Vec<Vec<u8>>, CoverError> {
    let archs = archs(records);
    let in_archs = |dir: &str| -> Vec<Vec<u8>> {
        archs.iter().map(|arch| [b"arch/", *arch, b"/", dir.as_bytes()].concat()).collect()
    };
    let mut trees: Vec<Vec<u8>> = TREES.iter().map(|tree| tree.as_bytes().to_vec()).collect();
    trees.extend(in_archs("tools"));
    let is_on = |option: &str| settings.value(option) == Some("y");
    if OF_HEADERS.into_iter().any(is_on) {
        trees.push(b"include".to_vec());
        trees.extend(in_archs("include"));
    }
    if is_on(OF_DOCUMENTS) {
        trees.push(b"Documentation".to_vec());
    }
    if settings.value(OF_LISTS).is_some() {
        let why = format!("{OF_LISTS} is set, and kbuild keeps no record of what is in its files");
        return Err(CoverError::Unknown(why));
    }
    Ok(trees)
}

/// Words of the configuration's values that may be paths.
fn named_by(settings: &Settings) -> impl Iterator<Item = &str> {
    settings.values().flat_map(str::split_ascii_whitespace)
}

struct Covering<'a> {
    source: &'a Path,
    cover: Cover,
}

impl Covering<'_> {
    /// Covers a directory that make visited or from which files were read.
    fn enter(&mut self, dir: &[u8]) -> Result<(), CoverError> {
        if !self.cover.dirs.insert(dir.to_vec()) || self.in_tree(dir) {
            return Ok(());
        }
        let mut below = Vec::new();
        for (name, kind) in self.list(dir)? {
            if kind.is_dir() {
                below.push(join(dir, &name));
            } else if kind.is_file() && is_beside(dir, &name) {
                self.cover.files.insert(join(dir, &name));
            }
        }
        let mut enters = false;
        for name in MAKEFILES {
            let path = join(dir, name.as_bytes());
            let Some(text) = self.read(&path)? else { continue };
            self.cover.files.insert(path);
            let makefile = Makefile { text: &text, dir };
            enters |= makefile.enters_directories();
            for path in makefile.named() {
                self.name(&path);
            }
        }
        let top = dir.split(|&byte| byte == b'/').next().unwrap_or_default();
        let of_headers = dir.split(|&byte| byte == b'/').any(|name| name == b"include");
        let has_parts = !dir.is_empty()
            && dir != b"arch"
            && !of_headers
            && !NO_PARTS.iter().any(|name| name.as_bytes() == top);
        for below in below {
            let has_makefile = self.has_makefile(&below);
            // Directories that the root's makefile enters are among the trees.
            if has_makefile && enters && !dir.is_empty() {
                self.enter(&below)?;
            } else if !has_makefile && has_parts && !is_headers(&below) && !self.cover.dirs.contains(&below) {
                self.cover.trees.insert(below);
            }
        }
        Ok(())
    }

    /// Covers all makefiles in and below a directory: those of an arch include each other by computed paths.
    fn makefiles_below(&mut self, dir: &[u8]) -> Result<(), CoverError> {
        let mut dirs = vec![dir.to_vec()];
        while let Some(dir) = dirs.pop() {
            if self.in_tree(&dir) {
                continue;
            }
            let entries = self.list(&dir)?;
            self.cover.dirs.insert(dir.clone());
            for (name, kind) in entries {
                let is_makefile = MAKEFILES.iter().any(|makefile| name.starts_with(makefile.as_bytes()));
                if kind.is_dir() {
                    dirs.push(join(&dir, &name));
                } else if kind.is_file() && is_makefile {
                    self.cover.files.insert(join(&dir, &name));
                }
            }
        }
        Ok(())
    }

    /// Covers a named path: a file, or a directory that was not visited.
    fn name(&mut self, path: &[u8]) {
        let Some(path) = plain(path) else { return };
        match self.at(&path).symlink_metadata() {
            Ok(found) if found.is_file() => {
                self.cover.files.insert(path);
            }
            Ok(found) if found.is_dir() && !self.cover.dirs.contains(&path) && path.contains(&b'/') => {
                self.cover.trees.insert(path);
            }
            Ok(found) if found.is_dir() && path == b"firmware" => {
                self.cover.trees.insert(path);
            }
            _ => {}
        }
    }

    /// Removes entries below `trees`, and adds all parent directories.
    fn finish(mut self) -> Cover {
        let trees = self.cover.trees.clone();
        let covered = |path: &[u8]| above(path).any(|dir| trees.contains(dir));
        self.cover.trees.retain(|tree| !covered(tree));
        self.cover.files.retain(|file| !covered(file));
        self.cover.dirs.retain(|dir| !covered(dir) && !trees.contains(dir));
        let on_the_way: BTreeSet<Vec<u8>> = self
            .cover
            .files
            .iter()
            .chain(&self.cover.trees)
            .chain(&self.cover.dirs)
            .flat_map(|path| above(path).map(<[u8]>::to_vec))
            .collect();
        self.cover.dirs.extend(on_the_way);
        self.cover
    }

    fn in_tree(&self, path: &[u8]) -> bool {
        self.cover.trees.contains(path) || above(path).any(|dir| self.cover.trees.contains(dir))
    }

    fn has_makefile(&self, dir: &[u8]) -> bool {
        MAKEFILES.iter().any(|name| self.at(&join(dir, name.as_bytes())).exists())
    }

    fn is_dir(&self, path: &[u8]) -> bool {
        self.at(path).is_dir()
    }

    fn at(&self, path: &[u8]) -> PathBuf {
        self.source.join(OsStr::from_bytes(path))
    }

    fn list(&self, dir: &[u8]) -> Result<Vec<(Vec<u8>, fs::FileType)>, CoverError> {
        let path = self.at(dir);
        let failed = |source| CoverError::Io { path: path.clone(), source };
        let mut found = Vec::new();
        for entry in fs::read_dir(&path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            found.push((entry.file_name().into_encoded_bytes(), entry.file_type().map_err(failed)?));
        }
        Ok(found)
    }

    fn read(&self, path: &[u8]) -> Result<Option<Vec<u8>>, CoverError> {
        let path = self.at(path);
        match fs::read(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) => {
                Ok(None)
            }
            Err(source) => Err(CoverError::Io { path, source }),
        }
    }
}

/// Whether a file of a visited directory counts without a record. A linker script may be copied instead of preprocessed.
fn is_beside(dir: &[u8], name: &[u8]) -> bool {
    if name.ends_with(b".lds.S") {
        return true;
    }
    let left_out = NOT_BESIDE.iter().any(|end| name.ends_with(end.as_bytes()))
        || name.starts_with(b"Kconfig")
        || name.starts_with(b"README")
        || dir.is_empty() && FOR_PEOPLE.iter().any(|other| other.as_bytes() == name);
    !left_out
}

/// Whether a directory has headers by its name: the records have those that were read.
fn is_headers(dir: &[u8]) -> bool {
    dir.rsplit(|&byte| byte == b'/').next() == Some(b"include")
}

/// The parent directories of a path; the root only if the path is directly in it.
fn above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(parent(path), |dir| parent(dir))
}

/// A path without `.` and `..`; `None` if it leaves the tree or is its root.
fn plain(path: &[u8]) -> Option<Vec<u8>> {
    let mut names: Vec<&[u8]> = Vec::new();
    for name in path.split(|&byte| byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => drop(names.pop()?),
            name => names.push(name),
        }
    }
    (!path.starts_with(b"/") && !names.is_empty()).then(|| names.join(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(files: &[&str]) -> Cover {
        let dir = tempfile::tempdir().unwrap();
        let (source, out) = (dir.path().join("source"), dir.path().join("out"));
        for file in files {
            let path = source.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let settings = out.join(SETTINGS);
        fs::create_dir_all(settings.parent().unwrap()).unwrap();
        fs::write(settings, "").unwrap();
        let visited = Records { dirs: BTreeSet::from([b"arch/powerpc/boot".to_vec()]), ..Records::default() };
        cover(&visited, &out, Path::new("/kiln/in/source"), &source).unwrap()
    }

    /// arch/powerpc/boot/Makefile copies two of its linker scripts, and no record has them.
    #[test]
    fn linker_scripts_of_visited_directories_count_and_other_sources_do_not() {
        let cover = covered(&["arch/powerpc/boot/zImage.ps3.lds.S", "arch/powerpc/boot/crt0.S"]);
        assert!(cover.files.contains(b"arch/powerpc/boot/zImage.ps3.lds.S".as_slice()), "{cover:?}");
        assert!(!cover.files.contains(b"arch/powerpc/boot/crt0.S".as_slice()), "{cover:?}");
    }

    #[test]
    fn the_table_of_system_calls_counts_for_every_arch() {
        let cover = covered(&["arch/powerpc/boot/Makefile", "arch/x86/entry/syscalls/syscall_32.tbl"]);
        assert!(cover.trees.contains(b"arch/x86/entry/syscalls".as_slice()), "{cover:?}");
        assert!(cover.dirs.contains(b"arch/x86/entry".as_slice()), "{cover:?}");
    }
}
