//! All remotes of a project as one: where a result is, and who says so.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::candidates::{self, Candidate, candidates_key};
use super::entry::{EntryOutput, ResultEntry};
use super::line::Line;
use super::sealed::{EntryError, Sealed};
use super::{Name, RemoteError, paths};
use crate::digest::Digest;
use crate::source::PathSet;
use crate::store::{Artifact, Blob};

/// The largest path set as it travels, in bytes.
const MAX_PATH_SET: u64 = 64 << 20;

/// All remotes of a project, in the order in which they are asked. Nothing that goes wrong with them is an error here:
/// it is a miss, and a warning.
#[derive(Default)]
pub struct Remotes {
    pub(super) lines: Vec<Line>,
    fetched: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    warnings: Vec<String>,
    /// What has been found, by the digest of the artifact: where its bytes are.
    found: HashMap<Digest, Found>,
    path_sets: HashMap<Digest, Arc<PathSet>>,
    /// Results that turned out to be of no use: the blobs are gone, or wrong.
    spoilt: HashSet<(usize, Digest)>,
    /// Blobs under whose name a remote has something else, though it may say that it has them.
    wrong: HashSet<(usize, Name)>,
}

/// Where the bytes of an artifact are.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub line: usize,
    pub output: EntryOutput,
    /// The key of the result that it is part of.
    pub strong_key: Digest,
}

/// A result that a remote has.
#[derive(Debug)]
pub struct Hit {
    pub(super) line: usize,
    /// What the remote is called.
    pub remote: String,
    /// The result.
    pub entry: ResultEntry,
    /// Whose signature made it count; `None` where the remote is trusted as it is.
    pub signed_by: Option<String>,
}

/// Where a path set is that runs with an action key had.
#[derive(Clone, Copy, Debug)]
pub struct RemotePathSet {
    line: usize,
    /// The path set's digest.
    pub digest: Digest,
    blob: Name,
}

impl Hit {
    /// The log of the run that it came from.
    pub fn log(&self) -> Option<Blob> {
        self.entry.log.map(|log| Blob { digest: log.blake3, size: log.size })
    }

    /// Where its path set is.
    pub const fn path_set(&self) -> RemotePathSet {
        RemotePathSet { line: self.line, digest: self.entry.path_set_digest, blob: self.entry.path_set }
    }
}

