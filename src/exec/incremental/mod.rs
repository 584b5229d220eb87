//! Incremental builds: an action that has no cached result continues in the output directory of its last run.
//!
//! kbuild rebuilds targets that are older than their prerequisites. File times do not say what has changed: a fresh checkout
//! makes all files new, and a restored file may be old. So:
//!
//! * a file whose content has changed since the last run is shown to the steps as a copy with the present time, mounted over the
//!   file;
//! * the times of all files in the output directory are moved past the times of all other files that were read, in their order.
//!
//! kbuild does not notice every change. [`ChangeClass`] lists the changes that it follows; any other change starts from an
//! empty directory. So does a run after one that was killed, whose files may be torn. A run that failed by itself leaves a
//! directory to continue in, and what had changed for it still counts as changed.
//!
//! An output directory belongs to one node and one configuration, and is never shared.

mod change_class;
mod reads;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::context::{RunContext, Task};
use super::file_times;
use super::sandbox::{Access, Mount};
use super::sandbox_paths::sandbox_path;
use super::toolchain_root;
use super::work_dir::WorkDir;
use crate::digest::{Digest, Domain, Hasher};
use crate::plan::BuildContext;
use crate::source::{PathSet, diff};
use crate::spec::root::Root;
use crate::store::{StoreError, remove_tree};
use change_class::{ChangeClass, Decision};
use reads::{TreeReads, class_of_use};

/// Raised when a record changes its meaning.
const VERSION: u32 = 2;

/// What is recorded about a kept output directory.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    version: u32,
    /// The trees that it was made from, by input.
    trees: BTreeMap<String, Digest>,
    /// Everything that was read for it, in all runs since it was empty.
    path_set: Digest,
    /// By input: what had changed for a run that then failed. It may not have been rebuilt.
    unfinished: BTreeMap<String, BTreeSet<Vec<u8>>>,
}

/// The digests that the record of a kept directory refers to: its path set, and the trees that it was made from. They travel
/// with it to remotes. `None` where the record can't be read.
pub fn incremental_state_refs(record: &[u8]) -> Option<(Digest, Vec<Digest>)> {
    let record: Record = postcard::from_bytes(record).ok()?;
    (record.version == VERSION).then(|| (record.path_set, record.trees.into_values().collect()))
}

/// A kept output directory that is ready to continue in.
pub(super) struct IncrementalState {
    /// Everything that was read for it.
    pub set: PathSet,
    /// Files that have changed since, by input.
    pub changed: BTreeMap<String, BTreeSet<Vec<u8>>>,
}

/// Why a run can't continue in the kept output directory.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotReusable {
    #[error("what was kept of its last run is of another version, or damaged")]
    Record,
    #[error("{path} {}: {}", .case.what(), .case.why())]
    Change { path: String, case: ChangeClass },
    #[error("times of files can't be compared: {}", ChangeClass::Incomparable.why())]
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

/// The key of a kept directory: of this node, with this configuration.
fn key(task: &Task<'_>) -> Digest {
    let mut hasher = Hasher::new(Domain::Kept);
    hasher.text(task.name).digest(&task.key_inputs.keys.action);
    for tree in task.key_inputs.manifest.trees() {
        if tree.source().is_none() {
            hasher.text(&tree.input).digest(&tree.digest);
        }
    }
    hasher.finish()
}

/// Moves the kept directory of an action, if there is one, to the output directory. If no run can continue in it, it is removed.
pub(super) fn take(
    context: &RunContext<'_>,
    task: &Task<'_>,
    work: &WorkDir,
) -> Result<Option<IncrementalState>, NotReusable> {
    let (out, key) = (work.out(), key(task));
    let store = context.build.store;
    let here = store.take_kept(&key, &out)?;
    let elsewhere = || context.build.remotes.and_then(|remotes| remotes.take_kept(store, &key, &out));
    let Some(record) = here.or_else(elsewhere) else { return Ok(None) };
    let continued = prepare(context, task, &record, &out);
    if continued.is_err() {
        remove_tree(&out)?;
    }
    continued.map(Some)
}

