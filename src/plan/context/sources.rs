//! Source trees as they are now. Each is looked at once per run.
//!
//! An unpacked tree counts only while it holds what was unpacked: [`SourceTrees::snapshot`] compares it, so the snapshot of
//! an unpacked tree is the commit or the tarball that the spec names.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use crate::digest::Digest;
use crate::host::git::{self, ObjectId, Repository};
use crate::plan::compare::tree_changes;
use crate::plan::error::PlanError;
use crate::plan::manifest::Manifest;
use crate::plan::reason::Reason;
use crate::plan::source_tree::{SourceTree, Unpacked, UnpackedFrom};
use crate::source::{FileDigests, Listing, Listings, Snapshot, SnapshotOptions, SourceError};
use crate::spec::model::{Origin, Spec};
use crate::store::{Store, StoreError};

/// The source trees of a project.
pub struct SourceTrees<'a> {
    spec: &'a Spec,
    store: &'a Store,
    files: Arc<FileDigests>,
    /// By source name, as all maps here.
    trees: BTreeMap<String, OnceLock<SourceTree>>,
    snapshots: BTreeMap<String, OnceLock<Arc<Snapshot>>>,
    commits: BTreeMap<String, OnceLock<Result<ObjectId, String>>>,
    /// Listings of the snapshots, for explanations.
    listings: OnceLock<HashMap<Digest, Listing>>,
}

/// The state of a tree that kiln unpacks.
enum UnpackedState {
    /// It holds what was unpacked.
    Intact(Arc<Snapshot>),
    /// It is missing or altered, and has to be unpacked or repaired.
    NeedsUnpack(Vec<Reason>),
}

impl<'a> SourceTrees<'a> {
    pub(super) fn new(spec: &'a Spec, store: &'a Store, files: Arc<FileDigests>) -> Self {
        fn cells<T>(spec: &Spec) -> BTreeMap<String, OnceLock<T>> {
            spec.project.sources.keys().map(|name| (name.clone(), OnceLock::new())).collect()
        }
        let (trees, snapshots, commits) = (cells(spec), cells(spec), cells(spec));
        Self { spec, store, files, trees, snapshots, commits, listings: OnceLock::new() }
    }

    /// Where a source tree is, or will be after its node has run.
    pub fn tree(&self, name: &str) -> Result<&SourceTree, PlanError> {
        let cell = &self.trees[name];
        if let Some(tree) = cell.get() {
            return Ok(tree);
        }
        let source = &self.spec.project.sources[name];
        let path = source.path.clone();
        let tree = match &source.origin {
            Origin::Dir | Origin::Checkout => {
                SourceTree { root: path, ignore: source.ignore(), unpacked: None }
            }
            Origin::Commit { .. } => {
                let failed = |message| PlanError::Git { name: name.to_owned(), path: path.clone(), message };
                let commit = self.resolved_commit(name).clone().map_err(failed)?;
                let prefix = git::prefix(&path).map_err(failed)?;
                self.unpacked(UnpackedFrom::Commit { repository: Repository::Around(path), commit, prefix })
            }
            Origin::Tarball { digest, strip } => {
                self.unpacked(UnpackedFrom::Tarball { path, digest: digest.clone(), strip: *strip })
            }
        };
        Ok(cell.get_or_init(|| tree))
    }

    fn unpacked(&self, from: UnpackedFrom) -> SourceTree {
        let unpacked = Unpacked::new(from);
        SourceTree { root: self.store.source_dir(&unpacked.name), ignore: &[], unpacked: Some(unpacked) }
    }

    /// The repository of a git source.
    pub fn repository(&self, name: &str) -> Option<PathBuf> {
        let (path, _) = self.spec.project.sources.get(name)?.revision()?;
        Some(path.to_owned())
    }

    /// The commit of a git source; `None` if git can't resolve it.
    pub fn commit(&self, name: &str) -> Option<&str> {
        self.repository(name)?;
        self.resolved_commit(name).as_ref().ok().map(ObjectId::as_str)
    }

    /// The commit of a git source, or the message of git. It is resolved once per run: a branch that moves meanwhile stays
    /// the same commit throughout.
    fn resolved_commit(&self, name: &str) -> &Result<ObjectId, String> {
        self.commits[name].get_or_init(|| match self.spec.project.sources[name].revision() {
            Some((repository, revision)) => git::commit(repository, revision),
            None => Err("it is no git source".to_owned()),
        })
    }

    /// A source tree as it was when this run first looked at it.
    pub fn snapshot(&self, name: &str) -> Result<&Arc<Snapshot>, PlanError> {
        let cell = &self.snapshots[name];
        if let Some(snapshot) = cell.get() {
            return Ok(snapshot);
        }
        let tree = self.tree(name)?;
        let snapshot = match &tree.unpacked {
            None => Arc::new(self.walk(name)?),
            Some(unpacked) => match self.unpacked_state(name, tree, unpacked)? {
                UnpackedState::Intact(snapshot) => snapshot,
                UnpackedState::NeedsUnpack(_) => {
                    return Err(PlanError::Altered { name: name.to_owned(), root: tree.root.clone() });
                }
            },
        };
        Ok(cell.get_or_init(|| snapshot))
    }

