//! Source trees from commits and tarballs.
//!
//! ```text
//! commit or tarball --write--> a tree beside its place --sync, record--> its place
//!                                                    \--only what differs--> a tree that something has changed
//! ```
//!
//! What a tree comes to is known from what was read, not from what is on disk afterwards: that is recorded, and
//! compared whenever the tree is used.

mod commit;
mod error;
mod mend;
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
use super::schedule::TICK;
use crate::plan::{SourceTree, Unpacked, UnpackedFrom};
use crate::source::{Built, Snapshot, SnapshotOptions, diff};
use crate::store::{LockGuard, Store, StoreError, remove_tree};

/// How many changed paths a message names.
const NAMED: usize = 3;

/// How a tree is unpacked.
pub(super) struct Unpacking<'a> {
    /// The cache in which it appears.
    pub store: &'a Store,
    /// How many threads may read and write.
    pub threads: usize,
    /// Whether somebody wants it to end.
    pub cancel: &'a Cancel,
}

impl Unpacking<'_> {
    /// Makes the tree of a source, or makes it again what it was. Gives what the user should hear of.
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

    /// Another kiln that unpacks the same is waited for.
    fn lock(&self, source: &str, unpacked: &Unpacked) -> Result<LockGuard, UnpackError> {
        loop {
            if let Some(lock) = self.store.try_lock(&unpacked.name, &format!("source:{source}"))? {
                return Ok(lock);
            }
            self.go_on()?;
            sleep(TICK);
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
            // Another kiln was faster.
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
        // A power cut must not leave a tree whose record is there and whose files are not.
        let dir = fs::File::open(&fresh).at(&fresh)?;
        syncfs(dir.as_fd()).map_err(std::io::Error::from).at(&fresh)?;
        store.put_listings(built.listings.iter().map(|(digest, listing)| (digest, listing.bytes())))?;

        let parent = root.parent().unwrap_or(root);
        fs::create_dir_all(parent).at(parent)?;
        let mended = now.and_then(|now| mend_in_place(root, &fresh, &now, &built));
        store.record_unpacked(&unpacked.name, &built.digest)?;
        match mended {
            Some(changes) => notes.extend((!changes.is_empty()).then(|| {
                format!("source {source}: the unpacked tree was changed by something else, and was put right: {changes}")
            })),
            None => replace(root, &fresh, &temp.join("before"))?,
        }
        Ok(notes)
    }

    fn go_on(&self) -> Result<(), UnpackError> {
        if self.cancel.is_cancelled() { Err(UnpackError::Cancelled) } else { Ok(()) }
    }
}

/// Puts right what differs, and tells what that was; `None` where the whole tree is to be replaced. Another kiln may be at
/// work in the tree: what is as it should be stays where it is.
fn mend_in_place(root: &Path, fresh: &Path, now: &Snapshot, built: &Built) -> Option<String> {
    let mut listings = built.listings.clone();
    listings.extend(now.listings());
    let changes = diff(&now.digest(), &built.digest, &listings).ok()?;
    mend::mend(root, fresh, &changes).ok()?;
    let paths = mend::paths(&changes);
    let mut named: Vec<String> = paths.iter().take(NAMED).map(|path| path.display().to_string()).collect();
    if paths.len() > NAMED {
        named.push(format!("and {} more", paths.len() - NAMED));
    }
    Some(named.join(", "))
}

/// Puts a tree in the place of whatever is there.
fn replace(root: &Path, fresh: &Path, aside: &Path) -> Result<(), UnpackError> {
    if fs::symlink_metadata(root).is_ok() {
        mend::writable(root);
        fs::rename(root, aside).at(root)?;
    }
    fs::rename(fresh, root).at(root)
}

impl From<StoreError> for UnpackError {
    fn from(error: StoreError) -> Self {
        Self::Store(Box::new(error))
    }
}
