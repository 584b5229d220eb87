//! `kiln cache stat`.

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::format::Format;
use crate::cli::project::open;
use crate::cli::terminal::{Terminal, out, outln};
use crate::report;
use crate::session::needed_of_cache;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How to print it. The JSON is described in docs/cache.md.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = open(terminal)?;
    let figures = project.store.figures(&needed_of_cache(&project)?)?;
    match args.format {
        Format::Text => out!("{}", report::figures_text(&figures, &project.spec.root)),
        Format::Json => outln!("{:#}", report::figures_json(&figures)),
    }
    Ok(Exit::Done)
}
