//! `kiln cache import`.

use std::path::PathBuf;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::project::open;
use crate::cli::terminal::{Terminal, outln};
use crate::remote::{Bundle, BundleError, Trust, import};
use crate::session::public_keys;
use crate::spec::show_size;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The bundle.
    file: PathBuf,
    /// Import results without a signature of a key that graph.ron lists. The author of the bundle then decides what your
    /// kernels are.
    #[arg(long)]
    unsigned: bool,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = open(terminal)?;
    let trust = if args.unsigned { Trust::AsItIs } else { Trust::Signed(public_keys(&project.spec)?) };
    let bundle = Bundle::open(&args.file).map_err(|error| match error {
        BundleError::Io { .. } => Failure::new(Exit::Spec, error),
        _ => Failure::new(Exit::Environment, error),
    })?;
    let name = args.file.display().to_string();
    let imported = import(&project.store, &name, bundle, trust)?;
    for refused in &imported.refused {
        terminal.warning(refused);
    }
    if imported.results == 0 && !imported.refused.is_empty() {
        let help =
            "list the key of who made it in `keys` of graph.ron, or say `--unsigned` if you trust the file";
        return Err(Failure::new(Exit::Environment, format!("nothing of {name} counts")).help(help));
    }
    if !terminal.quiet {
        outln!(
            "{} results ({} known already), {}",
            imported.results,
            imported.known,
            show_size(imported.bytes)
        );
    }
    Ok(Exit::Done)
}