impl Remotes {
    /// Those, in that order.
    pub fn new(lines: Vec<Line>) -> Self {
        Self { lines, fetched: AtomicU64::new(0), state: Mutex::default() }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// How many bytes of blobs have come so far.
    pub fn fetched(&self) -> u64 {
        self.fetched.load(Ordering::Relaxed)
    }

    pub(super) fn came(&self, bytes: u64) {
        self.fetched.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What the user should hear of, since it was last asked for.
    pub fn warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.state().warnings)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn warn(&self, warning: String) {
        let mut state = self.state();
        if !state.warnings.contains(&warning) {
            state.warnings.push(warning);
        }
    }

    /// A remote has failed: it is not asked again in this run.
    pub(super) fn failed(&self, line: usize, error: &RemoteError) {
        if let Some(warning) = self.lines[line].turn_off(&error.to_string()) {
            self.warn(warning);
        }
    }

    /// The first phase: path sets that runs with this action key had, those of the first remote first. Whoever made
    /// them up leads us to a key that nobody signed a result for.
    pub fn path_sets(&self, action_key: &Digest) -> Vec<RemotePathSet> {
        let key = candidates_key(action_key);
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        for line in 0..self.lines.len() {
            for Candidate { path_set, blob } in
                self.entry(line, &key, |bytes| candidates::decode(bytes).ok()).unwrap_or_default()
            {
                if seen.insert(path_set) {
                    found.push(RemotePathSet { line, digest: path_set, blob });
                }
            }
        }
        found
    }

    /// A path set that a remote has; `None` where it can't be had.
    pub fn path_set(&self, of: &RemotePathSet) -> Option<Arc<PathSet>> {
        if let Some(known) = self.state().path_sets.get(&of.digest) {
            return Some(Arc::clone(known));
        }
        let bytes = self.small_blob(of.line, &of.blob, MAX_PATH_SET)?;
        let set = Arc::new(paths::decode(&bytes, &of.digest).ok()?);
        self.state().path_sets.insert(of.digest, Arc::clone(&set));
        Some(set)
    }

    /// The second phase: the first result under this key that counts.
    pub fn result(&self, strong_key: &Digest) -> Option<Hit> {
        (0..self.lines.len()).find_map(|line| self.result_of(line, strong_key).ok().flatten())
    }

    /// The result that one remote has under this key; the error where it has one that does not count.
    pub(super) fn result_of(&self, line: usize, strong_key: &Digest) -> Result<Option<Hit>, EntryError> {
        let of = &self.lines[line];
        if self.state().spoilt.contains(&(line, *strong_key)) {
            return Ok(None);
        }
        let open =
            |bytes: &[u8]| ResultEntry::open(&Sealed::decode(bytes)?, strong_key, &of.instance, &of.trust);
        let Some(opened) = self.entry(line, strong_key, |bytes| Some(open(bytes))) else { return Ok(None) };
        let opened = opened.inspect_err(|error| {
            self.warn(format!("remote {}: a result does not count: {error}", of.name));
        })?;
        let mut state = self.state();
        for (_, output) in &opened.entry.outputs {
            if let Artifact::File { digest, .. } | Artifact::Tree { digest, .. } = output.artifact() {
                let found = Found { line, output: *output, strong_key: *strong_key };
                state.found.entry(digest).or_insert(found);
            }
        }
        Ok(Some(Hit { line, remote: of.name.clone(), entry: opened.entry, signed_by: opened.signed_by }))
    }

    /// Where the bytes of an artifact are, if a result that was found has it.
    pub(super) fn place_of(&self, artifact: &Artifact) -> Option<Found> {
        let (Artifact::File { digest, .. } | Artifact::Tree { digest, .. }) = artifact else { return None };
        self.found(digest).filter(|found| {
            // The same bytes; whether they may be executed is for who places them.
            match (found.output.artifact(), artifact) {
                (Artifact::File { size: a, .. }, Artifact::File { size: b, .. }) => a == *b,
                (found, wanted) => found == *wanted,
            }
        })
    }

    pub(super) fn found(&self, artifact: &Digest) -> Option<Found> {
        self.state().found.get(artifact).copied()
    }

    /// A remote has something else under the name of a blob. The next push replaces it.
    pub(super) fn is_wrong(&self, line: usize, blob: &Name) {
        self.warn(format!(
            "remote {}: what it has under {} is something else; it is not used",
            self.lines[line].name,
            blob.blake3.short()
        ));
        self.state().wrong.insert((line, *blob));
    }

    /// Which of these a remote lacks. All, if it is known to have one of them wrong: others may be, too, and servers that
    /// don't hash would keep them for ever.
    pub(super) fn missing(&self, line: usize, blobs: &[Name]) -> Result<Vec<Name>, RemoteError> {
        let distrusted = {
            let wrong = &self.state().wrong;
            blobs.iter().any(|&blob| wrong.contains(&(line, blob)))
        };
        if distrusted { Ok(blobs.to_vec()) } else { self.lines[line].ask(|remote| remote.missing(blobs)) }
    }

    /// A result is of no use: it is not found again in this run.
    pub fn spoil(&self, hit: &Hit) {
        self.spoil_result(hit.line, &hit.entry.strong_key);
    }

    pub(super) fn spoil_result(&self, line: usize, strong_key: &Digest) {
        let mut state = self.state();
        state.spoilt.insert((line, *strong_key));
        state.found.retain(|_, found| (found.line, found.strong_key) != (line, *strong_key));
    }

    /// An entry of one remote, as `read` understands it.
    pub(super) fn entry<T>(
        &self,
        line: usize,
        key: &Digest,
        read: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Option<T> {
        let of = &self.lines[line];
        if !of.is_on() {
            return None;
        }
        match of.ask(|remote| remote.entry(key)) {
            Ok(bytes) => read(&bytes?),
            // One thing of many: the rest may be as it should.
            Err(error @ RemoteError::Nonsense(_)) => {
                self.warn(format!("remote {}: an entry does not count: {error}", of.name));
                None
            }
            Err(error) => {
                self.failed(line, &error);
                None
            }
        }
    }

    /// A blob of one remote, in memory and checked. `None` where it can't be had.
    pub(super) fn small_blob(&self, line: usize, blob: &Name, max: u64) -> Option<Vec<u8>> {
        if blob.size > max {
            return None;
        }
        let fetched = self.lines[line].ask(|remote| {
            let mut bytes = Vec::new();
            remote.get(blob, 0, &mut bytes).map(|()| bytes)
        });
        match fetched {
            Ok(bytes) if Digest::of_bytes(&bytes) == blob.blake3 => Some(bytes),
            Ok(_) | Err(RemoteError::Nonsense(_)) => {
                self.is_wrong(line, blob);
                None
            }
            Err(RemoteError::Missing) => None,
            Err(error) => {
                self.failed(line, &error);
                None
            }
        }
    }
}
