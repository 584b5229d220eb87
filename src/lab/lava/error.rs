//! What can go wrong with a lab, sorted by what can be done about it. Texts never hold a token.

use std::io;

/// A request that came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum LavaError {
    /// No connection, or one that broke off.
    #[error("can't be reached: {0}")]
    Unreachable(String),
    /// It may be another: its certificate is not of an authority that counts, of another name, or no longer good.
    #[error("shows a certificate that is not to be believed: {0}; is `ca` in graph.ron its authority's?")]
    Certificate(String),
    /// It let us wait.
    #[error("is too slow: {0}")]
    Slow(String),
    /// It would not let us.
    #[error("access denied: {0}")]
    Denied(String),
    /// The job definition is one that it does not take.
    #[error("it does not take the job: {0}")]
    Invalid(String),
    /// It has no such job, or does not show it to us.
    #[error("it has no such job")]
    Gone,
    /// It failed (5xx), or asks for patience (408, 429).
    #[error("it failed: {0}")]
    Failed(String),
    /// It answered what LAVA does not: HTML, a redirect, something endless. Is the address that of a LAVA?
    #[error("it does not answer as LAVA does: {0}")]
    Unexpected(String),
    /// What the project says of the lab can't be followed.
    #[error("{0}")]
    Settings(String),
    /// This machine failed: a log could not be written.
    #[error(transparent)]
    Local(io::Error),
}

impl LavaError {
    /// Whether another try may do.
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Slow(_) | Self::Failed(_))
    }
}

/// A submission that gave no job, sorted by whether there may be one nevertheless.
#[derive(Debug, thiserror::Error)]
pub enum Submit {
    /// Nothing was made, and never will be from this definition with these rights.
    #[error("refused: {0}")]
    Refused(LavaError),
    /// Surely nothing was made; worth trying later.
    #[error("not sent: {0}")]
    NotSent(LavaError),
    /// There may be a job: look for it by its name before you submit again.
    #[error("nobody knows whether it was submitted: {0}")]
    Unclear(LavaError),
}
