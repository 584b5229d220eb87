//! Kept output directories: on a miss, a build continues where its last run ended.
//!
//! kbuild rebuilds what is older than what it was made from. So that this is exactly what has changed, whatever the
//! times of files are (a fresh checkout makes all of them new, a restored one can make a changed file old):
//!
//! * what changed in content since the last run is shown to the steps as a copy with the present time, mounted over
//!   the file;
//! * everything in the output directory is moved past the times of all else that was read, in its own order.
//!
//! kbuild does not notice every change. [`Case`] says which ones it follows; any other change starts from an empty
//! directory. So does a run after one that was killed, as its files may be half written; one that failed by itself
//! leaves a directory to continue in, with what had changed for it still counted as changed.
//!
//! A directory belongs to one node, and to one configuration: it is never shared.

mod case;
mod reads;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::act::{Stage, Task};
use super::rooted;
use super::sandbox::{Access, Mount};
use super::stage::{WorkDir, inside};
use super::times;
use crate::digest::{Digest, Domain, Hasher};
use crate::graph::Root;
use crate::plan::World;
use crate::plan::manifest::{Tree, What};
use crate::source::PathSet;
use crate::store::{StoreError, remove_tree};
use case::{Case, Decision};
use reads::{ReadOf, of_use};

/// Raised when records come to mean something else.
const VERSION: u32 = 2;

/// What is known of a kept output directory.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    version: u32,
    /// Every tree that it was made from, by input.
    trees: BTreeMap<String, Digest>,
    /// All that was read for it, in every run since it was empty.
    path_set: Digest,
    /// What had changed for a run that then failed, by input: it may not have been built anew.
    unfinished: BTreeMap<String, BTreeSet<Vec<u8>>>,
}

/// What a record of a kept directory refers to: the path set, and the trees that it was made from. For whoever takes it to
/// another machine. `None` where it can't be read.
pub fn kept_refers_to(record: &[u8]) -> Option<(Digest, Vec<Digest>)> {
    let record: Record = postcard::from_bytes(record).ok()?;
    (record.version == VERSION).then(|| (record.path_set, record.trees.into_values().collect()))
}

/// A kept output directory that is ready to be continued in.
pub(super) struct Continued {
    /// What was read for it.
    pub set: PathSet,
    /// What differs, by input.
    pub changed: BTreeMap<String, BTreeSet<Vec<u8>>>,
}

/// Why a run starts with an empty directory although one was kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    #[error("what was kept of its last run is of another version, or damaged")]
    Record,
    #[error("{path} {}: {}", .case.what(), .case.why())]
    Change { path: String, case: Case },
    #[error("times of files can't be compared: {}", Case::Incomparable.why())]
    Incomparable,
    #[error("what was read for it is known from kbuild's records alone, and can be traced here")]
    RecordsAlone,
    #[error("its records can't be read: {0}")]
    Records(String),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whose directory it is: this node's, with this configuration.
fn key(task: &Task<'_>) -> Digest {
    let mut hasher = Hasher::new(Domain::Kept);
    hasher.text(task.name).digest(&task.basis.keys.action);
    for tree in task.basis.manifest.trees() {
        if source_of(tree).is_none() {
            hasher.text(&tree.input).digest(&tree.digest);
        }
    }
    hasher.finish()
}

fn source_of(tree: &Tree) -> Option<&str> {
    match &tree.what {
        What::Source { source, .. } => Some(source),
        _ => None,
    }
}

/// Takes the kept directory of an action for its output directory, if there is one. One that can't be continued in is
/// removed, and the reason told.
pub(super) fn take(stage: &Stage<'_>, task: &Task<'_>, work: &WorkDir) -> Result<Option<Continued>, Unfit> {
    let (out, key) = (work.out(), key(task));
    let store = stage.world.store;
    let here = store.take_kept(&key, &out)?;
    let elsewhere = || stage.world.remotes.and_then(|remotes| remotes.take_kept(store, &key, &out));
    let Some(record) = here.or_else(elsewhere) else { return Ok(None) };
    let continued = prepare(stage, task, &record, &out);
    if continued.is_err() {
        remove_tree(&out)?;
    }
    continued.map(Some)
}

