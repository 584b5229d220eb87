//! `kiln verify`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::exit::Exit;
use super::failure::Failure;
use super::format::Format;
use super::progress::Progress;
use super::project::{open, print_warnings, remotes};
use super::signals::cancel_on_signals;
use super::terminal::{Terminal, out, outln};
use super::wanted::jobs;
use crate::kinds::AllKinds;
use crate::report::{self, Comparison, VerifiedNode};
use crate::session::{Forced, VerifyReport, VerifyRequest, View};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Names, globs, `RULE:`, or builds. Default: all nodes that have a result and run in a sandbox.
    targets: Vec<String>,
    /// Only results that were built by continuing in the output directory of an earlier run and are not verified; those
    /// that have waited longest first.
    #[arg(long)]
    continued: bool,
    /// Start no run that is not expected to end within this time, such as `30min`. The first run starts in any case.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    budget: Option<Duration>,
    /// Use this many cores. Default: all of them.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Keep the outputs of the clean runs in this directory, beside the recorded ones that differ.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Do not ask the remotes for missing inputs.
    #[arg(long)]
    offline: bool,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = open(terminal)?;
    // Inputs of a local result may be at a remote.
    let remotes = remotes(&project, args.offline, terminal)?;
    let kinds = AllKinds::new(&project.spec);
    let view = View::plan(&project, &kinds, Some(&remotes), &args.targets, Forced::default())?;
    let keep = args.keep.as_deref();
    let request = VerifyRequest {
        has_targets: !args.targets.is_empty(),
        continued: args.continued,
        budget: args.budget,
        jobs: jobs(args.jobs),
        keep,
    };
    let cancel = cancel_on_signals()?;
    let mut progress = Progress::text(terminal);
    let verification = request.run(&view, &kinds, &cancel, &mut |event| progress.show(event));
    // A warning may explain why the verification failed.
    print_warnings(&remotes, terminal);
    let VerifyReport { nodes, selected, left } = &verification?;
    match args.format {
        Format::Json => outln!("{:#}", report::verified_json(nodes)),
        Format::Text if args.continued && *selected == 0 && nodes.is_empty() => {
            outln!("nothing to verify: every result was built from nothing, or has been verified");
        }
        Format::Text => show(nodes, keep, terminal),
    }
    if *left > 0 && !cancel.is_cancelled() {
        terminal.note(&format!("{left} more left for another time: the budget is used up"));
    }
    // No continued results are no failure.
    if args.continued && nodes.is_empty() && !cancel.is_cancelled() {
        return Ok(Exit::Done);
    }
    Ok(exit(nodes, cancel.is_cancelled()))
}

fn show(nodes: &[VerifiedNode], keep: Option<&Path>, terminal: &Terminal) {
    out!("{}", report::verified_text(nodes, terminal.quiet, terminal.out));
    let compared = nodes.iter().any(|node| node.duration.is_some());
    if !compared && !nodes.iter().any(|node| node.result == Comparison::Stale) {
        outln!("nothing to verify: no node that runs in a sandbox has a result; `kiln build` makes them");
    }
    if terminal.quiet || !compared {
        return;
    }
    outln!("\n{}", report::verified_counts(nodes));
    if let Some(keep) = keep {
        outln!("the outputs of the clean runs are in {}", keep.display());
    }
    if let Some(node) = nodes.iter().find(|node| node.result == Comparison::Differs) {
        let name = &node.name;
        outln!("the recorded result is unchanged; `kiln build --clean --force {name}` replaces it");
    }
}

fn exit(nodes: &[VerifiedNode], interrupted: bool) -> Exit {
    let any = |result| nodes.iter().any(|node| node.result == result);
    if interrupted {
        Exit::Interrupted
    } else if any(Comparison::Differs) || any(Comparison::Failed) {
        Exit::BuildFailed
    } else if any(Comparison::Infra) || any(Comparison::Stale) || !any(Comparison::Same) {
        Exit::Environment
    } else {
        Exit::Done
    }
}
