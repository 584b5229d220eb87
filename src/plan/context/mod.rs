//! The build context: everything outside the graph that decisions depend on.
//!
//! Each part is a type of its own and is looked at once per run: source trees, host inputs, project files, artifacts, and
//! the recorded results of earlier runs.

mod artifacts;
mod host;
mod project_files;
mod recorded;
mod sources;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

pub use artifacts::{Artifacts, InputName};
pub use host::{HostInputs, HostPart};
pub use project_files::{ProjectFiles, ProjectPath};
pub use sources::SourceTrees;

use super::error::PlanError;
use super::manifest::{FieldKind, Manifest, TreeInput};
use super::projection::Projection;
use super::rule_parts::RuleParts;
use super::strong_key::{StrongKeys, TreeContent};
use crate::digest::Digest;
use crate::graph::BoundRule;
use crate::remote::{Hit, RemotePathSet, Remotes, Secret};
use crate::source::{FileDigests, Listed, PathSet, Provenance, States};
use crate::spec::model::{Discoverer, Rule, Spec};
use crate::store::{NodeState, ProjectId, Store, StoreError, StoredPathSet};

/// How this machine traces the files that a sandboxed run opens. Both ways observe the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracing {
    /// In the trees themselves, as root.
    Mounts,
    /// In copies of the trees, in memory.
    Copies,
}

/// Everything outside the graph that decisions depend on.
pub struct BuildContext<'a> {
    /// The spec.
    pub spec: &'a Spec,
    /// The cache.
    pub store: &'a Store,
    /// The output directory.
    pub out: PathBuf,
    /// How built-in kinds read their inputs.
    pub projection: &'a dyn Projection,
    /// The last recorded state of each node, by name.
    pub previous: HashMap<String, NodeState>,
    /// The names of nodes that run even if they are up to date.
    pub forced: HashSet<String>,
    /// Remote caches.
    pub remotes: Option<&'a Remotes>,
    /// Private keys that sign modules, by name; or why one is not available.
    pub module_keys: BTreeMap<String, Result<Secret, String>>,
    /// The time against which the age of results is measured.
    pub now: SystemTime,
    /// How runs are traced here; or why they can't be.
    pub tracing: Result<Tracing, String>,
    /// The source trees.
    pub sources: SourceTrees<'a>,
    /// Programs, files and libraries of this machine.
    pub host: HostInputs,
    /// Files and directories of the project.
    pub project_files: ProjectFiles<'a>,
    project: ProjectId,
    rule_parts: HashMap<String, Arc<RuleParts>>,
    strong_keys: StrongKeys<'a>,
    files: Arc<FileDigests>,
}

impl<'a> BuildContext<'a> {
    /// A context that has read the recorded node states of this project, and nothing else yet.
    pub fn new(
        spec: &'a Spec,
        store: &'a Store,
        projection: &'a dyn Projection,
        tracing: Result<Tracing, String>,
    ) -> Result<Self, PlanError> {
        let project = store.project(&spec.root)?;
        let files = Arc::new(FileDigests::open(&store.stat_dir().join("files")));
        Ok(Self {
            spec,
            store,
            out: spec.root.join("out"),
            projection,
            previous: store.load_nodes(project)?,
            forced: HashSet::new(),
            remotes: None,
            module_keys: BTreeMap::new(),
            now: SystemTime::now(),
            tracing,
            sources: SourceTrees::new(spec, store, Arc::clone(&files)),
            host: HostInputs::new(Arc::clone(&files)),
            project_files: ProjectFiles::new(spec, Arc::clone(&files)),
            project,
            rule_parts: spec
                .rules
                .iter()
                .map(|(name, rule)| (name.clone(), Arc::new(RuleParts::of(rule))))
                .collect(),
            strong_keys: StrongKeys::new(store),
            files,
        })
    }

    /// The project's id in the store.
    pub const fn project(&self) -> ProjectId {
        self.project
    }

    /// The parts of a rule that decide what a run does.
    pub(super) fn rule_parts(&self, rule: &BoundRule) -> Arc<RuleParts> {
        Arc::clone(&self.rule_parts[&*rule.name])
    }

