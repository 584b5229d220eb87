//! `kiln job show`: the definition of a job, without sending anything.

use std::collections::HashMap;

use clap::Subcommand;

use super::exit::Exit;
use super::failure::Failure;
use super::project::{open, print_warnings, remotes};
use super::terminal::{Terminal, out};
use crate::graph::{Input, OutputRef};
use crate::kinds::lava_job::Draft;
use crate::kinds::{self, AllKinds};
use crate::session::{Forced, View, select_one};
use crate::spec::model::Kind;
use crate::store::Artifact;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: JobCommand,
}

#[derive(Debug, Subcommand)]
enum JobCommand {
    /// Print the definition that a lab would be sent.
    Show {
        /// The node: `lava:SOURCE/ARCH/DEFCONFIG/TOOLCHAIN/BOARD/TEST`.
        node: String,
        /// For this lab. Default: the first of the board's.
        #[arg(long)]
        lab: Option<String>,
    },
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let JobCommand::Show { node, lab } = &args.command;
    let project = open(terminal)?;
    let remotes = remotes(&project, false, terminal)?;
    let kinds = AllKinds::new(&project.spec);
    // A boot is in the graph only once its match is planned.
    let targets = std::slice::from_ref(node);
    let View { graph, plan, .. } = View::plan(&project, &kinds, Some(&remotes), targets, Forced::default())?;
    print_warnings(&remotes, terminal);
    let id = select_one(node, &graph)?;
    let action = graph.node(id).action().filter(|action| action.rule.decl.kind == Kind::Lava);
    let action = action.ok_or_else(|| {
        Failure::new(Exit::Spec, format!("{node} is no job of a LAVA lab"))
            .help("`kiln query nodes 'lava:*'` lists those that are known")
    })?;
    let mut inputs: HashMap<&str, Artifact> = HashMap::new();
    for (name, input) in &action.inputs {
        let Input::Output(OutputRef { node: from, output }) = input else { continue };
        let known = plan.decision(*from).and_then(|decision| decision.verdict.known());
        let found = known.and_then(|known| known.output(output));
        match (found, known) {
            (Some(artifact), _) => drop(inputs.insert(name, *artifact)),
            (None, Some(_)) => drop(inputs.insert(name, Artifact::Absent)),
            (None, None) => {
                return Err(Failure::new(
                    Exit::Environment,
                    format!("{name} is not known: {} has yet to run", graph.name(*from)),
                )
                .help(format!("`kiln build {}` makes it", graph.name(*from))));
            }
        }
    }
    let key = plan.decision(id).and_then(|decision| decision.keys).map(|keys| keys.action);
    let draft = Draft {
        node: graph.name(id),
        action,
        action_key: key.as_ref(),
        lab: lab.as_deref(),
        store: &project.store,
        input: &|name| inputs.get(name).copied().unwrap_or(Artifact::Absent),
    };
    let text = kinds::lava_job::draft(&project.spec, &draft);
    out!("{}", text.map_err(|why| Failure::new(Exit::Environment, why))?);
    Ok(Exit::Done)
}
