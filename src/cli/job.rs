//! `kiln job show`: the definition of a job, without sending anything.

use std::collections::HashMap;

use clap::Subcommand;

use super::exit::{Exit, Failure};
use super::project::{Project, one, select};
use super::remotes::tell;
use super::terminal::{Terminal, out};
use crate::graph::{Input, OutputRef};
use crate::kinds::AllKinds;
use crate::kinds::lava_job::{Draft, draft};
use crate::plan::plan;
use crate::spec::model::Kind;
use crate::store::Artifact;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print the definition that a lab would be sent.
    Show {
        /// The node: `lava:SOURCE/ARCH/DEFCONFIG/TOOLCHAIN/BOARD/TEST`.
        node: String,
        /// As for this lab. Default: the first of the board's.
        #[arg(long)]
        lab: Option<String>,
    },
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let What::Show { node, lab } = &args.what;
    let project = Project::open(terminal)?;
    let remotes = project.remotes(false, terminal)?;
    let kinds = AllKinds::new(&project.spec);
    let (mut graph, mut world) = project.look(&kinds)?;
    world.remotes = Some(&remotes);
    // Boots are known when the plan is: what they expand from is in it.
    let selection = select(std::slice::from_ref(node), &graph)?;
    let plan = plan(&world, &mut graph, &selection)?;
    world.save();
    tell(&remotes, terminal);
    let id = one(node, &graph)?;
    let action = graph.node(id).action().filter(|action| action.rule.decl.kind == Kind::Lava);
    let action = action.ok_or_else(|| {
        Failure::new(Exit::Spec, format!("{node} is no job of a LAVA lab"))
            .help("`kiln query nodes 'lava:*'` lists those that are known")
    })?;
    let mut inputs: HashMap<&str, Artifact> = HashMap::new();
    for (name, input) in &action.inputs {
        let Input::Output(OutputRef { node: from, output }) = input else { continue };
        let known = plan.decision(*from).and_then(|decision| decision.verdict.known());
        let found = known.and_then(|known| known.outputs.iter().find(|(name, _)| *name == **output));
        match (found, known) {
            (Some((_, artifact)), _) => drop(inputs.insert(name, *artifact)),
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
    let text = draft_of(&project, &draft)?;
    out!("{text}");
    Ok(Exit::Done)
}

fn draft_of(project: &Project, wanted: &Draft<'_>) -> Result<String, Failure> {
    draft(&project.spec, wanted).map_err(|why| Failure::new(Exit::Environment, why))
}
