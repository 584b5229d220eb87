//! The graph: one node for each action the spec asks for, and which node reads which other's outputs.
//!
//! Nodes are instances of rules. The graph knows rules, bindings and edges; it knows nothing of kernels, of what is
//! stale, or of how anything runs.

mod bind;
mod expand;
mod query;
mod select;
mod variables;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};

use crate::digest::Digest;
use crate::spec::model::{self, HostRef, RootMode};

pub use bind::{BindError, Bindings, Value};
pub use expand::{ExpandError, expand};
pub use select::{Selection, UnknownTarget};

/// A node of one graph. Ids are handed out in an order in which every node comes after those it depends on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct NodeId(u32);

impl NodeId {
    /// Its place in arrays with an element for each node.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    fn petgraph(self) -> NodeIndex {
        NodeIndex::new(self.index())
    }
}

/// A rule as nodes use it: shared, with what can be computed once.
#[derive(Debug)]
pub struct BoundRule {
    /// The file's stem.
    pub name: Arc<str>,
    /// The rule as declared.
    pub rule: model::Rule,
    /// The digest of all that decides what a run does.
    pub digest: Digest,
    /// The same, part by part, for explanations.
    pub parts: Vec<(&'static str, String)>,
    /// The bindings that reach the key.
    pub key_holes: Vec<String>,
}

/// A node.
#[derive(Debug)]
pub struct Node {
    /// Its name: `RULE:AXES`.
    pub name: Arc<str>,
    /// What it is.
    pub body: Body,
}

/// What a node is.
#[derive(Debug)]
pub enum Body {
    /// A rule with its parameters bound.
    Action(Arc<Action>),
    /// Stands for nodes that are known when another node's output is.
    Expansion(Expansion),
    /// Makes a source tree: a tarball to unpack, a commit to export.
    Source(SourceNode),
}

/// A rule with its parameters bound.
#[derive(Debug)]
pub struct Action {
    /// The rule.
    pub rule: Arc<BoundRule>,
    /// Values of placeholders, parameters included.
    pub bindings: Bindings,
    /// Inputs, sorted by name.
    pub inputs: Vec<(Arc<str>, Input)>,
    /// Where below `out/` its outputs appear.
    pub export: Option<PathBuf>,
    /// Host programs it runs.
    pub tools: Vec<Tool>,
    /// Directories in which those are looked for first.
    pub tool_path: Arc<[PathBuf]>,
    /// Files and directories of the host that it reads.
    pub host: Vec<HostRef>,
    /// The root that its steps run in, or that their compiler is of.
    pub root: Option<Root>,
    /// The machine whose programs it runs, as qemu-user calls it, where the processor does not run them as they are.
    pub machine: Option<&'static str>,
}

/// A host program that an action runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    /// Its name.
    pub program: String,
    /// Whether the action does without it where there is none.
    pub optional: bool,
}

/// A root as an action uses it.
#[derive(Debug)]
pub struct Root {
    /// Its name.
    pub name: Arc<str>,
    /// How much of the work is done by its programs.
    pub mode: RootMode,
    /// This machine's compiler, where it stands for the root's.
    pub compiler: Option<String>,
    /// The number of the account that they run as.
    pub user: u32,
}

impl Root {
    /// The input that is its files. No rule can declare inputs of such names.
    pub const FILES: &'static str = "@root";

    /// The input that tells where its programs are.
    pub const ABOUT: &'static str = "@about";

    /// Whether all that runs is its own.
    pub fn is_whole(&self) -> bool {
        matches!(self.mode, RootMode::Emulated)
    }
}

/// An input with its references resolved.
#[derive(Debug, Clone)]
pub enum Input {
    /// A source tree, by name, and the node that makes it if one does.
    Source {
        /// Its name in the spec.
        name: Arc<str>,
        /// The node that unpacks it.
        made_by: Option<NodeId>,
    },
    /// A file or directory of the project.
    File(PathBuf),
    /// A key that signs modules, by name; `None`: none does.
    ModuleKey(Option<Arc<str>>),
    /// An output of another node.
    Output {
        /// That node.
        node: NodeId,
        /// The output's name.
        output: Arc<str>,
    },
    /// All files of a root, as images that other nodes make.
    Root {
        /// Its name.
        name: Arc<str>,
        /// The images, the lowest first: nodes, and their outputs.
        layers: Vec<(NodeId, Arc<str>)>,
    },
    /// One file: the bytes of files, then lines.
    Concat {
        /// Files of the project.
        files: Vec<PathBuf>,
        /// Lines, without their newline.
        lines: Vec<String>,
    },
}

/// Stands for nodes that are known when another node's output is.
#[derive(Debug)]
pub struct Expansion {
    /// The rule of the nodes to come.
    pub rule: Arc<BoundRule>,
    /// The node whose output lists the values.
    pub from: NodeId,
    /// That output.
    pub output: Arc<str>,
    /// The build whose axes are bound already.
    build: usize,
}

/// Makes a source tree.
#[derive(Debug)]
pub struct SourceNode {
    /// Its name in the spec.
    pub source: Arc<str>,
}

/// The graph.
#[derive(Debug)]
#[expect(clippy::struct_field_names, reason = "it is the graph, and the rest is about it")]
pub struct Graph {
    /// Edges point from a node to those that read its outputs.
    graph: DiGraph<Node, ()>,
    by_name: HashMap<Arc<str>, NodeId>,
    /// What expansion needs when it goes on later.
    seed: expand::Seed,
    /// Nodes that an expansion point has become.
    expanded: BTreeMap<NodeId, Vec<NodeId>>,
    /// Where outputs are put, so that no two collide.
    places: expand::Places,
}

impl Graph {
    /// The number of nodes.
    pub fn len(&self) -> usize {
        self.graph.node_count()
    }

    /// Whether there is nothing to do at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All nodes, those depended on first.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        (0..u32::try_from(self.len()).expect("fewer than 2^32 nodes")).map(NodeId)
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.graph[id.petgraph()]
    }

    /// A node's name.
    pub fn name(&self, id: NodeId) -> &Arc<str> {
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

    /// The nodes that an expansion point has become; `None` while it has not.
    pub fn expansion(&self, id: NodeId) -> Option<&[NodeId]> {
        self.expanded.get(&id).map(Vec::as_slice)
    }

    fn neighbours(&self, id: NodeId, direction: Direction) -> impl Iterator<Item = NodeId> + '_ {
        self.graph
            .neighbors_directed(id.petgraph(), direction)
            .map(|index| NodeId(u32::try_from(index.index()).expect("made from a u32")))
    }

    fn add(&mut self, node: Node, deps: impl IntoIterator<Item = NodeId>) -> NodeId {
        let name = Arc::clone(&node.name);
        let index = self.graph.add_node(node);
        let id = NodeId(u32::try_from(index.index()).expect("fewer than 2^32 nodes"));
        for dep in deps {
            debug_assert!(dep < id, "a node is added after those it depends on");
            self.graph.update_edge(dep.petgraph(), index, ());
        }
        self.by_name.insert(name, id);
        id
    }
}

impl Node {
    /// The rule's name, or `source`.
    pub fn kind(&self) -> &str {
        match &self.body {
            Body::Action(action) => &action.rule.name,
            Body::Expansion(expansion) => &expansion.rule.name,
            Body::Source(_) => "source",
        }
    }

    /// The action, where it is one.
    pub fn action(&self) -> Option<&Action> {
        match &self.body {
            Body::Action(action) => Some(action),
            Body::Expansion(_) | Body::Source(_) => None,
        }
    }
}
