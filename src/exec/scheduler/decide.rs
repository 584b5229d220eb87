//! Decisions while a plan is executed: the plan's own, and those for nodes whose dependencies have ended.

use std::mem::take;

use super::super::error::ExecError;
use super::super::event::{EVENTS_VERSION, Event};
use super::core::Scheduler;
use super::options::Goal;
use super::work::{State, Transition, Work};
use crate::graph::{NodeId, NodeKind};
use crate::plan::{Decided, Decision, DetachedDecision, Plan, PlanError, Verdict, decide, expansion_values};
use crate::remote::{Hit, Remotes};
use crate::store::Outcome;

impl Scheduler<'_, '_> {
    /// Applies the decisions of the plan.
    pub(super) fn begin(&mut self, plan: &Plan) {
        self.add_states();
        for &id in plan.nodes() {
            let decision = plan.decision(id).expect("a plan decides all its nodes").clone();
            self.transition(id, Transition::Wanted);
            self.apply(id, decision);
        }
        let event = Event::Begun {
            version: EVENTS_VERSION,
            nodes: self.wanted.len(),
            fresh: self.summary.fresh,
            expected: self.estimate.wall,
        };
        (self.emit)(&event);
        self.warn_lacking();
    }

    /// Applies a decision to a node that waits for one.
    pub(super) fn apply(&mut self, id: NodeId, decision: Decision) {
        let Decision { verdict, key_inputs, .. } = decision;
        let transition = match (verdict, key_inputs) {
            (Verdict::Fresh(known), _) => {
                let is_action = matches!(self.graph.node(id).kind, NodeKind::Action(_));
                self.summary.fresh += usize::from(is_action);
                if known.outcome == Outcome::Fail {
                    self.count_failure(id);
                    self.messages.insert(id, format!("as before: kiln log {}", self.graph.name(id)));
                }
                Transition::Settled(known)
            }
            (Verdict::Cached(known, _), Some(key_inputs)) => {
                Transition::Planned(Work::Restore { key_inputs, known, hit: None })
            }
            (Verdict::Remote(known, hit), Some(key_inputs)) if self.is_fetched(id) => {
                self.expect_transfer(id, &hit);
                Transition::Planned(Work::Restore { key_inputs, known, hit: Some(hit) })
            }
            // Its readers fetch what they read.
            (Verdict::Remote(known, hit), _) => {
                self.summary.remote_only += 1;
                if known.outcome == Outcome::Fail {
                    self.count_failure(id);
                    self.messages.insert(id, format!("as remote {} has it", hit.remote));
                }
                Transition::Settled(known)
            }
            (Verdict::Stale(_), Some(_)) if self.options.goal == Goal::Restore => {
                self.summary.skipped += 1;
                Transition::Failed(Outcome::Skipped)
            }
            (Verdict::Stale(reasons), Some(key_inputs)) => {
                Transition::Planned(Work::Run { key_inputs, reasons })
            }
            (Verdict::Stale(reasons), None) => Transition::Planned(Work::Unpack { reasons }),
            (Verdict::Blocked(by), _) => {
                self.summary.skipped += 1;
                let message = format!("needs {}", self.graph.name(by));
                self.messages.insert(id, message);
                Transition::Failed(Outcome::Skipped)
            }
            // Nodes that don't depend on it still run, whatever `keep_going` is.
            (Verdict::MissingRequirement(what), _) => {
                self.summary.infra += 1;
                let name = self.graph.name(id);
                let message = format!("{name}: {what}; `kiln doctor` lists all that is missing");
                self.lacking.push(message);
                self.messages.insert(id, what);
                Transition::Failed(Outcome::Infra)
            }
            (Verdict::Unknown(_) | Verdict::Cached(..), _) => Transition::Undecided,
        };
        let is_planned = matches!(transition, Transition::Planned(_));
        self.transition(id, transition);
        if is_planned {
            self.enqueue(id);
        }
    }

    /// Adds the size of a remote's result to the expected transfers.
    fn expect_transfer(&mut self, id: NodeId, hit: &Hit) {
        if let Some(remotes) = self.build.remotes {
            // A remote that can't say is asked again when the result is fetched.
            self.transfers.expect(id.index(), remotes.lacking(self.build.store, hit).unwrap_or(0));
        }
    }

