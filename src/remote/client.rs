//! All remotes of a project as one: where a result is, and who says so.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::candidates::{self, Candidate, candidates_key};
use super::entry::{EntryOutput, ResultEntry};
use super::line::Line;
use super::sealed::{EntryError, Sealed};
use super::traffic::{Meter, Traffic};
use super::{Name, RemoteError, paths};
use crate::digest::Digest;
use crate::source::{PathSet, Provenance};
use crate::store::{Artifact, Blob};

/// All remotes of a project, in the order in which they are asked. Nothing that goes wrong with them is an error here:
/// it is a miss, and a warning.
#[derive(Default)]
pub struct Remotes {
    pub(super) lines: Vec<Line>,
    pub(super) meter: Meter,
    decoding: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    warnings: Vec<String>,
    /// What has been found, by the digest of the artifact: where its bytes are.
    found: HashMap<Digest, Vec<Found>>,
    path_sets: HashMap<Digest, Arc<PathSet>>,
    /// Results that turned out to be of no use: the blobs are gone, or wrong.
    spoilt: HashSet<(usize, Digest)>,
    /// Blobs whose content is not what their name says.
    wrong: HashSet<(usize, Digest)>,
}

/// Where the bytes of an artifact are.
#[derive(Clone, Copy, PartialEq, Eq)]
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
    /// The same as it travels, with its signatures.
    pub sealed: Vec<u8>,
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
        Self { lines, ..Self::default() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether any is still asked.
    pub fn is_on(&self) -> bool {
        self.lines.iter().any(Line::is_on)
    }

    /// What has come so far, and is to come.
    pub fn traffic(&self) -> Traffic {
        self.meter.traffic()
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

    /// A remote has failed: it is not asked again in this run, unless what is wrong is one answer alone.
    pub(super) fn failed(&self, line: usize, error: &RemoteError) {
        let of = &self.lines[line];
        match error {
            RemoteError::Missing => {}
            RemoteError::Nonsense(_) | RemoteError::Refused(_) => {
                self.warn(format!("remote {}: {error}", of.name));
            }
            _ => {
                if let Some(warning) = of.turn_off(&error.to_string()) {
                    self.warn(warning);
                }
            }
        }
    }

    /// What a remote has under the name of a blob is something else.
    pub(super) fn is_wrong(&self, line: usize, blob: &Name) {
        let name = &self.lines[line].name;
        let what = blob.blake3.short();
        self.warn(format!("remote {name}: what it has under {what} is something else; it is not used"));
        self.state().wrong.insert((line, blob.blake3));
    }

    /// Whether a blob is to be put there though the remote says that it has it.
    pub(super) fn is_known_wrong(&self, line: usize, blob: &Name) -> bool {
        self.state().wrong.contains(&(line, blob.blake3))
    }

    /// The first phase: path sets that runs with this action key had and that are at least so well known, those of the
    /// first remote first. Whoever made
    /// them up leads us to a key that nobody signed a result for.
    pub fn path_sets(&self, action_key: &Digest, least: Provenance) -> Vec<RemotePathSet> {
        let key = candidates_key(action_key);
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        for line in 0..self.lines.len() {
            for Candidate { path_set, provenance, blob } in
                self.entry(line, &key, |bytes| candidates::decode(bytes).ok()).unwrap_or_default()
            {
                if provenance >= least && seen.insert(path_set) {
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
        let bytes = self.small_blob(of.line, &of.blob, paths::MAX_BLOB)?;
        // One at a time: nobody has signed it, and it may come to much.
        let _decoding = self.decoding.lock().unwrap_or_else(PoisonError::into_inner);
        paths::decode(&bytes, &of.digest).ok().map(Arc::new)
    }

    /// Remembers a path set that has led to a result.
    pub fn remember(&self, digest: Digest, set: Arc<PathSet>) {
        self.state().path_sets.insert(digest, set);
    }

    /// The second phase: the first result under this key that counts, and is as wanted.
    pub fn result(&self, strong_key: &Digest, wanted: impl Fn(&ResultEntry) -> bool) -> Option<Hit> {
        let of_line = |line| self.result_of(line, strong_key).ok().flatten();
        (0..self.lines.len()).filter_map(of_line).find(|hit| wanted(&hit.entry))
    }

    /// The result that one remote has under this key; the error where it has one that does not count.
    pub(super) fn result_of(&self, line: usize, strong_key: &Digest) -> Result<Option<Hit>, EntryError> {
        let of = &self.lines[line];
        if self.state().spoilt.contains(&(line, *strong_key)) {
            return Ok(None);
        }
        let open =
            |bytes: &[u8]| ResultEntry::open(&Sealed::decode(bytes)?, strong_key, &of.instance, &of.trust);
        let read = |bytes: &[u8]| Some(open(bytes).map(|opened| (opened, bytes.to_vec())));
        let Some(opened) = self.entry(line, strong_key, read) else { return Ok(None) };
        let (opened, sealed) = opened.inspect_err(|error| {
            self.warn(format!("remote {}: a result does not count: {error}", of.name));
        })?;
        let mut state = self.state();
        for (_, output) in &opened.entry.outputs {
            if let Artifact::File { digest, .. } | Artifact::Tree { digest, .. } = output.artifact() {
                let found = Found { line, output: *output, strong_key: *strong_key };
                let known = state.found.entry(digest).or_default();
                if !known.contains(&found) {
                    known.push(found);
                }
            }
        }
        let remote = of.name.clone();
        Ok(Some(Hit { line, remote, entry: opened.entry, sealed, signed_by: opened.signed_by }))
    }

    /// Where the bytes of an artifact are: in the first result that was found and has it.
    pub(super) fn place_of(&self, artifact: &Artifact) -> Option<Found> {
        let (Artifact::File { digest, .. } | Artifact::Tree { digest, .. }) = artifact else { return None };
        // The same bytes; whether they may be executed is for who places them.
        let is_that = |found: &&Found| match (found.output.artifact(), artifact) {
            (Artifact::File { size: a, .. }, Artifact::File { size: b, .. }) => a == *b,
            (found, wanted) => found == *wanted,
        };
        self.state().found.get(digest)?.iter().find(is_that).copied()
    }

    pub(super) fn found(&self, artifact: &Digest) -> Option<Found> {
        self.state().found.get(artifact)?.first().copied()
    }

    /// A result is of no use: it is not found again in this run.
    pub fn spoil(&self, hit: &Hit) {
        self.spoil_result(hit.line, &hit.entry.strong_key);
    }

    pub(super) fn spoil_result(&self, line: usize, strong_key: &Digest) {
        let mut state = self.state();
        state.spoilt.insert((line, *strong_key));
        for found in state.found.values_mut() {
            found.retain(|found| (found.line, found.strong_key) != (line, *strong_key));
        }
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
