//! A plan: the decisions of all wanted nodes.

use std::collections::HashSet;

use super::progress::{Progress, State};
use super::verdict::{Decision, Verdict};
use crate::digest::Digest;
use crate::graph::{Graph, NodeId, NodeKind, Selection};

/// What is to happen to every wanted node.
#[derive(Debug)]
pub struct Plan {
    /// The wanted nodes, dependencies first.
    nodes: Vec<NodeId>,
    /// By node; `None` for nodes that are not wanted.
    decisions: Vec<Option<Decision>>,
}

impl Plan {
    /// A plan of these nodes, dependencies first, without decisions. `size` is the number of nodes of the graph.
    pub(super) fn new(nodes: Vec<NodeId>, size: usize) -> Self {
        let mut decisions = Vec::new();
        decisions.resize_with(size, || None);
        Self { nodes, decisions }
    }

    /// The wanted nodes, dependencies first.
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// A node's decision; `None` if it is not wanted.
    pub fn decision(&self, id: NodeId) -> Option<&Decision> {
        self.decisions.get(id.index())?.as_ref()
    }

    /// A wanted node's verdict.
    pub fn verdict(&self, id: NodeId) -> &Verdict {
        &self.decision(id).expect("the node is part of the plan").verdict
    }

    /// The key of a node's result, if it is known.
    pub fn strong_key(&self, id: NodeId) -> Option<Digest> {
        Some(self.decision(id)?.keys?.strong?.key)
    }

    /// The nodes that can't run because this machine or project does not have what they require, and what that is.
    pub fn missing_requirements(&self) -> impl Iterator<Item = (NodeId, &str)> {
        self.nodes.iter().filter_map(|&id| match self.verdict(id) {
            Verdict::MissingRequirement(missing) => Some((id, missing.as_str())),
            _ => None,
        })
    }

    /// Whether nothing runs and nothing is put in place.
    pub fn is_fresh(&self) -> bool {
        self.nodes.iter().all(|&id| matches!(self.verdict(id), Verdict::Fresh(_) | Verdict::Blocked(_)))
    }

    /// The nodes whose results a restore fetches from remotes: those that were asked for, and the inputs of what runs next.
    /// While a source has yet to be unpacked, it is not known what runs next; then only what was asked for.
    pub fn restored(&self, graph: &Graph, selection: &Selection) -> HashSet<NodeId> {
        let unpacks = self.unpacks(graph);
        let runs = |by| self.decision(by).is_some_and(|decision| decision.verdict.may_run());
        let is_read = |id| !unpacks && graph.rdeps(id).any(runs);
        let nodes = self.nodes.iter().copied();
        nodes.filter(|&id| selection.wants(graph, id) || is_read(id)).collect()
    }

    fn unpacks(&self, graph: &Graph) -> bool {
        let is_source = |id: NodeId| matches!(graph.node(id).kind, NodeKind::Source(_));
        self.nodes.iter().any(|&id| is_source(id) && self.verdict(id).may_run())
    }

    pub(super) fn add_nodes(&mut self, nodes: Vec<NodeId>) {
        self.nodes.extend(nodes);
    }

    pub(super) fn set(&mut self, id: NodeId, decision: Decision) {
        if self.decisions.len() <= id.index() {
            self.decisions.resize_with(id.index() + 1, || None);
        }
        self.decisions[id.index()] = Some(decision);
    }
}

impl Progress for Plan {
    fn state(&self, id: NodeId) -> State<'_> {
        match &self.decision(id).expect("a node is decided after those it depends on").verdict {
            Verdict::Fresh(result) | Verdict::Cached(result, _) | Verdict::Remote(result, _) => {
                State::Done(result)
            }
            Verdict::Stale(_) | Verdict::Unknown(_) => State::Pending,
            Verdict::Blocked(_) | Verdict::MissingRequirement(_) => State::Failed,
        }
    }
}
