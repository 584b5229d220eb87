//! Why a spec has no graph.

use std::path::PathBuf;

use super::{BindError, NodeName};
use crate::spec::instance::UnknownValue;

/// A graph that can't be made. The checks of the spec find most of these with a place in the file. The rest shows only
/// once every placeholder has its value.
#[derive(Debug, thiserror::Error)]
pub enum ExpandError {
    /// A template can't be filled in.
    #[error("{node}: {source}")]
    Bind {
        /// The node.
        node: NodeName,
        /// Why.
        source: BindError,
    },
    /// A parameter has no value.
    #[error("{node}: rule {rule} needs a value for parameter {param}; give it in `params`")]
    MissingParam {
        /// The node.
        node: NodeName,
        /// Its rule.
        rule: String,
        /// The parameter.
        param: String,
    },
    /// An input names a node that does not exist.
    #[error("{node}: input {input} names {missing}, which is no node of this graph")]
    NoSuchNode {
        /// The node.
        node: NodeName,
        /// Its input.
        input: String,
        /// The name.
        missing: String,
    },
    /// An input names an output that the node does not have.
    #[error("{node}: input {input} wants output {output} of {from}, which has only: {known}")]
    NoSuchOutput {
        /// The node.
        node: NodeName,
        /// Its input.
        input: String,
        /// The other node.
        from: NodeName,
        /// The output.
        output: String,
        /// The outputs of that node.
        known: String,
    },
    /// Two nodes have one name.
    #[error("two nodes are named {0}")]
    SameName(NodeName),
    /// Two nodes put their outputs at one path.
    #[error("{first} and {second} both put an output at out/{}", path.display())]
    SamePath {
        /// One node.
        first: NodeName,
        /// The other.
        second: NodeName,
        /// The path below `out/`.
        path: PathBuf,
    },
    /// Nodes that need each other.
    #[error("the graph has a cycle: {}", .0.join(" -> "))]
    Cycle(Vec<NodeName>),
    /// The value of an expansion point is not in the spec.
    #[error("{point}: {source}")]
    UnknownValue {
        /// The expansion point.
        point: NodeName,
        /// Which.
        source: UnknownValue,
    },
}
