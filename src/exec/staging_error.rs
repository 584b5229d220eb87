//! Why the inputs of an action can't be staged.

use std::io;
use std::path::PathBuf;

use super::secrets::KeyError;
use crate::graph::{BindError, NodeId};
use crate::plan::PlanError;
use crate::store::BlobError;

/// Why an action can't be staged.
#[derive(Debug, thiserror::Error)]
pub(super) enum StagingError {
    /// A blob is missing or damaged: the node that makes it has to run again.
    #[error("input {input}: {source}")]
    Lost {
        /// That node.
        node: NodeId,
        /// The input.
        input: String,
        /// What is wrong with it.
        source: BlobError,
    },
    /// The node that an input comes from did not make it.
    #[error("input {input} was not made by the node it comes from")]
    Absent {
        /// The input.
        input: String,
    },
    /// A blob can't be read for another reason.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The host's compiler that replaces a root's compiler has another version.
    #[error(
        "the root {root} has gcc {theirs}, and {compiler} is {ours}: install the same version, or give the toolchain the \
         mode `Mixed`, which runs the root's own"
    )]
    OtherCompiler {
        /// The root.
        root: String,
        /// The version of its compiler.
        theirs: String,
        /// The host's compiler.
        compiler: String,
        /// Its version.
        ours: String,
    },
    /// A source tree can't be read.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A template can't be expanded.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A key is missing or unusable.
    #[error("input {input}: {source}")]
    Key {
        /// The input.
        input: String,
        /// What is wrong with the key.
        source: KeyError,
    },
    /// An input is not what it was when the run was decided.
    #[error("{0} changed before this ran: nothing is recorded; run kiln again")]
    Changed(String),
    /// An input can't be copied.
    #[error("input {input}: {source}")]
    Copy {
        /// The input.
        input: String,
        /// What can't be copied, and why.
        source: io::Error,
    },
    /// The work directory can't be written.
    #[error(transparent)]
    WorkDir(#[from] io::Error),
    /// A file can't be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}
