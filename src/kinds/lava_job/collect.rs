//! The result of a finished job: its verdict, its results as a record, its log.

use jiff::Zoned;

use super::Booted;
use crate::exec::{Job, JobOutcome};
use crate::lab::lava::{
    Case, CaseResult, Job as RemoteJob, Judgement, Lava, LavaError, Results, Skip, SkippedCase, Verdict,
    judge,
};
use crate::lab::record::{self, Attempt, Record};
use crate::spec::model::Test;
use crate::store::Outcome;

/// The outputs that a rule of this kind may declare.
const RESULTS: &str = "results";
const CONSOLE: &str = "console";

/// The result of a job.
pub(super) struct JobResult<'a> {
    job: &'a Job<'a>,
    record: Record,
    verdict: Verdict,
    log: Vec<u8>,
}

/// Fetches the results and the log of a finished job, and judges them.
pub(super) fn collect<'a>(
    job: &'a Job<'a>,
    booted: Booted<'_>,
    lava: &Lava,
    finished: &RemoteJob,
) -> Result<JobResult<'a>, LavaError> {
    let results = lava.results(finished.id)?;
    let mut log = Vec::new();
    match lava.log(finished.id, &mut log) {
        // A job that never started has no log.
        Ok(()) | Err(LavaError::Gone) => {}
        Err(error) => return Err(error),
    }
    let skips = skips(booted.test);
    let judgement = judge(finished, &results, &skips, Zoned::now().date());
    let record = Record {
        version: record::VERSION,
        lab: lava.name().to_owned(),
        job: finished.id.0,
        page: lava.page(finished.id),
        device: finished.device.clone(),
        device_type: booted.board.device_type.clone(),
        outcome: outcome(judgement.verdict).to_string(),
        message: message(&judgement),
        submitted: finished.submitted,
        started: finished.started,
        ended: finished.ended,
        attempts: Vec::new(),
        suites: suites(&results, &judgement),
    };
    Ok(JobResult { job, record, verdict: judgement.verdict, log })
}

impl JobResult<'_> {
    pub(super) const fn outcome(&self) -> Outcome {
        outcome(self.verdict)
    }

    /// Whether a time limit ended the job, which by itself says nothing about the kernel.
    pub(super) fn timed_out(&self) -> bool {
        self.verdict == Verdict::TimedOut
    }

    /// Counts the time limit as a failure, after an earlier job of the same kernel that timed out as well.
    pub(super) fn confirmed(mut self) -> Self {
        self.verdict = Verdict::Fail;
        self.record.outcome = outcome(self.verdict).to_string();
        self.record.message.insert_str(0, "in two jobs: ");
        self
    }

    /// The verdict's message with lab and page.
    pub(super) fn message(&self) -> String {
        format!("{} (lab {}, {})", self.record.message, self.record.lab, self.record.page)
    }

    /// The outcome with its outputs. `attempts`: earlier attempts without an outcome.
    pub(super) fn submitted(mut self, attempts: &[Attempt]) -> JobOutcome {
        self.record.attempts = attempts.to_vec();
        let mut message = self.message();
        if let Some(last) = attempts.last() {
            message.push_str(&format!("; before that: {}", last.message));
        }
        let mut results = serde_json::to_vec_pretty(&self.record).unwrap_or_default();
        results.push(b'\n');
        let outputs = [(RESULTS, results), (CONSOLE, self.log)];
        let declared = |(name, _): &(&str, Vec<u8>)| self.job.action.rule.decl.outputs.contains_key(*name);
        let outputs = outputs.into_iter().filter(declared).map(|(name, bytes)| (name.to_owned(), bytes));
        JobOutcome { outcome: outcome(self.verdict), message, outputs: outputs.collect() }
    }
}

const fn outcome(verdict: Verdict) -> Outcome {
    match verdict {
        Verdict::Pass => Outcome::Pass,
        Verdict::Fail => Outcome::Fail,
        Verdict::TimedOut | Verdict::Infra | Verdict::Cancelled => Outcome::Infra,
    }
}

fn message(judgement: &Judgement) -> String {
    let mut message = judgement.message.clone();
    let expired: Vec<&str> = judgement.expired.iter().map(|skip| skip.case.as_str()).collect();
    if !expired.is_empty() {
        message.push_str(&format!("; no longer skipped, as its time is over: {}", expired.join(", ")));
    }
    message
}

fn skips(test: &Test) -> Vec<Skip> {
    let Test::Lava { skip, .. } = test else { return Vec::new() };
    let skip = skip.iter().map(|skip| Skip {
        case: skip.case.clone(),
        reason: skip.reason.clone(),
        until: skip.until,
    });
    skip.collect()
}

fn suites(results: &Results, judgement: &Judgement) -> Vec<record::Suite> {
    let case = |suite: &str, case: &Case| {
        let is_this = |skipped: &&SkippedCase| skipped.suite == suite && skipped.case == case.name;
        let skipped = judgement.skipped.iter().find(is_this);
        record::Case {
            name: case.name.clone(),
            result: match case.result {
                CaseResult::Pass => "pass",
                CaseResult::Fail => "fail",
                CaseResult::Skip => "skip",
                CaseResult::Unknown => "unknown",
            }
            .to_owned(),
            measurement: case.measurement,
            unit: (!case.unit.is_empty()).then(|| case.unit.clone()),
            skipped: skipped
                .filter(|_| case.result == CaseResult::Fail)
                .map(|skipped| skipped.reason.clone()),
        }
    };
    let suites = results.suites.iter().map(|suite| record::Suite {
        name: suite.name.clone(),
        cases: suite.cases.iter().map(|one| case(&suite.name, one)).collect(),
    });
    suites.collect()
}
