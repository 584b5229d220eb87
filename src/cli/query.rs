//! `kiln query`.

use clap::Subcommand;

use super::exit::Exit;
use super::failure::Failure;
use super::project::open;
use super::terminal::{ColorChoice, Terminal, outln};
use crate::graph::{Graph, NodeId};
use crate::kinds::AllKinds;
use crate::session::{View, select, select_one};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    question: Question,
}

#[derive(Debug, Subcommand)]
enum Question {
    /// All nodes, or those that match targets.
    Nodes {
        /// Names, globs, `RULE:`, or builds.
        targets: Vec<String>,
    },
    /// The dependencies of a node.
    Deps {
        /// The node.
        node: String,
        /// Only direct dependencies.
        #[arg(long)]
        direct: bool,
    },
    /// The nodes that depend on a node.
    Rdeps {
        /// The node.
        node: String,
        /// Only direct dependents.
        #[arg(long)]
        direct: bool,
    },
    /// A shortest path from a node to one of its dependencies.
    Path {
        /// The dependent node.
        from: String,
        /// The dependency.
        to: String,
    },
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let project = open(&Terminal::new(ColorChoice::Never, true))?;
    // Boots whose matches are known are part of the graph; expansion points stand for the others.
    let kinds = AllKinds::new(&project.spec);
    let graph = View::expanded_graph(&project, &kinds)?;
    let nodes = match &args.question {
        Question::Nodes { targets } => {
            let selection = select(targets, &graph)?;
            graph.ids().filter(|&id| selection.wants(&graph, id)).collect()
        }
        Question::Deps { node, direct } => {
            let id = select_one(node, &graph)?;
            if *direct { sorted(graph.deps(id)) } else { graph.closure([id]) }
        }
        Question::Rdeps { node, direct } => {
            let id = select_one(node, &graph)?;
            if *direct { sorted(graph.rdeps(id)) } else { graph.reached([id]) }
        }
        Question::Path { from, to } => {
            let (from, to) = (select_one(from, &graph)?, select_one(to, &graph)?);
            graph.path(from, to).ok_or_else(|| {
                let (from, to) = (graph.name(from), graph.name(to));
                Failure::new(Exit::Spec, format!("{from} does not depend on {to}"))
                    .help("the dependent node comes first")
            })?
        }
    };
    print(&graph, &nodes);
    Ok(Exit::Done)
}

fn sorted(nodes: impl Iterator<Item = NodeId>) -> Vec<NodeId> {
    let mut nodes: Vec<NodeId> = nodes.collect();
    nodes.sort_unstable();
    nodes
}

fn print(graph: &Graph, nodes: &[NodeId]) {
    for &id in nodes {
        outln!("{}", graph.name(id));
    }
}
