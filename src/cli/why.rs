//! `kiln why`.

use super::exit::Exit;
use super::failure::Failure;
use super::format::Format;
use super::project::open;
use super::terminal::{Terminal, out, outln};
use crate::kinds::AllKinds;
use crate::report;
use crate::session::{Forced, View, select_one};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The node: a name, or a glob that matches one.
    node: String,
    /// List everything that its key is made of.
    #[arg(short, long)]
    verbose: bool,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = open(terminal)?;
    let kinds = AllKinds::new(&project.spec);
    // Everything is planned: a boot is in the graph only once its match is known.
    let View { graph, context, plan, .. } = View::plan(&project, &kinds, None, &[], Forced::default())?;
    let id = select_one(&args.node, &graph)?;
    match args.format {
        Format::Text => {
            out!("{}", report::why_text(&context, &graph, &plan, id, args.verbose, terminal.out)?);
        }
        Format::Json => outln!("{:#}", report::why_json(&context, &graph, &plan, id)?),
    }
    Ok(Exit::Done)
}
