//! One look at a lab: who we are there, and what there is to boot on.

use std::collections::{BTreeMap, HashMap};
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::ask::{Ask, Server};
use super::beside::Beside;
use super::{Lava, LavaError, probes};
use crate::net::plain;

/// What came of a look at a lab.
#[derive(Clone, Debug)]
pub struct Survey {
    /// What people call the lab.
    pub lab: String,
    /// What is there, or why it can't be used.
    pub state: Result<Surveyed, Unusable>,
}

/// Why a lab is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// No connection, or one that broke off.
    #[error("can't be reached: {0}")]
    Unreachable(String),
    /// It may be another: its certificate is not of an authority that counts, of another name, or no longer good.
    #[error("shows a certificate that is not to be believed: {0}; is `ca` in graph.ron its authority's?")]
    Certificate(String),
    /// It took too long.
    #[error("is too slow: {0}")]
    Slow(String),
    /// It does not know the token.
    #[error("does not take the token: {0}")]
    BadToken(String),
    /// It knows the token as somebody else's.
    #[error("takes the token for that of {is:?}, not of {expected:?}")]
    OtherUser {
        /// Whose it is.
        is: String,
        /// Whose it should be.
        expected: String,
    },
    /// The user has access to the lab's administration.
    #[error("the token is that of a staff user; use one of an ordinary user")]
    Staff,
    /// The user may do anything.
    #[error("the token is that of a superuser; use one of an ordinary user")]
    Superuser,
    /// The user may change what kernels are booted on.
    #[error("the token's user may {0}; use one that may only submit")]
    DeviceAdministrator(String),
    /// It answers what LAVA does not, so that nothing is known of it.
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

/// A lab as it was when it was looked at.
#[derive(Clone, Debug, Default)]
pub struct Surveyed {
    /// Who we are there.
    pub user: String,
    /// The device types that we see, and whether each is displayed: no job starts on one that is not.
    pub types: BTreeMap<String, bool>,
    /// The devices, by name. Retired ones are not shown by LAVA.
    pub devices: BTreeMap<String, Device>,
    /// The workers, by name.
    pub workers: BTreeMap<String, Worker>,
    /// The tags that there are. A job that asks for another can't be submitted.
    pub tags: Vec<String>,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its type.
    pub device_type: String,
    /// Whether it may be used: `Good`, `Unknown`, `Looping`, `Bad`, `Maintenance` or `Retired`.
    pub health: String,
    /// What it does: `Idle`, `Reserved` or `Running`.
    pub state: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// The worker that it hangs on.
    pub worker: Option<String>,
}

/// A worker: a machine that devices hang on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Whether it is in touch with the lab: `Online` or `Offline`.
    pub state: String,
    /// Whether it may be used: `Active`, `Maintenance` or `Retired`.
    pub health: String,
}

impl Lava {
    /// Looks at the lab, for no longer than `within`. One request each tells what we are, and what types, devices, workers
    /// and tags there are; more where a lab has thousands of them.
    ///
    /// Whether we administer devices is asked of one device only; see [`Lava::administers`] for any other.
    pub fn survey(&self, within: Duration) -> Survey {
        let look = async {
            let looked = tokio::time::timeout(within, look(&self.server)).await;
            looked.unwrap_or_else(|_| {
                Err(Unusable::Slow(format!("it was not done after {}", humantime::format_duration(within))))
            })
        };
        Survey { lab: self.name.clone(), state: self.calls.wait(look) }
    }

    /// Whether we may change a device, which those that submit jobs should not. LAVA grants that for single devices too.
    pub fn administers(&self, device: &str) -> Result<bool, LavaError> {
        self.calls.wait(probes::may(&self.server, &["devices", device], "PUT"))
    }
}

/// Looks at several labs side by side, so that all of it takes as long as the slowest, or `within`.
pub fn survey_all(labs: &[&Lava], within: Duration) -> Vec<Survey> {
    thread::scope(|scope| {
        let looks: Vec<_> = labs.iter().map(|lab| scope.spawn(move || lab.survey(within))).collect();
        let survey = |look: thread::ScopedJoinHandle<'_, Survey>| {
            look.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        looks.into_iter().map(survey).collect()
    })
}

async fn look(server: &Server) -> Result<Surveyed, Unusable> {
    // Nothing more is asked with a token that is none.
    let user = probes::user(server).await?;
    let superuser = beside(server, |server| async move { probes::not_superuser(&server).await });
    let staff = beside(server, |server| async move { probes::not_staff(&server).await });
    let types = beside(server, |server| async move { all::<WireType>(&server, "devicetypes", "name").await });
    let devices =
        beside(server, |server| async move { all::<WireDevice>(&server, "devices", "hostname").await });
    let workers =
        beside(server, |server| async move { all::<WireWorker>(&server, "workers", "hostname").await });
    let tags = beside(server, |server| async move { all::<WireTag>(&server, "tags", "id").await });
    superuser.await?;
    staff.await?;
    let devices = devices.await?;
    probes::not_device_administrator(server, devices.first().map(|device| &*device.hostname)).await?;
    Ok(surveyed(user, types.await?, devices, workers.await?, tags.await?))
}

fn beside<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    server: &Server,
    call: impl FnOnce(Server) -> F,
) -> Beside<T> {
    Beside::new(call(server.clone()))
}

/// A list in a fixed order, without which its pages might overlap and leave something out.
async fn all<T: DeserializeOwned>(server: &Server, of: &str, by: &str) -> Result<Vec<T>, LavaError> {
    server.list(&Ask::get(&[of]).with("ordering", by), |_| true).await
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

/// Puts together what was told. Devices name their tags by number.
pub(super) fn surveyed(
    user: String,
    types: Vec<WireType>,
    devices: Vec<WireDevice>,
    workers: Vec<WireWorker>,
    tags: Vec<WireTag>,
) -> Surveyed {
    let names: HashMap<u64, String> = tags.iter().map(|tag| (tag.id, plain(&tag.name))).collect();
    let device = |device: WireDevice| {
        let known = Device {
            device_type: plain(&device.device_type),
            health: plain(&device.health),
            state: plain(&device.state),
            tags: device.tags.iter().filter_map(|tag| names.get(tag).cloned()).collect(),
            worker: device.worker_host.map(|worker| plain(&worker)),
        };
        (plain(&device.hostname), known)
    };
    let worker = |worker: WireWorker| {
        (plain(&worker.hostname), Worker { state: plain(&worker.state), health: plain(&worker.health) })
    };
    Surveyed {
        user,
        types: types.into_iter().map(|each| (plain(&each.name), each.display)).collect(),
        devices: devices.into_iter().map(device).collect(),
        workers: workers.into_iter().map(worker).collect(),
        tags: tags.iter().map(|tag| plain(&tag.name)).collect(),
    }
}
