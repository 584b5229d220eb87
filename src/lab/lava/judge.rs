//! Judges a finished job.
//!
//! As observed on LAVA 2023.01, an aborted job has an error type, and its failed actions are cases of the suite `lava` with
//! their levels. The first number of a level is the position of an action in the definition, so it gives the phase in which
//! the job was aborted: `login-action` with level `2.2.1` failed in the second action, the boot. Failures before the first
//! action have no level (`validate`).
//!
//! - A kernel hangs: type `Job`, `login-action timed out after 39 seconds` or `wait for prompt timed out`, in the boot.
//! - A kernel panics and stops: type `Job`, in the boot, with the panic as message and a failed `kernel-messages`. LAVA sees a
//!   panic with an immediate reboot as a hang.
//! - A file is missing or has a wrong checksum: type `Job`, in the deployment.

use std::time::Duration;

use jiff::civil::Date;

use super::results::LAVA;
use super::{Case, CaseResult, Health, Job, Phase, Results, State};
use crate::text::one_line;

/// The number of failed cases that a message names.
const NAMED: usize = 5;

/// The prefix of the kernel's panic message.
const PANIC: &str = "Kernel panic - not syncing";

/// A test case that is known to fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    /// `SUITE/CASE`, exactly.
    pub case: String,
    /// Why.
    pub reason: String,
    /// The last day on which the skip applies.
    pub until: Option<Date>,
}

/// A failed case that a skip covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedCase {
    /// Its suite.
    pub suite: String,
    /// Its name.
    pub case: String,
    /// Why.
    pub reason: String,
}

/// The verdict on a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It booted, and its tests passed.
    Pass,
    /// It did not boot, or a test failed.
    Fail,
    /// A time limit ended the boot or the tests. Only a second such job is a failure, as a device or a lab may be slow.
    TimedOut,
    /// The lab failed, or the cause is unknown: nothing is known of the kernel.
    Infra,
    /// It was cancelled: nothing is known of the kernel.
    Cancelled,
}

/// A verdict with its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// The reason, as a sentence without a full stop.
    pub message: String,
    /// Failed cases that skips cover.
    pub skipped: Vec<SkippedCase>,
    /// Expired skips of failed cases.
    pub expired: Vec<Skip>,
}

/// Judges a job by its state and its results. `today` decides which skips apply.
pub fn judge(job: &Job, results: &Results, skips: &[Skip], today: Date) -> Judgement {
    let failed = Failed::sort(results, skips, today);
    let (verdict, message) = match (job.state, job.health) {
        (State::Finished, Health::Complete) => complete(job, results, &failed),
        (State::Finished, Health::Incomplete) => incomplete(job, results),
        (State::Finished, Health::Canceled) => cancelled(job),
        _ => (Verdict::Infra, "it has not ended".to_owned()),
    };
    Judgement { verdict, message, skipped: failed.skipped, expired: failed.expired }
}

/// The failed cases, without LAVA's own.
struct Failed {
    /// Cases without a skip, as `SUITE/CASE`.
    counting: Vec<String>,
    skipped: Vec<SkippedCase>,
    expired: Vec<Skip>,
}

impl Failed {
    fn sort(results: &Results, skips: &[Skip], today: Date) -> Self {
        let mut failed = Self { counting: Vec::new(), skipped: Vec::new(), expired: Vec::new() };
        for suite in results.suites.iter().filter(|suite| suite.name != LAVA) {
            for case in suite.cases.iter().filter(|case| case.result == CaseResult::Fail) {
                let name = format!("{}/{}", suite.name, case.name);
                let mut skips = skips.iter().filter(|skip| skip.case == name);
                if let Some(skip) = skips.clone().find(|skip| skip.until.is_none_or(|until| today <= until)) {
                    let reason = skip.reason.clone();
                    let (suite, case) = (suite.name.clone(), case.name.clone());
                    failed.skipped.push(SkippedCase { suite, case, reason });
                    continue;
                }
                if let Some(skip) = skips.next()
                    && !failed.expired.contains(skip)
                {
                    failed.expired.push(skip.clone());
                }
                failed.counting.push(name);
            }
        }
        failed
    }
}

