//! The graph: a node for each action that the spec asks for, and an edge for each output that another node reads.
//!
//! `instantiate` makes drafts of the spec's instances, `order` sorts them, `expand` resolves their references and adds
//! them. The graph knows rules, bindings and edges. It does not know what a node is for, whether it is up to date, or how
//! it runs.

mod action;
mod bind;
mod error;
mod expand;
mod export;
mod instantiate;
mod order;
mod query;
mod select;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};

use crate::spec::model;

pub use crate::spec::{BuildId, NodeName, SourceName};
pub use action::{Action, Input, Tool};
pub use bind::{BindError, Bindings, Value};
pub use error::ExpandError;
pub use expand::expand;
pub use select::{Selection, UnknownTarget};

/// A node of one graph. Ids ascend along the edges: a node comes after those it depends on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct NodeId(u32);

impl NodeId {
    /// A node of no graph.
    #[cfg(test)]
    pub const fn for_test(index: u32) -> Self {
        Self(index)
    }

    /// Its index in arrays with an element for each node.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    fn petgraph(self) -> NodeIndex {
        NodeIndex::new(self.index())
    }
}

impl From<NodeIndex> for NodeId {
    fn from(index: NodeIndex) -> Self {
        Self(u32::try_from(index.index()).expect("petgraph's indices are u32"))
    }
}

/// A rule as its nodes share it.
#[derive(Debug)]
pub struct BoundRule {
    /// The stem of its file.
    pub name: Arc<str>,
    /// Its declaration.
    pub decl: model::Rule,
    /// The placeholders that it uses, sorted: their values are part of the key.
    pub placeholders: Vec<String>,
}

impl BoundRule {
    fn new(name: &str, decl: &model::Rule) -> Self {
        let placeholders = decl.used_placeholders().into_iter().map(str::to_owned).collect();
        Self { name: name.into(), decl: decl.clone(), placeholders }
    }

    /// Whether the value of a placeholder is part of the key.
    fn uses(&self, placeholder: &str) -> bool {
        self.placeholders.binary_search_by(|own| own.as_str().cmp(placeholder)).is_ok()
    }
}

/// A node.
#[derive(Debug)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// What it is.
    pub kind: NodeKind,
}

/// What a node is.
#[derive(Debug)]
pub enum NodeKind {
    /// A rule with its parameters bound.
    Action(Arc<Action>),
    /// Stands for nodes that are known once another node's output is.
    Expansion(Expansion),
    /// Makes a source tree: unpacks a tarball, or exports a commit.
    Source(SourceNode),
}

/// An output of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputRef {
    /// The node.
    pub node: NodeId,
    /// The output's name.
    pub output: Arc<str>,
}

/// Stands for nodes that are known once another node's output is.
#[derive(Debug)]
pub struct Expansion {
    /// The rule of those nodes.
    pub rule: Arc<BoundRule>,
    /// The output that lists the values.
    pub from: OutputRef,
    /// The index of the build that the nodes are made of.
    build: usize,
}

/// Makes a source tree.
#[derive(Debug)]
pub struct SourceNode {
    /// Its name in the spec.
    pub source: SourceName,
}

/// The graph.
#[derive(Debug)]
pub struct Graph {
    /// Edges point from a node to those that read its outputs.
    nodes: DiGraph<Node, ()>,
    by_name: HashMap<NodeName, NodeId>,
    expansion_state: expand::ExpansionState,
    /// The nodes that expansion points have become.
    expanded: BTreeMap<NodeId, Vec<NodeId>>,
    exports: export::ExportPaths,
}

impl Graph {
    /// The number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.node_count()
    }

    /// Whether it has no node.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All nodes, dependencies first.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        (0..u32::try_from(self.len()).expect("petgraph's indices are u32")).map(NodeId)
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.petgraph()]
    }

    /// A node's name.
    pub fn name(&self, id: NodeId) -> &NodeName {
        &self.node(id).name
    }

    /// A node by its whole name.
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.by_name.get(name).copied()
    }

    /// The nodes whose outputs a node reads.
    pub fn deps(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        self.neighbours(id, Direction::Incoming)
    }

    /// The nodes that read a node's outputs.
    pub fn rdeps(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        self.neighbours(id, Direction::Outgoing)
    }

    /// The nodes that an expansion point has become; `None` before it is expanded.
    pub fn expansion(&self, id: NodeId) -> Option<&[NodeId]> {
        self.expanded.get(&id).map(Vec::as_slice)
    }

    fn neighbours(&self, id: NodeId, direction: Direction) -> impl Iterator<Item = NodeId> + '_ {
        self.nodes.neighbors_directed(id.petgraph(), direction).map(NodeId::from)
    }

    fn add(&mut self, node: Node, deps: impl IntoIterator<Item = NodeId>) -> NodeId {
        let name = node.name.clone();
        let index = self.nodes.add_node(node);
        let id = NodeId::from(index);
        for dep in deps {
            debug_assert!(dep < id, "a node is added after those it depends on");
            self.nodes.update_edge(dep.petgraph(), index, ());
        }
        self.by_name.insert(name, id);
        id
    }
}

impl Node {
    /// The rule's name, or `source`.
    pub fn rule_name(&self) -> &str {
        self.name.rule()
    }

    /// The action, where it is one.
    pub fn action(&self) -> Option<&Action> {
        match &self.kind {
            NodeKind::Action(action) => Some(action),
            NodeKind::Expansion(_) | NodeKind::Source(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
