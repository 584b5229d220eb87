//! `kiln cache keygen`.

use std::path::PathBuf;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::terminal::{Terminal, outln};
use crate::remote::{KeyError, SigningKey};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The name of the key. End it with a number, so that its successor can have the next: gentoo-ci-1.
    name: String,
    /// The file for the secret key. Default: NAME.secret. An existing file is not overwritten.
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(in crate::cli) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let key = SigningKey::generate(&args.name).map_err(failure)?;
    let path = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("{}.secret", args.name)));
    key.write(&path).map_err(failure)?;
    let public = key.public();
    if terminal.quiet {
        outln!("{public}");
        return Ok(Exit::Done);
    }
    let shown = path.display().to_string();
    outln!("public key: {public}");
    outln!("secret key: {shown}, readable by you alone; keep it out of the repository");
    outln!("");
    outln!("In graph.ron, for all who read results:");
    outln!("    keys: [\"{public}\"],");
    outln!("and for the builder that signs them:");
    outln!("    sign: File({shown:?}),");
    Ok(Exit::Done)
}

fn failure(error: KeyError) -> Failure {
    match error {
        KeyError::Name(_) => Failure::new(Exit::Spec, error),
        KeyError::File { .. } => {
            Failure::new(Exit::Environment, error).help("`--out FILE` puts the secret key elsewhere")
        }
        _ => Failure::new(Exit::Environment, error),
    }
}
