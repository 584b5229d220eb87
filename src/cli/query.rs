//! `kiln query`.

use clap::Subcommand;

use super::exit::{Exit, Failure};
use super::project::{Project, one, select};
use super::terminal::{ColorChoice, Terminal, outln};
use crate::graph::{Graph, NodeId};
use crate::kinds::AllKinds;
use crate::plan::plan;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    question: Question,
}

#[derive(Debug, Subcommand)]
enum Question {
    /// All nodes, or those that targets mean.
    Nodes {
        /// Names, globs, `RULE:`, or builds.
        targets: Vec<String>,
    },
    /// What a node needs.
    Deps {
        /// The node.
        node: String,
        /// Only what it reads itself.
        #[arg(long)]
        direct: bool,
    },
    /// What needs a node.
    Rdeps {
        /// The node.
        node: String,
        /// Only what reads it itself.
        #[arg(long)]
        direct: bool,
    },
    /// A shortest way along which one node needs another.
    Path {
        /// The node that needs.
        from: String,
        /// The node that is needed.
        to: String,
    },
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let project = Project::open(&Terminal::new(ColorChoice::Never, true))?;
    // What is known of boots becomes part of the graph; where it is not, the expansion point stands for them.
    let kinds = AllKinds::new(&project.spec);
    let (mut graph, world) = project.look(&kinds)?;
    let everything = select(&[], &graph)?;
    let _ = plan(&world, &mut graph, &everything);
    let nodes = match &args.question {
        Question::Nodes { targets } => {
            let selection = select(targets, &graph)?;
            graph.ids().filter(|&id| selection.wants(&graph, id)).collect()
        }
        Question::Deps { node, direct } => {
            let id = one(node, &graph)?;
            if *direct { sorted(graph.deps(id)) } else { graph.closure([id]) }
        }
        Question::Rdeps { node, direct } => {
            let id = one(node, &graph)?;
            if *direct { sorted(graph.rdeps(id)) } else { graph.reached([id]) }
        }
        Question::Path { from, to } => {
            let (from, to) = (one(from, &graph)?, one(to, &graph)?);
            graph.path(from, to).ok_or_else(|| {
                let (from, to) = (graph.name(from), graph.name(to));
                Failure::new(Exit::Spec, format!("{from} does not need {to}"))
                    .help("the node that needs the other comes first")
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
