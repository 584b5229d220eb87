//! `kiln cache stat`.

use crate::cli::exit::{Exit, Failure};
use crate::cli::format::Format;
use crate::cli::needs::of_graph;
use crate::cli::project::Project;
use crate::cli::terminal::{Terminal, out, outln};
use crate::report;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How to print it. The JSON is described in docs/cache.md.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = Project::open(terminal)?;
    let figures = project.store.figures(&of_graph(&project)?)?;
    match args.format {
        Format::Text => out!("{}", report::figures_text(&figures, &project.spec.root)),
        Format::Json => outln!("{:#}", report::figures_json(&figures)),
    }
    Ok(Exit::Done)
}
