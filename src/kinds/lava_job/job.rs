//! One LAVA job, from the submission journal to its results. A job is submitted once, whatever happens in between.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::labs::{FailedAttempt, LabClient, Labs, NoLab, OnInterrupt, Slot, TICK};
use super::no_result::NoResult;
use super::{Booted, collect, definition};
use crate::exec::{Job, JobOutcome};
use crate::lab::lava::{Job as RemoteJob, JobId, Lava, LavaError, State, SubmitError};
use crate::lab::record::Attempt;
use crate::spec::model::Spec;
use crate::store::{Outcome, Submission};

/// How long after an unanswered submission the lab may still create the job: the time limit of requests in LAVA's web
/// server.
const SUBMISSION_DELAY: Duration = Duration::from_mins(1);

/// How far the clocks of the lab and this machine may differ. Job names are unique, so a large value only costs pages.
const CLOCK_SKEW: Duration = Duration::from_hours(24);

/// How long a lab may be unreachable while it has a job of this run.
const MAX_OUTAGE: Duration = Duration::from_mins(10);

/// The time that a job may take besides the queue and its tests: downloads, the boot, LAVA's own actions.
const JOB_OVERHEAD: Duration = Duration::from_hours(1);

/// The first and the longest interval between two polls of a job.
const FIRST_POLL: Duration = Duration::from_secs(1);
const LONGEST_POLL: Duration = Duration::from_secs(15);

/// The job of one node.
pub(super) struct LavaJob<'a> {
    pub spec: &'a Spec,
    pub labs: &'a Labs<'a>,
    pub job: &'a Job<'a>,
    pub booted: Booted<'a>,
}

