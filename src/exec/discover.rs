//! Discovery: the inputs that a run read, as a path set.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use globset::{Glob, GlobSet, GlobSetBuilder};

use super::has_include::asked_for;
use super::sandbox_paths::sandbox_path;
use super::trace::{Opened, Tracer};
use crate::plan::BuildContext;
use crate::plan::manifest::{Manifest, TreeInput};
use crate::source::{EntryKind, PathEntry, PathSet, Provenance, Reads, split};
use crate::spec::model::{Discover, Discoverer, Rule};

/// What a build's own records say it read of a source tree: paths relative to its root.
#[derive(Debug, Default)]
pub struct RecordedReads {
    /// Files.
    pub files: Vec<Vec<u8>>,
    /// Directories in which something was looked up.
    pub dirs: Vec<Vec<u8>>,
    /// Directories that count as read whole, because the records do not say what was read below them.
    pub trees: Vec<Vec<u8>>,
}

/// What a build uses a file of a source tree for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileUse {
    /// Compilations only. The build repeats each that is older than the file.
    Compiled,
    /// A script or the source of a program that runs during the build.
    Program,
    /// A makefile.
    Makefile,
    /// Anything else.
    Other,
}

/// Gives the use of a file, by its path relative to the root of the tree.
pub type FileUses = Box<dyn Fn(&[u8]) -> FileUse>;

/// Reads the records that builds leave in their output directories.
pub trait BuildRecords: Sync {
    /// The reads of a build that left the output directory `out`. `tree` is the source tree, `inside` its path in the sandbox.
    fn read(&self, out: &Path, inside: &Path, tree: &Path) -> Result<RecordedReads, String>;

    /// The uses of files by a build that left the output directory `out`.
    fn uses(&self, out: &Path, inside: &Path, tree: &Path) -> Result<FileUses, String>;

    /// Why no build may continue in `out`, whatever has changed: its configuration includes files that lie there.
    fn stateful(&self, out: &Path) -> Result<Option<String>, String>;
}

