//! Pushing: a recorded result goes to the remotes that are written to. Blobs first, then what names them.

use std::fs::File;
use std::path::PathBuf;

use super::candidates::{self, Candidate, candidates_key};
use super::client::Remotes;
use super::entry::{EntryOutput, ResultEntry};
use super::keys::{SigningKey, Trust};
use super::line::Line;
use super::name::groups;
use super::pack::Pack;
use super::sealed::Sealed;
use super::{MAX_ENTRY, Name, RemoteError, Sha256, paths};
use crate::digest::{Digest, Domain, Hasher};
use crate::source::PathSet;
use crate::store::{Artifact, Blob, BlobError, Store, StoreError, StoredResult};

/// A recorded result on its way.
pub struct Outgoing<'a> {
    /// Its key.
    pub strong_key: Digest,
    /// What was read for it.
    pub path_set: &'a PathSet,
    /// The result.
    pub result: &'a StoredResult,
    /// Whether an output is one that equal inputs make equal. A log is not.
    pub compared: &'a dyn Fn(&str) -> bool,
    /// Who stands for it.
    pub by: By<'a>,
}

/// Who stands for a result.
#[derive(Clone, Copy)]
pub enum By<'a> {
    /// This machine, which has made it, if it has a key.
    Us(Option<&'a SigningKey>),
    /// Whoever signed it where it came from: the entry as it came.
    Others(&'a [u8]),
    /// Nobody.
    Nobody,
}

impl By<'_> {
    /// The entry as it travels.
    pub(super) fn seal(self, entry: &ResultEntry) -> Sealed {
        let key = match self {
            Self::Us(key) => key,
            // What they signed has to be this very entry, in the same instance.
            Self::Others(bytes) => {
                let sealed = Sealed::decode(bytes).ok().filter(|sealed| {
                    let trust = Trust::AsItIs;
                    let opened = ResultEntry::open(sealed, &entry.strong_key, &entry.instance, &trust);
                    opened.is_ok_and(|opened| opened.entry == *entry)
                });
                match sealed {
                    Some(sealed) => return sealed,
                    None => None,
                }
            }
            Self::Nobody => None,
        };
        entry.seal(key)
    }
}

/// What became of a push to one remote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It was there already.
    Known,
    /// It is there now; so many bytes of blobs went over.
    Done {
        /// Bytes.
        bytes: u64,
    },
    /// Somebody has pushed other bits for the same inputs, built by continuing. Ours are there instead.
    Replaced {
        /// Whose signature theirs had.
        signed_by: Option<String>,
        /// Outputs that differ.
        outputs: Vec<String>,
    },
    /// Somebody has pushed other bits for the same inputs. Theirs stay; ours are kept beside them under this key.
    Differs {
        /// Whose signature theirs has.
        signed_by: Option<String>,
        /// Outputs that differ.
        outputs: Vec<String>,
        /// Where ours are.
        evidence: Digest,
    },
}

