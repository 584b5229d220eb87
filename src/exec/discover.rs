//! Discovery: what a run read of its inputs, as a path set.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use globset::{Glob, GlobSet, GlobSetBuilder};

use super::asked::asked_for;
use super::stage::inside;
use super::trace::{Opened, Tracer};
use crate::plan::World;
use crate::plan::manifest::{Manifest, What};
use crate::source::{EntryKind, PathEntry, PathSet, Provenance, Reads, split};
use crate::spec::model::{Discover, Discoverer, Rule};

/// What a build's own records say it read of a source tree: paths from its root.
#[derive(Debug, Default)]
pub struct Recorded {
    /// Files.
    pub files: Vec<Vec<u8>>,
    /// Directories that it went into.
    pub dirs: Vec<Vec<u8>>,
    /// Directories that count whole, as the records don't tell what was read below them.
    pub trees: Vec<Vec<u8>>,
}

/// What a build uses a file of a source tree for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Only compilations read it, of which the build repeats those that are older than it.
    Compiled,
    /// It is a script, or a program is made from it, that runs during the build.
    Program,
    /// It says how things are made.
    Makefile,
    /// Anything else.
    Other,
}

/// Tells the use of a file, by its path from the root of the tree.
pub type Uses = Box<dyn Fn(&[u8]) -> Use>;

/// Reads the records that builds keep.
pub trait Records: Sync {
    /// The records in `out`, the output directory of a run that saw the tree at `inside`; `tree` is where it is.
    fn read(&self, out: &Path, inside: &Path, tree: &Path) -> Result<Recorded, String>;

    /// What the build that left the output directory `out` uses files for.
    fn uses(&self, out: &Path, inside: &Path, tree: &Path) -> Result<Uses, String>;

    /// Why no build may continue in `out`, whatever has changed: its configuration takes in what lies there.
    fn stateful(&self, out: &Path) -> Result<Option<String>, String>;
}

/// Watches a run, if somebody has to.
pub(super) struct Discovery<'a> {
    manifest: &'a Manifest,
    rule: Option<(&'a Discover, Discoverer)>,
    /// The inputs that are traced, in the order of the tracer's mounts; and the tracer, or why there is none.
    traced: Option<(Vec<&'a str>, Result<Tracer, String>)>,
}

/// What a run read.
pub(super) struct Discovered {
    pub set: PathSet,
    /// Why it is more than was read: all of every tree.
    pub unknown: Option<String>,
    /// Whether it is of all that is in the output directory, whenever that was made, and not of this run alone.
    pub of_all: bool,
}

impl<'a> Discovery<'a> {
    /// What a run of this rule reads is not watched yet.
    pub(super) fn new(world: &World<'_>, rule: &'a Rule, manifest: &'a Manifest) -> Self {
        Self { manifest, rule: rule.discover.as_ref().zip(world.discoverer(rule)), traced: None }
    }

    /// The inputs whose opens are to be watched.
    pub(super) fn to_trace(&self) -> Vec<&'a str> {
        match self.rule {
            Some((_, Discoverer::Fanotify)) => {
                let discovered = self.manifest.trees().iter().filter(|tree| tree.discovered);
                discovered.map(|tree| tree.input.as_str()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// These inputs are watched.
    pub(super) fn traced(mut self, inputs: Vec<&'a str>, tracer: Result<Tracer, String>) -> Self {
        self.traced = Some((inputs, tracer));
        self
    }

    /// They can't be watched in this run: who comes next in the rule tells.
    pub(super) fn untraced(mut self, why: String) -> Self {
        match self.rule {
            Some((discover, _)) if discover.by.iter().any(|by| by.value == Discoverer::Kbuild) => {
                self.rule = Some((discover, Discoverer::Kbuild));
                self
            }
            _ => self.traced(Vec::new(), Err(why)),
        }
    }

    /// What was read, now that the sandbox is gone. `passed`: whether its steps came to their end.
    pub(super) fn end(
        self,
        world: &World<'_>,
        records: &dyn Records,
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
        // What is read through a link is reported under the name that it leads to; looked for was the link's own.
        for tree in self.manifest.trees().iter().filter(|tree| tree.discovered) {
            match world.states(tree) {
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
                            match asked_in(world, self.manifest, input, &entries) {
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
                    // Records tell of source trees; of another node's output all counts.
                    let What::Source { source, .. } = &tree.what else { continue };
                    let entries = world
                        .source_tree(source)
                        .map_err(|error| error.to_string())
                        .and_then(|at| records.read(out, &inside(&tree.input), &at.root))
                        .map(|recorded| of_records(&recorded, &unsearched, &named));
                    let all = entries.and_then(|mut entries| {
                        entries.extend(asked_in(world, self.manifest, &tree.input, &entries)?);
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
            // A build that failed has no record of what it failed at.
            (Discoverer::Kbuild | Discoverer::Fanotify, _) => whole(None),
        }
    }
}

/// The headers that files of a source tree, those among these entries, ask for without opening them.
fn asked_in(
    world: &World<'_>,
    manifest: &Manifest,
    input: &str,
    entries: &[PathEntry],
) -> Result<Vec<PathEntry>, String> {
    let tree = manifest.trees().iter().find(|tree| tree.input == input);
    // Outputs of other nodes hold no code.
    let Some(What::Source { source, .. }) = tree.map(|tree| &tree.what) else { return Ok(Vec::new()) };
    let at = world.source_tree(source).map_err(|error| error.to_string())?;
    let is_file = |entry: &&PathEntry| matches!(entry.kind, EntryKind::File | EntryKind::Searched);
    let headers = asked_for(&at.root, entries.iter().filter(is_file).map(|entry| &*entry.path))?;
    // Where it would be found is not known: a file of its name may be it, wherever that is.
    Ok(headers.iter().map(|header| PathEntry::new(EntryKind::Searched, split(header).1)).collect())
}

/// What a run made may be what it searched for, as generated headers are: a new file of such a name in a tree may be
/// found before. Each stands for the path in the tree that it would have there.
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
        globs.add(Glob::new(&glob.value)?);
    }
    globs.build()
}

/// The entries of what was opened: the files, the names in every directory that was read or in which something was
/// opened, up to the root, as look-ups that fail leave no trace, and all links, as following one leaves none.
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

/// The entries of what records tell.
fn of_records(recorded: &Recorded, unsearched: &GlobSet, named: &[PathEntry]) -> Vec<PathEntry> {
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
