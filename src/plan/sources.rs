//! Source trees: where they are, how kiln comes by those that it unpacks, and what they hold now.
//!
//! A tree that kiln unpacked counts only while it holds what was unpacked: [`World::source`] compares each time, so whoever
//! has the snapshot of such a tree knows that it is the commit, or the tarball, that the spec names.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::reason::{self, Reason};
use super::world::{PlanError, World};
use crate::digest::{Digest, Domain, Hasher};
use crate::host::git::{self, ObjectId, Repository};
use crate::source::{Listing, Listings, Snapshot, SnapshotOptions, SourceError};
use crate::spec::model::{Origin, TarballDigest};
use crate::store::Store;

/// Raised when the same commit or tarball would be unpacked to another tree: what an older kiln unpacked then has
/// another name.
const UNPACK_VERSION: u64 = 2;

/// Where a source tree is.
#[derive(Debug, Clone)]
pub struct SourceTree {
    /// Its root.
    pub root: PathBuf,
    /// Entries of the root that are not part of it.
    pub ignore: &'static [&'static str],
    /// What kiln unpacks there; `None` for a directory of the user's own.
    pub unpacked: Option<Unpacked>,
}

/// A tree that kiln unpacks.
#[derive(Debug, Clone)]
pub struct Unpacked {
    /// Its name below the cache's `sources/`: of what it is made of.
    pub name: Digest,
    /// What it is made of.
    pub from: UnpackedFrom,
}

/// What a tree is unpacked from.
#[derive(Debug, Clone)]
pub enum UnpackedFrom {
    /// A commit.
    Commit {
        /// Where that is.
        repository: Repository,
        /// Its name, in full.
        commit: ObjectId,
        /// The directory of the commit that is the tree's root; empty for all of it.
        prefix: PathBuf,
    },
    /// An archive.
    Tarball {
        /// The file.
        path: PathBuf,
        /// What it must hash to.
        digest: TarballDigest,
        /// Leading parts to take off every path in it.
        strip: u32,
    },
}

impl UnpackedFrom {
    fn name(&self) -> Digest {
        let mut hasher = Hasher::new(Domain::UnpackedSource);
        hasher.number(UNPACK_VERSION);
        match self {
            Self::Commit { commit, prefix, .. } => {
                hasher.text("git").text(commit.as_str()).bytes(prefix.as_os_str().as_encoded_bytes())
            }
            Self::Tarball { digest: TarballDigest::Sha256(digest), strip, .. } => {
                hasher.text("sha256").bytes(digest).number((*strip).into())
            }
            Self::Tarball { digest: TarballDigest::Blake3(digest), strip, .. } => {
                hasher.text("blake3").digest(digest).number((*strip).into())
            }
        };
        hasher.finish()
    }
}

/// What became of the tree of a source that kiln unpacks.
pub(super) enum Standing {
    /// It holds what was unpacked.
    Whole(Arc<Snapshot>),
    /// It does not, or is not there: so it is unpacked, or put right.
    Lacking(Vec<Reason>),
}

