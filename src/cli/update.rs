//! `kiln update`.

use super::exit::Exit;
use super::failure::Failure;
use super::project::load_spec;
use super::terminal::{Terminal, outln};
use crate::gentoo::lock::Change;
use crate::session::{Pinned, Updated, update};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Stage3s, such as `arm64-openrc`, roots, or `ebuilds`. Default: everything that roots use.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Only show what would change.
    #[arg(short = 'n', long)]
    dry_run: bool,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let spec = load_spec(terminal)?;
    let mut report = |item: &Pinned, updated: Updated| match updated {
        Ok((now, change)) => print_update(item.name(), &now, &change, terminal),
        Err(error) => terminal.warning(&error),
    };
    let has_roots = update(&spec, &args.names, args.dry_run, &mut report)?;
    if !has_roots && !terminal.quiet {
        outln!("nothing to update: graph.ron has no roots");
    }
    Ok(Exit::Done)
}

fn print_update(name: &str, now: &str, change: &Change, terminal: &Terminal) {
    if terminal.quiet {
        return;
    }
    match change {
        Change::New => outln!("{name}: {now}, new"),
        Change::Same => outln!("{name}: {now}, as before"),
        Change::From(date) => outln!("{name}: from {date} to {now}"),
    }
}
