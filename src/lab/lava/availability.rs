//! Whether a lab has something to boot on.
//!
//! LAVA takes jobs for devices that will never run them: whatever is Bad, in maintenance, or hangs on a dead worker. Such a
//! job would wait for ever, so that it is decided here by what LAVA's scheduler goes by.

use super::Surveyed;

/// What there is for a device type and a set of tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Availability {
    /// These devices are free.
    Now(Vec<String>),
    /// These are usable, and all of them busy.
    Queued(Vec<String>),
    /// There is none, for these reasons.
    None(Vec<Refusal>),
}

/// Why something can't be booted on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The device; none where it is about all of them.
    pub device: Option<String>,
    /// Why not.
    pub why: Why,
}

/// Whether a usable device is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It is.
    Idle,
    /// Another job has it.
    Busy,
}

/// A reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// The lab has no such type, or does not show it to us.
    #[error("no device type {0}")]
    NoType(String),
    /// No job starts on a type that is not displayed.
    #[error("the device type {0} is not displayed")]
    Hidden(String),
    /// Nobody has ever used the tag at this lab.
    #[error("no tag {0}")]
    NoTag(String),
    /// The type has no device that we see.
    #[error("no device of type {0}")]
    NoDevice(String),
    /// It is not Good. Unknown is not proven: a health check may be what it waits for.
    #[error("health {0}")]
    Health(String),
    /// It lacks tags.
    #[error("without tag {}", .0.join(", "))]
    Tags(Vec<String>),
    /// It hangs on nothing.
    #[error("without worker")]
    NoWorker,
    /// Its worker is not in touch, or must not be used.
    #[error("worker {name} is {state}, {health}")]
    Worker {
        /// The worker.
        name: String,
        /// Its state.
        state: String,
        /// Its health.
        health: String,
    },
    /// It is in a state that LAVA does not have.
    #[error("state {0}")]
    State(String),
}

impl Surveyed {
    /// What there is for a device type with all of these tags.
    pub fn availability(&self, device_type: &str, tags: &[String]) -> Availability {
        let mut refusals = Vec::new();
        let mut refuse = |device: Option<&str>, why| {
            refusals.push(Refusal { device: device.map(str::to_owned), why });
        };
        match self.types.get(device_type) {
            None => refuse(None, Why::NoType(device_type.to_owned())),
            Some(false) => refuse(None, Why::Hidden(device_type.to_owned())),
            Some(true) => {}
        }
        for tag in tags.iter().filter(|tag| !self.tags.contains(tag)) {
            refuse(None, Why::NoTag(tag.clone()));
        }
        let (mut now, mut later, mut devices) = (Vec::new(), Vec::new(), 0);
        for (name, readiness) in self.readiness(device_type, tags) {
            devices += 1;
            match readiness {
                Ok(Readiness::Idle) => now.push(name.to_owned()),
                Ok(Readiness::Busy) => later.push(name.to_owned()),
                Err(why) => refuse(Some(name), why),
            }
        }
        if devices == 0 && self.types.contains_key(device_type) {
            refuse(None, Why::NoDevice(device_type.to_owned()));
        }
        let about_all = refusals.iter().any(|refusal| refusal.device.is_none());
        match (about_all, now.is_empty(), later.is_empty()) {
            (false, false, _) => Availability::Now(now),
            (false, true, false) => Availability::Queued(later),
            _ => Availability::None(refusals),
        }
    }

    /// Each device of a type, and whether a job with these tags would start on it.
    pub fn readiness(
        &self,
        device_type: &str,
        tags: &[String],
    ) -> impl Iterator<Item = (&str, Result<Readiness, Why>)> {
        let of_type = self.devices.iter().filter(move |(_, device)| device.device_type == device_type);
        of_type.map(move |(name, device)| (&**name, self.ready(device, tags)))
    }

    fn ready(&self, device: &super::Device, tags: &[String]) -> Result<Readiness, Why> {
        if device.health != "Good" {
            return Err(Why::Health(device.health.clone()));
        }
        let lacks: Vec<String> = tags.iter().filter(|tag| !device.tags.contains(tag)).cloned().collect();
        if !lacks.is_empty() {
            return Err(Why::Tags(lacks));
        }
        let name = device.worker.clone().ok_or(Why::NoWorker)?;
        let worker = self.workers.get(&name).ok_or(Why::NoWorker)?;
        if worker.state != "Online" || worker.health != "Active" {
            return Err(Why::Worker { name, state: worker.state.clone(), health: worker.health.clone() });
        }
        match &*device.state {
            "Idle" => Ok(Readiness::Idle),
            "Reserved" | "Running" => Ok(Readiness::Busy),
            other => Err(Why::State(other.to_owned())),
        }
    }
}
