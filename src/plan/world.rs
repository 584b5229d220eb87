//! The world as decisions see it: the spec, the store, the source trees and the host, each looked at once a run.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::SystemTime;

use super::lookup::Lookup;
use super::manifest::{Field, Manifest, Tree, Val, What};
use super::reach::{Reach, Touch};
use super::rule_parts::RuleParts;
use super::sources::SourceTree;
use super::verdict::Known;
use crate::digest::Digest;
use crate::graph::{Action, BoundRule, ExpandError, NodeId};
use crate::host::binfmt::{self, Machine};
use crate::host::git::ObjectId;
use crate::host::{self, Closure, ToolError, ToolIdentity};
use crate::remote::{FetchError, Hit, RemotePathSet, Remotes, Secret};
use crate::source::{
    Change, FileDigests, Listed, Listing, Listings, MissingListing, PathSet, Provenance, Snapshot,
    SourceError, States, diff,
};
use crate::spec::model::{Discoverer, Rule, Spec};
use crate::store::{
    Artifact, BlobError, NodeState, Outcome, ProjectId, RunId, Store, StoreError, StoredPathSet,
};

/// What decisions look at.
pub struct World<'a> {
    /// The spec.
    pub spec: &'a Spec,
    /// The cache.
    pub store: &'a Store,
    /// The directory in which outputs appear.
    pub out: PathBuf,
    /// How built-in kinds look into their inputs.
    pub projection: &'a dyn Projection,
    /// Every node's last recorded state.
    pub previous: HashMap<String, NodeState>,
    /// Names of nodes that run whatever is known.
    pub forced: HashSet<String>,
    /// Caches elsewhere, which are asked for what is not here.
    pub remotes: Option<&'a Remotes>,
    /// Private keys that sign modules, by name; why one is not here, otherwise.
    pub module_keys: BTreeMap<String, Result<Secret, String>>,
    /// When this kiln began to look: what the age of results is held against.
    pub now: SystemTime,
    /// How this process can trace what a sandbox opens; why it can't, otherwise.
    pub tracing: Result<Tracing, String>,
    project: ProjectId,
    rule_parts: HashMap<String, Arc<RuleParts>>,
    pub(super) trees: BTreeMap<String, OnceLock<SourceTree>>,
    pub(super) snapshots: BTreeMap<String, OnceLock<Arc<Snapshot>>>,
    pub(super) commits: BTreeMap<String, OnceLock<Result<ObjectId, String>>>,
    lookup: Lookup<'a>,
    /// Listings of the snapshots, for explanations.
    listings: OnceLock<HashMap<Digest, Listing>>,
    files: FileDigests,
    tools: Mutex<HashMap<(String, PathBuf), Arc<ToolIdentity>>>,
    project_paths: Mutex<HashMap<PathBuf, ProjectPath>>,
    host_paths: Mutex<HashMap<PathBuf, Arc<Closure>>>,
    libraries: Mutex<HashMap<LibraryKey, Arc<Closure>>>,
}

/// A library by name, for these compilers, which are looked for in these directories first.
type LibraryKey = (String, Vec<String>, Vec<PathBuf>);

/// How built-in kinds look into their inputs, so that a node depends on what it looks at and on no more.
pub trait Projection: Sync {
    /// What this action looks at.
    fn project(&self, action: &Action, inputs: &dyn Inputs) -> Result<Projected, PlanError>;

    /// What it lacks, whatever its inputs turn out to be.
    fn lacks(&self, action: &Action) -> Option<String>;
}

/// The inputs of an action that are outputs of other nodes, for who looks into them.
pub trait Inputs {
    /// The content of one that is a file.
    fn read(&self, input: &str) -> Result<Vec<u8>, PlanError>;

    /// The file at a path of one that is a directory; `None` where there is none, or where the directory was not made.
    fn file_in(&self, input: &str, path: &Path) -> Result<Option<Artifact>, PlanError>;
}

/// What a built-in kind looks at.
#[derive(Debug, Default)]
pub struct Projected {
    /// Name and value of each thing.
    pub fields: Vec<(String, String)>,
    /// The inputs that these fields stand for: they do not count themselves.
    pub inputs: HashSet<String>,
}

