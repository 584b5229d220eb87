//! The run of a session: shows its progress and its result.

use super::exit::Exit;
use super::failure::Failure;
use super::progress::{Format, Progress};
use super::signals::cancel_on_signals;
use super::terminal::{Terminal, out};
use crate::exec::Goal;
use crate::exec::event::Event;
use crate::report::{build_text, collected_text};
use crate::session::{
    BackgroundPush, BuildReport, BuildSession, Observer, Project, collect_after_build, sweep_published,
};

/// Runs a session, shows its progress and its result, and keeps the cache within its limits.
pub(super) fn run_session(
    session: &BuildSession<'_>,
    format: Format,
    push: Option<&BackgroundPush<'_>>,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let cancel = cancel_on_signals()?;
    let mut display = Display { progress: Progress::new(format, terminal), push, terminal };
    let report = session.run(&cancel, &mut display)?;
    if format == Format::Text && !terminal.quiet {
        out!("{}", build_text(&report.graph, &report.nodes, &report.summary, terminal.out));
    }
    if report.summary.ran + report.summary.restored > 0 && !report.summary.interrupted {
        tidy(session.project, terminal);
    }
    let exit = exit(&report, session.options.goal);
    // The process ends here. Freeing a graph of 100,000 nodes piece by piece takes noticeable time.
    std::mem::forget(report);
    Ok(exit)
}

/// Shows events and warnings, and has results pushed.
struct Display<'a, 'scope> {
    progress: Progress,
    push: Option<&'a BackgroundPush<'scope>>,
    terminal: &'a Terminal,
}

impl Observer for Display<'_, '_> {
    fn event(&mut self, event: &Event) {
        self.progress.show(event);
        if let (Some(push), Event::Finished(finished)) = (self.push, event) {
            push.push(finished);
        }
    }

    fn warning(&mut self, warning: &str) {
        self.terminal.warning(warning);
    }
}

/// Collects the cache and published files. A build does not fail because of them.
fn tidy(project: &Project, terminal: &Terminal) {
    match collect_after_build(project).map_err(Failure::from) {
        Ok(Some(collected)) if !terminal.quiet && !collected.gone.is_empty() => {
            eprint!("{}", collected_text(&collected, false));
        }
        Ok(_) => {}
        Err(failure) => {
            terminal.warning(&format!("the cache was not brought within its limits: {}", failure.message));
        }
    }
    if let Err(warning) = sweep_published(&project.spec) {
        terminal.warning(&warning);
    }
}

fn exit(report: &BuildReport, goal: Goal) -> Exit {
    let summary = &report.summary;
    if summary.interrupted {
        Exit::Interrupted
    } else if summary.failed > summary.boots_failed {
        Exit::BuildFailed
    } else if summary.infra > 0 || report.has_boots_without_lab(goal) || report.needs_new_plan {
        Exit::Environment
    } else if summary.boots_failed > 0 {
        Exit::BootFailed
    } else {
        Exit::Done
    }
}