    /// Access to the content of artifacts, here and at remotes.
    pub fn artifacts(&self) -> Artifacts<'_> {
        Artifacts { store: self.store, remotes: self.remotes, files: &self.files }
    }

    /// The states of a tree's paths, as they were when this run first looked.
    pub fn states(&self, tree: &TreeInput) -> Result<States, PlanError> {
        Ok(match &tree.kind {
            FieldKind::Source { source, .. } => States::of(Arc::clone(self.sources.snapshot(source)?)),
            _ => {
                self.artifacts().fetch_listings(&tree.digest)?;
                States::of(Listed::read(tree.digest, self.store))
            }
        })
    }

    /// The strong key of an action whose runs read the path set of this digest; `None` if that is no longer stored.
    pub(super) fn strong_key(
        &self,
        action_key: &Digest,
        manifest: &Manifest,
        path_set: &Digest,
    ) -> Result<Option<Digest>, PlanError> {
        match self.strong_keys.path_set(path_set)? {
            Some((set, _)) => self.strong_key_of(action_key, manifest, &set),
            None => Ok(None),
        }
    }

    /// The strong key of an action whose runs read this path set.
    pub(super) fn strong_key_of(
        &self,
        action_key: &Digest,
        manifest: &Manifest,
        set: &StoredPathSet,
    ) -> Result<Option<Digest>, PlanError> {
        self.strong_keys.strong_key(self, manifest, action_key, set)
    }

    /// The strong key of an action whose runs read a path set of a remote, and the path set if it had to be fetched.
    pub(super) fn remote_strong_key(
        &self,
        action_key: &Digest,
        manifest: &Manifest,
        remotes: &Remotes,
        of: &RemotePathSet,
    ) -> Result<Option<(Digest, Option<Arc<PathSet>>)>, PlanError> {
        if self.strong_keys.path_set(&of.digest)?.is_some() {
            let key = self.strong_key(action_key, manifest, &of.digest)?;
            return Ok(key.map(|key| (key, None)));
        }
        let Some(set) = remotes.path_set(of) else { return Ok(None) };
        let key = self.strong_keys.remote_strong_key(self, manifest, action_key, &set)?;
        Ok(key.map(|key| (key, Some(set))))
    }

    /// A path set of an earlier run; `None` if it is no longer stored.
    pub fn read_path_set(&self, digest: &Digest) -> Result<Option<PathSet>, StoreError> {
        Ok(self.strong_keys.path_set(digest)?.and_then(|(set, table)| set.resolve(&table)))
    }

    /// The path set of a remote's result; `None` if neither this cache nor the remote has it.
    pub fn path_set_of(&self, remotes: &Remotes, hit: &Hit) -> Result<Option<Arc<PathSet>>, StoreError> {
        let known = self.read_path_set(&hit.entry.path_set_digest)?;
        Ok(known.map(Arc::new).or_else(|| remotes.path_set(&hit.path_set())))
    }

    /// How the reads of a rule's runs are discovered: the first way that the rule names and this machine has. `None` if
    /// there is none; then each input tree counts whole.
    pub fn discoverer(&self, rule: &Rule) -> Option<Discoverer> {
        rule.discover.as_ref()?.by.iter().copied().find(|by| match by {
            Discoverer::Fanotify => self.tracing.is_ok(),
            Discoverer::Kbuild => true,
        })
    }

    /// The least provenance that a path set of an earlier run must have to count here: that of a run on this machine. So
    /// kbuild's records count only where the rule asks for them and opens can't be traced; a trace counts everywhere.
    pub fn least_provenance(&self, rule: &Rule) -> Provenance {
        match self.discoverer(rule) {
            Some(Discoverer::Kbuild) => Provenance::KbuildRecords,
            Some(Discoverer::Fanotify) | None => Provenance::Opens,
        }
    }

    /// Saves the digests of files, so that the next run need not hash them again. A failure costs time only.
    pub fn save(&self) {
        let _ = self.files.save();
    }
}

impl TreeContent for BuildContext<'_> {
    fn states(&self, tree: &TreeInput) -> Result<States, PlanError> {
        BuildContext::states(self, tree)
    }
}
