//! `kiln log`.

use std::io::Write;

use super::exit::Exit;
use super::failure::Failure;
use super::project::open;
use super::terminal::{ColorChoice, Terminal};
use crate::store::BlobError;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The node: a name, or a glob that matches one.
    node: String,
}

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let project = open(&Terminal::new(ColorChoice::Never, true))?;
    let name = project.recorded_node(&args.node)?;
    let runs = project.store.runs(project.id()?, &name, 1)?;
    let Some(log) = runs.first().and_then(|(_, run)| run.log) else {
        return Err(Failure::new(Exit::Environment, format!("no log of {name} was kept")));
    };
    let text = project.store.read(&log.digest, log.size).map_err(|error| match error {
        BlobError::Store(error) => error.into(),
        lost => Failure::new(Exit::Environment, format!("the log of {name} is lost: {lost}")),
    })?;
    // A pager that was closed is no failure.
    let _ = std::io::stdout().write_all(&text);
    Ok(Exit::Done)
}
