//! `kiln cache gc`.

use std::time::Duration;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::project::open;
use crate::cli::terminal::{Terminal, out};
use crate::report;
use crate::session::{collect, limits};
use crate::spec::{parse_size, show_size};
use crate::store::Limits;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The largest size of the cache, such as 50GiB. Default: as in graph.ron.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    size: Option<u64>,
    /// How long unused things stay, such as 30d. Default: as in graph.ron.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    age: Option<Duration>,
    /// How much of the file system to leave free, such as 20GiB. Default: as in graph.ron.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    free: Option<u64>,
    /// Only show what would be removed.
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Remove also what the present graph needs, but nothing that a running kiln uses.
    #[arg(long)]
    force: bool,
}

fn size(text: &str) -> Result<u64, String> {
    parse_size(text).ok_or_else(|| "expected such as 512MiB, 1.5GiB".to_owned())
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = open(terminal)?;
    let spec = limits(&project)?;
    let limits =
        Limits { size: args.size.or(spec.size), age: args.age.or(spec.age), free: args.free.or(spec.free) };
    let collected = collect(&project, &limits, args.force, args.dry_run)?;
    if !terminal.quiet {
        out!("{}", report::collected_text(&collected, args.dry_run));
    }
    if collected.over > 0 {
        let user = if args.force {
            "a running kiln uses it"
        } else {
            "this graph needs it, or a running kiln uses it"
        };
        terminal.warning(&format!("{} more should have gone, but {user}", show_size(collected.over)));
    }
    Ok(Exit::Done)
}
