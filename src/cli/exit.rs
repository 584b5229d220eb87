//! Exit codes, and failures on their way to the user.

use std::fmt::Display;
use std::process::ExitCode;

use crate::exec::ExecError;
use crate::graph::ExpandError;
use crate::host::ToolError;
use crate::plan::PlanError;
use crate::source::SourceError;
use crate::store::StoreError;
use crate::text::error_chain;

/// What the exit code says. Documented in the README; the numbers do not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All that was asked for is built, or was up to date.
    Done = 0,
    /// A build failed, or made other bits than are recorded.
    BuildFailed = 1,
    /// The spec or the command line is wrong: nothing was run.
    Spec = 2,
    /// All builds passed, and a boot failed.
    BootFailed = 3,
    /// The environment lacks something, or a lab, a device or the machine failed.
    Environment = 4,
    /// Ctrl-C.
    Interrupted = 130,
}

/// The same, for `--help`.
pub(super) const HELP: &str = "\
Exit codes:
  0    all is built, or was up to date
  1    a build failed; `verify` found other bits; `affected --exit-code`: something is touched;
       `cache verify`: something was damaged
  2    the spec or the command line is wrong
  3    a boot failed
  4    the environment lacks something: see `kiln doctor`
  130  interrupted";

impl Exit {
    /// `kiln affected --exit-code`: something is touched, or can't be told.
    pub const AFFECTED: Self = Self::BuildFailed;

    /// `kiln cache verify`: something was damaged.
    pub const DAMAGED: Self = Self::BuildFailed;
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command ends early.
#[derive(Debug)]
pub(super) struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What happened; empty where it has been said already.
    pub message: String,
    /// What to do.
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

    /// A failure of which the user knows already.
    pub(super) fn said(exit: Exit) -> Self {
        Self::new(exit, "")
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
