//! `kiln cache`: the care of the local cache.

mod export;
mod gc;
mod import;
mod keygen;
mod stat;
mod verify;
mod why_kept;

use clap::Subcommand;

pub(super) use gc::after_build;

use super::exit::{Exit, Failure};
use super::terminal::Terminal;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring the cache within its bounds: what was used longest ago goes first.
    Gc(gc::Args),
    /// Show what is in the cache, and whose it is.
    Stat(stat::Args),
    /// Look for damage: hash all content, read all rows, put aside what is not what it should be.
    Verify(verify::Args),
    /// Tell what names something in the cache, so that it is kept.
    WhyKept(why_kept::Args),
    /// Put results into one file, for another machine.
    Export(export::Args),
    /// Take the results of such a file.
    Import(import::Args),
    /// Make a key that signs results.
    Keygen(keygen::Args),
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    match &args.command {
        Command::Gc(args) => gc::run(args, terminal),
        Command::Stat(args) => stat::run(args, terminal),
        Command::Verify(args) => verify::run(args, terminal),
        Command::WhyKept(args) => why_kept::run(args, terminal),
        Command::Export(args) => export::run(args, terminal),
        Command::Import(args) => import::run(args, terminal),
        Command::Keygen(args) => keygen::run(args, terminal),
    }
}
