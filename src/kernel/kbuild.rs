//! Reads kbuild's dependency records: the source files that a build in an output directory read.
//!
//! For each target, kbuild writes `.TARGET.cmd` with the command and, if a compiler or fixdep reported them, the files that
//! it read (`scripts/Kbuild.include`, `scripts/basic/fixdep.c`). Kconfig writes the files that it read to
//! `include/config/auto.conf.cmd`. The records lack what scripts and make itself read: they are never complete.

mod cover;
mod incbin;
mod makefile;
mod names;
mod real_paths;
mod settings;
mod stateful;
#[cfg(test)]
mod tests;
mod uses;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub use cover::{Cover, CoverError, cover};
pub use stateful::stateful;
pub use uses::Use;

use names::{Format, Origin, each_name};
use real_paths::SourceTree;

/// Kconfig's list of files, relative to the output directory.
const OF_KCONFIG: &str = "include/config/auto.conf.cmd";

/// The files that kbuild includes in each visited directory.
const MAKEFILES: [&str; 2] = ["Makefile", "Kbuild"];

/// The source files that the records of an output directory name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// Files by their real paths relative to the source, without `..` and symbolic links.
    pub files: BTreeSet<Vec<u8>>,
    /// Source directories that make visited or from which a file was read, with their parents; `""` is the root. Their Makefiles
    /// are among the files.
    pub dirs: BTreeSet<Vec<u8>>,
    /// Listed names without a file in the source, as plain paths: an incremental O= has records of targets that are no longer
    /// built.
    pub gone: BTreeSet<Vec<u8>>,
    /// Names relative to an unknown directory that are found neither next to the record nor above it, as `DIRECTORY OF THE
    /// RECORD/NAME`. Programs below `tools/` have such records; callers must cover these directories otherwise.
    pub unplaced: BTreeSet<Vec<u8>>,
    /// Records that could not be parsed or name impossible paths, and why.
    pub unreadable: Vec<(PathBuf, String)>,
    /// The use of each named file.
    uses: BTreeMap<Vec<u8>, Use>,
}

