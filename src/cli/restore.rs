//! `kiln restore`.

use super::exit::Exit;
use super::failure::Failure;
use super::progress::Format;
use super::project::{open, print_warnings, remotes};
use super::run::run_session;
use super::terminal::{Terminal, out, outln};
use super::wanted::Wanted;
use crate::exec::event::Fetching;
use crate::exec::{Goal, Options};
use crate::kinds::AllKinds;
use crate::kinds::lava_job::OnInterrupt;
use crate::remote::Remotes;
use crate::report;
use crate::session::{BuildSession, Forced, Project, View, labs};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    wanted: Wanted,
    /// Only show what the remotes have, what they lack and why, and how many bytes would be fetched.
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// How to show progress.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT", conflicts_with = "dry_run")]
    format: Format,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let wanted = &args.wanted;
    let project = open(terminal)?;
    let remotes = remotes(&project, wanted.offline, terminal)?;
    if remotes.is_empty() && !wanted.offline {
        terminal.note("graph.ron names no remotes: see docs/remote.md");
    }
    if args.dry_run {
        return dry_run(wanted, &project, &remotes, terminal);
    }
    let options = Options { jobs: wanted.jobs(), keep_going: true, clean: false, goal: Goal::Restore };
    // A restore submits no jobs.
    let labs = labs(&project.spec, project.secrets(), || OnInterrupt::Leave);
    let (targets, forced) = (&wanted.targets, wanted.forced());
    let session =
        BuildSession { project: &project, remotes: &remotes, labs: &labs, targets, forced, options };
    let exit = run_session(&session, args.format, None, terminal)?;
    let fetched = Fetching::from(remotes.traffic());
    if args.format == Format::Text && fetched.is_here() > 0 {
        outln!("fetched {}", report::fetching(&fetched));
    }
    // Results that no remote has are no failure: a build makes them. A failure of this machine is one.
    Ok(if matches!(exit, Exit::Interrupted | Exit::Environment) { exit } else { Exit::Done })
}

fn dry_run(
    wanted: &Wanted,
    project: &Project,
    remotes: &Remotes,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let kinds = AllKinds::new(&project.spec);
    let view = View::plan(project, &kinds, Some(remotes), &wanted.targets, Forced::default())?;
    print_warnings(remotes, terminal);
    let bytes = view.bytes_to_restore(remotes)?;
    let bytes = |id| bytes.get(&id).copied();
    out!("{}", report::restore_text(&view.graph, &view.plan, &bytes, terminal.out));
    Ok(Exit::Done)
}
