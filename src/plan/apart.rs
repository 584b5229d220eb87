//! Decisions that are made apart from the graph: where caches elsewhere are asked, that takes as long as they take, and
//! whoever has the graph goes on meanwhile.

use std::collections::HashMap;
use std::sync::Arc;

use super::decide::{Dependencies, Progress, State, decide_action, waits};
use super::verdict::{Decision, Known};
use super::world::{PlanError, World};
use crate::graph::{Action, Graph, NodeId, NodeKind, NodeName, OutputRef};
use crate::store::Outcome;

/// A node that can be decided, with all that its decision looks at beside the world.
pub struct Apart {
    name: NodeName,
    what: What,
}

enum What {
    Action {
        action: Arc<Action>,
        inputs: Reads,
    },
    /// The values of an expansion point are read.
    Point {
        from: OutputRef,
        known: Known,
    },
}

/// What an action reads, by node: name and result.
struct Reads(HashMap<NodeId, (NodeName, Known)>);

impl Dependencies for Reads {
    fn known(&self, id: NodeId) -> Option<&Known> {
        self.0.get(&id).map(|(_, known)| known)
    }

    fn name(&self, id: NodeId) -> &str {
        self.0.get(&id).map_or("", |(name, _)| name)
    }
}

/// What a node was decided to be.
pub enum Decided {
    /// With this verdict.
    Node(Decision),
    /// An expansion point that stands for these values.
    Point(Vec<String>),
}

impl Apart {
    /// A node by itself. `None` where nobody elsewhere would be asked: it waits for another, can't run, or is no action.
    pub fn of(graph: &Graph, id: NodeId, progress: &impl Progress) -> Option<Self> {
        let node = graph.node(id);
        let known = |id| match progress.state(id) {
            State::Known(known) => Some(known.clone()),
            State::Pending | State::Failed => None,
        };
        let what = match &node.kind {
            NodeKind::Action(action) if waits(graph, id, progress).is_none() => {
                let read = graph.deps(id).map(|dep| Some((dep, (graph.name(dep).clone(), known(dep)?))));
                What::Action { action: Arc::clone(action), inputs: Reads(read.collect::<Option<_>>()?) }
            }
            NodeKind::Expansion(point) if graph.expansion(id).is_none() => {
                let known = known(point.from.node).filter(|known| known.outcome == Outcome::Pass)?;
                What::Point { from: point.from.clone(), known }
            }
            NodeKind::Action(_) | NodeKind::Expansion(_) | NodeKind::Source(_) => return None,
        };
        Some(Self { name: node.name.clone(), what })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Decides it as [`decide()`](super::decide()) does.
    pub fn decide(&self, world: &World<'_>) -> Result<Decided, PlanError> {
        match &self.what {
            What::Action { action, inputs } => {
                decide_action(world, &self.name, action, inputs, false).map(Decided::Node)
            }
            What::Point { from, known } => {
                world.expansion_values(known, from.node, &from.output, &self.name).map(Decided::Point)
            }
        }
    }
}
