//! Artifacts: outputs of nodes, in the cache or at a remote.

use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::graph::NodeId;
use crate::plan::error::PlanError;
use crate::plan::verdict::ActionResult;
use crate::remote::{FetchError, Remotes};
use crate::source::FileDigests;
use crate::store::{Artifact, BlobError, Store, StoreError};

/// An input of a node that is another node's output.
#[derive(Clone, Copy)]
pub struct InputName<'a> {
    /// The node that makes it.
    pub from: NodeId,
    /// The input's name.
    pub input: &'a str,
    /// The node that reads it.
    pub node: &'a str,
}

impl InputName<'_> {
    fn unusable(&self, problem: &str) -> PlanError {
        PlanError::Unusable { node: self.node.to_owned(), message: format!("{} {problem}", self.input) }
    }

    fn unreadable(&self, source: BlobError) -> PlanError {
        PlanError::Blob {
            node: self.node.to_owned(),
            input: self.input.to_owned(),
            from: self.from,
            source: Box::new(source),
        }
    }
}

/// Access to the content of artifacts. Those that only a remote has are fetched when they are read.
#[derive(Clone, Copy)]
pub struct Artifacts<'a> {
    pub(super) store: &'a Store,
    pub(super) remotes: Option<&'a Remotes>,
    pub(super) files: &'a FileDigests,
}

impl Artifacts<'_> {
    /// Fetches an artifact if it is not in the cache and a remote has it. One that is nowhere is reported as missing by
    /// the code that reads it.
    pub fn fetch(&self, artifact: &Artifact) -> Result<(), StoreError> {
        let Some(remotes) = self.remotes else { return Ok(()) };
        match remotes.fetch_artifact(self.store, artifact) {
            Ok(()) | Err(FetchError::Gone { .. }) => Ok(()),
            Err(FetchError::Store(error)) => Err(error),
        }
    }

    /// Fetches the listings of a tree if they are not in the cache: a tree can be searched without its files.
    pub fn fetch_listings(&self, tree: &Digest) -> Result<(), StoreError> {
        if let (Some(remotes), false) = (self.remotes, self.store.has_listing(tree)?) {
            remotes.bring_listings(self.store, tree)?;
        }
        Ok(())
    }

    /// Whether all blobs of these outputs are in the cache.
    pub fn has_all(&self, outputs: &[(String, Artifact)]) -> Result<bool, StoreError> {
        for (_, artifact) in outputs {
            if !self.store.has_artifact(artifact)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The file in the cache that an artifact is; fetched if necessary.
    pub fn file(&self, artifact: &Artifact) -> Result<PathBuf, BlobError> {
        self.fetch(artifact)?;
        match artifact {
            Artifact::File { digest, .. } => self.store.file_of(digest, |path| self.files.digest(path)),
            Artifact::Tree { .. } | Artifact::Absent => Err(BlobError::Missing),
        }
    }

    /// Whether a file that is used in place in the cache was not the same all the time.
    pub fn was_disturbed(&self, file: &Path) -> bool {
        self.files.was_disturbed(file)
    }

    /// The content of an input.
    pub fn read(&self, artifact: Option<&Artifact>, of: InputName<'_>) -> Result<Vec<u8>, PlanError> {
        match artifact {
            Some(artifact @ Artifact::File { digest, size, .. }) => {
                self.fetch(artifact)?;
                self.store.read(digest, *size).map_err(|source| of.unreadable(source))
            }
            Some(Artifact::Tree { .. }) => Err(of.unusable("is a directory, not a file")),
            Some(Artifact::Absent) | None => Err(of.unusable("was not made")),
        }
    }

    /// The file at a path below an input that is a directory; `None` if there is none or the directory was not made.
    pub fn file_in(
        &self,
        artifact: Option<&Artifact>,
        path: &Path,
        of: InputName<'_>,
    ) -> Result<Option<Artifact>, PlanError> {
        let digest = match artifact {
            Some(Artifact::Tree { digest, .. }) => digest,
            Some(Artifact::Absent) | None => return Ok(None),
            Some(Artifact::File { .. }) => return Err(of.unusable("is a file, not a directory")),
        };
        self.fetch_listings(digest)?;
        self.store.file_in(digest, path).map_err(|source| of.unreadable(source))
    }

    /// The values of an expansion point: the output `output` of its node, a JSON list of texts.
    pub fn expansion_values(
        &self,
        result: &ActionResult,
        from: NodeId,
        output: &str,
        node: &str,
    ) -> Result<Vec<String>, PlanError> {
        let bytes = self.read(result.output(output), InputName { from, input: output, node })?;
        serde_json::from_slice(&bytes).map_err(|error| PlanError::Unusable {
            node: node.to_owned(),
            message: format!("output {output} is no JSON list of names: {error}"),
        })
    }
}
