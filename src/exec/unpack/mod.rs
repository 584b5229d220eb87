//! Source trees from commits and tarballs.
//!
//! ```text
//! commit or tarball --write--> a new tree --sync, record--> the source's directory
//!                                         \--only what differs--> a tree that something has changed
//! ```
//!
//! The digest of a tree is computed from what was read, not from what is on disk afterwards. It is recorded, and compared
//! with the tree at each use.

mod commit;
mod error;
mod repair;
mod submodules;
mod tarball;
mod tree;

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::thread::sleep;

use nix::unistd::syncfs;

use self::error::At;
pub(super) use self::error::UnpackError;
use self::tree::Written;
use super::cancel::Cancel;
use super::worker::POLL_INTERVAL;
use crate::plan::{SourceTree, Unpacked, UnpackedFrom};
use crate::source::{Built, Snapshot, SnapshotOptions, diff};
use crate::store::{LockGuard, Store, StoreError, remove_tree};

/// How many changed paths a message names.
const MAX_PATHS_NAMED: usize = 3;

/// Unpacks source trees.
pub(super) struct Unpacking<'a> {
    /// The cache that holds the trees.
    pub store: &'a Store,
    /// The number of threads that read and write.
    pub threads: usize,
    /// Whether to stop.
    pub cancel: &'a Cancel,
}

impl Unpacking<'_> {
    /// Makes or repairs the tree of a source. Gives notes for the user.
    pub fn run(&self, source: &str, tree: &SourceTree) -> Result<Vec<String>, UnpackError> {
        let unpacked = tree.unpacked.as_ref().expect("only such sources have a node");
        let _lock = self.lock(source, unpacked)?;
        let temp = self.store.fresh_work_dir("unpack")?;
        let made = self.make(source, tree, unpacked, &temp);
        let _ = remove_tree(&temp);
        let notes = made?;
        self.store.measure_again()?;
        Ok(notes)
    }

    /// Waits for other processes that unpack the same tree.
    fn lock(&self, source: &str, unpacked: &Unpacked) -> Result<LockGuard, UnpackError> {
        loop {
            if let Some(lock) = self.store.try_lock(&unpacked.name, &format!("source:{source}"))? {
                return Ok(lock);
            }
            self.check_cancelled()?;
            sleep(POLL_INTERVAL);
        }
    }

    fn make(
        &self,
        source: &str,
        tree: &SourceTree,
        unpacked: &Unpacked,
        temp: &Path,
    ) -> Result<Vec<String>, UnpackError> {
        let (store, root) = (self.store, &tree.root);
        let is_dir = fs::symlink_metadata(root).is_ok_and(|stat| stat.is_dir());
        let now = if is_dir { Snapshot::take(root, &SnapshotOptions::default()).ok() } else { None };
        let recorded = store.unpacked_tree(&unpacked.name)?;
        if now.as_ref().is_some_and(|now| Some(now.digest()) == recorded) {
            // Another process has made it.
            return Ok(Vec::new());
        }

        let fresh = temp.join("tree");
        fs::create_dir(&fresh).at(&fresh)?;
        let Written { tree: built, mut notes } = match &unpacked.from {
            UnpackedFrom::Commit { repository, commit, prefix } => {
                self.commit(repository, commit, prefix, &fresh)?
            }
            UnpackedFrom::Tarball { path, digest, strip } => self.tarball(path, digest, *strip, &fresh)?,
        };
        let built = built.finish();
        // After a power cut there must be no record of a tree whose files are missing.
        let dir = fs::File::open(&fresh).at(&fresh)?;
        syncfs(dir.as_fd()).map_err(std::io::Error::from).at(&fresh)?;
        store.put_listings(built.listings.iter().map(|(digest, listing)| (digest, listing.bytes())))?;

        let parent = root.parent().unwrap_or(root);
        fs::create_dir_all(parent).at(parent)?;
        let repaired = now.and_then(|now| repair_in_place(root, &fresh, &now, &built));
        store.record_unpacked(&unpacked.name, &built.digest)?;
        match repaired {
            Some(changes) => notes.extend((!changes.is_empty()).then(|| {
                format!("source {source}: the unpacked tree was changed by something else, and was put right: {changes}")
            })),
            None => replace(root, &fresh, &temp.join("before"))?,
        }
        Ok(notes)
    }

    fn check_cancelled(&self) -> Result<(), UnpackError> {
        if self.cancel.is_cancelled() { Err(UnpackError::Cancelled) } else { Ok(()) }
    }
}

/// Repairs what differs, and names it; `None` if the whole tree is to be replaced. Another process may read the tree: files
/// that are right stay in place.
fn repair_in_place(root: &Path, fresh: &Path, now: &Snapshot, built: &Built) -> Option<String> {
    let mut listings = built.listings.clone();
    listings.extend(now.listings());
    let changes = diff(&now.digest(), &built.digest, &listings).ok()?;
    repair::repair(root, fresh, &changes).ok()?;
    let paths = repair::paths(&changes);
    let mut named: Vec<String> =
        paths.iter().take(MAX_PATHS_NAMED).map(|path| path.display().to_string()).collect();
    if paths.len() > MAX_PATHS_NAMED {
        named.push(format!("and {} more", paths.len() - MAX_PATHS_NAMED));
    }
    Some(named.join(", "))
}

/// Replaces a tree.
fn replace(root: &Path, fresh: &Path, aside: &Path) -> Result<(), UnpackError> {
    if fs::symlink_metadata(root).is_ok() {
        repair::writable(root);
        fs::rename(root, aside).at(root)?;
    }
    fs::rename(fresh, root).at(root)
}

impl From<StoreError> for UnpackError {
    fn from(error: StoreError) -> Self {
        Self::Store(Box::new(error))
    }
}
