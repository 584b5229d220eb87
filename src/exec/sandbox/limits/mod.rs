//! Resource limits of all steps of a sandbox together.

mod cgroup;
mod disk_usage;
mod table;

use std::fs;
use std::io;

use nix::sys::resource::{Resource, setrlimit};
use serde::{Deserialize, Serialize};

pub(super) use cgroup::{Cgroups, Group, Groups};
pub(super) use disk_usage::{DiskGuard, WatchedPaths};

use super::failure::{During, Failure, SetupPart};

/// Limits of steps. `None`: unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory, page cache and `/tmp` included. Without a control group, of the data of each process.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u32>,
    /// Bytes on disk: of directories that steps may write, including what was there before, and of their output.
    pub disk: Option<u64>,
}

/// A limit that steps exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exceeded {
    /// [`Limits::memory`].
    Memory,
    /// [`Limits::processes`].
    Processes,
    /// [`Limits::disk`].
    Disk,
    /// The memory of the machine, or of a control group around kiln: the kernel killed one of their processes.
    MachineMemory,
}

/// What enforces a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// A control group, version 2.
    Cgroup2,
    /// A control group, version 1.
    Cgroup1,
    /// A resource limit of each process.
    Rlimit,
}

/// What enforces the limits of memory and of processes here: an answer for `kiln doctor`.
pub fn means_of_limits() -> (Means, Means) {
    Cgroups::find().means()
}

/// How much larger than the limit a single file may become, so that the limit is seen to be exceeded.
const LIMIT_MARGIN: u64 = 1 << 20;

impl Limits {
    /// Sets the limits that apply to single processes, for this process and those that it starts. `grouped`: what a control group
    /// limits already.
    pub(super) fn apply(&self, grouped: Grouped) -> Result<(), Failure> {
        let limit = |resource, value: u64| {
            setrlimit(resource, value, value)
                .during(SetupPart::Other, || format!("limit {resource:?} to {value}"))
        };
        limit(Resource::RLIMIT_CORE, 0)?;
        if let Some(bytes) = self.disk {
            limit(Resource::RLIMIT_FSIZE, bytes.saturating_add(LIMIT_MARGIN))?;
        }
        if let (Some(bytes), false) = (self.memory, grouped.memory) {
            limit(Resource::RLIMIT_DATA, bytes)?;
        }
        if let (Some(count), false) = (self.processes, grouped.processes) {
            limit(Resource::RLIMIT_NPROC, count.into())?;
        }
        Ok(())
    }
}

/// What control groups limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Grouped {
    pub(super) memory: bool,
    pub(super) processes: bool,
}

/// The memory of this machine, in bytes.
pub fn memory_of_this_machine() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other("/proc/meminfo has no MemTotal"))
}