/// Why a result was not pushed.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The remote.
    #[error("remote {remote}: {error}")]
    Remote {
        /// What it is called.
        remote: String,
        /// What it said.
        error: RemoteError,
    },
    /// A blob is not in the store any more.
    #[error("{output} can't be read: {error}")]
    Blob {
        /// Whose.
        output: String,
        /// Why.
        error: BlobError,
    },
    /// It is more, or other, than remotes take.
    #[error("{0}")]
    Unfit(&'static str),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Remotes {
    /// The remotes that results are pushed to.
    pub fn written(&self) -> impl Iterator<Item = (usize, &Line)> {
        self.lines.iter().enumerate().filter(|(_, line)| line.write && line.is_on())
    }

    /// Pushes a result to one of them.
    pub fn push(&self, store: &Store, line: usize, outgoing: &Outgoing<'_>) -> Result<Pushed, PushError> {
        let to = &self.lines[line];
        let failed = |error: RemoteError| PushError::Remote { remote: to.name.clone(), error };
        let parcel = Parcel::of(store, outgoing, &to.instance)?;
        parcel.entry.check().map_err(PushError::Unfit)?;
        let sealed = outgoing.by.seal(&parcel.entry);
        let counts = || ResultEntry::open(&sealed, &outgoing.strong_key, &to.instance, &to.trust).is_ok();
        // Whether ours does is for the readers to say, who may list a key that we do not.
        if !matches!(outgoing.by, By::Us(_)) && !counts() {
            return Err(PushError::Unfit("nobody stands for it whose signature counts there"));
        }
        // One that does not count is as good as none, and is written over.
        let known = self.result_of(line, &outgoing.strong_key).ok().flatten();
        let differing = known.as_ref().map(|hit| differing(&hit.entry, &parcel.entry, outgoing.compared));
        // What a run from nothing has made takes the place of what only continuing has.
        let is_better = known.as_ref().is_some_and(|hit| hit.entry.continued) && !parcel.entry.continued;
        let place = match &differing {
            Some(_) if is_better => Some(outgoing.strong_key),
            Some(outputs) if outputs.is_empty() => None,
            Some(_) => Some(evidence_key(&parcel.entry)),
            None => Some(outgoing.strong_key),
        };
        // Also where the result is known: what has been lost of it is put back.
        let names = parcel.names();
        let bytes = self.send(store, line, &names, &parcel.small)?;
        if let Some(place) = &place {
            put_entry(to, place, &sealed, &names)?;
        }
        if let (Some(hit), Some(evidence), Some(outputs)) = (&known, place, differing)
            && !outputs.is_empty()
        {
            if is_better {
                return Ok(Pushed::Replaced { signed_by: hit.signed_by.clone(), outputs });
            }
            return Ok(Pushed::Differs { signed_by: hit.signed_by.clone(), outputs, evidence });
        }
        // Last: whoever finds the path set is to find the result.
        let key = candidates_key(&outgoing.result.action_key);
        let before = to.ask(|remote| remote.entry(&key)).map_err(failed)?;
        let newest = Candidate {
            path_set: parcel.entry.path_set_digest,
            provenance: outgoing.path_set.provenance(),
            blob: parcel.entry.path_set,
        };
        let merged = candidates::merge(before.as_deref(), newest);
        if before.as_deref() != Some(&merged) {
            to.ask(|remote| remote.put_entry(&key, &merged, &[newest.blob])).map_err(failed)?;
        }
        Ok(if known.is_some() && !is_better && bytes == 0 { Pushed::Known } else { Pushed::Done { bytes } })
    }
}

/// Outputs of which two results for the same inputs have other bits.
fn differing(theirs: &ResultEntry, ours: &ResultEntry, compared: &dyn Fn(&str) -> bool) -> Vec<String> {
    let same = |name: &str, output: &EntryOutput| {
        theirs.outputs.iter().any(|(their, found)| their == name && found.artifact() == output.artifact())
    };
    let outputs = ours.outputs.iter().filter(|(name, output)| compared(name) && !same(name, output));
    outputs.map(|(name, _)| name.clone()).collect()
}

/// Where a result is kept that is another than the one under its key.
fn evidence_key(entry: &ResultEntry) -> Digest {
    let mut hasher = Hasher::new(Domain::Evidence);
    hasher.digest(&entry.strong_key).bytes(&entry.seal(None).encode());
    hasher.finish()
}

/// All that goes over for one result.
pub(super) struct Parcel {
    pub entry: ResultEntry,
    /// Blobs of the store.
    pub blobs: Vec<Name>,
    /// Blobs that are made for the way: the path set, and the listings of trees.
    pub small: Vec<(Name, Content)>,
}

impl Parcel {
    pub fn of(store: &Store, outgoing: &Outgoing<'_>, instance: &str) -> Result<Self, PushError> {
        let (mut blobs, mut small) = (Vec::new(), Vec::new());
        let mut outputs = Vec::new();
        for (name, artifact) in &outgoing.result.outputs {
            let lost = |error| PushError::Blob { output: name.clone(), error };
            let output = match *artifact {
                Artifact::File { digest, size, executable } => {
                    let blob = named(store, Blob { digest, size }).map_err(lost)?;
                    blobs.push(blob);
                    EntryOutput::File { blob, executable }
                }
                Artifact::Tree { digest, files, bytes } => {
                    let listing = |digest: &Digest| store.listing(digest).map_err(BlobError::from);
                    let sha256 =
                        |&Blob { digest, size }: &Blob| store.sha256(&digest, size).map(Sha256).map(Some);
                    let pack = Pack::of_tree(&digest, listing, sha256).map_err(lost)?;
                    let pack = pack.ok_or_else(|| lost(BlobError::Missing))?;
                    blobs.extend(&pack.blobs);
                    let packed = made(pack.encode(), &mut small);
                    EntryOutput::Tree { digest, files, bytes, pack: packed }
                }
                Artifact::Absent => EntryOutput::Absent,
            };
            outputs.push((name.clone(), output));
        }
        let log = outgoing.result.log.map(|log| named(store, log)).transpose();
        let log = log.map_err(|error| PushError::Blob { output: "the log".to_owned(), error })?;
        blobs.extend(log);
        let path_set = made(paths::encode(outgoing.path_set), &mut small);
        let entry = ResultEntry {
            instance: instance.to_owned(),
            strong_key: outgoing.strong_key,
            action_key: outgoing.result.action_key,
            path_set,
            path_set_digest: outgoing.path_set.digest(),
            outcome: outgoing.result.outcome,
            outputs,
            log,
            continued: outgoing.result.built.is_unverified(),
        };
        Ok(Self { entry, blobs, small })
    }

