//! A job from the first look at the journal to the last at the lab: handed over once, whatever happens.

use std::fmt::Display;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::labs::{Labs, NoPlace, OnInterrupt, Place, Slot, TICK, Tried};
use super::{Booted, define, gather};
use crate::exec::{Job, JobInput, Submitted};
use crate::lab::lava::{Job as AtLab, JobId, Lava, LavaError, State, Submit};
use crate::lab::record::Attempt;
use crate::spec::model::Spec;
use crate::store::{Outcome, StoreError, Submission};

/// How long after an answer that never came the lab may still make the job: as long as its server lets a request take.
const LATE: Duration = Duration::from_mins(1);

/// How far the clocks of lab and machine may be apart. Names of jobs are never used twice, so it costs pages at most.
const CLOCKS: Duration = Duration::from_hours(24);

/// How long a lab may fail to answer while a job of ours is there.
const PATIENCE: Duration = Duration::from_mins(10);

/// How long a job may take besides its place in the queue and its tests: downloads, the boot, the lab's own work.
const AROUND: Duration = Duration::from_hours(1);

/// The first and the longest wait between two looks at a job.
const FIRST_LOOK: Duration = Duration::from_secs(1);
const LAST_LOOK: Duration = Duration::from_secs(15);

/// The job of one node.
pub(super) struct Carry<'a> {
    pub spec: &'a Spec,
    pub labs: &'a Labs<'a>,
    pub job: &'a Job<'a>,
    pub booted: Booted<'a>,
}

/// How a job ends that has no results.
#[derive(Debug)]
pub(super) enum End {
    /// Lab, device or machine.
    Infra(String),
    /// No lab can boot it.
    Skipped(String),
    /// The user has had enough.
    Cancelled(String),
}

impl End {
    fn infra(what: impl Display) -> Self {
        Self::Infra(what.to_string())
    }
}

impl From<End> for Submitted {
    fn from(end: End) -> Self {
        match end {
            End::Infra(message) => Self::nothing(Outcome::Infra, message),
            End::Skipped(message) => Self::nothing(Outcome::Skipped, message),
            End::Cancelled(message) => Self::nothing(Outcome::Cancelled, message),
        }
    }
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        Self::infra(error)
    }
}

impl From<JobInput> for End {
    fn from(error: JobInput) -> Self {
        Self::infra(error)
    }
}

impl From<NoPlace> for End {
    fn from(none: NoPlace) -> Self {
        match none {
            NoPlace::Nowhere(why) => Self::Skipped(format!("no lab can boot it: {why}")),
            NoPlace::Cancelled => Self::Cancelled("nothing was submitted".to_owned()),
        }
    }
}

