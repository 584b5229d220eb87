//! Failures of commands, as the user sees them.

use std::fmt::Display;

use super::exit::Exit;
use crate::exec::ExecError;
use crate::graph::ExpandError;
use crate::host::ToolError;
use crate::plan::PlanError;
use crate::session::SessionError;
use crate::source::SourceError;
use crate::store::StoreError;
use crate::text::error_chain;

/// Why a command ends early.
#[derive(Debug)]
pub(super) struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What happened; empty if that has been printed already.
    pub message: String,
    /// What to do next.
    pub help: Option<String>,
}

impl Failure {
    pub(super) fn new(exit: Exit, message: impl Display) -> Self {
        Self { exit, message: message.to_string(), help: None }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// A failure that has been printed already.
    pub(super) fn printed(exit: Exit) -> Self {
        Self::new(exit, "")
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Request(message) => {
                Self { help: message.help, ..Self::new(Exit::Spec, message.text) }
            }
            SessionError::Environment(message) => {
                Self { help: message.help, ..Self::new(Exit::Environment, message.text) }
            }
            SessionError::Plan(error) => error.into(),
            SessionError::Exec(error) => error.into(),
            SessionError::Expand(error) => error.into(),
            SessionError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let help = error.help();
        Self { help, ..Self::new(Exit::Environment, error_chain(&error)) }
    }
}

impl From<ExpandError> for Failure {
    fn from(error: ExpandError) -> Self {
        Self::new(Exit::Spec, error)
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Store(error) => error.into(),
            PlanError::Expand(error) => error.into(),
            PlanError::Tool { source: ToolError::Missing { .. }, .. } => {
                Self::new(Exit::Environment, error_chain(&error))
                    .help("`kiln doctor` lists all that is missing")
            }
            PlanError::Source { source: SourceError::Missing { .. }, .. } => {
                Self::new(Exit::Environment, error_chain(&error))
                    .help("put the tree there, or correct its path in graph.ron")
            }
            PlanError::Unusable { .. } => Self::new(Exit::BuildFailed, error_chain(&error)),
            _ => Self::new(Exit::Environment, error_chain(&error)),
        }
    }
}

impl From<ExecError> for Failure {
    fn from(error: ExecError) -> Self {
        match error {
            ExecError::Plan(error) => error.into(),
            ExecError::Store(error) => error.into(),
            ExecError::Jobserver(_) => Self::new(Exit::Environment, error),
        }
    }
}
