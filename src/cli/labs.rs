//! `kiln labs`.

use super::exit::Exit;
use super::failure::Failure;
use super::project::{load_spec, secrets};
use super::terminal::{Terminal, out};
use crate::kinds::lava_job::OnInterrupt;
use crate::report;
use crate::session::labs;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Show only these labs.
    labs: Vec<String>,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let spec = load_spec(terminal)?;
    if let Some(unknown) = args.labs.iter().find(|lab| !spec.project.labs.contains_key(*lab)) {
        let known: Vec<&str> = spec.project.labs.keys().map(String::as_str).collect();
        return Err(Failure::new(Exit::Spec, format!("graph.ron has no lab {unknown}"))
            .help(format!("it has {}", known.join(", "))));
    }
    let wanted = |lab: &str| args.labs.is_empty() || args.labs.iter().any(|wanted| wanted == lab);
    let labs = labs(&spec, secrets(&spec), || OnInterrupt::Leave);
    let inventories: Vec<_> = labs.inventories().filter(|(lab, _)| wanted(lab)).collect();
    let unusable = inventories.iter().any(|(_, surveyed)| surveyed.is_err());
    let without_events = labs.without_events();
    out!("{}", report::labs(&spec, &inventories, &without_events, &wanted, terminal.out));
    Ok(if unusable { Exit::Environment } else { Exit::Done })
}