    /// Why a source has to be unpacked or repaired; empty if it does not.
    pub fn unpack_reasons(&self, name: &str) -> Result<Vec<Reason>, PlanError> {
        let cell = &self.snapshots[name];
        let tree = self.tree(name)?;
        let (None, Some(unpacked)) = (cell.get(), &tree.unpacked) else { return Ok(Vec::new()) };
        Ok(match self.unpacked_state(name, tree, unpacked)? {
            UnpackedState::Intact(snapshot) => {
                cell.get_or_init(|| snapshot);
                Vec::new()
            }
            UnpackedState::NeedsUnpack(reasons) => reasons,
        })
    }

    fn unpacked_state(
        &self,
        name: &str,
        tree: &SourceTree,
        unpacked: &Unpacked,
    ) -> Result<UnpackedState, PlanError> {
        let recorded = self.store.unpacked_tree(&unpacked.name)?;
        let is_dir = std::fs::symlink_metadata(&tree.root).is_ok_and(|stat| stat.is_dir());
        let (Some(recorded), true) = (recorded, is_dir) else {
            return Ok(UnpackedState::NeedsUnpack(vec![Reason::NotUnpacked]));
        };
        let altered = |why| Reason::Altered { source: name.to_owned(), why };
        let now = match self.walk(name) {
            Ok(now) if now.digest() == recorded => return Ok(UnpackedState::Intact(Arc::new(now))),
            Ok(now) => now,
            Err(PlanError::Source { source: SourceError::Missing { .. }, .. }) => {
                return Ok(UnpackedState::NeedsUnpack(vec![Reason::NotUnpacked]));
            }
            Err(error) => return Ok(UnpackedState::NeedsUnpack(vec![altered(Some(error.to_string()))])),
        };
        let mut reasons = vec![altered(None)];
        let listings = CurrentOrRecorded { current: now.listings().collect(), store: self.store };
        tree_changes(name, recorded, now.digest(), &listings, &|_| true, &mut reasons);
        Ok(UnpackedState::NeedsUnpack(reasons))
    }

    /// Walks a source tree again, and returns its present state.
    pub fn walk(&self, name: &str) -> Result<Snapshot, PlanError> {
        let tree = self.tree(name)?;
        let cache_file = self.store.tree_cache(&tree.root);
        let options = SnapshotOptions { cache_file: Some(&cache_file), ignore: tree.ignore };
        let failed = |source| PlanError::Source { name: name.to_owned(), source };
        if let Some(then) = self.snapshots[name].get() {
            return then.again(&tree.root, &options).map_err(failed);
        }
        let unreadable = |source| failed(SourceError::Root { root: tree.root.clone(), source });
        self.files.note_links(&tree.root).map_err(unreadable)?;
        Snapshot::take(&tree.root, &options).map_err(failed)
    }

    /// Whether a link on the path to a source tree pointed elsewhere at any time since this run first looked.
    pub fn was_redirected(&self, name: &str) -> Result<bool, PlanError> {
        Ok(self.files.was_disturbed(&self.tree(name)?.root))
    }

    /// The time until which a change of one of these sources, or of any other file that counts, may leave a file's stat as
    /// it was when this run first looked. In nanoseconds of this host's clock.
    pub fn racy_until(&self, sources: &[&str]) -> i64 {
        let snapshots = sources.iter().filter_map(|source| self.snapshots.get(*source)?.get());
        let newest = snapshots.map(|snapshot| snapshot.racy_until()).max();
        newest.unwrap_or(i64::MIN).max(self.files.racy_until())
    }

    /// The listings of a manifest's source trees that the store does not have yet. A later run needs them to name the files
    /// that changed.
    pub fn new_listings(&self, manifest: &Manifest) -> Result<Vec<(Digest, Listing)>, StoreError> {
        let mut listings = Vec::new();
        for tree in manifest.trees() {
            let mut snapshots = self.snapshots.values().filter_map(OnceLock::get);
            let snapshot = snapshots.find(|snapshot| snapshot.digest() == tree.digest);
            let Some(snapshot) = snapshot else { continue };
            let mut failed = None;
            listings.extend(snapshot.listings_unless(|digest| match self.store.has_listing(digest) {
                Ok(known) => known,
                Err(error) => {
                    failed = Some(error);
                    true
                }
            }));
            if let Some(error) = failed {
                return Err(error);
            }
        }
        Ok(listings)
    }
}

/// Listings of the trees as they are now, and as they were recorded.
impl Listings for SourceTrees<'_> {
    fn listing(&self, digest: &Digest) -> Option<Listing> {
        let now = self.listings.get_or_init(|| {
            let taken = self.snapshots.values().filter_map(OnceLock::get);
            taken.flat_map(|snapshot| snapshot.listings()).collect()
        });
        now.get(digest).cloned().or_else(|| self.store.listing(digest).ok().flatten())
    }
}

/// Listings of one tree as it is now, and all that are recorded.
struct CurrentOrRecorded<'a> {
    current: HashMap<Digest, Listing>,
    store: &'a Store,
}

impl Listings for CurrentOrRecorded<'_> {
    fn listing(&self, digest: &Digest) -> Option<Listing> {
        self.current.get(digest).cloned().or_else(|| Listings::listing(self.store, digest))
    }
}
