//! `kiln cache export`.

use std::path::PathBuf;

use crate::cli::exit::{Exit, Failure};
use crate::cli::needs::hold_all;
use crate::cli::project::{Project, select};
use crate::cli::push::{HELD, recorded};
use crate::cli::remotes::{signing_key, tell};
use crate::cli::terminal::{Terminal, outln};
use crate::kinds::AllKinds;
use crate::plan::{Verdict, plan};
use crate::remote::{Export, ExportError, PushError};
use crate::spec::show_size;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where to put the bundle.
    file: PathBuf,
    /// Names, globs, `RULE:`, or builds (source/arch/defconfig/toolchain). Default: everything that has a result.
    targets: Vec<String>,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = Project::open(terminal)?;
    let key = signing_key(&project.spec)?;
    let kinds = AllKinds::new(&project.spec);
    let (mut graph, mut world) = project.look(&kinds)?;
    // What is not here, but elsewhere, tells the keys of what is made from it.
    let remotes = project.remotes(false, terminal)?;
    world.remotes = Some(&remotes);
    let selection = select(&args.targets, &graph)?;
    let plan = plan(&world, &mut graph, &selection)?;
    world.save();
    tell(&remotes, terminal);
    hold_all(&world, &graph, &plan)?;
    let mut export = Export::new(&project.store);
    let (mut results, mut unsigned, mut held) = (0, 0, 0);
    for &id in plan.nodes().iter().filter(|&&id| graph.node(id).action().is_some()) {
        if !matches!(plan.verdict(id), Verdict::Fresh(_) | Verdict::Cached(..)) {
            continue;
        }
        let strong = plan.decision(id).and_then(|decision| decision.keys?.strong);
        let Some(recorded) = strong.map(|strong| recorded(&project, &strong)).transpose()?.flatten() else {
            continue;
        };
        if recorded.is_unverified() {
            held += 1;
            continue;
        }
        match export.add(&recorded.outgoing(key.as_ref().ok(), &|_| true)) {
            Ok(is_signed) => {
                results += 1;
                unsigned += usize::from(!is_signed);
            }
            Err(ExportError::Result(PushError::Blob { output, error })) => {
                terminal.warning(&format!("{} is left out: {output} can't be read: {error}", graph.name(id)));
            }
            Err(error) => return Err(Failure::new(Exit::Environment, error)),
        }
    }
    let length =
        export.write(&args.file, &mut |_| {}).map_err(|error| Failure::new(Exit::Environment, error))?;
    if unsigned > 0 {
        let why = key.err().unwrap_or_else(|| "this machine did not make them".to_owned());
        terminal
            .note(&format!("{unsigned} of them are not signed ({why}): to import these takes `--unsigned`"));
    }
    if held > 0 {
        terminal.note(&format!("{held} {HELD}"));
    }
    if !terminal.quiet {
        outln!("{results} results, {}: {}", show_size(length), args.file.display());
    }
    Ok(Exit::Done)
}
