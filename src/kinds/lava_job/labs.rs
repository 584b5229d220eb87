//! The LAVA labs of a project during one run: their clients, which of them can boot a board, and their job slots.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use crate::digest::Digest;
use crate::lab::lava::{
    Availability, Events, LabInventory, Lava, Settings, Survey, Token, Unavailable, survey_all,
};
use crate::lab::record::Attempt;
use crate::spec::model::{Board, Lab as LabSpec, LavaLab, Spec};

/// How often a waiting thread checks for an interrupt.
pub(super) const TICK: Duration = Duration::from_millis(200);

/// What happens to jobs at labs when the user interrupts a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnInterrupt {
    /// They continue, and the next build resumes them.
    Leave,
    /// They are cancelled.
    Cancel,
}

/// The LAVA labs of a project.
pub struct Labs<'a> {
    labs: Vec<LabClient<'a>>,
    surveys: OnceLock<HashMap<String, Survey>>,
    used: Mutex<HashMap<String, u32>>,
    freed: Condvar,
    /// Whether the token may only submit to a device, by lab and device: LAVA grants rights per device.
    submit_only: Mutex<HashMap<(String, String), Result<(), String>>>,
    /// Attempts of this run without an outcome, by job key.
    attempts: Mutex<HashMap<Digest, Vec<FailedAttempt>>>,
    interrupt: OnceLock<OnInterrupt>,
    on_interrupt: Box<dyn Fn() -> OnInterrupt + Send + Sync + 'a>,
}

/// One lab.
pub(super) struct LabClient<'a> {
    pub name: &'a str,
    pub spec: &'a LavaLab,
    /// Its address and credentials, or why they are unknown.
    settings: Box<dyn Fn() -> Result<Settings, String> + Send + Sync + 'a>,
    /// Its client, or why there is none. Created on first use, as TLS set-up takes time.
    client: OnceLock<Result<Lava, String>>,
    /// Its event stream, opened with the first job.
    events: OnceLock<Option<Events>>,
}

/// A job of this run without an outcome.
#[derive(Clone, Debug)]
pub(super) struct FailedAttempt {
    /// The attempt, for the record of a later job.
    pub attempt: Attempt,
    /// Whether a time limit ended it: a second one is a failure.
    pub timed_out: bool,
}

/// A job slot of a lab. Dropping it frees the slot.
pub(super) struct Slot<'a> {
    labs: &'a Labs<'a>,
    pub lab: &'a LabClient<'a>,
}

/// Why no lab takes a job.
#[derive(Debug)]
pub(super) enum NoLab {
    /// No lab can boot the board; the reason of each.
    Unavailable(String),
    /// The user interrupted the run.
    Cancelled,
}

impl<'a> Labs<'a> {
    /// The LAVA labs of a spec. `token` returns a lab's token, or why it is unavailable. `on_interrupt` is called once, when
    /// the user interrupts the run while jobs are at labs.
    pub fn new(
        spec: &'a Spec,
        token: impl Fn(&LavaLab) -> Result<Token, String> + Copy + Send + Sync + 'a,
        on_interrupt: impl Fn() -> OnInterrupt + Send + Sync + 'a,
    ) -> Self {
        let labs = spec.project.labs.iter().filter_map(|(name, lab)| match lab {
            LabSpec::Lava(lava) => {
                let settings = Box::new(move || Ok(settings(lava, token(lava)?, spec)));
                Some(LabClient {
                    name,
                    spec: lava,
                    settings,
                    client: OnceLock::new(),
                    events: OnceLock::new(),
                })
            }
            LabSpec::Qemu { .. } => None,
        });
        Self {
            labs: labs.collect(),
            surveys: OnceLock::new(),
            used: Mutex::default(),
            freed: Condvar::new(),
            submit_only: Mutex::default(),
            attempts: Mutex::default(),
            interrupt: OnceLock::new(),
            on_interrupt: Box::new(on_interrupt),
        }
    }

