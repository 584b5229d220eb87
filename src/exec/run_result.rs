//! The result of running an action.

use std::fmt::Display;
use std::time::{Duration, SystemTime};

use super::incremental::{IncrementalState, NotReusable};
use super::messages::Messages;
use super::sandbox::{Exceeded, Usage};
use crate::graph::NodeId;
use crate::plan::StrongKey;
use crate::source::PathSet;
use crate::store::{Artifact, Blob, Outcome, Placed};

/// The result of running an action.
#[derive(Debug)]
pub(super) struct RunResult {
    pub outcome: Outcome,
    pub message: Option<String>,
    /// By name, sorted.
    pub outputs: Vec<(String, Artifact)>,
    /// The exported files.
    pub placed: Vec<Placed>,
    pub log: Option<Blob>,
    /// The last lines of the log, where the action did not pass.
    pub log_tail: Vec<String>,
    pub usage: Usage,
    pub started: SystemTime,
    pub duration: Duration,
    /// The outcome of the action itself, where what followed it made the run infra.
    pub own_outcome: Option<Outcome>,
    /// Whether there are outputs to collect: a boot that failed has a console log, a compilation that failed has nothing.
    pub has_outputs: bool,
    /// The node whose output is gone from the cache: it has to run again before this action can.
    pub lost: Option<NodeId>,
    /// What the run read; `None` where its inputs were not checked at its end.
    pub read: Option<ReadInputs>,
    /// Whether the run continued in the output directory of its last run.
    pub continued: bool,
    /// Whether the steps ended by themselves, so that no file they wrote is torn.
    pub ended: bool,
    /// The index of the step whose program could not be executed.
    pub not_started: Option<usize>,
    /// A suspicion that another attempt may confirm.
    pub hint: Option<String>,
    /// Whether another attempt may help, where this one is infra.
    pub retry: Retry,
    /// The limit that ended the run. Limits are part of no key, so the result is not cached.
    pub exceeded: Option<Exceeded>,
}

/// Whether another attempt may end differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    Useful,
    /// The inputs differ from those of the decision, and stay different.
    Futile,
}

/// What a run read, and the key of its result.
#[derive(Debug)]
pub(super) struct ReadInputs {
    pub set: PathSet,
    pub strong: StrongKey,
}

impl RunResult {
    pub(super) fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            message: None,
            outputs: Vec::new(),
            placed: Vec::new(),
            log: None,
            log_tail: Vec::new(),
            usage: Usage::default(),
            started: SystemTime::now(),
            duration: Duration::ZERO,
            own_outcome: None,
            has_outputs: outcome == Outcome::Pass,
            lost: None,
            read: None,
            continued: false,
            ended: false,
            hint: None,
            not_started: None,
            retry: Retry::Useful,
            exceeded: None,
        }
    }

    /// An action that the machine kept from an outcome.
    pub(super) fn infra(message: impl Display) -> Self {
        Self::new(Outcome::Infra).with_message(message)
    }

    pub(super) fn add_outputs(&mut self, outputs: &[(String, Artifact)]) {
        self.outputs.extend(outputs.iter().cloned());
        self.outputs.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    }

    pub(super) fn with_message(mut self, message: impl Display) -> Self {
        self.message = Some(message.to_string());
        self
    }

    /// Adds a note to the message.
    pub(super) fn with_note(self, note: impl Display) -> Self {
        match &self.message {
            Some(message) => {
                let message = format!("{message}; {note}");
                self.with_message(message)
            }
            None => self.with_message(note),
        }
    }

    /// Notes whether the run continued in the output directory of its last run, and if not, why.
    pub(super) fn with_incremental_note(
        self,
        state: Option<&IncrementalState>,
        not_reusable: Option<&NotReusable>,
    ) -> Self {
        match (state, not_reusable) {
            (Some(state), _) => match state.changed_files() {
                1 => self.with_note("continued from its last run: 1 file differs"),
                count => self.with_note(format!("continued from its last run: {count} files differ")),
            },
            (None, Some(why)) => self.with_note(format!("built from scratch: {why}")),
            (None, None) => self,
        }
    }

    /// Notes the number of errors and warnings.
    pub(super) fn with_message_counts(self, messages: Option<&Messages>) -> Self {
        let Some(messages) = messages else { return self };
        let count = |count: u64, what: &str| match count {
            0 => None,
            1 => Some(format!("1 {what}")),
            _ => Some(format!("{count} {what}s")),
        };
        let counts = [count(messages.errors, "error"), count(messages.warnings, "warning")];
        let counts: Vec<String> = counts.into_iter().flatten().collect();
        if counts.is_empty() { self } else { self.with_note(counts.join(" and ")) }
    }
}
