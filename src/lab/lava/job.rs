//! One job: where it stands, and what it was asked to do.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ask::{Ask, MAX_ANSWER};
use super::{Lava, LavaError, yaml};
use crate::net::plain;

/// A job's number at its lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub u64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// A job as its lab has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// Its name, which LAVA also calls its description.
    pub name: String,
    /// Where it stands.
    pub state: State,
    /// What came of it.
    pub health: Health,
    /// On which device it runs or ran.
    pub device: Option<String>,
    /// When it was submitted.
    pub submitted: Option<Timestamp>,
    /// When it began to run.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// How long it was to wait for a device, where its definition says so.
    pub queue: Option<Duration>,
    /// What it was asked to do, in that order. Empty where its definition can't be read.
    pub actions: Vec<Action>,
}

/// Where a job stands. The names are LAVA's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum State {
    /// It waits for a device.
    Submitted,
    /// It has a device, and waits for the jobs of its group.
    Scheduling,
    /// It has a device, which has not begun yet.
    Scheduled,
    /// It runs.
    Running,
    /// Somebody cancelled it, and the device has not heard of it yet.
    Canceling,
    /// It has ended.
    Finished,
}

/// What came of a job. The names are LAVA's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Health {
    /// It has not ended.
    Unknown,
    /// It was run to its end: tests may have failed.
    Complete,
    /// It broke off.
    Incomplete,
    /// It was cancelled, or waited too long.
    Canceled,
}

/// One thing that a job was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// What it is about.
    pub stage: Stage,
    /// Whether it names test definitions, whose cases are to be reported.
    pub defines_tests: bool,
}

/// What an action is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Gets files to the device.
    Deploy,
    /// Boots it.
    Boot,
    /// Runs tests on it.
    Test,
    /// Anything else: `command`, `notify`.
    Other,
}

impl Lava {
    /// A job of this number. [`LavaError::Gone`] where there is none.
    pub fn job(&self, id: JobId) -> Result<Job, LavaError> {
        let ask = Ask::get(&["jobs", &id.to_string()]);
        let answer = self.calls.wait(self.server.ask(&ask, MAX_ANSWER))?;
        if answer.status.as_u16() == 404 {
            return Err(LavaError::Gone);
        }
        let job = Job::from(answer.json::<Wire>()?);
        if job.id != id {
            return Err(answer.unexpected("it is another job"));
        }
        Ok(job)
    }

    /// Cancels a job. To cancel one that has ended already is no error.
    ///
    /// That is a GET in this API. A refusal of it says little (500 for a job that there is not), so the job itself tells.
    pub fn cancel(&self, id: JobId) -> Result<(), LavaError> {
        let ask = Ask::get(&["jobs", &id.to_string(), "cancel"]);
        let answer = self.calls.wait(self.server.ask(&ask, MAX_ANSWER))?;
        if answer.status.as_u16() == 200 && answer.read::<Value>()?.get("message").is_some() {
            return Ok(());
        }
        match self.job(id)?.state {
            State::Finished | State::Canceling => Ok(()),
            _ => Err(answer.refusal()),
        }
    }
}

/// A job as it is told.
#[derive(Deserialize)]
pub(super) struct Wire {
    id: JobId,
    description: Option<String>,
    state: State,
    health: Health,
    actual_device: Option<String>,
    submit_time: Option<Timestamp>,
    start_time: Option<Timestamp>,
    end_time: Option<Timestamp>,
    #[serde(default)]
    definition: String,
}

impl From<Wire> for Job {
    fn from(wire: Wire) -> Self {
        let definition: Definition = yaml::read(&wire.definition).unwrap_or_default();
        Self {
            id: wire.id,
            name: plain(&wire.description.unwrap_or_default()),
            state: wire.state,
            health: wire.health,
            device: wire.actual_device.map(|name| plain(&name)),
            submitted: wire.submit_time,
            started: wire.start_time,
            ended: wire.end_time,
            queue: definition.timeouts.queue.map(|queue| queue.total()),
            actions: definition.actions.iter().map(action).collect(),
        }
    }
}

/// A job definition, as far as it says how the job went.
#[derive(Default, Deserialize)]
struct Definition {
    #[serde(default)]
    actions: Vec<Map<String, Value>>,
    #[serde(default)]
    timeouts: Timeouts,
}

#[derive(Default, Deserialize)]
struct Timeouts {
    queue: Option<Timeout>,
}

/// A time as LAVA writes it: `{minutes: 1, seconds: 30}`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Timeout {
    days: u32,
    hours: u32,
    minutes: u32,
    seconds: u32,
}

impl Timeout {
    fn total(&self) -> Duration {
        let hours = u64::from(self.days) * 24 + u64::from(self.hours);
        Duration::from_secs((hours * 60 + u64::from(self.minutes)) * 60 + u64::from(self.seconds))
    }
}

/// An action of a job definition: one key, and what to do.
fn action(action: &Map<String, Value>) -> Action {
    let Some((name, what)) = action.iter().next() else {
        return Action { stage: Stage::Other, defines_tests: false };
    };
    let stage = match name.as_str() {
        "deploy" => Stage::Deploy,
        "boot" => Stage::Boot,
        "test" => Stage::Test,
        _ => Stage::Other,
    };
    let definitions = what.get("definitions").and_then(Value::as_array);
    Action { stage, defines_tests: stage == Stage::Test && definitions.is_some_and(|all| !all.is_empty()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_says_what_there_is_to_do() {
        let text = "timeouts: {job: {hours: 1}, queue: {minutes: 1, seconds: 30}}\n\
                    actions:\n- deploy: {to: tmpfs}\n- boot: {method: qemu}\n- test: {definitions: [{name: a}]}\n\
                    - test: {interactive: []}\n- command: {name: off}\n";
        let read: Definition = yaml::read(text).unwrap();
        assert_eq!(read.timeouts.queue.unwrap().total(), Duration::from_secs(90));
        let stages = [
            (Stage::Deploy, false),
            (Stage::Boot, false),
            (Stage::Test, true),
            (Stage::Test, false),
            (Stage::Other, false),
        ];
        let actions: Vec<_> = read.actions.iter().map(action).collect();
        assert_eq!(actions, stages.map(|(stage, defines_tests)| Action { stage, defines_tests }));
    }
}