    /// The survey of each lab, taken once a run and concurrently.
    fn surveys(&self) -> &HashMap<String, Survey> {
        self.surveys.get_or_init(|| {
            let clients: Vec<&Lava> = self.labs.iter().filter_map(|lab| lab.lava().ok()).collect();
            let within = self.labs.iter().map(|lab| lab.spec.timeout).max().unwrap_or_default();
            survey_all(&clients, within).into_iter().map(|survey| (survey.lab.clone(), survey)).collect()
        })
    }

    /// Each lab in order, with its inventory or why it is unknown.
    pub fn inventories(&self) -> impl Iterator<Item = (&str, Result<&LabInventory, String>)> {
        let surveys = self.surveys();
        self.labs.iter().map(|lab| {
            let survey = match lab.lava() {
                Ok(_) => match surveys.get(lab.name).map(|survey| &survey.state) {
                    Some(state) => state.as_ref().map_err(ToString::to_string),
                    None => Err("was not asked".to_owned()),
                },
                Err(why) => Err(why.to_owned()),
            };
            (lab.name, survey)
        })
    }

    /// Labs whose event stream can't be opened, and why. Probes all labs concurrently.
    pub fn without_events(&self) -> Vec<(&str, String)> {
        let ask =
            |lab: &LabClient<'_>| Events::probe(&(lab.settings)().ok()?).err().map(|why| why.to_string());
        thread::scope(|scope| {
            let asked: Vec<_> =
                self.labs.iter().map(|lab| (lab.name, scope.spawn(move || ask(lab)))).collect();
            let why = |asked: thread::ScopedJoinHandle<'_, Option<String>>| {
                asked.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            asked.into_iter().filter_map(|(lab, asked)| Some((lab, why(asked)?))).collect()
        })
    }

    /// A lab's client. `None`: the spec has no such lab.
    pub fn client(&self, lab: &str) -> Option<Result<&Lava, &str>> {
        Some(self.get(lab)?.lava())
    }