/// What is at a path of the project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProjectPath {
    /// Of the file's content, or of the directory's listing.
    pub digest: Digest,
    /// Whether it is a file that may be executed.
    pub executable: bool,
}

/// Why no plan can be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A source tree can't be read.
    #[error("source {name}: {source}")]
    Source {
        /// Its name.
        name: String,
        /// Why.
        source: SourceError,
    },
    /// A commit can't be found.
    #[error("source {name}: {}: {message}", path.display())]
    Git {
        /// The source.
        name: String,
        /// The repository.
        path: PathBuf,
        /// What git said.
        message: String,
    },
    /// A tree that kiln unpacked is not what was unpacked.
    #[error(
        "source {name}: the unpacked tree {} was changed by something else; the next run puts it right",
        root.display()
    )]
    Altered {
        /// The source.
        name: String,
        /// Where its tree is.
        root: PathBuf,
    },
    /// A program is missing.
    #[error("{node}: {source}")]
    Tool {
        /// A node that runs it.
        node: String,
        /// Why.
        source: ToolError,
    },
    /// Something else is missing.
    #[error("{node}: {message}")]
    Lacking {
        /// The node that can't do without.
        node: String,
        /// What is missing, and what to do.
        message: String,
    },
    /// A project file can't be read.
    #[error("{node}: cannot read {}: {source}", path.display())]
    File {
        /// The node that reads it.
        node: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An input can't be read from the cache.
    #[error("{node}: input {input}: {source}")]
    Blob {
        /// The node.
        node: String,
        /// Its input.
        input: String,
        /// The node that makes it.
        from: NodeId,
        /// Why.
        source: Box<BlobError>,
    },
    /// An input is not what a built-in kind can use.
    #[error("{node}: {message}")]
    Unusable {
        /// The node.
        node: String,
        /// Why.
        message: String,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The graph can't be expanded.
    #[error(transparent)]
    Expand(#[from] ExpandError),
}

impl PlanError {
    /// The node whose output turned out to be gone from the cache, if that is what went wrong: once it has run again,
    /// the decision can be made.
    pub fn lost(&self) -> Option<NodeId> {
        match self {
            Self::Blob { from, source, .. } if source.is_miss() => Some(*from),
            _ => None,
        }
    }
}

/// How opens are traced on this machine. What is told is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracing {
    /// In the trees themselves, as root.
    Mounts,
    /// In copies of the trees, in memory.
    Copies,
}

/// The last run of a node, as far as explanations need it.
pub struct LastRun {
    /// How it ended.
    pub outcome: Outcome,
    /// What was declared of it then.
    pub fields: Vec<Field>,
    /// Whether what it read is known, but not as well as a run here would know it.
    pub is_known_less: bool,
    /// What it read of each discovered input, if that is still known, and well enough.
    read: Option<(Arc<StoredPathSet>, Reach)>,
}

impl LastRun {
    /// The commit that a git source stood at, if that was recorded.
    pub fn commit(&self, source: &str) -> Option<&str> {
        self.fields.iter().find_map(|field| match (&field.what, &field.value) {
            (What::Commit { source: of }, Val::Text(commit)) if of == source => Some(commit.as_str()),
            _ => None,
        })
    }

    /// Whether a difference in one of its inputs can have made a difference to it. Without knowing what it read: yes.
    pub fn is_reached(&self, inputs: &[&str], change: &Change) -> bool {
        let reach = self.read.as_ref();
        reach.is_none_or(|(set, reach)| reach.reaches(set, inputs, Touch::of(change)))
    }
}

impl<'a> World<'a> {
    /// Looks at nothing yet, but for the store's record of this project.
    pub fn new(
        spec: &'a Spec,
        store: &'a Store,
        projection: &'a dyn Projection,
        tracing: Result<Tracing, String>,
    ) -> Result<Self, PlanError> {
        let project = store.project(&spec.root)?;
        Ok(Self {
            spec,
            store,
            out: spec.root.join("out"),
            projection,
            previous: store.load_nodes(project)?,
            forced: HashSet::new(),
            remotes: None,
            rule_parts: spec
                .rules
                .iter()
                .map(|(name, rule)| (name.clone(), Arc::new(RuleParts::of(rule))))
                .collect(),
            module_keys: BTreeMap::new(),
            now: SystemTime::now(),
            tracing,
            lookup: Lookup::new(store),
            project,
            trees: spec.project.sources.keys().map(|name| (name.clone(), OnceLock::new())).collect(),
            snapshots: spec.project.sources.keys().map(|name| (name.clone(), OnceLock::new())).collect(),
            commits: spec.project.sources.keys().map(|name| (name.clone(), OnceLock::new())).collect(),
            listings: OnceLock::new(),
            files: FileDigests::open(&store.stat_dir().join("files")),
            tools: Mutex::default(),
            project_paths: Mutex::default(),
            host_paths: Mutex::default(),
            libraries: Mutex::default(),
        })
    }

    /// The parts of a rule that decide what a run does.
    pub(super) fn rule_parts(&self, rule: &BoundRule) -> Arc<RuleParts> {
        Arc::clone(&self.rule_parts[&*rule.name])
    }

    /// The project's id in the store.
    pub const fn project(&self) -> ProjectId {
        self.project
    }

    /// What the paths of a tree hold, as it was when this run first looked.
    pub fn states(&self, tree: &Tree) -> Result<States, PlanError> {
        Ok(match &tree.what {
            What::Source { source, .. } => States::of(Arc::clone(self.source(source)?)),
            _ => {
                // One that a remote has need not be here to be looked at: its listings do.
                if let (Some(remotes), false) = (self.remotes, self.store.has_listing(&tree.digest)?) {
                    remotes.bring_listings(self.store, &tree.digest)?;
                }
                States::of(Listed::read(tree.digest, self.store))
            }
        })
    }

    /// The strong key of an action with this path set, by its digest; `None` where it is not known any more.
    pub(super) fn strong_key(
        &self,
        action_key: &Digest,
        manifest: &Manifest,
        path_set: &Digest,
    ) -> Result<Option<Digest>, PlanError> {
        match self.lookup.path_set(path_set)? {
            Some((set, _)) => self.strong_key_of(action_key, manifest, &set),
            None => Ok(None),
        }
    }

    /// The strong key of an action with this path set.
    pub(super) fn strong_key_of(
        &self,
        action_key: &Digest,
        manifest: &Manifest,
        set: &StoredPathSet,
    ) -> Result<Option<Digest>, PlanError> {
        self.lookup.strong_key(self, manifest, action_key, set)
    }

    /// The strong key of an action with a path set that a remote has, and that path set. One that is known here is not
    /// fetched.
    pub(super) fn strong_key_elsewhere(
        &self,
        action_key: &Digest,
        manifest: &Manifest,
        remotes: &Remotes,
        of: &RemotePathSet,
    ) -> Result<Option<(Digest, Option<Arc<PathSet>>)>, PlanError> {
        if self.lookup.path_set(&of.digest)?.is_some() {
            let key = self.strong_key(action_key, manifest, &of.digest)?;
            return Ok(key.map(|key| (key, None)));
        }
        let Some(set) = remotes.path_set(of) else { return Ok(None) };
        let key = self.lookup.strong_key_elsewhere(self, manifest, action_key, &set)?;
        Ok(key.map(|key| (key, Some(set))))
    }

    /// The path set of a result that a remote has; `None` where it can't be had.
    pub fn path_set_of(&self, remotes: &Remotes, hit: &Hit) -> Result<Option<Arc<PathSet>>, StoreError> {
        let known = self.read_path_set(&hit.entry.path_set_digest)?;
        Ok(known.map(Arc::new).or_else(|| remotes.path_set(&hit.path_set())))
    }

    /// Sees to it that an artifact is here, if a remote has it. One that is nowhere is found to be missing by whoever
    /// reads it.
    pub fn bring(&self, artifact: &Artifact) -> Result<(), StoreError> {
        let Some(remotes) = self.remotes else { return Ok(()) };
        match remotes.fetch_artifact(self.store, artifact) {
            Ok(()) | Err(FetchError::Gone { .. }) => Ok(()),
            Err(FetchError::Store(error)) => Err(error),
        }
    }

    /// The file of an artifact that is one, in the cache, brought there where it is elsewhere.
    pub fn file_of(&self, artifact: &Artifact) -> Result<PathBuf, BlobError> {
        self.bring(artifact)?;
        match artifact {
            Artifact::File { digest, .. } => self.store.file_of(digest, |path| self.files.digest(path)),
            Artifact::Tree { .. } | Artifact::Absent => Err(BlobError::Missing),
        }
    }

    /// A path set of an earlier run; `None` where it is not known any more.
    pub fn read_path_set(&self, digest: &Digest) -> Result<Option<PathSet>, StoreError> {
        Ok(self.lookup.path_set(digest)?.and_then(|(set, table)| set.resolve(&table)))
    }

    /// What differs between two source trees, of which the second is as now.
    pub fn changes(&self, then: &Digest, now: &Digest) -> Result<Vec<Change>, MissingListing> {
        diff(then, now, self)
    }

    /// Who tells what the runs of a rule read: the first of those it names that this machine has. `None`: nobody, so
    /// that all of every tree counts.
    pub fn discoverer(&self, rule: &Rule) -> Option<Discoverer> {
        rule.discover.as_ref()?.by.iter().copied().find(|by| match by {
            Discoverer::Fanotify => self.tracing.is_ok(),
            Discoverer::Kbuild => true,
        })
    }

    /// How well it must be known what an earlier run of a rule read, for that run to count here: no worse than what a run
    /// here would come to know. So records of kbuild's never count where the rule does not ask for them, nor where opens
    /// can be traced; a trace counts everywhere.
    pub fn least_provenance(&self, rule: &Rule) -> Provenance {
        match self.discoverer(rule) {
            Some(Discoverer::Kbuild) => Provenance::KbuildRecords,
            Some(Discoverer::Fanotify) | None => Provenance::Opens,
        }
    }

    /// What of the host is not what it was all the time since this kiln first looked, of all that an action depends on:
    /// such as a compiler that was upgraded under a running build.
    pub fn changed_on_host(&self, action: &Action) -> Option<String> {
        let emulator = action.machine.and_then(|machine| self.emulator(machine, "").ok());
        let emulator = emulator.and_then(|path| self.host_path(&path, "").ok());
        let Ok(mut then) = self.closure(action, "") else {
            return Some("what it needs of this machine".to_owned());
        };
        if let Some(emulator) = emulator {
            then.extend(&emulator);
        }
        then.changed(&self.files).map(|path| path.display().to_string())
    }

    /// A host program, with all that it loads.
    pub fn tool(&self, program: &str, dirs: &[PathBuf], node: &str) -> Result<Arc<ToolIdentity>, PlanError> {
        let key = (program.to_owned(), dirs.iter().collect());
        if let Some(tool) = self.tools.lock().expect("no panic while held").get(&key) {
            return Ok(Arc::clone(tool));
        }
        let tool = ToolIdentity::resolve(program, dirs, &self.files)
            .map_err(|source| PlanError::Tool { node: node.to_owned(), source })?;
        let tool = Arc::new(tool);
        let mut known = self.tools.lock().expect("no panic while held");
        // Whoever was first says how it was.
        Ok(Arc::clone(known.entry(key).or_insert(tool)))
    }

    /// What runs the programs of a machine that is not this one.
    pub fn emulator(&self, machine: &str, node: &str) -> Result<PathBuf, PlanError> {
        let lacking = |message: String| PlanError::Lacking { node: node.to_owned(), message };
        let machine =
            Machine::named(machine).ok_or_else(|| lacking(format!("QEMU knows no machine {machine}")))?;
        let handler = binfmt::handler(&machine).map_err(|error| lacking(error.to_string()))?;
        Ok(handler.interpreter)
    }

    /// A file or directory of the host, or that there is none.
    pub fn host_path(&self, path: &Path, node: &str) -> Result<Arc<Closure>, PlanError> {
        if let Some(known) = self.host_paths.lock().expect("no panic while held").get(path) {
            return Ok(Arc::clone(known));
        }
        let closure = host::closure_of(path, &self.files)
            .map_err(|source| PlanError::Tool { node: node.to_owned(), source })?;
        let mut known = self.host_paths.lock().expect("no panic while held");
        // Whoever was first says how it was.
        Ok(Arc::clone(known.entry(path.to_owned()).or_insert_with(|| Arc::new(closure))))
    }

    /// A library of the host: as this run found it, or as it is found now.
    pub(super) fn remembered_library(
        &self,
        key: LibraryKey,
        find: impl FnOnce() -> Result<Closure, PlanError>,
    ) -> Result<Arc<Closure>, PlanError> {
        if let Some(known) = self.libraries.lock().expect("no panic while held").get(&key) {
            return Ok(Arc::clone(known));
        }
        let closure = find()?;
        let mut known = self.libraries.lock().expect("no panic while held");
        Ok(Arc::clone(known.entry(key).or_insert_with(|| Arc::new(closure))))
    }

    /// Digests of files of the host.
    pub(super) const fn files(&self) -> &FileDigests {
        &self.files
    }

    /// A file or directory of the project.
    pub fn project_path(&self, path: &Path, node: &str) -> Result<ProjectPath, PlanError> {
        if let Some(known) = self.project_paths.lock().expect("no panic while held").get(path) {
            return Ok(*known);
        }
        let noted = self.files.note_links(&self.spec.root.join(path));
        noted.map_err(|source| PlanError::File { node: node.to_owned(), path: path.to_owned(), source })?;
        let found = self.project_path_now(path, node)?;
        self.project_paths.lock().expect("no panic while held").insert(path.to_owned(), found);
        Ok(found)
    }

    /// The same, looked at again.
    pub fn project_path_now(&self, path: &Path, node: &str) -> Result<ProjectPath, PlanError> {
        let absolute = self.spec.root.join(path);
        let metadata = std::fs::metadata(&absolute);
        if metadata.as_ref().is_ok_and(std::fs::Metadata::is_dir) {
            let snapshot = self
                .files
                .tree(&absolute)
                .map_err(|source| PlanError::Source { name: path.display().to_string(), source })?;
            return Ok(ProjectPath { digest: snapshot.digest(), executable: false });
        }
        let executable = metadata.is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0);
        let digest = self.files.digest(&absolute).map_err(|source| PlanError::File {
            node: node.to_owned(),
            path: path.to_owned(),
            source,
        })?;
        Ok(ProjectPath { digest, executable })
    }

    /// The certificate of a key that signs modules, a file of the project.
    pub fn certificate(&self, key: &str, node: &str) -> Result<&Path, PlanError> {
        let found = self.spec.project.module_keys.get(key);
        found.map(|found| found.certificate.as_path()).ok_or_else(|| PlanError::Lacking {
            node: node.to_owned(),
            message: format!("graph.ron has no key of modules {key:?}: declare it in `module_keys`"),
        })
    }

    /// Whether a file or directory of the project is not what it was all the time since this kiln first looked.
    pub fn changed(&self, path: &Path) -> bool {
        let then = self.project_paths.lock().expect("no panic while held").get(path).copied();
        then.is_none()
            || self.project_path_now(path, "").ok() != then
            || self.files.was_disturbed(&self.spec.root.join(path))
    }

    /// Whether the file of an artifact, used where it is in the cache, is not what it was all the time.
    pub fn artifact_changed(&self, file: &Path) -> bool {
        self.files.was_disturbed(file)
    }

    /// Whether all blobs of these outputs are in the cache.
    pub fn all_there(&self, outputs: &[(String, Artifact)]) -> Result<bool, StoreError> {
        for (_, artifact) in outputs {
            if !self.store.has_artifact(artifact)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The listings of a manifest's source trees that the store does not have yet. With them, the next run can tell
    /// which files differ.
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

    /// The content of an input that is another node's output.
    pub fn read_artifact(
        &self,
        artifact: Option<&Artifact>,
        from: NodeId,
        input: &str,
        node: &str,
    ) -> Result<Vec<u8>, PlanError> {
        let fail = |message: &str| PlanError::Unusable {
            node: node.to_owned(),
            message: format!("{input} {message}"),
        };
        match artifact {
            Some(artifact @ Artifact::File { digest, size, .. }) => {
                self.bring(artifact)?;
                self.store.read(digest, *size).map_err(|source| PlanError::Blob {
                    node: node.to_owned(),
                    input: input.to_owned(),
                    from,
                    source: Box::new(source),
                })
            }
            Some(Artifact::Tree { .. }) => Err(fail("is a directory, not a file")),
            Some(Artifact::Absent) | None => Err(fail("was not made")),
        }
    }

    /// The file at a path of an input that is another node's output, a directory.
    pub fn file_in_artifact(
        &self,
        artifact: Option<&Artifact>,
        from: NodeId,
        input: &str,
        node: &str,
        path: &Path,
    ) -> Result<Option<Artifact>, PlanError> {
        let digest = match artifact {
            Some(Artifact::Tree { digest, .. }) => digest,
            Some(Artifact::Absent) | None => return Ok(None),
            Some(Artifact::File { .. }) => {
                let message = format!("{input} is a file, not a directory");
                return Err(PlanError::Unusable { node: node.to_owned(), message });
            }
        };
        if let (Some(remotes), false) = (self.remotes, self.store.has_listing(digest)?) {
            remotes.bring_listings(self.store, digest)?;
        }
        self.store.file_in(digest, path).map_err(|source| PlanError::Blob {
            node: node.to_owned(),
            input: input.to_owned(),
            from,
            source: Box::new(source),
        })
    }

    /// When the run was that a result comes from, where that is known: not of one that another machine has made, nor of one
    /// that is no longer recorded.
    pub fn made_at(&self, run: RunId) -> Result<Option<SystemTime>, StoreError> {
        if run == RunId::ELSEWHERE {
            return Ok(None);
        }
        Ok(self.store.run(run)?.map(|run| run.started + run.duration))
    }

    /// The values that an expansion point stands for: a JSON list of texts in an output.
    pub fn expansion_values(
        &self,
        known: &Known,
        from: NodeId,
        output: &str,
        node: &str,
    ) -> Result<Vec<String>, PlanError> {
        let artifact = known.outputs.iter().find(|(name, _)| name == output).map(|(_, artifact)| artifact);
        let bytes = self.read_artifact(artifact, from, output, node)?;
        serde_json::from_slice(&bytes).map_err(|error| PlanError::Unusable {
            node: node.to_owned(),
            message: format!("output {output} is no JSON list of names: {error}"),
        })
    }

    /// How the last run of a node ended, whether that counts or not.
    pub fn last_outcome(&self, node: &str) -> Result<Option<Outcome>, PlanError> {
        let runs = self.store.runs(self.project, node, 1)?;
        Ok(runs.into_iter().next().map(|(_, run)| run.outcome))
    }

    /// The run that a node's last known state comes from. What it read is told if that counts.
    pub fn last_run(&self, node: &str, least: Provenance) -> Result<Option<LastRun>, PlanError> {
        let Some(state) = self.previous.get(node) else { return Ok(None) };
        let Some(run) = self.store.run(state.run)? else { return Ok(None) };
        let Some(fields) = run.manifest.as_deref().and_then(Manifest::decode) else { return Ok(None) };
        let known = state.path_set.as_ref().map(|digest| self.lookup.path_set(digest)).transpose()?.flatten();
        let is_known_less = known.as_ref().is_some_and(|(set, _)| set.provenance < least);
        let read = known.filter(|_| !is_known_less).map(|(set, table)| (set, Reach::new(table)));
        Ok(Some(LastRun { outcome: state.outcome, fields, is_known_less, read }))
    }

    /// Keeps what was learnt of files, so that the next run need not hash them again. A failure costs time, no more.
    pub fn save(&self) {
        let _ = self.files.save();
    }
}

/// Listings of trees as they are now and as they were recorded.
impl Listings for World<'_> {
    fn listing(&self, digest: &Digest) -> Option<Listing> {
        let now = self.listings.get_or_init(|| {
            self.snapshots
                .values()
                .filter_map(OnceLock::get)
                .flat_map(|snapshot| snapshot.listings())
                .collect()
        });
        now.get(digest).cloned().or_else(|| self.store.listing(digest).ok().flatten())
    }
}
