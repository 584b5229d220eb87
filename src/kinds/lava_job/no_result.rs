//! Why a LAVA job has no results.

use std::fmt::Display;

use super::labs::NoLab;
use crate::exec::{JobInputError, JobOutcome};
use crate::store::{Outcome, StoreError};

/// Why a job has no results, with a message.
#[derive(Debug)]
pub(super) enum NoResult {
    /// The lab, the device or this machine failed.
    Infra(String),
    /// No lab can boot the board.
    Skipped(String),
    /// The user interrupted the run.
    Cancelled(String),
}

impl NoResult {
    pub(super) fn infra(message: impl Display) -> Self {
        Self::Infra(message.to_string())
    }
}

impl From<NoResult> for JobOutcome {
    fn from(no_result: NoResult) -> Self {
        match no_result {
            NoResult::Infra(message) => Self::nothing(Outcome::Infra, message),
            NoResult::Skipped(message) => Self::nothing(Outcome::Skipped, message),
            NoResult::Cancelled(message) => Self::nothing(Outcome::Cancelled, message),
        }
    }
}

impl From<StoreError> for NoResult {
    fn from(error: StoreError) -> Self {
        Self::infra(error)
    }
}

impl From<JobInputError> for NoResult {
    fn from(error: JobInputError) -> Self {
        Self::infra(error)
    }
}

impl From<NoLab> for NoResult {
    fn from(none: NoLab) -> Self {
        match none {
            NoLab::Unavailable(why) => Self::Skipped(format!("no lab can boot it: {why}")),
            NoLab::Cancelled => Self::Cancelled("nothing was submitted".to_owned()),
        }
    }
}