impl Carry<'_> {
    /// Takes up what an earlier run has handed over, or hands the job over, and gathers what comes of it.
    pub(super) fn out(&self) -> Result<Submitted, End> {
        for mut submission in self.job.store.submissions_of(self.job.key)? {
            if let Some(submitted) = self.take_up(&mut submission)? {
                return Ok(submitted);
            }
        }
        self.anew()
    }

    /// What came of a job of an earlier run. `None`: there is no such job.
    fn take_up(&self, submission: &mut Submission) -> Result<Option<Submitted>, End> {
        let Some(place) = self.labs.get(&submission.lab) else {
            // Whoever took the lab out of the spec does not want to hear of it.
            self.job.store.give_up(submission)?;
            return Ok(None);
        };
        let lava = client(place, submission)?;
        if submission.job.is_none() {
            match self.look_for(lava, submission)? {
                Some(id) => self.job.store.handed_over(submission, id.0)?,
                None => {
                    self.job.store.give_up(submission)?;
                    return Ok(None);
                }
            }
        }
        let slot = self.labs.slot(&[place], self.job.cancelled)?;
        self.follow(&slot, lava, submission).map(Some)
    }

    /// Hands the job over to the best lab that takes it.
    fn anew(&self) -> Result<Submitted, End> {
        let mut refused: Vec<(String, String)> = Vec::new();
        loop {
            let slot = match self.labs.place(self.booted.board, self.job.key, &refused, self.job.cancelled) {
                Ok(slot) => slot,
                // They were there, and took nothing: that is no board without a lab.
                Err(NoPlace::Nowhere(why)) if !refused.is_empty() => {
                    return Err(End::Infra(format!("no lab took it: {why}")));
                }
                Err(none) => return Err(none.into()),
            };
            let place = slot.place;
            let lava = place.lava().map_err(End::infra)?;
            let name = define::job_name(self.job);
            let definition = define::define(self.spec, self.job, self.booted, place, &name)?;
            if let Err(error) = lava.validate(&definition) {
                refused.push((place.name.to_owned(), error.to_string()));
                continue;
            }
            if (self.job.cancelled)() {
                return Err(NoPlace::Cancelled.into());
            }
            let Job { store, project, node, key, .. } = *self.job;
            let mut submission = store.intend(project, node, key, place.name, &name)?;
            let id = match lava.submit(&definition) {
                Ok(id) => Some(id),
                Err(Submit::Refused(error) | Submit::NotSent(error)) => {
                    store.give_up(&submission)?;
                    refused.push((place.name.to_owned(), error.to_string()));
                    continue;
                }
                Err(Submit::Unclear(_)) => self.look_for(lava, &submission)?,
            };
            let Some(id) = id else {
                store.give_up(&submission)?;
                refused.push((place.name.to_owned(), "it took the job, and has none".to_owned()));
                continue;
            };
            store.handed_over(&mut submission, id.0)?;
            return self.follow(&slot, lava, &mut submission);
        }
    }

    /// Whether the lab has a job of this name, and which. Its server may be busy with the request until some time after
    /// it was sent, so that is waited for.
    fn look_for(&self, lava: &Lava, submission: &Submission) -> Result<Option<JobId>, End> {
        let mut patience = Patience::new();
        let mut wait = FIRST_LOOK;
        loop {
            let age = submission.made.elapsed().unwrap_or_default();
            match lava.find(&submission.name, submission.made - CLOCKS) {
                Ok(found) => {
                    if let Some(id) = found.first() {
                        return Ok(Some(*id));
                    }
                    if age > LATE {
                        return Ok(None);
                    }
                    patience = Patience::new();
                }
                Err(error) => patience.lost_at(&error).map_err(|()| {
                    End::Infra(format!(
                        "lab {} {error}: nobody knows whether it has the job {:?}; the next build asks it again",
                        submission.lab, submission.name
                    ))
                })?,
            }
            self.wait(wait, submission)?;
            wait = (wait * 2).min(LAST_LOOK);
        }
    }

    /// Waits, unless the user has had enough: then nothing more is done, and the journal tells the next run what to ask.
    fn wait(&self, time: Duration, submission: &Submission) -> Result<(), End> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            if (self.job.cancelled)() {
                return Err(End::Cancelled(format!(
                    "lab {} may have the job {:?}; the next build asks it",
                    submission.lab, submission.name
                )));
            }
            sleep(TICK.min(until.saturating_duration_since(Instant::now())));
        }
        Ok(())
    }

    /// Waits for the end of a job, and gathers what came of it.
    fn follow(&self, slot: &Slot<'_>, lava: &Lava, submission: &mut Submission) -> Result<Submitted, End> {
        let id = JobId(submission.job.expect("it was handed over"));
        let ended = self.ended(slot.place, lava, id, submission)?;
        let device = ended.device.clone();
        let gathered = self.patiently(submission, || gather::gather(self.job, self.booted, lava, &ended))?;
        let tried = self.labs.tried(self.job.key);
        let twice = gathered.timed_out() && tried.iter().any(|tried| tried.timed_out);
        let gathered = if twice { gathered.confirmed() } else { gathered };
        match gathered.outcome() {
            Outcome::Pass | Outcome::Fail => {
                let tried: Vec<Attempt> = tried.into_iter().map(|tried| tried.attempt).collect();
                let submitted = gathered.submitted(&tried);
                self.job.store.fetched(submission)?;
                Ok(submitted)
            }
            _ => {
                let message = gathered.message();
                let attempt = Attempt {
                    lab: submission.lab.clone(),
                    job: submission.job,
                    device,
                    message: message.clone(),
                };
                self.labs.has_tried(self.job.key, Tried { attempt, timed_out: gathered.timed_out() });
                self.job.store.give_up(submission)?;
                Err(End::Infra(message))
            }
        }
    }

    /// The job as it is when it has ended.
    fn ended(
        &self,
        place: &Place<'_>,
        lava: &Lava,
        id: JobId,
        submission: &Submission,
    ) -> Result<AtLab, End> {
        let mut patience = Patience::new();
        let mut wait = FIRST_LOOK;
        let limit = place.spec.queue + self.booted.test.time_limit() + AROUND;
        loop {
            match lava.job(id) {
                Ok(job) if job.state == State::Finished => return Ok(job),
                Ok(_) => patience = Patience::new(),
                Err(LavaError::Gone) => {
                    self.job.store.give_up(submission)?;
                    return Err(End::Infra(format!("lab {} has lost job {id}", submission.lab)));
                }
                Err(error) => patience.lost_at(&error).map_err(|()| unanswered(submission, &error))?,
            }
            if (self.job.cancelled)() {
                return Err(self.interrupted(lava, id, submission));
            }
            if submission.made.elapsed().unwrap_or_default() > limit {
                let told = lava
                    .cancel(id)
                    .map_or_else(|error| format!("; lab {} {error}", submission.lab), |()| String::new());
                self.job.store.give_up(submission)?;
                let limit = humantime::format_duration(limit);
                return Err(End::Infra(format!(
                    "job {id} at lab {} had not ended after {limit} and was cancelled{told}",
                    submission.lab
                )));
            }
            // An event is only a reason to look at once.
            let until = Instant::now() + wait;
            loop {
                let left = until.saturating_duration_since(Instant::now()).min(TICK);
                let woken = match place.events() {
                    Some(events) => events.wait(id, left),
                    None => {
                        sleep(left);
                        false
                    }
                };
                if woken || (self.job.cancelled)() || Instant::now() >= until {
                    break;
                }
            }
            wait = (wait * 3 / 2).min(LAST_LOOK);
        }
    }

    /// The user has had enough while the job is at the lab.
    fn interrupted(&self, lava: &Lava, id: JobId, submission: &Submission) -> End {
        let lab = &submission.lab;
        match self.labs.on_interrupt() {
            OnInterrupt::Leave => End::Cancelled(format!(
                "job {id} at lab {lab} goes on; the next build takes it up, `kiln cancel` ends it"
            )),
            OnInterrupt::Cancel => match lava.cancel(id) {
                Ok(()) => match self.job.store.give_up(submission) {
                    Ok(()) => End::Cancelled(format!("job {id} at lab {lab} was cancelled")),
                    Err(error) => error.into(),
                },
                Err(error) => End::Cancelled(format!(
                    "job {id} can't be cancelled, as lab {lab} {error}; see `kiln cancel`"
                )),
            },
        }
    }

    /// Asks a lab again and again while it does not answer.
    fn patiently<T>(
        &self,
        submission: &Submission,
        ask: impl Fn() -> Result<T, LavaError>,
    ) -> Result<T, End> {
        let mut patience = Patience::new();
        loop {
            match ask() {
                Ok(answer) => return Ok(answer),
                Err(error) => patience.lost_at(&error).map_err(|()| unanswered(submission, &error))?,
            }
            self.wait(LAST_LOOK / 3, submission)?;
        }
    }
}

fn unanswered(submission: &Submission, error: &LavaError) -> End {
    End::Infra(format!(
        "lab {} {error}; what came of job {} is asked for by the next build",
        submission.lab,
        submission.job.unwrap_or_default()
    ))
}

fn client<'a>(place: &'a Place<'_>, submission: &Submission) -> Result<&'a Lava, End> {
    place.lava().map_err(|why| {
        End::Infra(format!(
            "it may have been submitted to lab {} already, which can't be asked: {why}",
            submission.lab
        ))
    })
}

/// How long a lab has not answered.
struct Patience(Option<Instant>);

impl Patience {
    const fn new() -> Self {
        Self(None)
    }

    /// Whether an error ends it: one that another try would not mend, or one too many.
    fn lost_at(&mut self, error: &LavaError) -> Result<(), ()> {
        let since = *self.0.get_or_insert_with(Instant::now);
        if error.may_pass() && since.elapsed() < PATIENCE { Ok(()) } else { Err(()) }
    }
}
