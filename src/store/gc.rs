//! Collection: what was used longest ago goes, until the cache is within its bounds.
//!
//! What goes is a *result*, with all that nothing else needs: half a result is worth nothing. Beside results there are
//! logs of runs, kept output directories, unpacked sources, what was set aside as damaged, and blobs that nothing names.
//!
//! 1. The directories are walked.
//! 2. In one transaction, and with no claim being made (see `claims`), it is chosen what goes, and the rows of that are
//!    deleted. From here on nobody finds what goes.
//! 3. Files are unlinked, some thousand at a time; before each such batch it is asked what has been claimed or recorded
//!    since, and that stays.
//!
//! Killed before the transaction ends, nothing has happened; killed after it, blobs are left that nothing names, and the
//! next collection takes them.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use rayon::prelude::*;

use super::choice::{Choice, Chosen, Wanted, What};
use super::claims::{Claimed, NoClaims};
use super::error::{At, StoreError};
use super::inventory::{BlobFile, Inventory};
use super::rows::{Newest, Rows, needed_since};
use super::{Store, forget, lock_file, remove_tree, times};
use crate::digest::Digest;

/// How many runs of each node are on record: older ones go, but for those that a node's state or a result came from.
pub const RUNS_PER_NODE: u32 = 20;

/// How many files are unlinked before it is asked again what has been claimed. Whoever claims something waits so long.
const BATCH: usize = 4096;

/// The bounds of a cache. What is none is no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// How many bytes it may take.
    pub size: Option<u64>,
    /// How long things stay that are not used.
    pub age: Option<Duration>,
    /// How many bytes of the file system it leaves to others.
    pub free: Option<u64>,
}

/// What stays although it has not been used for long.
pub struct Needs<'a> {
    /// Strong keys of results, and names of sources.
    pub digests: &'a HashSet<Digest>,
    /// The digests of trees in a run's manifest, which is opaque here.
    pub trees_of: &'a dyn Fn(&[u8]) -> Vec<Digest>,
}

/// How a collection is to go about it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// Only tell what would go.
    pub dry_run: bool,
    /// Leave it to another collection that is under way, and make a tenth more room than is asked for: the next build
    /// need not collect again.
    pub in_passing: bool,
}

/// How far a collection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The directories have been walked.
    Walked,
    /// The rows are gone.
    Forgotten,
    /// A batch of files is gone.
    Unlinked,
}

/// What things in the cache are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sort {
    /// Results, with the files of their outputs.
    Result,
    /// Logs of runs.
    Log,
    /// Kept output directories.
    Kept,
    /// Unpacked sources.
    Source,
    /// What was not what it should be, kept as evidence.
    Damaged,
    /// Blobs that nothing names.
    Unreachable,
}

/// What a collection came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// How large the cache was, in bytes.
    pub before: u64,
    /// How many things of each sort went, and how many bytes that gave.
    pub gone: BTreeMap<Sort, (u64, u64)>,
    /// How many bytes more should have gone, but are needed or in use.
    pub over: u64,
    /// Another collection was under way, and was left to it.
    pub elsewhere: bool,
}

impl Collected {
    /// How many bytes went.
    pub fn freed(&self) -> u64 {
        self.gone.values().map(|(_, bytes)| bytes).sum()
    }
}

impl Store {
    /// Brings the cache within its bounds. Never goes what a running kiln has claimed, nor what is needed.
    ///
    /// `watch` is told how far it is. Whoever is killed meanwhile leaves a good cache.
    pub fn gc(
        &self,
        limits: &Limits,
        needs: &Needs<'_>,
        manner: Manner,
        watch: &dyn Fn(Step),
    ) -> Result<Collected, StoreError> {
        let Some(_lock) = self.collecting(manner.in_passing)? else {
            return Ok(Collected { elsewhere: true, ..Collected::default() });
        };
        let size_before = self.settle(0)?;
        let inventory = self.inventory()?;
        let free = self.free()?;
        watch(Step::Walked);

        let mut claimed = Claimed::default();
        let mut no_claims = None;
        let (chosen, mut collected) = self.batch(|batch| {
            let lock = no_claims.insert(NoClaims::begin(&self.home)?);
            claimed.read(&self.home, lock)?;
            let kept_needs = self.needs_of_kept()?;
            batch.write(|index| {
                let rows = Rows::read(index)?;
                let mut choice = Choice::new(index, &inventory, &rows, &claimed, needs, &kept_needs)?;
                let wanted = Wanted::new(limits, manner, inventory.total(), free);
                let (mut chosen, collected) = choice.choose(&wanted);
                if !manner.dry_run {
                    let path_sets = kept_needs.iter().chain(claimed.iter());
                    forget::forget(index, &rows, &chosen, choice.objects(), path_sets)?;
                    chosen.newest = Newest::read(index)?;
                }
                Ok((chosen, collected))
            })
        })?;
        drop(no_claims);
        if manner.dry_run {
            return Ok(collected);
        }
        watch(Step::Forgotten);
        let spared = self.unlink(&chosen, &mut claimed, watch)?;
        self.remove_others(&chosen, &inventory, &mut claimed)?;
        self.date_again(&chosen, &inventory);
        if spared > 0 {
            let (_, bytes) = collected.gone.entry(Sort::Result).or_default();
            *bytes = bytes.saturating_sub(spared);
        }
        let walked = collected.gone.iter().filter(|(sort, _)| **sort != Sort::Kept);
        let freed = walked.map(|(_, (_, bytes))| bytes).sum();
        self.settle_at(inventory.counted().saturating_sub(freed), size_before)?;
        self.shrink_index()?;
        Ok(collected)
    }

