//! The scheduler's data, and the operations that all of its parts use.

use std::collections::{HashMap, HashSet};
use std::mem::replace;
use std::sync::Arc;
use std::time::Instant;

use super::super::context::RunContext;
use super::super::error::ExecError;
use super::super::event::{Event, Finished, How, Summary};
use super::super::kind::Runner;
use super::super::resources::{Reservation, ResourcePool};
use super::super::transfer_progress::TransferProgress;
use super::options::{Goal, Options};
use super::queue::{Entry, ReadyQueue};
use super::remote_lookup::RemoteLookups;
use super::work::{State, Transition, Work};
use crate::graph::{Action, Graph, NodeId, Selection};
use crate::plan::{BuildContext, Estimate, Outputs, Progress, State as Progressed};
use crate::store::{LockGuard, Outcome};

pub(super) struct Scheduler<'a, 'w> {
    pub(super) context: &'a RunContext<'a>,
    pub(super) build: &'a BuildContext<'w>,
    pub(super) graph: &'a mut Graph,
    pub(super) selection: &'a Selection,
    pub(super) options: Options,
    pub(super) emit: &'a mut dyn FnMut(&Event),
    pub(super) resources: ResourcePool,
    pub(super) estimate: &'a Estimate,
    /// The nodes of this run, those depended on first.
    pub(super) wanted: Vec<NodeId>,
    /// The nodes whose results a restore fetches, where a remote has them.
    pub(super) to_restore: HashSet<NodeId>,
    /// By node index.
    pub(super) states: Vec<State>,
    pub(super) queue: ReadyQueue<NodeId>,
    pub(super) lookups: RemoteLookups,
    /// What the active nodes hold.
    pub(super) active: HashMap<NodeId, Holdings>,
    /// Explanations of outcomes, for the user.
    pub(super) messages: HashMap<NodeId, String>,
    /// Warnings about programs that this machine lacks, until they are emitted.
    pub(super) lacking: Vec<String>,
    pub(super) transfers: TransferProgress,
    pub(super) summary: Summary,
    /// No more work is started.
    pub(super) stopping: bool,
    pub(super) plan_again: bool,
}

/// What an active node holds until it ends.
pub(super) struct Holdings {
    pub(super) reservation: Reservation,
    /// Held until the result is recorded.
    pub(super) lock: Option<LockGuard>,
}

impl Progress for Scheduler<'_, '_> {
    fn state(&self, id: NodeId) -> Progressed<'_> {
        match self.node_state(id) {
            State::Done(known) => Progressed::Done(known),
            State::Failed(_) => Progressed::Failed,
            State::Unwanted | State::Waiting | State::LookingUp | State::Ready(_) | State::Active(_) => {
                Progressed::Pending
            }
        }
    }
}

impl Scheduler<'_, '_> {
    pub(super) fn node_state(&self, id: NodeId) -> &State {
        &self.states[id.index()]
    }

    /// Makes a transition of the state diagram (see `state.rs`).
    pub(super) fn transition(&mut self, id: NodeId, transition: Transition) {
        let state = replace(&mut self.states[id.index()], State::Unwanted);
        let after =
            state.after(transition).unwrap_or_else(|error| panic!("{}: {error}", self.graph.name(id)));
        self.states[id.index()] = after;
    }

    /// Makes states for the nodes that an expansion has added to the graph.
    pub(super) fn add_states(&mut self) {
        self.states.resize_with(self.graph.len(), || State::Unwanted);
    }

    /// A node's outputs, where they are known. They are known while they are being put in place: readers take them from
    /// the cache, and were decided with them.
    pub(super) fn outputs(&self, id: NodeId) -> Option<Outputs> {
        match self.node_state(id) {
            State::Done(known)
            | State::Ready(Work::Restore { known, .. })
            | State::Active(Work::Restore { known, .. }) => Some(Arc::clone(&known.outputs)),
            _ => None,
        }
    }

    /// Whether an action runs as a job on another machine.
    pub(super) fn runs_remotely(&self, action: &Action) -> bool {
        matches!(self.context.kinds.runner(action.rule.decl.kind), Runner::Submitted(_))
    }

    pub(super) fn enqueue(&mut self, id: NodeId) {
        let is_remote = self.graph.node(id).action().is_some_and(|action| self.runs_remotely(action));
        let critical_path = self.estimate.tails.get(&id).copied().unwrap_or_default();
        self.queue.push(Entry::new(id, is_remote, critical_path));
    }

    /// Takes an active node's work and lock; its resources are free again.
    pub(super) fn release(&mut self, id: NodeId) -> Result<(Work, Option<LockGuard>), ExecError> {
        let State::Active(work) = self.node_state(id) else { unreachable!("only active nodes end") };
        let work = work.clone();
        let Holdings { reservation, lock } = self.active.remove(&id).expect("an active node holds resources");
        self.resources.release(reservation)?;
        Ok((work, lock))
    }

    /// Whether the outputs that a remote has of a node are fetched. A build fetches what was asked for; a node that runs
    /// fetches what it reads.
    pub(super) fn is_fetched(&self, id: NodeId) -> bool {
        match self.options.goal {
            Goal::Build => self.selection.wants(self.graph, id),
            Goal::Restore => self.to_restore.contains(&id),
        }
    }

    pub(super) fn count_failure(&mut self, id: NodeId) {
        self.summary.failed += 1;
        let action = self.graph.node(id).action();
        if action.is_some_and(|action| action.rule.decl.kind.boots().is_some()) {
            self.summary.boots_failed += 1;
        }
    }

    /// Counts a node that the machine, not the node, kept from a result.
    pub(super) fn count_infra(&mut self, id: NodeId, message: String) {
        self.summary.infra += 1;
        self.stopping |= !self.options.keep_going;
        self.messages.insert(id, message);
    }

    /// The end of a node, for the user.
    pub(super) fn finished(&self, id: NodeId, outcome: Outcome, how: How) -> Finished {
        Finished::new(self.graph.name(id).clone(), outcome, how)
    }

    pub(super) fn emit_finished(&mut self, finished: Finished) {
        (self.emit)(&Event::Finished(finished));
    }

    pub(super) fn warn(&mut self, message: String) {
        (self.emit)(&Event::Warning { message });
    }

    /// Emits the progress of transfers, if it is time to.
    pub(super) fn emit_transfers(&mut self) {
        if let Some(event) = self.transfers.now(self.context.traffic(), Instant::now()) {
            (self.emit)(&event);
        }
    }
}