impl LavaJob<'_> {
    /// Resumes a job that an earlier run submitted, or submits a new one, and collects its results.
    pub(super) fn run(&self) -> Result<JobOutcome, NoResult> {
        for mut submission in self.job.store.submissions_of(self.job.key)? {
            if let Some(submitted) = self.resume(&mut submission)? {
                return Ok(submitted);
            }
        }
        self.submit()
    }

    /// The results of a job that an earlier run submitted. `None`: the job does not exist.
    fn resume(&self, submission: &mut Submission) -> Result<Option<JobOutcome>, NoResult> {
        let Some(lab) = self.labs.get(&submission.lab) else {
            // The lab was removed from the spec.
            self.job.store.give_up(submission)?;
            return Ok(None);
        };
        let lava = client(lab, submission)?;
        if submission.job.is_none() {
            match self.find_job(lava, submission)? {
                Some(id) => self.job.store.handed_over(submission, id.0)?,
                None => {
                    self.job.store.give_up(submission)?;
                    return Ok(None);
                }
            }
        }
        let slot = self.labs.slot(&[lab], self.job.cancelled)?;
        self.wait_and_collect(&slot, lava, submission).map(Some)
    }

    /// Submits the job to the best lab that accepts it.
    fn submit(&self) -> Result<JobOutcome, NoResult> {
        let mut refused: Vec<(String, String)> = Vec::new();
        loop {
            let slot = match self.labs.reserve(self.booted.board, self.job.key, &refused, self.job.cancelled)
            {
                Ok(slot) => slot,
                // Labs were available and refused the job: the board does have a lab.
                Err(NoLab::Unavailable(why)) if !refused.is_empty() => {
                    return Err(NoResult::Infra(format!("no lab took it: {why}")));
                }
                Err(none) => return Err(none.into()),
            };
            let lab = slot.lab;
            let lava = lab.lava().map_err(NoResult::infra)?;
            let name = definition::job_name(self.job);
            let definition = definition::define(self.spec, self.job, self.booted, lab, &name)?;
            if let Err(error) = lava.validate(&definition) {
                refused.push((lab.name.to_owned(), error.to_string()));
                continue;
            }
            if (self.job.cancelled)() {
                return Err(NoLab::Cancelled.into());
            }
            let Job { store, project, node, key, .. } = *self.job;
            let mut submission = store.intend(project, node, key, lab.name, &name)?;
            let id = match lava.submit(&definition) {
                Ok(id) => Some(id),
                Err(SubmitError::Refused(error) | SubmitError::NotSent(error)) => {
                    store.give_up(&submission)?;
                    refused.push((lab.name.to_owned(), error.to_string()));
                    continue;
                }
                Err(SubmitError::Unconfirmed(_)) => self.find_job(lava, &submission)?,
            };
            let Some(id) = id else {
                store.give_up(&submission)?;
                refused.push((lab.name.to_owned(), "it took the job, and has none".to_owned()));
                continue;
            };
            store.handed_over(&mut submission, id.0)?;
            return self.wait_and_collect(&slot, lava, &mut submission);
        }
    }

    /// The lab's job of this submission's name, if there is one. The server may still process the request for
    /// [`SUBMISSION_DELAY`], so this polls until then.
    fn find_job(&self, lava: &Lava, submission: &Submission) -> Result<Option<JobId>, NoResult> {
        let mut outage = Outage::default();
        let mut poll = FIRST_POLL;
        loop {
            let age = submission.made.elapsed().unwrap_or_default();
            match lava.find(&submission.name, submission.made - CLOCK_SKEW) {
                Ok(found) => {
                    if let Some(id) = found.first() {
                        return Ok(Some(*id));
                    }
                    if age > SUBMISSION_DELAY {
                        return Ok(None);
                    }
                    outage = Outage::default();
                }
                Err(error) => outage.tolerate(&error).map_err(|()| {
                    NoResult::Infra(format!(
                        "lab {} {error}: nobody knows whether it has the job {:?}; the next build asks it again",
                        submission.lab, submission.name
                    ))
                })?,
            }
            self.wait(poll, submission)?;
            poll = (poll * 2).min(LONGEST_POLL);
        }
    }

    /// Waits, unless the user interrupts the run. The journal then tells the next run which job to look for.
    fn wait(&self, time: Duration, submission: &Submission) -> Result<(), NoResult> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            if (self.job.cancelled)() {
                return Err(NoResult::Cancelled(format!(
                    "lab {} may have the job {:?}; the next build asks it",
                    submission.lab, submission.name
                )));
            }
            sleep(TICK.min(until.saturating_duration_since(Instant::now())));
        }
        Ok(())
    }

    /// Waits until a job has finished, and collects its results.
    fn wait_and_collect(
        &self,
        slot: &Slot<'_>,
        lava: &Lava,
        submission: &mut Submission,
    ) -> Result<JobOutcome, NoResult> {
        let id = JobId(submission.job.expect("the submission has a job"));
        let finished = self.wait_until_finished(slot.lab, lava, id, submission)?;
        let device = finished.device.clone();
        let result = self.retry(submission, || collect::collect(self.job, self.booted, lava, &finished))?;
        let attempts = self.labs.attempts(self.job.key);
        let is_second = result.timed_out() && attempts.iter().any(|failed| failed.timed_out);
        let result = if is_second { result.confirmed() } else { result };
        match result.outcome() {
            Outcome::Pass | Outcome::Fail => {
                let attempts: Vec<Attempt> = attempts.into_iter().map(|failed| failed.attempt).collect();
                let submitted = result.submitted(&attempts);
                self.job.store.fetched(submission)?;
                Ok(submitted)
            }
            _ => {
                let message = result.message();
                let attempt = Attempt {
                    lab: submission.lab.clone(),
                    job: submission.job,
                    device,
                    message: message.clone(),
                };
                let failed = FailedAttempt { attempt, timed_out: result.timed_out() };
                self.labs.add_attempt(self.job.key, failed);
                self.job.store.give_up(submission)?;
                Err(NoResult::Infra(message))
            }
        }
    }

    /// The job once it has finished.
    fn wait_until_finished(
        &self,
        lab: &LabClient<'_>,
        lava: &Lava,
        id: JobId,
        submission: &Submission,
    ) -> Result<RemoteJob, NoResult> {
        let mut outage = Outage::default();
        let mut poll = FIRST_POLL;
        let limit = lab.spec.queue + self.booted.test.time_limit() + JOB_OVERHEAD;
        loop {
            match lava.job(id) {
                Ok(job) if job.state == State::Finished => return Ok(job),
                Ok(_) => outage = Outage::default(),
                Err(LavaError::Gone) => {
                    self.job.store.give_up(submission)?;
                    return Err(NoResult::Infra(format!("lab {} has lost job {id}", submission.lab)));
                }
                Err(error) => outage.tolerate(&error).map_err(|()| unanswered(submission, &error))?,
            }
            if (self.job.cancelled)() {
                return Err(self.interrupted(lava, id, submission));
            }
            if submission.made.elapsed().unwrap_or_default() > limit {
                let cancel_error = lava
                    .cancel(id)
                    .map_or_else(|error| format!("; lab {} {error}", submission.lab), |()| String::new());
                self.job.store.give_up(submission)?;
                let limit = humantime::format_duration(limit);
                return Err(NoResult::Infra(format!(
                    "job {id} at lab {} had not ended after {limit} and was cancelled{cancel_error}",
                    submission.lab
                )));
            }
            self.wait_for_event(lab, id, poll);
            poll = (poll * 3 / 2).min(LONGEST_POLL);
        }
    }

    /// Waits for the next poll, for an event of the job, or for an interrupt. An event only means that a poll is due.
    fn wait_for_event(&self, lab: &LabClient<'_>, id: JobId, poll: Duration) {
        let until = Instant::now() + poll;
        loop {
            let left = until.saturating_duration_since(Instant::now()).min(TICK);
            let changed = match lab.events() {
                Some(events) => events.wait(id, left),
                None => {
                    sleep(left);
                    false
                }
            };
            if changed || (self.job.cancelled)() || Instant::now() >= until {
                return;
            }
        }
    }

    /// Handles an interrupt while the job is at the lab.
    fn interrupted(&self, lava: &Lava, id: JobId, submission: &Submission) -> NoResult {
        let lab = &submission.lab;
        match self.labs.on_interrupt() {
            OnInterrupt::Leave => NoResult::Cancelled(format!(
                "job {id} at lab {lab} goes on; the next build takes it up, `kiln cancel` ends it"
            )),
            OnInterrupt::Cancel => match lava.cancel(id) {
                Ok(()) => match self.job.store.give_up(submission) {
                    Ok(()) => NoResult::Cancelled(format!("job {id} at lab {lab} was cancelled")),
                    Err(error) => error.into(),
                },
                Err(error) => NoResult::Cancelled(format!(
                    "job {id} can't be cancelled, as lab {lab} {error}; see `kiln cancel`"
                )),
            },
        }
    }

    /// Repeats a request while the lab is unreachable, up to [`MAX_OUTAGE`].
    fn retry<T>(
        &self,
        submission: &Submission,
        request: impl Fn() -> Result<T, LavaError>,
    ) -> Result<T, NoResult> {
        let mut outage = Outage::default();
        loop {
            match request() {
                Ok(answer) => return Ok(answer),
                Err(error) => outage.tolerate(&error).map_err(|()| unanswered(submission, &error))?,
            }
            self.wait(LONGEST_POLL / 3, submission)?;
        }
    }
}

fn unanswered(submission: &Submission, error: &LavaError) -> NoResult {
    NoResult::Infra(format!(
        "lab {} {error}; what came of job {} is asked for by the next build",
        submission.lab,
        submission.job.unwrap_or_default()
    ))
}

fn client<'a>(lab: &'a LabClient<'_>, submission: &Submission) -> Result<&'a Lava, NoResult> {
    lab.lava().map_err(|why| {
        NoResult::Infra(format!(
            "it may have been submitted to lab {} already, which can't be asked: {why}",
            submission.lab
        ))
    })
}

/// How long a lab has been unreachable.
#[derive(Default)]
struct Outage(Option<Instant>);

impl Outage {
    /// Whether to try again: the error is temporary and the outage shorter than [`MAX_OUTAGE`].
    fn tolerate(&mut self, error: &LavaError) -> Result<(), ()> {
        let since = *self.0.get_or_insert_with(Instant::now);
        if error.may_pass() && since.elapsed() < MAX_OUTAGE { Ok(()) } else { Err(()) }
    }
}