    /// The lock of whoever collects. `None`: another does, and is not to be waited for.
    fn collecting(&self, in_passing: bool) -> Result<Option<File>, StoreError> {
        let path = self.home.join("collecting");
        let file = lock_file(&path)?;
        if !in_passing {
            file.lock().at(&path)?;
            return Ok(Some(file));
        }
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(StoreError::io(&path, error)),
        }
    }

    /// Unlinks blobs, but for those that somebody has come to need since they were chosen. Gives the room of these.
    fn unlink(
        &self,
        chosen: &Chosen,
        claimed: &mut Claimed,
        watch: &dyn Fn(Step),
    ) -> Result<u64, StoreError> {
        let mut spared: HashSet<Digest> = HashSet::new();
        let mut newest = chosen.newest;
        let mut room = 0;
        for batch in chosen.blobs.chunks(BATCH) {
            let connection = self.connection();
            let no_claims = NoClaims::begin(&self.home)?;
            // Claims before rows: a session that has ended meanwhile has committed its rows before.
            let claims = claimed.read(&self.home, &no_claims)?;
            let needed = needed_since(&connection, &mut newest, &claims);
            spared.extend(needed.map_err(|error| self.index_error(error))?);
            // Blobs are sorted, so that those of one directory come one after the other: threads take one each.
            let dirs: Vec<&[BlobFile]> =
                batch.chunk_by(|a, b| a.digest.as_bytes()[0] == b.digest.as_bytes()[0]).collect();
            let spared = &spared;
            let left: Vec<u64> = dirs
                .par_iter()
                .map(|dir| dir.iter().try_fold(0, |left, blob| Ok(left + self.unlink_one(blob, spared)?)))
                .collect::<Result<_, StoreError>>()?;
            room += left.iter().sum::<u64>();
            drop(no_claims);
            drop(connection);
            watch(Step::Unlinked);
        }
        Ok(room)
    }

    /// Gives the room of a blob that is spared.
    fn unlink_one(&self, blob: &BlobFile, spared: &HashSet<Digest>) -> Result<u64, StoreError> {
        if spared.contains(&blob.digest) {
            return Ok(blob.room);
        }
        let path = self.blob_path(&blob.digest);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(StoreError::io(&path, error)),
            _ => Ok(0),
        }
    }

    fn remove_others(
        &self,
        chosen: &Chosen,
        inventory: &Inventory,
        claimed: &mut Claimed,
    ) -> Result<(), StoreError> {
        for what in &chosen.gone {
            match *what {
                What::Kept(at) => {
                    let kept = &inventory.kept[at];
                    self.drop_kept_until(&kept.key, kept.used)?;
                }
                What::Source(at) => {
                    let name = &inventory.sources[at].name;
                    let taken = self.session.temp_path();
                    let no_claims = NoClaims::begin(&self.home)?;
                    claimed.read(&self.home, &no_claims)?;
                    if claimed.contains(name) {
                        continue;
                    }
                    let from = self.source_dir(name);
                    match fs::rename(&from, &taken) {
                        Err(error) if error.kind() != ErrorKind::NotFound => {
                            return Err(StoreError::io(&from, error));
                        }
                        _ => {}
                    }
                    for beside in [self.source_mark(name), self.source_record(name)] {
                        let _ = fs::remove_file(beside);
                    }
                    drop(no_claims);
                    remove_tree(&taken)?;
                }
                What::Damaged(at) => {
                    let path = damaged(inventory, at);
                    if path.parent() == Some(&self.home.join("partial")) {
                        super::intake::remove_partial(path)?;
                    } else {
                        super::session::remove_any(path).at(path)?;
                    }
                }
                What::Result(_) | What::Log(_) | What::Unreachable(_) => {}
            }
        }
        Ok(())
    }

    /// Gives files with a time in the future the present one, so that they grow old at all. Rows have theirs already.
    fn date_again(&self, chosen: &Chosen, inventory: &Inventory) {
        for (what, used) in &chosen.from_the_future {
            let path = match *what {
                What::Unreachable(at) => self.blob_path(&inventory.blobs[at].digest),
                What::Damaged(at) => damaged(inventory, at).clone(),
                What::Source(at) => self.source_mark(&inventory.sources[at].name),
                What::Result(_) | What::Log(_) | What::Kept(_) => continue,
            };
            let file = if matches!(what, What::Source(_)) { File::create(&path) } else { File::open(&path) };
            // One that goes right now, or is another user's, needs none.
            let _ = file.and_then(|file| file.set_modified(times::time(*used)));
        }
    }

    /// Gives back what the index does not need any more, where that is a good part of it.
    fn shrink_index(&self) -> Result<(), StoreError> {
        self.read_index(|index| {
            let count = |pragma| index.query_row(pragma, [], |row| row.get::<_, i64>(0));
            if count("PRAGMA freelist_count")? > count("PRAGMA page_count")? / 4 {
                let mut vacuum = index.prepare("PRAGMA incremental_vacuum")?;
                let mut pages = vacuum.query([])?;
                while pages.next()?.is_some() {}
            }
            Ok(())
        })
    }
}

fn damaged(inventory: &Inventory, at: usize) -> &PathBuf {
    &inventory.things().nth(at).expect("what is chosen is in the inventory").path
}
