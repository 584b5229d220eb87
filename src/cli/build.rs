//! `kiln build`.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use clap::ValueEnum;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::cache::after_build;
use super::exit::{Exit, Failure};
use super::labs::{labs, sweep_published};
use super::needs::hold;
use super::plan::{Wanted, dry_run, forced, jobs};
use super::project::{Project, select};
use super::push::{Pusher, Running};
use super::remotes::tell;
use super::terminal::{Terminal, out, outln};
use crate::exec::event::{Event, Sink, Summary};
use crate::exec::{Cancel, ExecutionResult, Goal, Options, execute};
use crate::graph::Graph;
use crate::kinds::AllKinds;
use crate::kinds::lava_job::{Labs, OnInterrupt};
use crate::plan::{estimate, plan};
use crate::remote::Remotes;
use crate::report::{self, Bars, JsonLines, Lines};
use crate::store::Outcome;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    wanted: Wanted,
    /// Go on with what does not depend on a node that failed.
    #[arg(short, long)]
    keep_going: bool,
    /// Start every run with an empty output directory, though that of the last run may have been kept.
    #[arg(long)]
    clean: bool,
    /// What becomes of jobs at labs on Ctrl-C. Default: ask on a terminal, and leave them elsewhere.
    #[arg(long, value_enum, value_name = "WHAT")]
    on_interrupt: Option<OnInterruptArg>,
    /// Only show the plan.
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// How to tell what happens.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT", conflicts_with = "dry_run")]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Progress bars on a terminal, lines elsewhere.
    #[default]
    Text,
    /// A JSON object a line: docs/events.md.
    JsonLines,
}

/// `--on-interrupt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnInterruptArg {
    /// They go on, and the next build takes them up.
    Leave,
    /// The labs are told to cancel them.
    Cancel,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    if args.dry_run {
        return dry_run(&args.wanted, terminal);
    }
    let project = Project::open(terminal)?;
    project.knows_its_jobs()?;
    let remotes = project.remotes(args.wanted.offline, terminal)?;
    let labs = labs(&project.spec, || on_interrupt(args.on_interrupt, terminal));
    let goal = Goal::Build;
    let options =
        Options { jobs: jobs(args.wanted.jobs), keep_going: args.keep_going, clean: args.clean, goal };
    // Results go to the remotes as they are made, while the next ones are.
    let pusher = Pusher::new(&project, &remotes)?;
    thread::scope(|scope| {
        let running = pusher.start(scope);
        let carry = Carry {
            project: &project,
            remotes: &remotes,
            labs: &labs,
            wanted: &args.wanted,
            options,
            format: args.format,
        };
        let built = carry.out(Some(&running), terminal);
        let interrupted = matches!(built, Ok(Exit::Interrupted));
        running.end(interrupted, terminal);
        built
    })
}

/// How a plan is made and carried out, as often as it takes.
pub(super) struct Carry<'a> {
    pub project: &'a Project,
    pub remotes: &'a Remotes,
    pub labs: &'a Labs<'a>,
    pub wanted: &'a Wanted,
    pub options: Options,
    pub format: Format,
}

impl Carry<'_> {
    /// Carries it out, and shows what came of it. Results are handed to `pushes`.
    pub(super) fn out(&self, pushes: Option<&Running<'_>>, terminal: &Terminal) -> Result<Exit, Failure> {
        let began = Instant::now();
        let Self { project, remotes, labs, wanted, options, format } = *self;
        let kinds = AllKinds::with_labs(&project.spec, labs);
        let (mut graph, mut world) = project.look(&kinds)?;
        world.remotes = Some(remotes);
        let selection = select(&wanted.targets, &graph)?;
        let mut forced = forced(wanted, &graph, &world)?;
        world.forced.clone_from(&forced);
        let cancel = cancel_on_signals()?;
        let mut sinks = Sinks::new(format, terminal);
        let mut summary = Summary::default();
        // A plan is made anew when a blob was lost on the way. Each time at least one
        // node more is known to have to run, or a remote to be without it.
        let most = graph.len() * (1 + remotes.len()) + 1;
        for round in 0..=most {
            let plan = plan(&world, &mut graph, &selection)?;
            world.save();
            if round < most && !hold(&world, &graph, &plan)? {
                (graph, world) = project.look(&kinds)?;
                world.remotes = Some(remotes);
                world.forced.clone_from(&forced);
                continue;
            }
            // What runs nothing takes no time: then the record of durations is not read.
            let durations =
                if plan.is_fresh() { HashMap::new() } else { project.store.durations(world.project())? };
            let estimate = estimate(&graph, &plan, options.jobs, |name| durations.get(name).copied());
            let ended = execute(
                &world,
                &mut graph,
                &plan,
                &selection,
                &estimate,
                options,
                &kinds,
                &mut |event| {
                    sinks.tell(event);
                    if let (Some(pushes), Event::Finished(finished)) = (pushes, event) {
                        pushes.take(finished);
                    }
                },
                &cancel,
            )?;
            world.save();
            tell(remotes, terminal);
            summary = add(&summary, &ended.summary, round);
            if ended.plan_again && !cancel.is_cancelled() && round < most {
                // What has not had its turn is still forced.
                for (id, outcome, _) in &ended.nodes {
                    if *outcome != Outcome::Skipped {
                        forced.remove(&**graph.name(*id));
                    }
                }
                // Expansion points are open again: what they stand for may not be what it was.
                (graph, world) = project.look(&kinds)?;
                world.remotes = Some(remotes);
                world.forced.clone_from(&forced);
                continue;
            }
            summary.duration = began.elapsed();
            sinks.tell(&Event::Ended(summary.clone()));
            if format == Format::Text {
                show(&graph, &ended, &summary, terminal);
            }
            let exit = exit(&summary, &ended, options.goal);
            if summary.ran + summary.restored > 0 && !summary.interrupted {
                after_build(project, terminal);
                sweep_published(&project.spec, terminal);
            }
            // The process ends here: giving the memory of 100,000 nodes back piece by piece helps nobody.
            std::mem::forget((graph, plan, ended, world));
            return Ok(exit);
        }
        Err(Failure::new(Exit::Environment, "blobs are lost from the cache faster than they are made")
            .help("look after the disk that holds it"))
    }
}

