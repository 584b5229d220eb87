//! Errors that end a whole run.

use std::io;

use crate::plan::PlanError;
use crate::store::StoreError;

/// Why a run can't go on at all.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// A node can't be decided.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The cache can't be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The jobserver's pipe.
    #[error("the jobserver failed: {0}")]
    Jobserver(#[from] io::Error),
}
