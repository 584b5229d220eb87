//! What can go wrong with a remote, sorted by what can be done about it. Texts never hold a token or a password.

use std::io;
use std::time::Duration;

use crate::net::Stall;

/// A request that came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The remote does not have the blob.
    #[error("it does not have that")]
    Missing,
    /// It would not let us: no token, a wrong one, or one that may not write.
    #[error("access denied: {0}")]
    Denied(String),
    /// It asks for patience (429), or has failed in a way that may pass (5xx).
    #[error("it is busy: {what}")]
    Busy {
        /// What it said.
        what: String,
        /// When it wants to be asked again, where it says so.
        after: Option<Duration>,
    },
    /// No answer, or none in time, or the connection broke off.
    #[error("can't be reached: {0}")]
    Unreachable(String),
    /// It answered something that the protocol does not have, or more than was asked for.
    #[error("it talks nonsense: {0}")]
    Nonsense(String),
    /// The request is one that it never takes: too large, or not supported.
    #[error("it refuses: {0}")]
    Refused(String),
    /// What the project says of the remote can't be followed: an address that is none, a file that can't be read.
    #[error("{0}")]
    Settings(String),
    /// This machine failed: what was to be sent could not be read, or what came not be written.
    #[error(transparent)]
    Local(io::Error),
}

impl RemoteError {
    /// Whether another try may do.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Unreachable(_))
    }
}

impl From<Stall> for RemoteError {
    fn from(stall: Stall) -> Self {
        Self::Unreachable(stall.to_string())
    }
}