    fn names(&self) -> Vec<Name> {
        let mut names: Vec<Name> =
            self.blobs.iter().copied().chain(self.small.iter().map(|(name, _)| *name)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl Remotes {
    /// Sends those of these blobs that a remote lacks, or has wrong: ones that are given here, and others from the store.
    /// Gives how many bytes that was.
    pub(super) fn send(
        &self,
        store: &Store,
        line: usize,
        names: &[Name],
        given: &[(Name, Content)],
    ) -> Result<u64, PushError> {
        let to = &self.lines[line];
        let failed = |error: RemoteError| PushError::Remote { remote: to.name.clone(), error };
        let lost = |blob: &Name, error| PushError::Blob { output: blob.blake3.short(), error };
        // Where one of them is known to be wrong, others may be, too: servers that don't hash would keep them for ever.
        let missing = if names.iter().any(|blob| self.is_known_wrong(line, blob)) {
            names.to_vec()
        } else {
            to.ask(|remote| remote.missing(names)).map_err(failed)?
        };
        let given = |blob: &Name| given.iter().find(|(name, _)| name == blob).map(|(_, content)| content);
        let mut small = Vec::new();
        for blob in &missing {
            let mut file = match given(blob) {
                Some(Content::File(path)) => {
                    File::open(path).map_err(|error| failed(RemoteError::Local(error)))?
                }
                None if blob.size > to.together() => {
                    let stored = Blob { digest: blob.blake3, size: blob.size };
                    store.open_blob(&stored).map_err(|error| lost(blob, error))?
                }
                _ => {
                    small.push(*blob);
                    continue;
                }
            };
            to.ask(|remote| remote.put(blob, &mut file)).map_err(failed)?;
        }
        for group in groups(small) {
            let content = |blob: Name| match given(&blob) {
                Some(Content::Bytes(content)) => Ok((blob, content.clone())),
                _ => {
                    let read = store.read(&blob.blake3, blob.size);
                    read.map(|content| (blob, content)).map_err(|error| lost(&blob, error))
                }
            };
            let group: Vec<(Name, Vec<u8>)> = group.into_iter().map(content).collect::<Result<_, _>>()?;
            to.ask(|remote| remote.put_several(&group)).map_err(failed)?;
        }
        Ok(missing.iter().map(|blob| blob.size).sum())
    }
}

/// Puts an entry, if others would take it.
pub(super) fn put_entry(to: &Line, key: &Digest, entry: &Sealed, names: &[Name]) -> Result<(), PushError> {
    let entry = entry.encode();
    if entry.len() as u64 > MAX_ENTRY {
        return Err(PushError::Unfit("its entry would be larger than remotes take"));
    }
    to.ask(|remote| remote.put_entry(key, &entry, names))
        .map_err(|error| PushError::Remote { remote: to.name.clone(), error })
}

/// Content that goes over and is no blob of the store.
pub(super) enum Content {
    /// In memory.
    Bytes(Vec<u8>),
    /// In a file.
    File(PathBuf),
}

/// A blob of the store by both names.
fn named(store: &Store, blob: Blob) -> Result<Name, BlobError> {
    let sha256 = Sha256(store.sha256(&blob.digest, blob.size)?);
    Ok(Name { blake3: blob.digest, sha256, size: blob.size })
}

/// A blob that is made for the way.
pub(super) fn made(content: Vec<u8>, all: &mut Vec<(Name, Content)>) -> Name {
    let name = Name::of_bytes(&content);
    all.push((name, Content::Bytes(content)));
    name
}
