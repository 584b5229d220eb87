//! `kiln cache verify`.

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::project::open;
use crate::cli::terminal::{Terminal, outln};
use crate::spec::show_size;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Do not hash content: check only that everything is present, read all rows, and read touched files of unpacked sources.
    #[arg(long)]
    quick: bool,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = open(terminal)?;
    let audit = project.store.audit(args.quick)?;
    for damage in &audit.damage {
        outln!("{} {damage}", terminal.out.bad("damaged:"));
    }
    if !terminal.quiet {
        let hashed =
            if args.quick { "not hashed".to_owned() } else { format!("{} hashed", show_size(audit.hashed)) };
        let found = match audit.damage.len() {
            0 => "all is well".to_owned(),
            1 => "1 thing was damaged: what needs it runs again".to_owned(),
            several => format!("{several} things were damaged: what needs them runs again"),
        };
        let sources = match audit.sources {
            0 => String::new(),
            1 => ", 1 unpacked source".to_owned(),
            several => format!(", {several} unpacked sources"),
        };
        outln!("{} blobs ({hashed}), {} rows{sources}: {found}", audit.blobs, audit.rows);
    }
    Ok(if audit.damage.is_empty() { Exit::Done } else { Exit::DAMAGED })
}
