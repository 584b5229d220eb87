//! Restoring: the outputs of a cached result are put in place.

use std::sync::Arc;

use super::super::export::export_outputs;
use crate::graph::Action;
use crate::plan::BuildContext;
use crate::remote::{FetchError, Hit};
use crate::source::PathSet;
use crate::store::{Artifact, BlobError, Placed};

/// A result whose outputs are in place.
pub(super) struct Restored {
    /// The exported files.
    pub(super) placed: Vec<Placed>,
    /// The path set of a result that was fetched from a remote.
    pub(super) path_set: Option<Arc<PathSet>>,
}

/// Why outputs could not be put in place.
#[derive(Debug, thiserror::Error)]
pub(super) enum RestoreError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Blob(#[from] BlobError),
}

impl RestoreError {
    /// Whether the result counts as missing: it or its blobs are gone or damaged.
    pub(super) fn is_miss(&self) -> bool {
        match self {
            Self::Fetch(error) => matches!(error, FetchError::Gone { .. }),
            Self::Blob(error) => error.is_miss(),
        }
    }
}

/// Puts outputs in place. Those of a remote's result are fetched first. `declared` is the path set of an action that
/// reads no more than it declares.
pub(super) fn restore_outputs(
    build: &BuildContext<'_>,
    action: &Action,
    outputs: &[(String, Artifact)],
    hit: Option<&Hit>,
    declared: PathSet,
) -> Result<Restored, RestoreError> {
    let mut path_set = None;
    if let (Some(hit), Some(remotes)) = (hit, build.remotes) {
        remotes.fetch(build.store, hit)?;
        // A declared path set is known without the remote.
        let known = if hit.entry.path_set_digest == declared.digest() {
            Some(Arc::new(declared))
        } else {
            build.path_set_of(remotes, hit).map_err(FetchError::Store)?
        };
        path_set = Some(known.ok_or_else(|| FetchError::Gone {
            remote: hit.remote.clone(),
            why: "has lost what was read for a result".to_owned(),
        })?);
    }
    let placed = export_outputs(build.store, action, outputs, &build.out)?;
    Ok(Restored { placed, path_set })
}
