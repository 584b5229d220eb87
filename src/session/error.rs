//! Errors of a session.

use std::fmt;

use crate::exec::ExecError;
use crate::graph::ExpandError;
use crate::plan::PlanError;
use crate::store::StoreError;

/// Why an operation of a session fails.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The request or the spec is wrong.
    #[error("{0}")]
    Request(Message),
    /// This machine, a lab or a remote lacks something.
    #[error("{0}")]
    Environment(Message),
    /// No plan can be made.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The run can't continue.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// The graph can't be expanded.
    #[error(transparent)]
    Expand(#[from] ExpandError),
    /// The cache failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What happened, and what to do next.
#[derive(Debug)]
pub struct Message {
    /// What happened.
    pub text: String,
    /// What to do, if anything helps.
    pub help: Option<String>,
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl SessionError {
    /// The request or the spec is wrong.
    pub fn request(text: impl fmt::Display) -> Self {
        Self::Request(Message { text: text.to_string(), help: None })
    }

    /// This machine, a lab or a remote lacks something.
    pub fn environment(text: impl fmt::Display) -> Self {
        Self::Environment(Message { text: text.to_string(), help: None })
    }

    /// The same error with advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        if let Self::Request(message) | Self::Environment(message) = &mut self {
            message.help = Some(help.into());
        }
        self
    }
}