    /// Emits warnings about what the machine lacks. Not before the run has begun: that event is the first.
    fn warn_lacking(&mut self) {
        for message in take(&mut self.lacking) {
            self.warn(message);
        }
    }

    /// Decides the nodes that wait for this one, and in turn those that wait for nodes that end by their decision.
    pub(super) fn decide_readers(&mut self, id: NodeId) -> Result<(), ExecError> {
        let mut ended = vec![id];
        while let Some(id) = ended.pop() {
            let readers: Vec<NodeId> = self.graph.rdeps(id).collect();
            for reader in readers {
                if matches!(self.node_state(reader), State::Waiting) {
                    self.decide_one(reader, &mut ended)?;
                }
            }
        }
        Ok(())
    }

    /// Decides a node again whose inputs or whose cached result are gone.
    pub(super) fn decide_again(&mut self, id: NodeId) -> Result<(), ExecError> {
        self.transition(id, Transition::Withdrawn);
        let mut ended = Vec::new();
        self.decide_one(id, &mut ended)?;
        ended.into_iter().try_for_each(|id| self.decide_readers(id))
    }

    /// Decides a waiting node, on another thread where remotes are asked. A node that ends by its decision is added to
    /// `ended`.
    fn decide_one(&mut self, id: NodeId, ended: &mut Vec<NodeId>) -> Result<(), ExecError> {
        if self.build.remotes.is_some_and(Remotes::is_on)
            && let Some(lookup) = DetachedDecision::of(self.graph, id, self)
        {
            self.transition(id, Transition::LookupStarted);
            self.lookups.push(id, lookup);
            return Ok(());
        }
        let is_point = matches!(self.graph.node(id).kind, NodeKind::Expansion(_));
        let decided = if is_point && self.graph.expansion(id).is_none() {
            let boards = expansion_values(self.build, self.graph, id, self);
            boards.map(|boards| boards.map_or_else(Decided::Node, Decided::Expansion))
        } else {
            decide(self.build, self.graph, id, self, false).map(Decided::Node)
        };
        self.decided(id, decided, ended)
    }

    /// Handles a decision for which remotes were asked.
    pub(super) fn looked_up(
        &mut self,
        id: NodeId,
        decided: Result<Decided, PlanError>,
    ) -> Result<(), ExecError> {
        self.lookups.ended();
        let mut ended = Vec::new();
        self.decided(id, decided, &mut ended)?;
        ended.into_iter().try_for_each(|id| self.decide_readers(id))
    }

    fn decided(
        &mut self,
        id: NodeId,
        decided: Result<Decided, PlanError>,
        ended: &mut Vec<NodeId>,
    ) -> Result<(), ExecError> {
        match decided {
            Ok(Decided::Expansion(boards)) => {
                self.expand(id, &boards, ended)?;
                self.apply(id, Decision::expanded());
            }
            Ok(Decided::Node(decision)) => {
                self.apply(id, decision);
                self.warn_lacking();
            }
            Err(error) if error.lost().is_some() => {
                self.blob_lost(id, &error.to_string());
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        if self.node_state(id).has_ended() {
            ended.push(id);
        }
        Ok(())
    }

    /// Adds the nodes of an expansion point to the run, and decides them.
    fn expand(&mut self, point: NodeId, boards: &[String], ended: &mut Vec<NodeId>) -> Result<(), ExecError> {
        let new = self.graph.expand(point, boards).map_err(PlanError::from)?;
        self.add_states();
        let wanted: Vec<NodeId> =
            new.into_iter().filter(|&id| self.selection.wants(self.graph, id)).collect();
        let into = wanted.iter().map(|&id| self.graph.name(id).clone()).collect();
        let states = &self.states;
        let wanted = self.graph.closure_until(wanted, |id| !matches!(states[id.index()], State::Unwanted));
        self.wanted.extend(&wanted);
        (self.emit)(&Event::Expanded { node: self.graph.name(point).clone(), into });
        for &id in &wanted {
            self.transition(id, Transition::Wanted);
        }
        for &id in &wanted {
            self.decide_one(id, ended)?;
        }
        Ok(())
    }

    /// Handles a node that needs a blob that is gone: all is planned again, so that the node that makes the blob runs.
    pub(super) fn blob_lost(&mut self, id: NodeId, what: &str) {
        self.plan_again = true;
        self.stopping = true;
        self.warn(format!("{what}; what makes it runs again"));
        self.transition(id, Transition::Failed(Outcome::Skipped));
    }
}
