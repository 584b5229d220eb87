//! Strong keys: the second phase of the lookup. The strong key of an action is its action key, a path set, and the present
//! content of the paths in that set.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use super::error::PlanError;
use super::manifest::{Manifest, TreeInput};
use crate::digest::{Digest, Domain, Hasher};
use crate::source::{PathEntry, PathSet, Reads, States};
use crate::store::{EntryTable, Store, StoreError, StoredPathSet, StoredReads};

/// The present content of input trees.
pub(super) trait TreeContent {
    /// The states of the tree's paths, as they were when this run first looked.
    fn states(&self, tree: &TreeInput) -> Result<States, PlanError>;
}

/// Computes strong keys. The state of each path of each tree is computed once per run, however many actions read it.
pub(super) struct StrongKeys<'a> {
    store: &'a Store,
    /// By the tree's digest.
    trees: Mutex<HashMap<Digest, Arc<TreeStates>>>,
    entries: Mutex<Option<Arc<EntryTable>>>,
    path_sets: Mutex<HashMap<Digest, Arc<StoredPathSet>>>,
}

/// The states of one tree, and those computed so far by entry number.
struct TreeStates {
    states: States,
    known: Vec<OnceLock<Digest>>,
}

impl TreeStates {
    /// The state of an entry; `None` if the table does not have it.
    fn state(&self, id: u32, table: &EntryTable) -> Option<Digest> {
        let known = self.known.get(id as usize);
        if let Some(known) = known.and_then(OnceLock::get) {
            return Some(*known);
        }
        let (kind, path) = table.get(id)?;
        let state = self.states.of_entry(kind, path);
        Some(known.map_or(state, |known| *known.get_or_init(|| state)))
    }
}

impl<'a> StrongKeys<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self { store, trees: Mutex::default(), entries: Mutex::default(), path_sets: Mutex::default() }
    }

    /// The table of entries. It is read again if the path set names entries that were recorded since.
    fn entries(&self, set: &StoredPathSet) -> Result<Arc<EntryTable>, StoreError> {
        let mut entries = self.entries.lock().expect("no panic while held");
        let needed = set.inputs.iter().filter_map(|(_, reads)| match reads {
            StoredReads::Only(ids) => ids.max(),
            StoredReads::Whole => None,
        });
        let needed = needed.max();
        match &*entries {
            Some(table) if needed.is_none_or(|id| table.get(id).is_some()) => Ok(Arc::clone(table)),
            _ => Ok(Arc::clone(entries.insert(Arc::new(self.store.entries()?)))),
        }
    }

    /// A path set and the table of its entries.
    pub(super) fn path_set(
        &self,
        digest: &Digest,
    ) -> Result<Option<(Arc<StoredPathSet>, Arc<EntryTable>)>, StoreError> {
        let known = self.path_sets.lock().expect("no panic while held").get(digest).cloned();
        let set = match known {
            Some(set) => set,
            // A missing one is asked for again: it may arrive from a remote.
            None => {
                let Some(set) = self.store.path_set(digest)?.map(Arc::new) else { return Ok(None) };
                self.path_sets.lock().expect("no panic while held").insert(*digest, Arc::clone(&set));
                set
            }
        };
        let table = self.entries(&set)?;
        Ok(Some((set, table)))
    }

    fn tree(
        &self,
        content: &dyn TreeContent,
        tree: &TreeInput,
        size: usize,
    ) -> Result<Arc<TreeStates>, PlanError> {
        if let Some(known) = self.trees.lock().expect("no panic while held").get(&tree.digest)
            && known.known.len() >= size
        {
            return Ok(Arc::clone(known));
        }
        let states = Arc::new(TreeStates {
            states: content.states(tree)?,
            known: std::iter::repeat_with(OnceLock::new).take(size).collect(),
        });
        self.trees.lock().expect("no panic while held").insert(tree.digest, Arc::clone(&states));
        Ok(states)
    }

    /// The strong key of an action whose runs read this path set, in the trees as they are now. `None` if the path set is
    /// not about the action's inputs, or if this machine requires a better provenance.
    pub(super) fn strong_key(
        &self,
        content: &dyn TreeContent,
        manifest: &Manifest,
        action_key: &Digest,
        set: &StoredPathSet,
    ) -> Result<Option<Digest>, PlanError> {
        if !manifest.accepts(set.provenance) {
            return Ok(None);
        }
        let table = self.entries(set)?;
        let mut key = StrongKeyHasher::new(action_key, &set.digest);
        for (input, reads) in &set.inputs {
            let Some(tree) = manifest.tree(input) else { return Ok(None) };
            match reads {
                StoredReads::Whole => key.whole(&tree.digest),
                StoredReads::Only(ids) => {
                    let states = self.tree(content, tree, table.len() as usize)?;
                    // In the canonical order of path sets; the numbers of entries differ from index to index.
                    let ranks = table.ranks();
                    let mut wanted = vec![false; ranks.len()];
                    for id in ids {
                        let Some(rank) = ranks.get(id as usize) else { return Ok(None) };
                        wanted[*rank as usize] = true;
                    }
                    let mut found = Vec::with_capacity(usize::try_from(ids.len()).unwrap_or(0) * 32);
                    for (&id, _) in table.by_rank().iter().zip(wanted).filter(|(_, wanted)| *wanted) {
                        let Some(state) = states.state(id, &table) else { return Ok(None) };
                        found.extend_from_slice(state.as_bytes());
                    }
                    key.only(&found);
                }
            }
        }
        Ok((set.inputs.len() == manifest.trees().len()).then(|| key.finish()))
    }
}

