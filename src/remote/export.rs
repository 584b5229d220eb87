//! Exporting: recorded results into a bundle.

use std::collections::BTreeMap;
use std::path::Path;

use super::bundle::{BundleError, BundleWriter};
use super::candidates::{self, Candidate, candidates_key};
use super::push::{Content, Outgoing, Parcel, PushError};
use crate::digest::Digest;
use crate::store::{Blob, Store};

/// A bundle that is being put together.
pub struct Export<'a> {
    store: &'a Store,
    bundle: BundleWriter,
    /// By their keys: results of one action share a list.
    candidates: BTreeMap<Digest, Vec<u8>>,
}

/// Why a result can't be put into a bundle.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It can't be read.
    #[error(transparent)]
    Result(#[from] PushError),
    /// The bundle can't be written.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

impl<'a> Export<'a> {
    /// An empty one.
    pub fn new(store: &'a Store) -> Self {
        Self { store, bundle: BundleWriter::new(), candidates: BTreeMap::new() }
    }

    /// Adds a result with all that it names. Tells whether anybody stands for it.
    pub fn add(&mut self, outgoing: &Outgoing<'_>) -> Result<bool, ExportError> {
        let parcel = Parcel::of(self.store, outgoing, "")?;
        for blob in &parcel.blobs {
            self.bundle.blob(*blob, self.store.path_of(&blob.blake3));
        }
        for (name, content) in &parcel.small {
            let path = match content {
                Content::Bytes(bytes) => {
                    let Blob { digest, .. } = self.store.put_bytes(bytes).map_err(PushError::Store)?;
                    self.store.path_of(&digest)
                }
                Content::File(path) => path.clone(),
            };
            self.bundle.blob(*name, path);
        }
        let sealed = outgoing.by.seal(&parcel.entry);
        let is_signed = sealed.signatures().next().is_some();
        self.bundle.entry(outgoing.strong_key, sealed.encode())?;
        let newest = Candidate {
            path_set: parcel.entry.path_set_digest,
            provenance: outgoing.path_set.provenance(),
            blob: parcel.entry.path_set,
        };
        let key = candidates_key(&outgoing.result.action_key);
        let merged = candidates::merge(self.candidates.get(&key).map(Vec::as_slice), newest);
        self.candidates.insert(key, merged);
        Ok(is_signed)
    }

    /// Writes the bundle, and gives its length in bytes. `done` is told how many bytes of blobs were taken in, as it goes
    /// on.
    pub fn write(mut self, to: &Path, done: &mut dyn FnMut(u64)) -> Result<u64, ExportError> {
        for (key, candidates) in std::mem::take(&mut self.candidates) {
            self.bundle.entry(key, candidates)?;
        }
        Ok(self.bundle.write(to, done)?)
    }
}