/// Finds out what a run reads, by a trace or by records.
pub(super) struct Discovery<'a> {
    manifest: &'a Manifest,
    rule: Option<(&'a Discover, Discoverer)>,
    /// The inputs that are traced, in the order of the tracer's mounts; and the tracer, or why there is none.
    traced: Option<(Vec<&'a str>, Result<Tracer, String>)>,
}

/// The reads of a run.
pub(super) struct Discovered {
    pub set: PathSet,
    /// Why all of every tree counts as read.
    pub unknown: Option<String>,
    /// Whether the set covers everything in the output directory, including what earlier runs made.
    pub of_all: bool,
}

impl<'a> Discovery<'a> {
    /// Nothing is traced yet.
    pub(super) fn new(build: &BuildContext<'_>, rule: &'a Rule, manifest: &'a Manifest) -> Self {
        Self { manifest, rule: rule.discover.as_ref().zip(build.discoverer(rule)), traced: None }
    }

    /// The inputs whose opens are to be traced.
    pub(super) fn to_trace(&self) -> Vec<&'a str> {
        match self.rule {
            Some((_, Discoverer::Fanotify)) => {
                let discovered = self.manifest.trees().iter().filter(|tree| tree.discovered);
                discovered.map(|tree| tree.input.as_str()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// These inputs are traced.
    pub(super) fn traced(mut self, inputs: Vec<&'a str>, tracer: Result<Tracer, String>) -> Self {
        self.traced = Some((inputs, tracer));
        self
    }

    /// Tracing is impossible in this run: the rule's next way of discovery applies.
    pub(super) fn untraced(mut self, why: String) -> Self {
        match self.rule {
            Some((discover, _)) if discover.by.contains(&Discoverer::Kbuild) => {
                self.rule = Some((discover, Discoverer::Kbuild));
                self
            }
            _ => self.traced(Vec::new(), Err(why)),
        }
    }

    /// The reads of the run, once its sandbox is gone. `passed`: whether its steps passed.
    pub(super) fn end(
        self,
        build: &BuildContext<'_>,
        records: &dyn BuildRecords,
        out: &Path,
        passed: bool,
    ) -> Discovered {
        let whole =
            |why: Option<String>| Discovered { set: self.manifest.whole(), unknown: why, of_all: false };
        let Some((discover, by)) = self.rule else { return whole(None) };
        let unsearched = match globs(discover) {
            Ok(globs) => globs,
            Err(error) => return whole(Some(error.to_string())),
        };
        let mut named = match made(out, &unsearched) {
            Ok(made) => made,
            Err(error) => return whole(Some(format!("{}: {error}", out.display()))),
        };
        // A read through a link is reported under the target's name, but the look-up used the link's name.
        for tree in self.manifest.trees().iter().filter(|tree| tree.discovered) {
            match build.states(tree) {
                Ok(states) => named.extend(
                    states.link_paths().into_iter().map(|link| PathEntry::new(EntryKind::Searched, link)),
                ),
                Err(error) => return whole(Some(error.to_string())),
            }
        }
        match (by, self.traced) {
            (Discoverer::Fanotify, Some((inputs, tracer))) => {
                let trace = tracer.and_then(|tracer| tracer.finish().map_err(|error| error.to_string()));
                match trace {
                    Ok(trace) => {
                        let mut seen = Vec::new();
                        for (input, opened) in inputs.into_iter().zip(trace.mounts) {
                            let mut entries = of_opened(&opened, &unsearched, &named);
                            match asked_in(build, self.manifest, input, &entries) {
                                Ok(asked) => entries.extend(asked),
                                Err(why) => return whole(Some(why)),
                            }
                            seen.push((input.to_owned(), Reads::only(entries)));
                        }
                        let seen = PathSet::new(Provenance::Opens, seen);
                        Discovered { set: self.manifest.whole().narrowed(seen), unknown: None, of_all: false }
                    }
                    Err(why) => whole(Some(why)),
                }
            }
            (Discoverer::Kbuild, _) if passed => {
                let mut found = Vec::new();
                for tree in self.manifest.trees().iter().filter(|tree| tree.discovered) {
                    // Records only name files of source trees: of another node's output, all counts.
                    let Some(source) = tree.source() else { continue };
                    let entries = build
                        .sources
                        .tree(source)
                        .map_err(|error| error.to_string())
                        .and_then(|at| records.read(out, &sandbox_path(&tree.input), &at.root))
                        .map(|recorded| of_records(&recorded, &unsearched, &named));
                    let all = entries.and_then(|mut entries| {
                        entries.extend(asked_in(build, self.manifest, &tree.input, &entries)?);
                        Ok(entries)
                    });
                    match all {
                        Ok(entries) => found.push((tree.input.clone(), Reads::only(entries))),
                        Err(why) => return whole(Some(why)),
                    }
                }
                Discovered {
                    set: self.manifest.whole().narrowed(PathSet::new(Provenance::KbuildRecords, found)),
                    unknown: None,
                    of_all: true,
                }
            }
            // The records of a failed build do not include the step that failed.
            (Discoverer::Kbuild | Discoverer::Fanotify, _) => whole(None),
        }
    }
}

/// The headers that files among these entries test for with `__has_include`.
fn asked_in(
    build: &BuildContext<'_>,
    manifest: &Manifest,
    input: &str,
    entries: &[PathEntry],
) -> Result<Vec<PathEntry>, String> {
    // Outputs of other nodes hold no source code.
    let Some(source) = manifest.tree(input).and_then(TreeInput::source) else { return Ok(Vec::new()) };
    let at = build.sources.tree(source).map_err(|error| error.to_string())?;
    let is_file = |entry: &&PathEntry| matches!(entry.kind, EntryKind::File | EntryKind::Searched);
    let headers = asked_for(&at.root, entries.iter().filter(is_file).map(|entry| &*entry.path))?;
    // The header could be found in any directory: any file of its name may be it.
    Ok(headers.iter().map(|header| PathEntry::new(EntryKind::Searched, split(header).1)).collect())
}

/// The names of what a run made. A generated header may be searched for in a source tree first, so a new file of its name
/// there may be found instead. Each name stands for that path in the tree.
fn made(out: &Path, unsearched: &GlobSet) -> io::Result<Vec<PathEntry>> {
    let mut made = Vec::new();
    let mut dirs = vec![PathBuf::new()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(out.join(&dir))? {
            let entry = entry?;
            let path = dir.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                dirs.push(path);
            } else if !unsearched.is_match(entry.file_name()) {
                made.push(PathEntry::new(EntryKind::Searched, path.as_os_str().as_bytes()));
            }
        }
    }
    Ok(made)
}

fn globs(discover: &Discover) -> Result<GlobSet, globset::Error> {
    let mut globs = GlobSetBuilder::new();
    for glob in &discover.unsearched {
        globs.add(Glob::new(glob)?);
    }
    globs.build()
}

/// The entries for what was opened. Failed look-ups and followed links leave no trace: so the names of all directories
/// that were read, or in which something was opened, count up to the root, and so do all links.
fn of_opened(opened: &Opened, unsearched: &GlobSet, named: &[PathEntry]) -> Vec<PathEntry> {
    let mut entries = named.to_vec();
    entries.extend([PathEntry::new(EntryKind::Links, *b""), PathEntry::new(EntryKind::Names, *b"")]);
    for file in &opened.files {
        entries.push(file_entry(file, unsearched));
        names_above(file, &mut entries);
    }
    for dir in &opened.dirs {
        entries.push(PathEntry::new(EntryKind::Names, dir.clone()));
        names_above(dir, &mut entries);
    }
    entries
}

/// The entries for what records name.
fn of_records(recorded: &RecordedReads, unsearched: &GlobSet, named: &[PathEntry]) -> Vec<PathEntry> {
    let mut entries = named.to_vec();
    entries.extend([PathEntry::new(EntryKind::Links, *b""), PathEntry::new(EntryKind::Names, *b"")]);
    for file in &recorded.files {
        entries.push(file_entry(file, unsearched));
        names_above(file, &mut entries);
    }
    for dir in &recorded.dirs {
        entries.push(PathEntry::new(EntryKind::Names, dir.as_slice()));
    }
    for dir in &recorded.trees {
        entries.push(PathEntry::new(EntryKind::Tree, dir.as_slice()));
        names_above(dir, &mut entries);
    }
    entries
}

fn file_entry(file: &[u8], unsearched: &GlobSet) -> PathEntry {
    let name = as_path(split(file).1);
    let kind = if unsearched.is_match(name) { EntryKind::File } else { EntryKind::Searched };
    PathEntry::new(kind, file)
}

fn names_above(path: &[u8], entries: &mut Vec<PathEntry>) {
    let mut dir = path;
    while !dir.is_empty() {
        dir = split(dir).0;
        entries.push(PathEntry::new(EntryKind::Names, dir));
    }
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}