impl StrongKeys<'_> {
    /// The same for a path set of a remote, which is not in the index.
    pub(super) fn remote_strong_key(
        &self,
        content: &dyn TreeContent,
        manifest: &Manifest,
        action_key: &Digest,
        set: &PathSet,
    ) -> Result<Option<Digest>, PlanError> {
        if !manifest.accepts(set.provenance()) {
            return Ok(None);
        }
        let mut key = StrongKeyHasher::new(action_key, &set.digest());
        let mut inputs = 0;
        for (input, reads) in set.inputs() {
            let Some(tree) = manifest.tree(input) else { return Ok(None) };
            inputs += 1;
            match reads {
                Reads::Whole => key.whole(&tree.digest),
                Reads::Only(entries) => key.only_of(&self.tree(content, tree, 0)?.states, entries),
            }
        }
        Ok((inputs == manifest.trees().len()).then(|| key.finish()))
    }
}

/// The strong key of an action that read `set` in trees with these states. `None` if a tree is unknown.
pub fn strong_key(
    action_key: &Digest,
    set: &PathSet,
    states: &dyn Fn(&str) -> Option<Arc<States>>,
) -> Option<Digest> {
    let mut key = StrongKeyHasher::new(action_key, &set.digest());
    for (input, reads) in set.inputs() {
        let states = states(input)?;
        match reads {
            Reads::Whole => key.whole(&states.whole()),
            Reads::Only(entries) => key.only_of(&states, entries),
        }
    }
    Some(key.finish())
}

/// The strong key of an action that counts as a reader of all of its trees, which have these digests.
pub(super) fn whole_key(action_key: &Digest, whole: &PathSet, trees: impl Iterator<Item = Digest>) -> Digest {
    let mut key = StrongKeyHasher::new(action_key, &whole.digest());
    for tree in trees {
        key.whole(&tree);
    }
    key.finish()
}

/// Hashes the parts of a strong key.
struct StrongKeyHasher(Hasher);

impl StrongKeyHasher {
    fn new(action_key: &Digest, path_set: &Digest) -> Self {
        let mut hasher = Hasher::new(Domain::StrongKey);
        hasher.digest(action_key).digest(path_set);
        Self(hasher)
    }

    fn whole(&mut self, tree: &Digest) {
        self.0.number(0).digest(tree);
    }

    /// Adds the concatenated states of entries. One field: BLAKE3 is several times faster with long inputs.
    fn only(&mut self, states: &[u8]) {
        self.0.number(1).bytes(states);
    }

    /// Adds the states of these entries.
    fn only_of(&mut self, states: &States, entries: &[PathEntry]) {
        let mut found = Vec::with_capacity(entries.len() * 32);
        for entry in entries {
            found.extend_from_slice(states.of_entry(entry.kind, &entry.path).as_bytes());
        }
        self.only(&found);
    }

    fn finish(self) -> Digest {
        self.0.finish()
    }
}
