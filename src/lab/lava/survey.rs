//! Surveys a lab: the token's rights, and the devices that it has.

use std::collections::{BTreeMap, HashMap};
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::concurrent::Concurrent;
use super::server::{ApiCall, Server};
use super::{Lava, LavaError, permissions};
use crate::text::one_line;

/// The survey of a lab.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The lab's name.
    pub lab: String,
    /// Its inventory, or why it can't be used.
    pub state: Result<LabInventory, Unusable>,
}

/// Why a lab can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The connection failed or broke.
    #[error("can't be reached: {0}")]
    Unreachable(String),
    /// Its certificate is untrusted, expired, or for another name.
    #[error("shows a certificate that is not to be believed: {0}; is `ca` in graph.ron its authority's?")]
    Certificate(String),
    /// It did not answer in time.
    #[error("is too slow: {0}")]
    Slow(String),
    /// It does not accept the token.
    #[error("does not take the token: {0}")]
    BadToken(String),
    /// The token belongs to another user.
    #[error("takes the token for that of {is:?}, not of {expected:?}")]
    OtherUser {
        /// The token's user.
        is: String,
        /// The user in the settings.
        expected: String,
    },
    /// The user has access to the lab's administration.
    #[error("the token is that of a staff user; use one of an ordinary user")]
    Staff,
    /// The user is a superuser.
    #[error("the token is that of a superuser; use one of an ordinary user")]
    Superuser,
    /// The user may change devices.
    #[error("the token's user may {0}; use one that may only submit")]
    DeviceAdministrator(String),
    /// Its responses are not LAVA's.
    #[error("does not answer as LAVA does: {0}")]
    Unexpected(String),
}

impl From<LavaError> for Unusable {
    fn from(error: LavaError) -> Self {
        match error {
            LavaError::Unreachable(text) => Self::Unreachable(text),
            LavaError::Certificate(text) => Self::Certificate(text),
            LavaError::Slow(text) => Self::Slow(text),
            LavaError::Unexpected(text) | LavaError::Denied(text) => Self::Unexpected(text),
            error => Self::Unexpected(error.to_string()),
        }
    }
}

/// The devices of a lab at the time of the survey.
#[derive(Clone, Debug, Default)]
pub struct LabInventory {
    /// The token's user.
    pub user: String,
    /// The visible device types, and whether each is displayed: no job starts on a type that is not.
    pub types: BTreeMap<String, bool>,
    /// The devices, by name. LAVA does not list retired ones.
    pub devices: BTreeMap<String, Device>,
    /// The workers, by name.
    pub workers: BTreeMap<String, Worker>,
    /// The existing tags. A job that asks for another can't be submitted.
    pub tags: Vec<String>,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its type.
    pub device_type: String,
    /// Its health: `Good`, `Unknown`, `Looping`, `Bad`, `Maintenance` or `Retired`.
    pub health: String,
    /// Its state: `Idle`, `Reserved` or `Running`.
    pub state: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// The worker that it is attached to.
    pub worker: Option<String>,
}

/// A worker: a machine with devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Its connection to the lab: `Online` or `Offline`.
    pub state: String,
    /// Its health: `Active`, `Maintenance` or `Retired`.
    pub health: String,
}

impl Lava {
    /// Surveys the lab within the given time. Takes one request for each right and each list, and more for thousands of items.
    ///
    /// The right to change devices is only probed on one device; see [`Lava::administers`] for the others.
    pub fn survey(&self, within: Duration) -> Survey {
        let survey = async {
            let taken = tokio::time::timeout(within, take_survey(&self.server)).await;
            taken.unwrap_or_else(|_| {
                Err(Unusable::Slow(format!("it was not done after {}", humantime::format_duration(within))))
            })
        };
        Survey { lab: self.name.clone(), state: self.calls.wait(survey) }
    }

    /// Whether the user may change a device. LAVA grants this right per device as well.
    pub fn administers(&self, device: &str) -> Result<bool, LavaError> {
        self.calls.wait(permissions::may(&self.server, &["devices", device], "PUT"))
    }
}

/// Surveys several labs concurrently, within the given time.
pub fn survey_all(labs: &[&Lava], within: Duration) -> Vec<Survey> {
    thread::scope(|scope| {
        let looks: Vec<_> = labs.iter().map(|lab| scope.spawn(move || lab.survey(within))).collect();
        let survey = |look: thread::ScopedJoinHandle<'_, Survey>| {
            look.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        looks.into_iter().map(survey).collect()
    })
}

async fn take_survey(server: &Server) -> Result<LabInventory, Unusable> {
    // An invalid token sends no further requests.
    let user = permissions::user(server).await?;
    let superuser = concurrently(server, |server| async move { permissions::not_superuser(&server).await });
    let staff = concurrently(server, |server| async move { permissions::not_staff(&server).await });
    let types =
        concurrently(server, |server| async move { all::<WireType>(&server, "devicetypes", "name").await });
    let devices =
        concurrently(server, |server| async move { all::<WireDevice>(&server, "devices", "hostname").await });
    let workers =
        concurrently(server, |server| async move { all::<WireWorker>(&server, "workers", "hostname").await });
    let tags = concurrently(server, |server| async move { all::<WireTag>(&server, "tags", "id").await });
    superuser.await?;
    staff.await?;
    let devices = devices.await?;
    permissions::not_device_administrator(server, devices.first().map(|device| &*device.hostname)).await?;
    Ok(surveyed(user, types.await?, devices, workers.await?, tags.await?))
}

fn concurrently<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    server: &Server,
    call: impl FnOnce(Server) -> F,
) -> Concurrent<T> {
    Concurrent::new(call(server.clone()))
}

/// A list in a fixed order: without one its pages may overlap and omit items.
async fn all<T: DeserializeOwned>(server: &Server, of: &str, by: &str) -> Result<Vec<T>, LavaError> {
    server.list(&ApiCall::get(&[of]).with("ordering", by), |_| true).await
}

#[derive(Deserialize)]
pub(super) struct WireType {
    name: String,
    display: bool,
}

#[derive(Deserialize)]
pub(super) struct WireDevice {
    hostname: String,
    device_type: String,
    health: String,
    state: String,
    tags: Vec<u64>,
    worker_host: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct WireWorker {
    hostname: String,
    health: String,
    state: String,
}

#[derive(Deserialize)]
pub(super) struct WireTag {
    id: u64,
    name: String,
}

/// Combines the lists. Devices refer to tags by number.
pub(super) fn surveyed(
    user: String,
    types: Vec<WireType>,
    devices: Vec<WireDevice>,
    workers: Vec<WireWorker>,
    tags: Vec<WireTag>,
) -> LabInventory {
    let names: HashMap<u64, String> = tags.iter().map(|tag| (tag.id, one_line(&tag.name))).collect();
    let device = |device: WireDevice| {
        let known = Device {
            device_type: one_line(&device.device_type),
            health: one_line(&device.health),
            state: one_line(&device.state),
            tags: device.tags.iter().filter_map(|tag| names.get(tag).cloned()).collect(),
            worker: device.worker_host.map(|worker| one_line(&worker)),
        };
        (one_line(&device.hostname), known)
    };
    let worker = |worker: WireWorker| {
        (
            one_line(&worker.hostname),
            Worker { state: one_line(&worker.state), health: one_line(&worker.health) },
        )
    };
    LabInventory {
        user,
        types: types.into_iter().map(|each| (one_line(&each.name), each.display)).collect(),
        devices: devices.into_iter().map(device).collect(),
        workers: workers.into_iter().map(worker).collect(),
        tags: tags.iter().map(|tag| one_line(&tag.name)).collect(),
    }
}
