//! `kiln cache export`.

use std::path::PathBuf;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::project::{open, print_warnings, remotes};
use crate::cli::terminal::{Terminal, outln};
use crate::kinds::AllKinds;
use crate::remote::Export;
use crate::session::{ExportReport, Forced, HELD_BACK, View, add_results};
use crate::spec::show_size;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file to write the bundle to.
    file: PathBuf,
    /// Names, globs, `RULE:`, or builds (source/arch/defconfig/toolchain). Default: everything that has a result.
    targets: Vec<String>,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = open(terminal)?;
    let key = project.secrets().signing_key(&project.spec)?;
    // The keys of a result may depend on inputs that only a remote has.
    let remotes = remotes(&project, false, terminal)?;
    let kinds = AllKinds::new(&project.spec);
    let view = View::plan(&project, &kinds, Some(&remotes), &args.targets, Forced::default())?;
    print_warnings(&remotes, terminal);
    view.claim()?;
    let mut export = Export::new(&project.store);
    let mut report = ExportReport::default();
    let added = add_results(&view, key.as_ref().ok(), &mut export, &mut report);
    let ExportReport { results, unsigned, held_back, left_out } = report;
    for warning in &left_out {
        terminal.warning(warning);
    }
    added?;
    let length =
        export.write(&args.file, &mut |_| {}).map_err(|error| Failure::new(Exit::Environment, error))?;
    if unsigned > 0 {
        let why = key.err().unwrap_or_else(|| "this machine did not make them".to_owned());
        let note = format!("{unsigned} of them are not signed ({why}): to import these takes `--unsigned`");
        terminal.note(&note);
    }
    if held_back > 0 {
        terminal.note(&format!("{held_back} {HELD_BACK}"));
    }
    if !terminal.quiet {
        outln!("{results} results, {}: {}", show_size(length), args.file.display());
    }
    Ok(Exit::Done)
}