    pub(super) fn get(&self, name: &str) -> Option<&LabClient<'a>> {
        self.labs.iter().find(|lab| lab.name == name)
    }

    /// A slot of the best lab that can boot the board, as soon as one is free. `refused`: labs that refused the job, and
    /// why. Labs without an attempt of this run come first, then labs with an idle device, then the board's order.
    pub(super) fn reserve(
        &'a self,
        board: &Board,
        key: &Digest,
        refused: &[(String, String)],
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Slot<'a>, NoLab> {
        let attempted: Vec<String> =
            self.attempts(key).into_iter().map(|failed| failed.attempt.lab).collect();
        let mut usable = Vec::new();
        let mut reasons = Vec::new();
        for (order, name) in board.labs.iter().enumerate() {
            if let Some((_, why)) = refused.iter().find(|(refuser, _)| refuser == name) {
                reasons.push(format!("{name}: {why}"));
                continue;
            }
            let Some(lab) = self.get(name) else { continue };
            let usable_devices = self.availability(lab, board).and_then(|availability| match availability {
                Availability::Now(devices) => Ok((false, devices)),
                Availability::Queued(devices) => Ok((true, devices)),
                Availability::None(reasons) => Err(unavailable_reasons(&reasons)),
            });
            let checked = usable_devices
                .and_then(|(queued, devices)| self.only_submits(lab, &devices).map(|()| queued));
            match checked {
                Ok(queued) => usable.push((attempted.contains(name), queued, order, lab)),
                Err(why) => reasons.push(format!("{name}: {why}")),
            }
        }
        if usable.is_empty() {
            return Err(NoLab::Unavailable(reasons.join("; ")));
        }
        usable.sort_unstable_by_key(|(attempted, queued, order, _)| (*attempted, *queued, *order));
        let labs: Vec<&LabClient<'a>> = usable.into_iter().map(|(.., lab)| lab).collect();
        self.slot(&labs, cancelled)
    }

    /// A slot of the first of these labs that has a free one; waits until one has.
    pub(super) fn slot(
        &'a self,
        labs: &[&'a LabClient<'a>],
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Slot<'a>, NoLab> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if cancelled() {
                return Err(NoLab::Cancelled);
            }
            for lab in labs {
                let count = used.entry(lab.name.to_owned()).or_default();
                if *count < lab.spec.slots {
                    *count += 1;
                    return Ok(Slot { labs: self, lab });
                }
            }
            used = self.freed.wait_timeout(used, TICK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn availability(&self, lab: &LabClient<'_>, board: &Board) -> Result<Availability, String> {
        lab.lava()?;
        let survey = self.surveys().get(lab.name).ok_or_else(|| "it was not asked".to_owned())?;
        let surveyed = survey.state.as_ref().map_err(ToString::to_string)?;
        let tags: Vec<String> = lab.spec.tags.iter().cloned().chain(board.tags.iter().cloned()).collect();
        Ok(surveyed.availability(&board.device_type, &tags))
    }

    /// Whether the token may only submit jobs to these devices. The first device is probed.
    fn only_submits(&self, lab: &LabClient<'_>, devices: &[String]) -> Result<(), String> {
        let (Ok(lava), Some(device)) = (lab.lava(), devices.first()) else { return Ok(()) };
        let of = (lab.name.to_owned(), device.clone());
        // One thread probes; others that need the answer wait.
        let mut submit_only = self.submit_only.lock().unwrap_or_else(PoisonError::into_inner);
        let ask = || match lava.administers(device) {
            Ok(false) => Ok(()),
            Ok(true) => {
                Err(format!("the token's user may change the device {device}; use one that may only submit"))
            }
            Err(error) => Err(error.to_string()),
        };
        submit_only.entry(of).or_insert_with(ask).clone()
    }

    /// Attempts of this run without an outcome.
    pub(super) fn attempts(&self, key: &Digest) -> Vec<FailedAttempt> {
        let attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.get(key).cloned().unwrap_or_default()
    }

    pub(super) fn add_attempt(&self, key: &Digest, attempt: FailedAttempt) {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner).entry(*key).or_default().push(attempt);
    }

    /// What to do with jobs at labs after an interrupt.
    pub(super) fn on_interrupt(&self) -> OnInterrupt {
        *self.interrupt.get_or_init(|| (self.on_interrupt)())
    }
}

impl LabClient<'_> {
    /// Its client, or why there is none.
    pub(super) fn lava(&self) -> Result<&Lava, &str> {
        let make = || {
            let settings = (self.settings)()?;
            Lava::new(self.name, settings).map_err(|error| error.to_string())
        };
        self.client.get_or_init(make).as_ref().map_err(String::as_str)
    }

    /// The lab's event stream. `None` where the lab has none: jobs are polled.
    pub(super) fn events(&self) -> Option<&Events> {
        self.events.get_or_init(|| Events::open(&(self.settings)().ok()?)).as_ref()
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut used = self.labs.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = used.get_mut(self.lab.name) {
            *count -= 1;
        }
        drop(used);
        self.labs.freed.notify_all();
    }
}

/// The reasons in one sentence.
fn unavailable_reasons(refusals: &[Unavailable]) -> String {
    let one = |refusal: &Unavailable| match &refusal.device {
        Some(device) => format!("{device}: {}", refusal.why),
        None => refusal.why.to_string(),
    };
    refusals.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn settings(lab: &LavaLab, token: Token, spec: &Spec) -> Settings {
    Settings {
        url: lab.url.clone(),
        user: lab.user.clone(),
        token,
        timeout: lab.timeout,
        ca: lab.ca.as_ref().map(|ca| spec.root.join(ca)),
        events: lab.events.clone(),
    }
}
