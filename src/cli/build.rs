//! `kiln build`.

use std::thread;

use clap::ValueEnum;

use super::exit::Exit;
use super::failure::Failure;
use super::plan::dry_run;
use super::progress::Format;
use super::project::{open, remotes};
use super::run::run_session;
use super::terminal::Terminal;
use super::wanted::Wanted;
use crate::exec::{Goal, Options};
use crate::kinds::lava_job::OnInterrupt;
use crate::session::{BuildSession, Pusher, labs};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    wanted: Wanted,
    /// Continue with nodes that do not depend on a failed one.
    #[arg(short, long)]
    keep_going: bool,
    /// Start every run with an empty output directory, even if that of the last run was kept.
    #[arg(long)]
    clean: bool,
    /// What to do with jobs at labs on Ctrl-C. Default: ask on a terminal, and leave them elsewhere.
    #[arg(long, value_enum, value_name = "WHAT")]
    on_interrupt: Option<OnInterruptArg>,
    /// Only show the plan.
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// How to show progress.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT", conflicts_with = "dry_run")]
    format: Format,
}

/// `--on-interrupt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnInterruptArg {
    /// They go on, and the next build waits for them.
    Leave,
    /// They are cancelled.
    Cancel,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    if args.dry_run {
        return dry_run(&args.wanted, terminal);
    }
    let project = open(terminal)?;
    project.check_jobs_are_known()?;
    let remotes = remotes(&project, args.wanted.offline, terminal)?;
    let labs = labs(&project.spec, project.secrets(), || on_interrupt(args.on_interrupt, terminal));
    let (keep_going, clean) = (args.keep_going, args.clean);
    let options = Options { jobs: args.wanted.jobs(), keep_going, clean, goal: Goal::Build };
    let (targets, forced) = (&args.wanted.targets, args.wanted.forced());
    let session =
        BuildSession { project: &project, remotes: &remotes, labs: &labs, targets, forced, options };
    // Results are pushed while the next ones are made.
    let pusher = Pusher::new(&project, &remotes)?;
    thread::scope(|scope| {
        let push = pusher.start(scope);
        let built = run_session(&session, args.format, Some(&push), terminal);
        // Before the wait for what is still being pushed.
        pusher.excluded().iter().for_each(|why| terminal.note(why));
        let pushed = push.end(matches!(built, Ok(Exit::Interrupted)));
        if let Some(report) = pushed {
            report.warnings().for_each(|warning| terminal.warning(warning));
            if report.pushed > 0 || !report.held_back.is_empty() {
                terminal.note(&report.summary());
            }
        }
        built
    })
}

/// What happens to jobs at labs when the user interrupts.
fn on_interrupt(given: Option<OnInterruptArg>, terminal: &Terminal) -> OnInterrupt {
    let cancel = match given {
        Some(given) => given == OnInterruptArg::Cancel,
        None => {
            let question =
                "\nJobs are at labs. Cancel them there, or leave them for the next build to wait for? [c/L]";
            terminal.ask(question).is_some_and(|answer| matches!(&*answer.to_lowercase(), "c" | "cancel"))
        }
    };
    if cancel { OnInterrupt::Cancel } else { OnInterrupt::Leave }
}
