//! `kiln cache`: maintenance of the local cache.

mod export;
mod gc;
mod import;
mod keygen;
mod stat;
mod verify;
mod why_kept;

use clap::Subcommand;

use super::exit::Exit;
use super::failure::Failure;
use super::terminal::Terminal;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring the cache within its limits: the least recently used goes first.
    Gc(gc::Args),
    /// Show what is in the cache, and what it belongs to.
    Stat(stat::Args),
    /// Check for damage: hash all content, read all rows, and set damaged blobs aside.
    Verify(verify::Args),
    /// Show what refers to a blob or a node in the cache, so that it is kept.
    WhyKept(why_kept::Args),
    /// Put results into one file, for another machine.
    Export(export::Args),
    /// Import the results of such a file.
    Import(import::Args),
    /// Generate a key that signs results.
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