fn prepare(
    context: &RunContext<'_>,
    task: &Task<'_>,
    record: &[u8],
    out: &Path,
) -> Result<IncrementalState, NotReusable> {
    let build = context.build;
    let record: Record = postcard::from_bytes(record).map_err(|_| NotReusable::Record)?;
    if record.version != VERSION {
        return Err(NotReusable::Record);
    }
    let set = build.read_path_set(&record.path_set)?.ok_or(NotReusable::Record)?;
    if !task.key_inputs.manifest.accepts(set.provenance()) {
        return Err(NotReusable::RecordsAlone);
    }
    let mut changed = record.unfinished;
    let mut newest = SystemTime::UNIX_EPOCH;
    let made = names_in(out)?;
    for tree in task.key_inputs.manifest.trees() {
        let Some(source) = tree.source() else { continue };
        let (Some(then), Some(reads)) = (record.trees.get(&tree.input), set.reads(&tree.input)) else {
            return Err(NotReusable::Record);
        };
        let changes = diff(then, &tree.digest, &build.sources).map_err(|_| NotReusable::Record)?;
        let at = build.sources.tree(source).map_err(|error| NotReusable::Records(error.to_string()))?;
        let used_for = context.kinds.records().uses(out, &sandbox_path(&tree.input), &at.root);
        let used_for = used_for.map_err(NotReusable::Records)?;
        let snapshot =
            build.sources.snapshot(source).map_err(|error| NotReusable::Records(error.to_string()))?;
        let read = TreeReads::new(reads, &made);
        let changed = changed.entry(tree.input.clone()).or_default();
        let decide = |path: &[u8], case: ChangeClass| match case.decision() {
            Decision::FromScratch => {
                Err(NotReusable::Change { path: String::from_utf8_lossy(path).into_owned(), case })
            }
            decision => Ok(decision == Decision::Continues),
        };
        // A file that changed for a failed run may be used for something else since.
        for path in changed.iter() {
            let case = if snapshot.modified(path).is_some() {
                class_of_use(used_for(path))
            } else {
                ChangeClass::Name
            };
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
    // Files of a root may be newer than the sources, and are older than what was built with them.
    if task.action.root.is_some() {
        let layers = toolchain_root::layers(build, task.action, task.outputs_of, Root::FILES);
        for layer in layers.map_err(|error| NotReusable::Records(error.to_string()))? {
            newest = newest.max(fs::metadata(layer)?.modified()?);
        }
    }
    if !file_times::move_past(out, newest)? {
        return Err(NotReusable::Incomparable);
    }
    Ok(IncrementalState { set, changed })
}

/// The names of all files below a directory.
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

impl IncrementalState {
    /// Mounts of copies of the changed files, with the present time, over the files.
    pub(super) fn mounts(
        &self,
        build: &BuildContext<'_>,
        task: &Task<'_>,
        work: &WorkDir,
    ) -> Result<Vec<Mount>, io::Error> {
        let copies = work.root().join("changed");
        fs::create_dir(&copies)?;
        let mut mounts = Vec::new();
        for tree in task.key_inputs.manifest.trees() {
            let (Some(source), Some(changed)) = (tree.source(), self.changed.get(&tree.input)) else {
                continue;
            };
            let root = &build.sources.tree(source).map_err(io::Error::other)?.root;
            for path in changed {
                let path = Path::new(OsStr::from_bytes(path));
                let copy: PathBuf = copies.join(mounts.len().to_string());
                fs::copy(root.join(path), &copy)?;
                file_times::set(&copy, SystemTime::now())?;
                mounts.push(Mount {
                    from: copy,
                    to: sandbox_path(&tree.input).join(path),
                    access: Access::ReadOnly,
                });
            }
        }
        Ok(mounts)
    }

    /// The number of changed files.
    pub(super) fn changed_files(&self) -> usize {
        self.changed.values().map(BTreeSet::len).sum()
    }
}

/// Keeps the output directory of a run that ended by itself. `unfinished`: what had changed for it, if it failed.
pub(super) fn save(
    context: &RunContext<'_>,
    task: &Task<'_>,
    work: &WorkDir,
    set: &PathSet,
    unfinished: BTreeMap<String, BTreeSet<Vec<u8>>>,
) -> Result<(), StoreError> {
    let store = context.build.store;
    let path_set = store.batch(|batch| batch.put_path_set(set))?;
    let trees = task.key_inputs.manifest.trees();
    let record = Record {
        version: VERSION,
        trees: trees.iter().map(|tree| (tree.input.clone(), tree.digest)).collect(),
        path_set,
        unfinished,
    };
    let needs: Vec<Digest> = record.trees.values().copied().chain([path_set]).collect();
    let record = postcard::to_stdvec(&record).expect("a record can be encoded");
    let limit = context.build.spec.project.cache.kept;
    store.keep(&key(task), task.name, &work.out(), &record, &needs, limit)
}
