//! The LAVA labs of a project during a run: which can boot what, and how many jobs each has of ours.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use crate::digest::Digest;
use crate::lab::lava::{Availability, Events, Lava, Refusal, Settings, Survey, Surveyed, Token, survey_all};
use crate::lab::record::Attempt;
use crate::spec::model::{Board, Lab as LabSpec, LavaLab, Spec};

/// How late a waiting thread may be to see that the user has had enough.
pub(super) const TICK: Duration = Duration::from_millis(200);

/// What becomes of jobs at labs when the user interrupts a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnInterrupt {
    /// They go on, and the next build takes them up.
    Leave,
    /// The labs are told to cancel them.
    Cancel,
}

/// The labs.
pub struct Labs<'a> {
    labs: Vec<Place<'a>>,
    surveys: OnceLock<HashMap<String, Survey>>,
    used: Mutex<HashMap<String, u32>>,
    freed: Condvar,
    /// Devices of which it is known whether our user may change them, by lab: LAVA grants that for single devices.
    ours: Mutex<HashMap<(String, String), Result<(), String>>>,
    /// What was tried in this run and came to no outcome, by the key of the job.
    tried: Mutex<HashMap<Digest, Vec<Tried>>>,
    interrupt: OnceLock<OnInterrupt>,
    on_interrupt: Box<dyn Fn() -> OnInterrupt + Send + Sync + 'a>,
}

/// One lab.
pub(super) struct Place<'a> {
    pub name: &'a str,
    pub spec: &'a LavaLab,
    /// Where it is and how to get in, or why that is not known.
    settings: Box<dyn Fn() -> Result<Settings, String> + Send + Sync + 'a>,
    /// Its client, or why there is none: it takes time to make, and a run that hands nothing over makes none.
    client: OnceLock<Result<Lava, String>>,
    /// What it tells of jobs while they go on: opened when the first job is there.
    events: OnceLock<Option<Events>>,
}

/// A job of this run that came to no outcome.
#[derive(Clone, Debug)]
pub(super) struct Tried {
    /// The attempt, for the record of the job that comes to one.
    pub attempt: Attempt,
    /// Whether a time limit ended it: a second one of these is a failure.
    pub timed_out: bool,
}

/// A slot of a lab, which is free again when this goes.
pub(super) struct Slot<'a> {
    labs: &'a Labs<'a>,
    pub place: &'a Place<'a>,
}

/// Why no lab takes a job.
#[derive(Debug)]
pub(super) enum NoPlace {
    /// No lab can boot it: why, one by one.
    Nowhere(String),
    /// The user has had enough.
    Cancelled,
}

impl<'a> Labs<'a> {
    /// The LAVA labs of a spec. `token` yields a lab's token, or why it is not to be had; `on_interrupt` is asked once,
    /// when the user interrupts and jobs of ours are at labs.
    pub fn new(
        spec: &'a Spec,
        token: impl Fn(&LavaLab) -> Result<Token, String> + Copy + Send + Sync + 'a,
        on_interrupt: impl Fn() -> OnInterrupt + Send + Sync + 'a,
    ) -> Self {
        let labs = spec.project.labs.iter().filter_map(|(name, lab)| match &lab.value {
            LabSpec::Lava(lava) => {
                let settings = Box::new(move || Ok(settings(lava, token(lava)?, spec)));
                Some(Place { name, spec: lava, settings, client: OnceLock::new(), events: OnceLock::new() })
            }
            LabSpec::Qemu { .. } => None,
        });
        Self {
            labs: labs.collect(),
            surveys: OnceLock::new(),
            used: Mutex::default(),
            freed: Condvar::new(),
            ours: Mutex::default(),
            tried: Mutex::default(),
            interrupt: OnceLock::new(),
            on_interrupt: Box::new(on_interrupt),
        }
    }

    /// What each lab says of itself and what it has: asked once for a run, all side by side.
    fn surveys(&self) -> &HashMap<String, Survey> {
        self.surveys.get_or_init(|| {
            let clients: Vec<&Lava> = self.labs.iter().filter_map(|place| place.lava().ok()).collect();
            let within = self.labs.iter().map(|place| place.spec.timeout).max().unwrap_or_default();
            survey_all(&clients, within).into_iter().map(|survey| (survey.lab.clone(), survey)).collect()
        })
    }

    /// The names of the labs, in order, each with what it said of itself, or why it could not be asked.
    pub fn looked_at(&self) -> impl Iterator<Item = (&str, Result<&Surveyed, String>)> {
        let surveys = self.surveys();
        self.labs.iter().map(|place| {
            let survey = match place.lava() {
                Ok(_) => match surveys.get(place.name).map(|survey| &survey.state) {
                    Some(state) => state.as_ref().map_err(ToString::to_string),
                    None => Err("was not asked".to_owned()),
                },
                Err(why) => Err(why.to_owned()),
            };
            (place.name, survey)
        })
    }

    /// Labs whose events can't be heard, and why: asked now, all side by side.
    pub fn unheard(&self) -> Vec<(&str, String)> {
        let ask =
            |place: &Place<'_>| Events::heard(&(place.settings)().ok()?).err().map(|why| why.to_string());
        thread::scope(|scope| {
            let asked: Vec<_> =
                self.labs.iter().map(|place| (place.name, scope.spawn(move || ask(place)))).collect();
            let why = |asked: thread::ScopedJoinHandle<'_, Option<String>>| {
                asked.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            asked.into_iter().filter_map(|(lab, asked)| Some((lab, why(asked)?))).collect()
        })
    }

    /// A lab's client; what a job was handed to may not be in the spec any more.
    pub fn client(&self, lab: &str) -> Option<Result<&Lava, &str>> {
        Some(self.get(lab)?.lava())
    }