impl World<'_> {
    /// Where a source tree is, or will be once its node has run.
    pub fn source_tree(&self, name: &str) -> Result<&SourceTree, PlanError> {
        let cell = &self.trees[name];
        if let Some(tree) = cell.get() {
            return Ok(tree);
        }
        let source = &self.spec.project.sources[name];
        let tree = match &source.origin {
            Origin::Dir | Origin::Checkout => {
                SourceTree { root: source.path.clone(), ignore: source.ignore(), unpacked: None }
            }
            Origin::Commit { .. } => {
                let path = source.path.clone();
                let failed = |message| PlanError::Git { name: name.to_owned(), path: path.clone(), message };
                let commit = self.commit_of(name).clone().map_err(failed)?;
                let prefix = git::prefix(&path).map_err(failed)?;
                self.unpacked(UnpackedFrom::Commit { repository: Repository::Around(path), commit, prefix })
            }
            Origin::Tarball { digest, strip } => self.unpacked(UnpackedFrom::Tarball {
                path: source.path.clone(),
                digest: digest.clone(),
                strip: *strip,
            }),
        };
        Ok(cell.get_or_init(|| tree))
    }

    fn unpacked(&self, from: UnpackedFrom) -> SourceTree {
        let name = from.name();
        SourceTree {
            root: self.store.source_dir(&name),
            ignore: &[],
            unpacked: Some(Unpacked { name, from }),
        }
    }

    /// The repository of a git source.
    pub fn repository(&self, name: &str) -> Option<PathBuf> {
        let (path, _) = self.spec.project.sources.get(name)?.revision()?;
        Some(path.to_owned())
    }

    /// The commit that a git source stands at; `None` where git does not know.
    pub fn commit(&self, name: &str) -> Option<&str> {
        self.repository(name)?;
        self.commit_of(name).as_ref().ok().map(ObjectId::as_str)
    }

    /// The commit that a git source stands at, or what git says. It is asked for once a run, so that a branch that
    /// moves meanwhile is the same commit throughout.
    fn commit_of(&self, name: &str) -> &Result<ObjectId, String> {
        self.commits[name].get_or_init(|| match self.spec.project.sources[name].revision() {
            Some((repository, revision)) => git::commit(repository, revision),
            None => Err("it is no git source".to_owned()),
        })
    }

    /// A source tree as it is now. It is walked once a run. One that kiln unpacked is what was unpacked.
    pub fn source(&self, name: &str) -> Result<&Arc<Snapshot>, PlanError> {
        let cell = &self.snapshots[name];
        if let Some(snapshot) = cell.get() {
            return Ok(snapshot);
        }
        let tree = self.source_tree(name)?;
        let snapshot = match &tree.unpacked {
            None => Arc::new(self.walk(name)?),
            Some(unpacked) => match self.standing(name, tree, unpacked)? {
                Standing::Whole(snapshot) => snapshot,
                Standing::Lacking(_) => {
                    return Err(PlanError::Altered { name: name.to_owned(), root: tree.root.clone() });
                }
            },
        };
        Ok(cell.get_or_init(|| snapshot))
    }

    /// Why a source is to be unpacked, or put right; empty where nothing is to be done.
    pub(super) fn lacks_of_source(&self, name: &str) -> Result<Vec<Reason>, PlanError> {
        let cell = &self.snapshots[name];
        let tree = self.source_tree(name)?;
        let (None, Some(unpacked)) = (cell.get(), &tree.unpacked) else { return Ok(Vec::new()) };
        Ok(match self.standing(name, tree, unpacked)? {
            Standing::Whole(snapshot) => {
                cell.get_or_init(|| snapshot);
                Vec::new()
            }
            Standing::Lacking(reasons) => reasons,
        })
    }

    fn standing(&self, name: &str, tree: &SourceTree, unpacked: &Unpacked) -> Result<Standing, PlanError> {
        let recorded = self.store.unpacked_tree(&unpacked.name)?;
        let is_dir = std::fs::symlink_metadata(&tree.root).is_ok_and(|stat| stat.is_dir());
        let (Some(recorded), true) = (recorded, is_dir) else {
            return Ok(Standing::Lacking(vec![Reason::NotUnpacked]));
        };
        let altered = |why| Reason::Altered { source: name.to_owned(), why };
        let now = match self.walk(name) {
            Ok(now) if now.digest() == recorded => return Ok(Standing::Whole(Arc::new(now))),
            Ok(now) => now,
            Err(PlanError::Source { source: SourceError::Missing { .. }, .. }) => {
                return Ok(Standing::Lacking(vec![Reason::NotUnpacked]));
            }
            Err(error) => return Ok(Standing::Lacking(vec![altered(Some(error.to_string()))])),
        };
        let mut reasons = vec![altered(None)];
        let listings = NowOrRecorded { now: now.listings().collect(), store: self.store };
        reason::trees(name, recorded, now.digest(), &listings, &|_| true, &mut reasons);
        Ok(Standing::Lacking(reasons))
    }

    /// Walks a source tree again.
    pub fn walk(&self, name: &str) -> Result<Snapshot, PlanError> {
        let tree = self.source_tree(name)?;
        let cache_file = self.store.tree_cache(&tree.root);
        let options = SnapshotOptions { cache_file: Some(&cache_file), ignore: tree.ignore };
        let failed = |source| PlanError::Source { name: name.to_owned(), source };
        if let Some(then) = self.snapshots[name].get() {
            return then.again(&tree.root, &options).map_err(failed);
        }
        let unreadable = |source| failed(SourceError::Root { root: tree.root.clone(), source });
        self.files().note_links(&tree.root).map_err(unreadable)?;
        Snapshot::take(&tree.root, &options).map_err(failed)
    }

    /// Whether a link on the way to a source tree led elsewhere for a time since this kiln first looked.
    pub fn source_was_elsewhere(&self, name: &str) -> Result<bool, PlanError> {
        Ok(self.files().was_disturbed(&self.source_tree(name)?.root))
    }

    /// Until when a change of one of these sources, or of any other file that counts, may leave it the stat that it had when
    /// this kiln first looked: in nanoseconds of this host's clock.
    pub fn racy_until(&self, sources: &[&str]) -> i64 {
        let snapshots = sources.iter().filter_map(|source| self.snapshots.get(*source)?.get());
        let newest = snapshots.map(|snapshot| snapshot.racy_until()).max();
        newest.unwrap_or(i64::MIN).max(self.files().racy_until())
    }
}

/// Listings of a tree as it is, and of all that are recorded.
struct NowOrRecorded<'a> {
    now: HashMap<Digest, Listing>,
    store: &'a Store,
}

impl Listings for NowOrRecorded<'_> {
    fn listing(&self, digest: &Digest) -> Option<Listing> {
        self.now.get(digest).cloned().or_else(|| Listings::listing(self.store, digest))
    }
}