/// Figures of several rounds: work adds up, the state is the last one's.
fn add(before: &Summary, last: &Summary, round: usize) -> Summary {
    if round == 0 {
        return last.clone();
    }
    Summary {
        ran: before.ran + last.ran,
        unchanged: before.unchanged + last.unchanged,
        restored: before.restored + last.restored,
        ..last.clone()
    }
}

fn exit(summary: &Summary, ended: &ExecutionResult, goal: Goal) -> Exit {
    // Of a build in which nothing failed, what is left out are boots that no lab could take.
    let left_out = goal == Goal::Build && summary.skipped > 0 && summary.failed == 0;
    if summary.interrupted {
        Exit::Interrupted
    } else if summary.failed > summary.boots_failed {
        Exit::BuildFailed
    } else if summary.infra > 0 || left_out || ended.plan_again {
        Exit::Environment
    } else if summary.boots_failed > 0 {
        Exit::BootFailed
    } else {
        Exit::Done
    }
}

fn show(graph: &Graph, ended: &ExecutionResult, summary: &Summary, terminal: &Terminal) {
    let nothing_ran = summary.ran + summary.restored + summary.skipped + summary.infra == 0;
    if terminal.quiet {
        return;
    }
    let table = report::results(graph, &ended.nodes, terminal.out);
    if !table.is_empty() {
        out!("{table}\n");
    }
    let time = report::duration(summary.duration);
    if nothing_ran && summary.failed == 0 && !summary.interrupted {
        outln!("{} ({} nodes, {time})", terminal.out.good("everything is up to date"), summary.fresh);
        return;
    }
    let mut parts = vec![format!("{} ran", summary.ran)];
    let counts = [
        (summary.unchanged, "of these unchanged"),
        (summary.restored, "from the cache"),
        (summary.remote_only, "left where they are"),
        (summary.fresh, "fresh"),
        (summary.failed, "failed"),
        (summary.infra, "infra"),
        (summary.skipped, "skipped"),
    ];
    parts
        .extend(counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    let interrupted = if summary.interrupted { ", interrupted" } else { "" };
    outln!("{}{interrupted} in {time}", parts.join(", "));
}

/// What becomes of jobs at labs, now that the user interrupts.
fn on_interrupt(given: Option<OnInterruptArg>, terminal: &Terminal) -> OnInterrupt {
    let cancel = match given {
        Some(given) => given == OnInterruptArg::Cancel,
        None => {
            let question =
                "\nJobs are at labs. Cancel them there, or leave them for the next build to take up? [c/L]";
            terminal.ask(question).is_some_and(|answer| matches!(&*answer.to_lowercase(), "c" | "cancel"))
        }
    };
    if cancel { OnInterrupt::Cancel } else { OnInterrupt::Leave }
}

/// Every sink there is. One that fails is told of once, and left out from then on.
pub(super) struct Sinks(Vec<Box<dyn Sink>>);

impl Sinks {
    fn new(format: Format, terminal: &Terminal) -> Self {
        match format {
            Format::JsonLines => Self(vec![Box::new(JsonLines(std::io::stdout()))]),
            Format::Text => Self::text(terminal),
        }
    }

    /// For people, on standard error.
    pub(super) fn text(terminal: &Terminal) -> Self {
        let sink: Box<dyn Sink> = if terminal.bars {
            Box::new(Bars::new(&terminal.screen, terminal.err))
        } else {
            Box::new(Lines::new(std::io::stderr(), terminal.err, terminal.quiet))
        };
        Self(vec![sink])
    }

    pub(super) fn tell(&mut self, event: &Event) {
        self.0.retain_mut(|sink| match sink.event(event) {
            Ok(()) => true,
            Err(error) => {
                eprintln!("warning: progress can't be shown any more: {error}");
                false
            }
        });
    }
}

/// Ctrl-C and a polite kill end what runs, whole; a second one ends kiln at once, and the sandboxes with it.
pub(super) fn cancel_on_signals() -> Result<Arc<Cancel>, Failure> {
    let cancel = Arc::new(Cancel::default());
    let mut signals = Signals::new([SIGINT, SIGTERM])
        .map_err(|error| Failure::new(Exit::Environment, format!("signals can't be caught: {error}")))?;
    let canceller = Arc::clone(&cancel);
    std::thread::spawn(move || {
        for _ in signals.forever() {
            if canceller.is_cancelled() {
                std::process::exit(Exit::Interrupted as i32);
            }
            canceller.cancel();
        }
    });
    Ok(cancel)
}
