//! Decisions detached from the graph. Asking remote caches takes time; the owner of the graph goes on meanwhile.

use std::collections::HashMap;
use std::sync::Arc;

use super::context::BuildContext;
use super::decide::decide_action;
use super::error::PlanError;
use super::key_inputs::Dependencies;
use super::progress::{Progress, State, waits};
use super::verdict::{ActionResult, Decision};
use crate::graph::{Action, Graph, NodeId, NodeKind, NodeName, OutputRef};
use crate::store::Outcome;

/// A node that can be decided, with everything of the graph that its decision needs.
pub struct DetachedDecision {
    name: NodeName,
    subject: Subject,
}

enum Subject {
    Action {
        action: Arc<Action>,
        dependencies: Results,
    },
    /// An expansion point, whose values are read.
    Expansion {
        from: OutputRef,
        result: ActionResult,
    },
}

/// The names and results of an action's dependencies.
struct Results(HashMap<NodeId, (NodeName, ActionResult)>);

impl Dependencies for Results {
    fn result(&self, id: NodeId) -> Option<&ActionResult> {
        self.0.get(&id).map(|(_, result)| result)
    }

    fn name(&self, id: NodeId) -> &str {
        self.0.get(&id).map_or("", |(name, _)| &**name)
    }
}

/// The outcome of a detached decision.
pub enum Decided {
    /// The decision of an action.
    Node(Decision),
    /// The values of an expansion point.
    Expansion(Vec<String>),
}

impl DetachedDecision {
    /// Detaches the decision of a node. `None` if no remote would be asked: the node waits for another one, can't run, or is
    /// no action.
    pub fn of(graph: &Graph, id: NodeId, progress: &impl Progress) -> Option<Self> {
        let node = graph.node(id);
        let result = |id| match progress.state(id) {
            State::Done(result) => Some(result.clone()),
            State::Pending | State::Failed => None,
        };
        let subject = match &node.kind {
            NodeKind::Action(action) if waits(graph.deps(id), progress).is_none() => {
                let results = graph.deps(id).map(|dep| Some((dep, (graph.name(dep).clone(), result(dep)?))));
                let dependencies = Results(results.collect::<Option<_>>()?);
                Subject::Action { action: Arc::clone(action), dependencies }
            }
            NodeKind::Expansion(point) if graph.expansion(id).is_none() => {
                let result = result(point.from.node).filter(|result| result.outcome == Outcome::Pass)?;
                Subject::Expansion { from: point.from.clone(), result }
            }
            NodeKind::Action(_) | NodeKind::Expansion(_) | NodeKind::Source(_) => return None,
        };
        Some(Self { name: node.name.clone(), subject })
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Decides the node as [`decide()`](super::decide()) does.
    pub fn decide(&self, context: &BuildContext<'_>) -> Result<Decided, PlanError> {
        match &self.subject {
            Subject::Action { action, dependencies } => {
                decide_action(context, &self.name, action, dependencies, false).map(Decided::Node)
            }
            Subject::Expansion { from, result } => context
                .artifacts()
                .expansion_values(result, from.node, &from.output, &self.name)
                .map(Decided::Expansion),
        }
    }
}
