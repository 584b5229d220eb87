//! Errors of planning.

use std::path::PathBuf;

use crate::graph::{ExpandError, NodeId};
use crate::host::ToolError;
use crate::source::SourceError;
use crate::store::{BlobError, StoreError};

/// Why no plan can be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A source tree can't be read.
    #[error("source {name}: {source}")]
    Source {
        /// The source's name.
        name: String,
        /// The cause.
        source: SourceError,
    },
    /// A commit can't be resolved.
    #[error("source {name}: {}: {message}", path.display())]
    Git {
        /// The source's name.
        name: String,
        /// The repository.
        path: PathBuf,
        /// The message of git.
        message: String,
    },
    /// An unpacked source tree differs from what was unpacked.
    #[error(
        "source {name}: the unpacked tree {} was changed by something else; the next run puts it right",
        root.display()
    )]
    Altered {
        /// The source's name.
        name: String,
        /// The root of its tree.
        root: PathBuf,
    },
    /// A host program can't be used.
    #[error("{node}: {source}")]
    Tool {
        /// A node that runs it.
        node: String,
        /// The cause.
        source: ToolError,
    },
    /// The node requires something else that this machine or the project does not have.
    #[error("{node}: {message}")]
    MissingRequirement {
        /// The node.
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
        /// The cause.
        source: std::io::Error,
    },
    /// An input can't be read from the cache.
    #[error("{node}: input {input}: {source}")]
    Blob {
        /// The node.
        node: String,
        /// Its input.
        input: String,
        /// The node that makes the input.
        from: NodeId,
        /// The cause.
        source: Box<BlobError>,
    },
    /// An input has no form that a built-in kind can use.
    #[error("{node}: {message}")]
    Unusable {
        /// The node.
        node: String,
        /// The cause.
        message: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The graph can't be expanded.
    #[error(transparent)]
    Expand(#[from] ExpandError),
}

impl PlanError {
    /// The node whose output is missing from the cache, if that is the error: once the node has run again, the decision
    /// can be made.
    pub fn lost(&self) -> Option<NodeId> {
        match self {
            Self::Blob { from, source, .. } if source.is_miss() => Some(*from),
            _ => None,
        }
    }
}
