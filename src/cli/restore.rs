//! `kiln restore`.

use std::collections::HashMap;

use super::build::{Carry, Format};
use super::exit::{Exit, Failure};
use super::labs::labs;
use super::plan::{Wanted, jobs};
use super::project::{Project, select};
use super::remotes::tell;
use super::terminal::{Terminal, out, outln};
use crate::exec::event::Fetching;
use crate::exec::{Goal, Options};
use crate::kinds::AllKinds;
use crate::kinds::lava_job::OnInterrupt;
use crate::plan::{Verdict, plan};
use crate::remote::Remotes;
use crate::report;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    wanted: Wanted,
    /// Only tell what the remotes have, what they lack and why, and how many bytes would come.
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// How to tell what happens.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT", conflicts_with = "dry_run")]
    format: Format,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = Project::open(terminal)?;
    let remotes = project.remotes(args.wanted.offline, terminal)?;
    if remotes.is_empty() && !args.wanted.offline {
        terminal.note("graph.ron names no remotes: docs/remote.md tells how");
    }
    if args.dry_run {
        return dry_run(&args.wanted, &project, &remotes, terminal);
    }
    let goal = Goal::Restore;
    let options = Options { jobs: jobs(args.wanted.jobs), keep_going: true, clean: false, goal };
    // A restore hands nothing over.
    let labs = labs(&project.spec, || OnInterrupt::Leave);
    let carry = Carry {
        project: &project,
        remotes: &remotes,
        labs: &labs,
        wanted: &args.wanted,
        options,
        format: args.format,
    };
    let exit = carry.out(None, terminal)?;
    let fetched = Fetching::from(remotes.traffic());
    if args.format == Format::Text && fetched.is_here() > 0 {
        outln!("fetched {}", report::fetching(&fetched));
    }
    // What is not to be had is built: a restore is no promise. But this machine may have failed.
    Ok(if matches!(exit, Exit::Interrupted | Exit::Environment) { exit } else { Exit::Done })
}

fn dry_run(
    wanted: &Wanted,
    project: &Project,
    remotes: &Remotes,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let kinds = AllKinds::new(&project.spec);
    let (mut graph, mut world) = project.look(&kinds)?;
    world.remotes = Some(remotes);
    let selection = select(&wanted.targets, &graph)?;
    let plan = plan(&world, &mut graph, &selection)?;
    world.save();
    tell(remotes, terminal);
    let mut bytes = HashMap::new();
    for id in plan.restored(&graph, &selection) {
        if let Verdict::Remote(_, hit) = plan.verdict(id) {
            bytes.insert(id, remotes.lacking(&project.store, hit)?);
        }
    }
    out!("{}", report::restore_text(&graph, &plan, &|id| bytes.get(&id).copied(), terminal.out));
    Ok(Exit::Done)
}
