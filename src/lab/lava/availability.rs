//! Whether a lab has a usable device.
//!
//! LAVA accepts jobs for devices that are bad, in maintenance, or on a dead worker; such jobs wait forever. So this module
//! applies the rules of LAVA's scheduler before a job is submitted.

use super::LabInventory;

/// The availability of a device type with a set of tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Availability {
    /// These devices are free.
    Now(Vec<String>),
    /// These devices are usable, but all are busy.
    Queued(Vec<String>),
    /// There is none, for these reasons.
    None(Vec<Unavailable>),
}

/// Why a device or a device type is unavailable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// The device; `None` for the whole type.
    pub device: Option<String>,
    /// The reason.
    pub why: UnavailableReason,
}

/// The state of a usable device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceState {
    /// It is free.
    Idle,
    /// Another job has it.
    Busy,
}

/// A reason for unavailability.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnavailableReason {
    /// The lab has no such type, or does not show it to this user.
    #[error("no device type {0}")]
    NoType(String),
    /// No job starts on a type that is not displayed.
    #[error("the device type {0} is not displayed")]
    Hidden(String),
    /// The lab has no such tag.
    #[error("no tag {0}")]
    NoTag(String),
    /// The type has no visible device.
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

impl LabInventory {
    /// What there is for a device type with all of these tags.
    pub fn availability(&self, device_type: &str, tags: &[String]) -> Availability {
        let mut refusals = Vec::new();
        let mut refuse = |device: Option<&str>, why| {
            refusals.push(Unavailable { device: device.map(str::to_owned), why });
        };
        match self.types.get(device_type) {
            None => refuse(None, UnavailableReason::NoType(device_type.to_owned())),
            Some(false) => refuse(None, UnavailableReason::Hidden(device_type.to_owned())),
            Some(true) => {}
        }
        for tag in tags.iter().filter(|tag| !self.tags.contains(tag)) {
            refuse(None, UnavailableReason::NoTag(tag.clone()));
        }
        let (mut now, mut later, mut devices) = (Vec::new(), Vec::new(), 0);
        for (name, readiness) in self.readiness(device_type, tags) {
            devices += 1;
            match readiness {
                Ok(DeviceState::Idle) => now.push(name.to_owned()),
                Ok(DeviceState::Busy) => later.push(name.to_owned()),
                Err(why) => refuse(Some(name), why),
            }
        }
        if devices == 0 && self.types.contains_key(device_type) {
            refuse(None, UnavailableReason::NoDevice(device_type.to_owned()));
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
    ) -> impl Iterator<Item = (&str, Result<DeviceState, UnavailableReason>)> {
        let of_type = self.devices.iter().filter(move |(_, device)| device.device_type == device_type);
        of_type.map(move |(name, device)| (&**name, self.ready(device, tags)))
    }

    fn ready(&self, device: &super::Device, tags: &[String]) -> Result<DeviceState, UnavailableReason> {
        if device.health != "Good" {
            return Err(UnavailableReason::Health(device.health.clone()));
        }
        let lacks: Vec<String> = tags.iter().filter(|tag| !device.tags.contains(tag)).cloned().collect();
        if !lacks.is_empty() {
            return Err(UnavailableReason::Tags(lacks));
        }
        let name = device.worker.clone().ok_or(UnavailableReason::NoWorker)?;
        let worker = self.workers.get(&name).ok_or(UnavailableReason::NoWorker)?;
        if worker.state != "Online" || worker.health != "Active" {
            return Err(UnavailableReason::Worker {
                name,
                state: worker.state.clone(),
                health: worker.health.clone(),
            });
        }
        match &*device.state {
            "Idle" => Ok(DeviceState::Idle),
            "Reserved" | "Running" => Ok(DeviceState::Busy),
            other => Err(UnavailableReason::State(other.to_owned())),
        }
    }
}
