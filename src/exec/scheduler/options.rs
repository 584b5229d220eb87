//! How a plan is executed, and what comes of it.

use super::super::event::Summary;
use crate::graph::NodeId;
use crate::store::Outcome;

/// How a plan is executed.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Cores to use.
    pub jobs: usize,
    /// Whether nodes that don't depend on a failed one still run.
    pub keep_going: bool,
    /// Whether every action starts with an empty output directory, whatever its last run left.
    pub clean: bool,
    /// What is to be done.
    pub goal: Goal,
}

/// What executing a plan is to achieve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// All wanted nodes are up to date: stale actions run.
    Build,
    /// The outputs of all results that the cache or a remote has are in place. No action runs.
    Restore,
}

/// What came of executing a plan.
#[derive(Debug, Default)]
pub struct ExecutionResult {
    /// Counts.
    pub summary: Summary,
    /// Each wanted node with its outcome, and an explanation where there is one.
    pub nodes: Vec<(NodeId, Outcome, Option<String>)>,
    /// Something is not as the plan assumed, such as a blob that is gone: plan and execute again.
    pub plan_again: bool,
}
