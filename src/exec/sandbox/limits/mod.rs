//! How much the steps of a sandbox may use, all of them together, and what they ran into.

mod cgroup;
mod table;
mod written;

use std::fs;
use std::io;

use nix::sys::resource::{Resource, setrlimit};
use serde::{Deserialize, Serialize};

pub(super) use cgroup::{Cgroups, Group, Groups};
pub(super) use written::{Guard, Places};

use super::error::{During, Failure, Stage};

/// What steps may use. `None`: as much as there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory, page cache and `/tmp` included. Where there is no control group for it, what each process has of
    /// its own.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u32>,
    /// Bytes on disk: of what steps may write, with what was there before, and of their output.
    pub disk: Option<u64>,
}

/// A limit that steps ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exceeded {
    /// [`Limits::memory`].
    Memory,
    /// [`Limits::processes`].
    Processes,
    /// [`Limits::disk`].
    Disk,
    /// The memory of the machine, or of a control group that kiln itself is in: a process of theirs was killed for it.
    MachineMemory,
}

/// By what a limit is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// A control group, version 2.
    Cgroup2,
    /// A control group, version 1.
    Cgroup1,
    /// A resource limit of each process.
    Rlimit,
}

/// By what limits are kept here: of memory, and of processes. An answer for `kiln doctor`.
pub fn means_of_limits() -> (Means, Means) {
    Cgroups::find().means()
}

/// More than this in one file is more than the limit, so that whoever measures sees it exceeded.
const BEYOND: u64 = 1 << 20;

impl Limits {
    /// Limits this process and all that it starts, as far as that is a matter of single processes. `grouped`: what
    /// a control group limits already.
    pub(super) fn apply(&self, grouped: Grouped) -> Result<(), Failure> {
        let limit = |resource, value: u64| {
            setrlimit(resource, value, value)
                .during(Stage::Other, || format!("limit {resource:?} to {value}"))
        };
        limit(Resource::RLIMIT_CORE, 0)?;
        if let Some(bytes) = self.disk {
            limit(Resource::RLIMIT_FSIZE, bytes.saturating_add(BEYOND))?;
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
