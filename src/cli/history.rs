//! `kiln history`.

use super::exit::Exit;
use super::failure::Failure;
use super::format::Format;
use super::project::open;
use super::terminal::{Terminal, out, outln};
use crate::report;
use crate::store::Run;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The node: a name, or a glob that matches one.
    node: String,
    /// The largest number of runs to show.
    #[arg(short = 'n', long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// How to print the runs.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = open(terminal)?;
    let node = project.recorded_node(&args.node)?;
    let runs = project.store.runs(project.id()?, &node, args.limit)?;
    let runs: Vec<Run> = runs.into_iter().map(|(_, run)| run).collect();
    match args.format {
        Format::Text => out!("{}", report::history_text(&runs, terminal.out)),
        Format::Json => outln!("{:#}", report::history_json(&node, &runs)),
    }
    Ok(Exit::Done)
}
