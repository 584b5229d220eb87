//! What came of a job that has ended.
//!
//! Seen on LAVA 2023.01: a job that broke off has a kind of error, and of its own actions all that failed are cases of the
//! suite `lava`, with their levels. The level begins with the position of one of the actions that the definition lists, so
//! that it tells at which stage the job broke off: `login-action` of level `2.2.1` failed in the second one, the boot. What
//! failed before the first has no level (`validate`).
//!
//! - A kernel that hangs: kind `Job`, `login-action timed out after 39 seconds` or `wait for prompt timed out`, in the boot.
//! - One that panics and stays so: kind `Job`, in the boot, the panic as the message, and `kernel-messages` failed. One that
//!   reboots at once is not seen as a panic by LAVA, but as one that hangs.
//! - No file, or a wrong checksum: kind `Job`, in the deployment.

use std::time::Duration;

use jiff::civil::Date;

use super::results::LAVA;
use super::{Case, CaseResult, Health, Job, Results, Stage, State};
use crate::net::plain;

/// How many failed cases a message names.
const NAMED: usize = 5;

/// How a message of the kernel's begins that has given up.
const PANIC: &str = "Kernel panic - not syncing";

/// A test case that is known to fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    /// `SUITE/CASE`, exactly.
    pub case: String,
    /// Why.
    pub reason: String,
    /// The last day on which this counts.
    pub until: Option<Date>,
}

/// A case that failed, and counts for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its suite.
    pub suite: String,
    /// Its name.
    pub case: String,
    /// Why.
    pub reason: String,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It booted, and what it tested passed.
    Pass,
    /// It did not boot, or something that it tested failed.
    Fail,
    /// A time limit ended the boot or the tests. Only a second job that ends like this makes it a failure: a device or a
    /// lab may have been slow.
    TimedOut,
    /// The lab failed, or nobody can tell: nothing is known of the kernel.
    Infra,
    /// Somebody cancelled it, so that nothing is known of the kernel.
    Cancelled,
}

/// A verdict, and what led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The verdict.
    pub verdict: Verdict,
    /// Why, in a sentence without its full stop.
    pub message: String,
    /// Cases that failed and count for nothing.
    pub skipped: Vec<Skipped>,
    /// Skips that would count if their day were not over.
    pub expired: Vec<Skip>,
}

/// What came of a job.
pub fn judge(job: &Job, results: &Results, skips: &[Skip], today: Date) -> Judged {
    let failed = Failed::sort(results, skips, today);
    let (verdict, message) = match (job.state, job.health) {
        (State::Finished, Health::Complete) => complete(job, results, &failed),
        (State::Finished, Health::Incomplete) => incomplete(job, results),
        (State::Finished, Health::Canceled) => cancelled(job),
        _ => (Verdict::Infra, "it has not ended".to_owned()),
    };
    Judged { verdict, message, skipped: failed.skipped, expired: failed.expired }
}

/// The failed cases, LAVA's own left out.
struct Failed {
    /// Those that count, as `SUITE/CASE`.
    counting: Vec<String>,
    skipped: Vec<Skipped>,
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
                    failed.skipped.push(Skipped { suite, case, reason });
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
    let stage = stage(job, results);
    let said = match fault.message.find(PANIC) {
        Some(panic) => fault.message[panic..].lines().next().unwrap_or_default(),
        None => &fault.message,
    };
    let said = if said.trim().is_empty() { "no message".to_owned() } else { plain(said) };
    let panicked = said.starts_with(PANIC);
    match (&*fault.kind, stage) {
        // A lab that loses its connection to a kernel that panicked has lost nothing that counts.
        (_, Some(Stage::Boot | Stage::Test)) if panicked => {
            (Verdict::Fail, format!("the kernel panicked: {said}"))
        }
        ("Job" | "Test", Some(Stage::Boot)) if timed_out(&said) => {
            (Verdict::TimedOut, format!("the kernel did not boot in time: {said}"))
        }
        ("Job" | "Test", Some(Stage::Test)) if timed_out(&said) => {
            (Verdict::TimedOut, format!("the tests did not end in time: {said}"))
        }
        ("Job" | "Test", Some(Stage::Boot)) => (Verdict::Fail, format!("the kernel did not boot: {said}")),
        ("Job" | "Test", Some(Stage::Test)) => {
            (Verdict::Fail, format!("the tests did not run to their end: {said}"))
        }
        ("Canceled", _) => (Verdict::Cancelled, "it was cancelled at the lab".to_owned()),
        (kind, stage) => {
            let stage = match stage {
                Some(Stage::Deploy) => " while it deployed",
                Some(Stage::Boot) => " while it booted",
                Some(Stage::Test) => " while it tested",
                Some(Stage::Other) | None => "",
            };
            (Verdict::Infra, format!("the lab broke it off{stage}, with an error of kind {kind}: {said}"))
        }
    }
}

/// Whether LAVA's message says that a time limit ended an action.
fn timed_out(message: &str) -> bool {
    message.contains(" timed out")
}

/// At which stage a job broke off: that of the last of its actions that failed.
fn stage(job: &Job, results: &Results) -> Option<Stage> {
    let own = results.suites.iter().filter(|suite| suite.name == LAVA).flat_map(|suite| &suite.cases);
    let failed = own.filter(|case| case.result == CaseResult::Fail);
    let place = failed.filter_map(position).next_back()?;
    job.actions.get(place.checked_sub(1)?).map(|action| action.stage)
}

/// The position of the action that a case of LAVA's own belongs to, from 1.
fn position(case: &Case) -> Option<usize> {
    case.level.as_deref()?.split('.').next()?.parse().ok()
}

fn cancelled(job: &Job) -> (Verdict, String) {
    let waited = match (job.submitted, job.ended) {
        (Some(submitted), Some(ended)) => Duration::try_from(ended.duration_since(submitted)).ok(),
        _ => None,
    };
    // LAVA does not say whether it waited for too long or somebody cancelled it; its times do.
    if job.device.is_none()
        && let Some(limit) = job.queue
        && waited.is_some_and(|waited| waited >= limit)
    {
        let limit = humantime::format_duration(limit);
        return (Verdict::Infra, format!("no device was free for it within {limit}"));
    }
    (Verdict::Cancelled, "it was cancelled at the lab".to_owned())
}