fn prepare(stage: &Stage<'_>, task: &Task<'_>, record: &[u8], out: &Path) -> Result<Continued, Unfit> {
    let world = stage.world;
    let record: Record = postcard::from_bytes(record).map_err(|_| Unfit::Record)?;
    if record.version != VERSION {
        return Err(Unfit::Record);
    }
    let set = world.read_path_set(&record.path_set)?.ok_or(Unfit::Record)?;
    if !task.basis.manifest.accepts(set.provenance()) {
        return Err(Unfit::RecordsAlone);
    }
    let mut changed = record.unfinished;
    let mut newest = SystemTime::UNIX_EPOCH;
    let made = names_in(out)?;
    for tree in task.basis.manifest.trees() {
        let Some(source) = source_of(tree) else { continue };
        let (Some(then), Some(reads)) = (record.trees.get(&tree.input), set.reads(&tree.input)) else {
            return Err(Unfit::Record);
        };
        let changes = world.changes(then, &tree.digest).map_err(|_| Unfit::Record)?;
        let at = world.source_tree(source).map_err(|error| Unfit::Records(error.to_string()))?;
        let used_for = stage.kinds.records().uses(out, &inside(&tree.input), &at.root);
        let used_for = used_for.map_err(Unfit::Records)?;
        let snapshot = world.source(source).map_err(|error| Unfit::Records(error.to_string()))?;
        let read = ReadOf::new(reads, &made);
        let changed = changed.entry(tree.input.clone()).or_default();
        let decide = |path: &[u8], case: Case| match case.decision() {
            Decision::FromNothing => {
                Err(Unfit::Change { path: String::from_utf8_lossy(path).into_owned(), case })
            }
            decision => Ok(decision == Decision::Continues),
        };
        // What a failed run left undone may have ceased to be followed since.
        for path in changed.iter() {
            let case = if snapshot.modified(path).is_some() { of_use(used_for(path)) } else { Case::Name };
            decide(path, case)?;
        }
        for change in &changes {
            let path = change.path.as_os_str().as_bytes();
            if decide(path, read.case(change, &used_for))? {
                changed.insert(path.to_vec());
            }
        }
        let unchanged = |path: &[u8]| !changed.contains(path);
        newest = newest.max(read.newest(snapshot, unchanged));
    }
    // What a root holds may be newer than the sources, and is older than what was built in it.
    if task.action.root.is_some() {
        let layers = rooted::layers(world, task.action, task.outputs_of, Root::FILES);
        for layer in layers.map_err(|error| Unfit::Records(error.to_string()))? {
            newest = newest.max(fs::metadata(layer)?.modified()?);
        }
    }
    if !times::move_past(out, newest)? {
        return Err(Unfit::Incomparable);
    }
    Ok(Continued { set, changed })
}

/// The names of all files in a directory and below.
fn names_in(dir: &Path) -> io::Result<HashSet<Vec<u8>>> {
    let mut names = HashSet::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                dirs.push(entry.path());
            } else {
                names.insert(entry.file_name().into_encoded_bytes());
            }
        }
    }
    Ok(names)
}

impl Continued {
    /// Copies of what has changed, with the present time, to be mounted over the files themselves.
    pub(super) fn mounts(
        &self,
        world: &World<'_>,
        task: &Task<'_>,
        work: &WorkDir,
    ) -> Result<Vec<Mount>, io::Error> {
        let copies = work.root().join("changed");
        fs::create_dir(&copies)?;
        let mut mounts = Vec::new();
        for tree in task.basis.manifest.trees() {
            let (Some(source), Some(changed)) = (source_of(tree), self.changed.get(&tree.input)) else {
                continue;
            };
            let root = &world.source_tree(source).map_err(io::Error::other)?.root;
            for path in changed {
                let path = Path::new(OsStr::from_bytes(path));
                let copy: PathBuf = copies.join(mounts.len().to_string());
                fs::copy(root.join(path), &copy)?;
                times::set(&copy, SystemTime::now())?;
                mounts.push(Mount {
                    from: copy,
                    to: inside(&tree.input).join(path),
                    access: Access::ReadOnly,
                });
            }
        }
        Ok(mounts)
    }

    /// How many files differ.
    pub(super) fn len(&self) -> usize {
        self.changed.values().map(BTreeSet::len).sum()
    }
}

/// Keeps the output directory of a run that ended by itself. `unfinished`: what had changed for it, if it failed.
pub(super) fn keep(
    stage: &Stage<'_>,
    task: &Task<'_>,
    work: &WorkDir,
    set: &PathSet,
    unfinished: BTreeMap<String, BTreeSet<Vec<u8>>>,
) -> Result<(), StoreError> {
    let store = stage.world.store;
    let path_set = store.batch(|batch| batch.put_path_set(set))?;
    let trees = task.basis.manifest.trees();
    let record = Record {
        version: VERSION,
        trees: trees.iter().map(|tree| (tree.input.clone(), tree.digest)).collect(),
        path_set,
        unfinished,
    };
    let needs: Vec<Digest> = record.trees.values().copied().chain([path_set]).collect();
    let record = postcard::to_stdvec(&record).expect("a record can be encoded");
    let limit = stage.world.spec.project.cache.kept;
    store.keep(&key(task), task.name, &work.out(), &record, &needs, limit)
}
