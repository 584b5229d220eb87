//! A job: its state, and the actions of its definition.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::server::{ApiCall, MAX_ANSWER};
use super::{Lava, LavaError, yaml};
use crate::text::one_line;

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

/// A job at its lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// Its name, which LAVA also calls its description.
    pub name: String,
    /// Its state.
    pub state: State,
    /// Its result.
    pub health: Health,
    /// Its device.
    pub device: Option<String>,
    /// When it was submitted.
    pub submitted: Option<Timestamp>,
    /// When it started to run.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// The queue timeout of its definition, if any.
    pub queue: Option<Duration>,
    /// The actions of its definition, in order. Empty if the definition can't be parsed.
    pub actions: Vec<Action>,
}

/// The state of a job, in LAVA's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum State {
    /// It waits for a device.
    Submitted,
    /// It has a device and waits for the other jobs of its group.
    Scheduling,
    /// It has a device, which has not started it yet.
    Scheduled,
    /// It runs.
    Running,
    /// It is being cancelled.
    Canceling,
    /// It has ended.
    Finished,
}

/// The result of a job, in LAVA's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Health {
    /// It has not ended.
    Unknown,
    /// It ran to its end; tests may have failed.
    Complete,
    /// It was aborted.
    Incomplete,
    /// It was cancelled, or its queue timeout passed.
    Canceled,
}

/// An action of a job definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// Its phase.
    pub phase: Phase,
    /// Whether it has test definitions, which report cases.
    pub defines_tests: bool,
}

/// The phase of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Deploys files to the device.
    Deploy,
    /// Boots the device.
    Boot,
    /// Runs tests.
    Test,
    /// Anything else: `command`, `notify`.
    Other,
}

impl Lava {
    /// The job with this number. [`LavaError::Gone`] if there is none.
    pub fn job(&self, id: JobId) -> Result<Job, LavaError> {
        let call = ApiCall::get(&["jobs", &id.to_string()]);
        let answer = self.calls.wait(self.server.call(&call, MAX_ANSWER))?;
        if answer.status.as_u16() == 404 {
            return Err(LavaError::Gone);
        }
        let job = Job::from(answer.json::<Wire>()?);
        if job.id != id {
            return Err(answer.unexpected("it is another job"));
        }
        Ok(job)
    }

    /// Cancels a job. Cancelling a finished job is no error.
    ///
    /// The API uses GET for this. Its errors say little (500 for a missing job), so the job's state decides.
    pub fn cancel(&self, id: JobId) -> Result<(), LavaError> {
        let call = ApiCall::get(&["jobs", &id.to_string(), "cancel"]);
        let answer = self.calls.wait(self.server.call(&call, MAX_ANSWER))?;
        if answer.status.as_u16() == 200 && answer.read::<Value>()?.get("message").is_some() {
            return Ok(());
        }
        match self.job(id)?.state {
            State::Finished | State::Canceling => Ok(()),
            _ => Err(answer.refusal()),
        }
    }
}

/// The API's job.
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
            name: one_line(&wire.description.unwrap_or_default()),
            state: wire.state,
            health: wire.health,
            device: wire.actual_device.map(|name| one_line(&name)),
            submitted: wire.submit_time,
            started: wire.start_time,
            ended: wire.end_time,
            queue: definition.timeouts.queue.map(|queue| queue.total()),
            actions: definition.actions.iter().map(action).collect(),
        }
    }
}

/// The parts of a job definition that are needed to judge the job.
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

/// A duration in LAVA's form: `{minutes: 1, seconds: 30}`.
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

/// An action of a job definition: a mapping with one key.
fn action(action: &Map<String, Value>) -> Action {
    let Some((name, what)) = action.iter().next() else {
        return Action { phase: Phase::Other, defines_tests: false };
    };
    let phase = match name.as_str() {
        "deploy" => Phase::Deploy,
        "boot" => Phase::Boot,
        "test" => Phase::Test,
        _ => Phase::Other,
    };
    let definitions = what.get("definitions").and_then(Value::as_array);
    Action { phase, defines_tests: phase == Phase::Test && definitions.is_some_and(|all| !all.is_empty()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_is_parsed() {
        let text = "timeouts: {job: {hours: 1}, queue: {minutes: 1, seconds: 30}}\n\
                    actions:\n- deploy: {to: tmpfs}\n- boot: {method: qemu}\n- test: {definitions: [{name: a}]}\n\
                    - test: {interactive: []}\n- command: {name: off}\n";
        let read: Definition = yaml::read(text).unwrap();
        assert_eq!(read.timeouts.queue.unwrap().total(), Duration::from_secs(90));
        let stages = [
            (Phase::Deploy, false),
            (Phase::Boot, false),
            (Phase::Test, true),
            (Phase::Test, false),
            (Phase::Other, false),
        ];
        let actions: Vec<_> = read.actions.iter().map(action).collect();
        assert_eq!(actions, stages.map(|(phase, defines_tests)| Action { phase, defines_tests }));
    }
}
