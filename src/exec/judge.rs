//! The outcome of a run, from how its steps ended or why they could not start.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::context::{RunContext, Task};
use super::input_check::InputChanged;
use super::limits;
use super::run_result::{Retry, RunResult};
use super::sandbox::{End, Exit, Running, SandboxError};
use super::staging_error::StagingError;
use crate::store::Outcome;

/// Waits for steps, kills them after `limit`, and says whether that was necessary.
pub(super) fn wait(running: &mut Running, limit: Option<Duration>) -> Result<(Exit, bool), SandboxError> {
    let Some(limit) = limit else { return Ok((running.wait()?, false)) };
    match running.wait_timeout(limit)? {
        Some(exit) => Ok((exit, false)),
        None => {
            running.killer().kill();
            Ok((running.wait()?, true))
        }
    }
}

/// The outcome of steps that were started. `timed_out` is the time limit after which they were killed.
pub(super) fn judge(
    context: &RunContext<'_>,
    task: &Task<'_>,
    exit: Exit,
    timed_out: Option<Duration>,
) -> RunResult {
    let rule = &task.action.rule.decl;
    let ended = matches!(exit.end, End::AllStepsPassed | End::StepExited { .. });
    let result = |outcome| RunResult { usage: exit.usage, ended, ..RunResult::new(outcome) };
    if let (Some(exceeded), false) = (exit.exceeded, context.cancel.is_cancelled()) {
        let (outcome, message) = limits::judge_exceeded(exceeded, &rule.resources, &task.action.rule.name);
        let result = RunResult { ended: false, exceeded: Some(exceeded), ..result(outcome) };
        return result.with_message(message);
    }
    match (exit.end, timed_out) {
        (End::AllStepsPassed, _) => result(Outcome::Pass),
        _ if context.cancel.is_cancelled() => result(Outcome::Cancelled),
        (_, Some(limit)) => result(Outcome::Infra)
            .with_message(format!("killed after its time limit of {}", humantime::format_duration(limit))),
        (End::StepExited { step, code }, _) => {
            let outcome =
                if rule.outcome.infra_codes.contains(&code) { Outcome::Infra } else { Outcome::Fail };
            result(outcome)
                .with_message(format!("step {} ({}) exited with {code}", step + 1, program(task, step)))
        }
        (End::StepSignaled { step, signal }, _) if signal == Signal::SIGSYS as i32 => {
            result(Outcome::Fail).with_message(format!(
                "step {} ({}) made a system call of another ABI, such as that of 32-bit programs: if it has to, let \
                 rule {} have `sandbox: (system_calls: Unfiltered)`",
                step + 1,
                program(task, step),
                task.action.rule.name
            ))
        }
        (End::StepSignaled { step, signal }, _) => result(Outcome::Infra).with_message(format!(
            "step {} ({}) was killed by signal {signal}{}",
            step + 1,
            program(task, step),
            if signal == Signal::SIGKILL as i32 { ", as happens when memory runs out" } else { "" }
        )),
        (End::Killed, _) => result(Outcome::Infra)
            .with_message("killed from outside, as happens when memory runs out"),
    }
}

/// The outcome of steps that could not be started.
pub(super) fn sandbox_failed(error: &SandboxError, task: &Task<'_>) -> RunResult {
    match error {
        // The rule's mistake: another attempt ends the same way.
        SandboxError::Exec { step, .. } => {
            let program = program(task, *step);
            RunResult { not_started: Some(*step), ..RunResult::new(Outcome::Fail) }
                .with_message(format!("step {} can't run {program}: {error}", step + 1))
        }
        _ => {
            let help = error.help().map_or(String::new(), |help| format!(": {help}"));
            RunResult::infra(format!("{error}{help}"))
        }
    }
}

/// The outcome of an action whose inputs could not be staged.
pub(super) fn staging_failed(error: StagingError) -> RunResult {
    match error {
        StagingError::Lost { node, input, source } => {
            RunResult { lost: Some(node), ..RunResult::infra(format!("input {input}: {source}")) }
        }
        // The node that makes the input passed without making it, and would again.
        error @ StagingError::Absent { .. } => RunResult::new(Outcome::Fail).with_message(error),
        error @ StagingError::Changed(_) => RunResult { retry: Retry::Futile, ..RunResult::infra(error) },
        // Installing another compiler changes a tool, and so the key: nothing need be recorded.
        error => RunResult::infra(error),
    }
}

/// The outcome of a run whose inputs changed meanwhile. Another attempt would be compared with the same decision.
pub(super) fn input_changed(changed: &InputChanged) -> RunResult {
    RunResult { retry: Retry::Futile, ..RunResult::infra(changed) }
}

/// The program of a step, as its rule names it.
fn program(task: &Task<'_>, step: usize) -> String {
    let steps = &task.action.rule.decl.steps;
    let first = steps.get(step).and_then(|step| step.first());
    first.map_or_else(|| task.name.to_owned(), ToString::to_string)
}