/// Why the records can't be read.
#[derive(Debug, thiserror::Error)]
pub enum KbuildError {
    /// The output directory can't be searched.
    #[error("can't look for kbuild's records in {}: {source}", path.display())]
    Search {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory has no records of kbuild.
    #[error("no records of kbuild's below {}: is it the O= of a kernel build that has ended?", path.display())]
    None {
        /// The output directory.
        path: PathBuf,
    },
}

/// Reads the records below `out` of a build that had its source at `source_inside`. `source` is where that tree is now: it
/// is used to resolve symbolic links and to find Makefiles.
pub fn records(out: &Path, source_inside: &Path, source: &Path) -> Result<Records, KbuildError> {
    let found = search(out)?;
    if found.is_empty() {
        return Err(KbuildError::None { path: out.to_owned() });
    }
    let mut reading = Reading {
        out,
        prefix: prefix(source_inside),
        tree: SourceTree::new(source, source_inside),
        seen: HashSet::new(),
        used_for: None,
        dirs: BTreeSet::from([Vec::new()]),
        records: Records::default(),
    };
    for record in &found {
        reading.record(record);
    }
    Ok(reading.finish())
}

/// The paths of all records, relative to `out` and sorted.
fn search(out: &Path) -> Result<Vec<PathBuf>, KbuildError> {
    let mut found = Vec::new();
    let mut dirs = vec![PathBuf::new()];
    while let Some(dir) = dirs.pop() {
        let path = out.join(&dir);
        let failed = |source| KbuildError::Search { path: path.clone(), source };
        for entry in fs::read_dir(&path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // Do not follow symbolic links: `source` is a link to the whole tree.
            let kind = entry.file_type().map_err(failed)?;
            let (name, below) = (entry.file_name(), dir.join(entry.file_name()));
            if kind.is_dir() {
                dirs.push(below);
            } else if kind.is_file() && (is_record(name.as_bytes()) || below == Path::new(OF_KCONFIG)) {
                found.push(below);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a name is `.TARGET.cmd`, or `.TARGET.d`: a compiler's list that was not merged into one.
fn is_record(name: &[u8]) -> bool {
    name.starts_with(b".") && (name.ends_with(b".cmd") || name.ends_with(b".d"))
}

/// The source path with a trailing slash, as a prefix of names.
fn prefix(source: &Path) -> Vec<u8> {
    let mut prefix = source.as_os_str().as_bytes().to_vec();
    while prefix.last() == Some(&b'/') {
        prefix.pop();
    }
    prefix.push(b'/');
    prefix
}

struct Reading<'a> {
    out: &'a Path,
    prefix: Vec<u8>,
    tree: SourceTree<'a>,
    /// Absolute names that were processed before: a few thousand headers are in hundreds of records each.
    seen: HashSet<(Origin, Option<Use>, Vec<u8>)>,
    /// The use of files in the current record, if the record tells.
    used_for: Option<Use>,
    /// Source directories that make visited, without their parents.
    dirs: BTreeSet<Vec<u8>>,
    records: Records,
}

impl Reading<'_> {
    fn record(&mut self, record: &Path) {
        let bytes = match fs::read(self.out.join(record)) {
            Ok(bytes) => bytes,
            Err(error) => return self.records.unreadable.push((record.to_owned(), error.to_string())),
        };
        let dir = record.parent().unwrap_or(Path::new("")).as_os_str().as_bytes();
        let of_kconfig = record == Path::new(OF_KCONFIG);
        // A target in this directory means that make visited the source directory of the same name.
        if !of_kconfig && self.tree.is_dir(dir) {
            self.dirs.insert(dir.to_vec());
        }
        let compilers = record.extension().is_some_and(|extension| extension == "d");
        let format = if compilers { Format::Rule } else { Format::Assignments };
        self.used_for = uses::of_record(record, &bytes);
        let prefix = std::mem::take(&mut self.prefix);
        each_name(&bytes, format, &prefix, |name| {
            // Kconfig's names are relative to the source, and their directories were not visited by make.
            if of_kconfig && name.origin == Origin::List && !name.text.starts_with(b"/") {
                self.absolute(record, Origin::Kconfig, name.text);
            } else if let Some(below) = name.text.strip_prefix(prefix.as_slice()) {
                let origin = if of_kconfig { Origin::Kconfig } else { name.origin };
                self.absolute(record, origin, below);
            } else if name.is_relative_to_unknown() {
                self.relative(dir, name.text);
            }
        });
        self.prefix = prefix;
    }

    /// A name below the source.
    fn absolute(&mut self, record: &Path, origin: Origin, below: &[u8]) {
        // The list of a compilation is complete; its command line may name files that it did not read.
        let used_for = self.used_for.filter(|used| origin != Origin::Command || *used != Use::Compiled);
        if !self.seen.insert((origin, used_for, below.to_vec())) {
            return;
        }
        match (self.tree.file(below), origin) {
            (Some(file), Origin::Kconfig) => {
                self.records.files.insert(file);
            }
            (Some(file), _) => self.add(file, used_for),
            // A word of a command need not be a file.
            (None, Origin::Command) => {}
            (None, Origin::List | Origin::Kconfig) if is_plain(below) => {
                self.records.gone.insert(below.to_vec());
            }
            (None, Origin::List | Origin::Kconfig) => {
                let why = format!("names {}, which is not in the source", String::from_utf8_lossy(below));
                self.records.unreadable.push((record.to_owned(), why));
            }
        }
    }

    /// A name relative to the directory in which a program below `tools/` was built: the record's directory or one above it.
    fn relative(&mut self, dir: &[u8], name: &[u8]) {
        let mut base = Some(dir);
        while let Some(at) = base {
            let path = join(at, name);
            if self.out.join(std::ffi::OsStr::from_bytes(&path)).exists() {
                return;
            }
            if let Some(file) = self.tree.file(&path) {
                return self.add(file, self.used_for);
            }
            base = parent(at);
        }
        self.records.unplaced.insert(join(dir, name));
    }

    fn add(&mut self, file: Vec<u8>, used_for: Option<Use>) {
        if let Some(used_for) = used_for {
            let known = self.records.uses.entry(file.clone()).or_insert(used_for);
            *known = used_for.max(*known);
        }
        self.dirs.insert(parent(&file).unwrap_or_default().to_vec());
        self.records.files.insert(file);
    }

    fn finish(mut self) -> Records {
        let mut visited = BTreeSet::new();
        for dir in std::mem::take(&mut self.dirs) {
            let mut at = Some(dir.as_slice());
            while let Some(dir) = at.filter(|dir| !visited.contains(*dir)) {
                visited.insert(dir.to_vec());
                at = parent(dir);
            }
        }
        for dir in &visited {
            let found = MAKEFILES.iter().filter_map(|name| self.tree.file(&join(dir, name.as_bytes())));
            self.records.files.extend(found);
        }
        self.records.dirs = visited;
        self.records
    }
}

/// Whether a path has no empty, `.` or `..` components.
fn is_plain(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').all(|name| !matches!(name, b"" | b"." | b".."))
}

/// `dir/name`, where `""` is the root.
fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() }
}

/// The parent directory; `""` for entries of the root, `None` for the root.
fn parent(path: &[u8]) -> Option<&[u8]> {
    if path.is_empty() {
        return None;
    }
    Some(path.iter().rposition(|byte| *byte == b'/').map_or(b"", |slash| &path[..slash]))
}
