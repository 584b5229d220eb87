//! Errors of a lab, classified by how to handle them. Messages never contain a token.

use std::io;

/// A failed request.
#[derive(Debug, thiserror::Error)]
pub enum LavaError {
    /// The connection failed or broke.
    #[error("can't be reached: {0}")]
    Unreachable(String),
    /// Its certificate is untrusted, expired, or for another name.
    #[error("shows a certificate that is not to be believed: {0}; is `ca` in graph.ron its authority's?")]
    Certificate(String),
    /// It did not answer in time.
    #[error("is too slow: {0}")]
    Slow(String),
    /// It denied access.
    #[error("access denied: {0}")]
    Denied(String),
    /// It rejects the job definition.
    #[error("it does not take the job: {0}")]
    Invalid(String),
    /// It has no such job, or does not show it to this user.
    #[error("it has no such job")]
    Gone,
    /// It failed (5xx), or asks to retry later (408, 429).
    #[error("it failed: {0}")]
    Failed(String),
    /// Its response is not LAVA's: HTML, a redirect, or endless. The address may be wrong.
    #[error("it does not answer as LAVA does: {0}")]
    Unexpected(String),
    /// The project's settings of the lab are invalid.
    #[error("{0}")]
    Settings(String),
    /// A local operation failed.
    #[error(transparent)]
    Local(io::Error),
}

impl LavaError {
    /// Whether the error is temporary.
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Slow(_) | Self::Failed(_))
    }
}

/// A failed submission, classified by whether the lab may have a job nevertheless.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// No job was created, and retrying would not help.
    #[error("refused: {0}")]
    Refused(LavaError),
    /// No job was created; retrying later may help.
    #[error("not sent: {0}")]
    NotSent(LavaError),
    /// A job may exist: look for it by name before submitting again.
    #[error("nobody knows whether it was submitted: {0}")]
    Unconfirmed(LavaError),
}
