//! The host itself: sandbox, limits, tracing, disk.

use std::path::Path;

use super::finding::{Finding, State};
use crate::exec::sandbox::{FIRST_ID, Means, Probe, Sandbox, means_of_limits, probe};
use crate::exec::trace::Tracer;
use crate::plan::Tracing;

/// The free space below which the disk is reported: one kernel's build directory may take it.
const ENOUGH_DISK: u64 = 4 << 30;

/// Whether steps can be sandboxed.
pub(super) fn sandbox() -> Finding {
    let (state, found, remedy) = match probe(&Sandbox::new()) {
        Probe::Root => {
            (State::Fine, format!("namespaces, as root; steps are the host's users from {FIRST_ID} on"), None)
        }
        Probe::UserNamespace => (State::Fine, "namespaces, in a user namespace".to_owned(), None),
        Probe::Unavailable { reason, remedy } => (State::Missing, reason, remedy),
    };
    Finding { what: "sandbox".to_owned(), state, found, remedy }
}

/// The mechanisms that limit memory and processes of an action. Bytes on disk are counted by kiln itself.
pub(super) fn limits() -> Finding {
    let (memory, processes) = means_of_limits();
    let by = |means| match means {
        Means::Cgroup2 => "by control groups (version 2)",
        Means::Cgroup1 => "by control groups (version 1)",
        Means::Rlimit => "for each process alone",
    };
    let found = if memory == processes {
        format!("memory and processes {}", by(memory))
    } else {
        format!("memory {}, processes {}", by(memory), by(processes))
    };
    let lacks = memory == Means::Rlimit || processes == Means::Rlimit;
    let hint =
        if lacks { "; `systemd-run --user --scope -p Delegate=yes kiln ..` gives kiln a group" } else { "" };
    let state = if lacks { State::Absent } else { State::Fine };
    Finding { what: "limits".to_owned(), state, found: found + hint, remedy: None }
}

/// Whether opens can be traced.
pub(super) fn tracing() -> Finding {
    let (state, found) = match Tracer::probe(&Sandbox::new()) {
        Ok(Tracing::Mounts) => (State::Fine, "fanotify".to_owned()),
        Ok(Tracing::Copies) => (State::Fine, "fanotify, in copies of trees in memory".to_owned()),
        Err(reason) => (State::Absent, reason),
    };
    Finding { what: "read tracing".to_owned(), state, found, remedy: None }
}

/// The free space of the disk that holds `dir`.
pub(super) fn disk(dir: &Path) -> Option<Finding> {
    let stat = nix::sys::statvfs::statvfs(dir).ok()?;
    let free = stat.blocks_available().saturating_mul(stat.fragment_size());
    let enough = free >= ENOUGH_DISK;
    #[expect(clippy::cast_precision_loss, reason = "one digit is shown")]
    let gib = free as f64 / f64::from(1 << 30);
    Some(Finding {
        what: "disk".to_owned(),
        state: if enough { State::Fine } else { State::Missing },
        found: format!("{gib:.1} GiB free"),
        remedy: (!enough).then(|| format!("make room on the disk of {}", dir.display())),
    })
}
