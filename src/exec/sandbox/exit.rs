//! How a sandbox ended, and the resources that it used.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};
use serde::{Deserialize, Serialize};

use super::Exceeded;

/// How a sandbox ended, and the resources that it used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// How it ended.
    pub end: End,
    /// The limit that its processes exceeded, however they ended.
    pub exceeded: Option<Exceeded>,
    /// The resources that it used.
    pub usage: Usage,
}

/// How a sandbox ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// Every step exited with 0.
    AllStepsPassed,
    /// A step exited with another code; those after it did not run.
    StepExited {
        /// Its index in [`SandboxSpec::steps`](super::SandboxSpec::steps).
        step: usize,
        /// The code.
        code: i32,
    },
    /// A step was ended by a signal; those after it did not run.
    StepSignaled {
        /// Its index in [`SandboxSpec::steps`](super::SandboxSpec::steps).
        step: usize,
        /// The signal's number.
        signal: i32,
    },
    /// The whole sandbox was killed: by a [`Killer`](super::Killer), or (if none was used) from outside, such as by the kernel's
    /// out-of-memory killer.
    Killed,
}

/// The resources that the steps and all their descendants used.
///
/// For a sandbox that was [killed](End::Killed), processes that were still alive are not included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time in user mode.
    pub user: Duration,
    /// Processor time in the kernel.
    pub system: Duration,
    /// The peak memory of the largest single process, in bytes.
    pub max_rss_bytes: u64,
    /// From the start of the first step to the end of the last process.
    pub wall: Duration,
}

impl std::ops::Add for Usage {
    type Output = Self;

    /// The sum for two sandboxes that ran one after the other.
    fn add(self, other: Self) -> Self {
        Self {
            user: self.user + other.user,
            system: self.system + other.system,
            max_rss_bytes: self.max_rss_bytes.max(other.max_rss_bytes),
            wall: self.wall + other.wall,
        }
    }
}

impl Usage {
    /// The resources that this process's descendants have used, as far as they were waited for.
    pub(super) fn of_children(wall: Duration) -> Self {
        // The call only fails for invalid arguments, and these are constants.
        let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return Self { wall, ..Self::default() } };
        Self {
            user: duration(usage.user_time()),
            system: duration(usage.system_time()),
            // Linux counts in KiB.
            max_rss_bytes: u64::try_from(usage.max_rss()).unwrap_or(0) * 1024,
            wall,
        }
    }
}

fn duration(time: TimeVal) -> Duration {
    Duration::from_micros(u64::try_from(time.num_microseconds()).unwrap_or(0))
}
