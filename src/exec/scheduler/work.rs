//! What the scheduler has workers do, and what they send back.

use std::sync::Arc;
use std::time::Duration;

use super::super::run_result::RunResult;
use super::restore_outputs::{RestoreError, Restored};
use super::state::{self, RunState};
use crate::graph::NodeId;
use crate::plan::{ActionResult, Decided, KeyInputs, PlanError, Reason};
use crate::remote::Hit;

/// The state of a node of a plan.
pub(super) type State = RunState<Work, ActionResult>;

/// What happens to a node of a plan.
pub(super) type Transition = state::Transition<Work, ActionResult>;

/// What is to be done for a node.
#[derive(Clone, Debug)]
pub(super) enum Work {
    /// Run its action.
    Run { key_inputs: Arc<KeyInputs>, reasons: Vec<Reason> },
    /// Put the outputs of a cached result in place; fetch them first where a remote has them.
    Restore { key_inputs: Arc<KeyInputs>, known: ActionResult, hit: Option<Arc<Hit>> },
    /// Unpack its source tree.
    Unpack { reasons: Vec<Reason> },
}

/// What a worker thread sends when it has ended.
pub(super) enum Message {
    /// Remotes were asked, and the node is decided.
    Decided(NodeId, Box<Result<Decided, PlanError>>),
    /// An action ran.
    Ran(NodeId, Box<RunResult>),
    /// Outputs were put in place, or not.
    Restored(NodeId, Result<Restored, RestoreError>),
    /// A source tree was unpacked, with notes for the user, or not.
    Unpacked(NodeId, Duration, Result<Vec<String>, String>),
}