    pub(super) fn get(&self, lab: &str) -> Option<&Place<'a>> {
        self.labs.iter().find(|place| place.name == lab)
    }

    /// A slot of the best lab that can boot the board, as soon as one is free. `refused`: labs that took no job, and why.
    pub(super) fn place(
        &'a self,
        board: &Board,
        key: &Digest,
        refused: &[(String, String)],
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Slot<'a>, NoPlace> {
        let tried: Vec<String> = self.tried(key).into_iter().map(|tried| tried.attempt.lab).collect();
        let mut usable = Vec::new();
        let mut reasons = Vec::new();
        for (order, lab) in board.labs.iter().enumerate() {
            let lab = &lab.value;
            if let Some((_, why)) = refused.iter().find(|(refuser, _)| refuser == lab) {
                reasons.push(format!("{lab}: {why}"));
                continue;
            }
            let Some(place) = self.get(lab) else { continue };
            match self.availability(place, board) {
                Ok(Availability::Now(devices)) => match self.only_submits(place, &devices) {
                    Ok(()) => usable.push((tried.contains(lab), false, order, place)),
                    Err(why) => reasons.push(format!("{lab}: {why}")),
                },
                Ok(Availability::Queued(devices)) => match self.only_submits(place, &devices) {
                    Ok(()) => usable.push((tried.contains(lab), true, order, place)),
                    Err(why) => reasons.push(format!("{lab}: {why}")),
                },
                Ok(Availability::None(refusals)) => reasons.push(format!("{lab}: {}", refused_by(&refusals))),
                Err(why) => reasons.push(format!("{lab}: {why}")),
            }
        }
        if usable.is_empty() {
            return Err(NoPlace::Nowhere(reasons.join("; ")));
        }
        usable.sort_unstable_by_key(|(tried, queued, order, _)| (*tried, *queued, *order));
        let places: Vec<&Place<'a>> = usable.into_iter().map(|(.., place)| place).collect();
        self.slot(&places, cancelled)
    }

    /// A slot of the first of these labs that has one free, as soon as one has.
    pub(super) fn slot(
        &'a self,
        places: &[&'a Place<'a>],
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Slot<'a>, NoPlace> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if cancelled() {
                return Err(NoPlace::Cancelled);
            }
            for place in places {
                let count = used.entry(place.name.to_owned()).or_default();
                if *count < place.spec.slots {
                    *count += 1;
                    return Ok(Slot { labs: self, place });
                }
            }
            used = self.freed.wait_timeout(used, TICK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn availability(&self, place: &Place<'_>, board: &Board) -> Result<Availability, String> {
        place.lava()?;
        let survey = self.surveys().get(place.name).ok_or_else(|| "it was not asked".to_owned())?;
        let surveyed = survey.state.as_ref().map_err(ToString::to_string)?;
        let tags: Vec<String> =
            place.spec.tags.iter().cloned().chain(board.tags.iter().map(|tag| tag.value.clone())).collect();
        Ok(surveyed.availability(&board.device_type.value, &tags))
    }

    /// Whether our user may do no more with these devices than boot on them: the first of them tells.
    fn only_submits(&self, place: &Place<'_>, devices: &[String]) -> Result<(), String> {
        let (Ok(lava), Some(device)) = (place.lava(), devices.first()) else { return Ok(()) };
        let of = (place.name.to_owned(), device.clone());
        // One thread asks, and the others that want to know wait for it.
        let mut ours = self.ours.lock().unwrap_or_else(PoisonError::into_inner);
        let ask = || match lava.administers(device) {
            Ok(false) => Ok(()),
            Ok(true) => {
                Err(format!("the token's user may change the device {device}; use one that may only submit"))
            }
            Err(error) => Err(error.to_string()),
        };
        ours.entry(of).or_insert_with(ask).clone()
    }

    /// What was tried in this run and came to no outcome.
    pub(super) fn tried(&self, key: &Digest) -> Vec<Tried> {
        let tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        tried.get(key).cloned().unwrap_or_default()
    }

    pub(super) fn has_tried(&self, key: &Digest, tried: Tried) {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner).entry(*key).or_default().push(tried);
    }

    /// What the user wants of jobs at labs, now that they interrupt.
    pub(super) fn on_interrupt(&self) -> OnInterrupt {
        *self.interrupt.get_or_init(|| (self.on_interrupt)())
    }
}

impl Place<'_> {
    /// Its client, or why there is none.
    pub(super) fn lava(&self) -> Result<&Lava, &str> {
        let make = || {
            let settings = (self.settings)()?;
            Lava::new(self.name, settings).map_err(|error| error.to_string())
        };
        self.client.get_or_init(make).as_ref().map_err(String::as_str)
    }

    /// What the lab tells of jobs while they go on. `None` where it does not: then they are looked at now and then.
    pub(super) fn events(&self) -> Option<&Events> {
        self.events.get_or_init(|| Events::open(&(self.settings)().ok()?)).as_ref()
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut used = self.labs.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = used.get_mut(self.place.name) {
            *count -= 1;
        }
        drop(used);
        self.labs.freed.notify_all();
    }
}

/// Refusals in a sentence.
fn refused_by(refusals: &[Refusal]) -> String {
    let one = |refusal: &Refusal| match &refusal.device {
        Some(device) => format!("{device}: {}", refusal.why),
        None => refusal.why.to_string(),
    };
    refusals.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn settings(lab: &LavaLab, token: Token, spec: &Spec) -> Settings {
    Settings {
        url: lab.url.value.clone(),
        user: lab.user.value.clone(),
        token,
        timeout: lab.timeout,
        ca: lab.ca.as_ref().map(|ca| spec.root.join(&ca.value)),
        events: lab.events.as_ref().map(|events| events.value.clone()),
    }
}