fn complete(job: &Job, results: &Results, failed: &Failed) -> (Verdict, String) {
    if !failed.counting.is_empty() {
        let count = failed.counting.len();
        let cases = if count == 1 { "test case" } else { "test cases" };
        let named = failed.counting[..count.min(NAMED)].join(", ");
        let more = if count > NAMED { format!(" and {} more", count - NAMED) } else { String::new() };
        return (Verdict::Fail, format!("{count} {cases} failed: {named}{more}"));
    }
    let mut reported =
        results.suites.iter().filter(|suite| suite.name != LAVA).flat_map(|suite| &suite.cases);
    let tests = job.actions.iter().any(|action| action.defines_tests);
    if tests && reported.clone().next().is_none() {
        return (Verdict::Fail, "it booted, and its tests reported nothing".to_owned());
    }
    let passed = reported.clone().filter(|case| case.result == CaseResult::Pass).count();
    let message = match (reported.next(), failed.skipped.len()) {
        (None, _) => "it booted".to_owned(),
        (_, 0) => format!("it booted, and {passed} test cases passed"),
        (_, skipped) => {
            format!("it booted, {passed} test cases passed, and {skipped} that failed are skipped")
        }
    };
    (Verdict::Pass, message)
}

fn incomplete(job: &Job, results: &Results) -> (Verdict, String) {
    let Some(fault) = &results.fault else {
        return (Verdict::Infra, "it broke off, and the lab does not say why".to_owned());
    };
    let phase = phase(job, results);
    let said = match fault.message.find(PANIC) {
        Some(panic) => fault.message[panic..].lines().next().unwrap_or_default(),
        None => &fault.message,
    };
    let said = if said.trim().is_empty() { "no message".to_owned() } else { one_line(said) };
    let panicked = said.starts_with(PANIC);
    match (&*fault.kind, phase) {
        // If the kernel panicked, a lost connection to the device does not matter.
        (_, Some(Phase::Boot | Phase::Test)) if panicked => {
            (Verdict::Fail, format!("the kernel panicked: {said}"))
        }
        ("Job" | "Test", Some(Phase::Boot)) if timed_out(&fault.message) => {
            (Verdict::TimedOut, format!("the kernel did not boot in time: {said}"))
        }
        ("Job" | "Test", Some(Phase::Test)) if timed_out(&fault.message) => {
            (Verdict::TimedOut, format!("the tests did not end in time: {said}"))
        }
        ("Job" | "Test", Some(Phase::Boot)) => (Verdict::Fail, format!("the kernel did not boot: {said}")),
        ("Job" | "Test", Some(Phase::Test)) => {
            (Verdict::Fail, format!("the tests did not run to their end: {said}"))
        }
        ("Canceled", _) => (Verdict::Cancelled, "it was cancelled at the lab".to_owned()),
        (kind, phase) => {
            let phase = match phase {
                Some(Phase::Deploy) => " while it deployed",
                Some(Phase::Boot) => " while it booted",
                Some(Phase::Test) => " while it tested",
                Some(Phase::Other) | None => "",
            };
            (Verdict::Infra, format!("the lab broke it off{phase}, with an error of kind {kind}: {said}"))
        }
    }
}

/// Whether LAVA's message says that a time limit ended an action. Lines of the console may follow.
fn timed_out(message: &str) -> bool {
    let own = message.lines().next().unwrap_or_default().trim_end();
    own.ends_with(" timed out") || own.contains(" timed out after ")
}

/// The phase in which a job was aborted: that of its last failed action.
fn phase(job: &Job, results: &Results) -> Option<Phase> {
    let own = results.suites.iter().filter(|suite| suite.name == LAVA).flat_map(|suite| &suite.cases);
    let failed = own.filter(|case| case.result == CaseResult::Fail);
    let place = failed.filter_map(position).next_back()?;
    job.actions.get(place.checked_sub(1)?).map(|action| action.phase)
}

/// The position of a LAVA case's action in the definition, from 1.
fn position(case: &Case) -> Option<usize> {
    case.level.as_deref()?.split('.').next()?.parse().ok()
}

fn cancelled(job: &Job) -> (Verdict, String) {
    let waited = match (job.submitted, job.ended) {
        (Some(submitted), Some(ended)) => Duration::try_from(ended.duration_since(submitted)).ok(),
        _ => None,
    };
    // LAVA does not distinguish a queue timeout from a cancellation; the times do.
    if job.device.is_none()
        && let Some(limit) = job.queue
        && waited.is_some_and(|waited| waited >= limit)
    {
        let limit = humantime::format_duration(limit);
        return (Verdict::Infra, format!("no device was free for it within {limit}"));
    }
    (Verdict::Cancelled, "it was cancelled at the lab".to_owned())
}
