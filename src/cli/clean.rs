//! `kiln clean`.

use super::exit::Exit;
use super::failure::Failure;
use super::project::{load_spec, open};
use super::terminal::{Terminal, outln};
use crate::session::{clean_cache, clean_outputs};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The nodes whose outputs are removed. Default: all.
    targets: Vec<String>,
    /// Remove the whole cache as well: everything runs again.
    #[arg(long, conflicts_with = "targets")]
    cache: bool,
    /// Remove the cache even if it alone knows of jobs at labs.
    #[arg(long, requires = "cache")]
    force: bool,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let message = if args.cache {
        let spec = load_spec(terminal)?;
        let home = clean_cache(&spec, args.force)?;
        format!("removed the cache in {}; sources are kept", home.display())
    } else {
        let removed = clean_outputs(&open(terminal)?, &args.targets)?;
        format!("removed {removed} files from out/; the cache still has them")
    };
    if !terminal.quiet {
        outln!("{message}");
    }
    Ok(Exit::Done)
}
