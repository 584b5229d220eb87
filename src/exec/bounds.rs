//! What an action may use, and what it means that it used more.

use super::sandbox::{Exceeded, Limits, memory_of_this_machine};
use crate::spec::model::Resources;
use crate::spec::show_size as size;
use crate::store::Outcome;

/// The part of the machine's memory that actions may have: the rest is for kiln and whatever else runs.
const SHARE: (u64, u64) = (7, 8);

/// The limits of an action's sandbox.
pub(super) fn limits(resources: &Resources) -> Limits {
    Limits {
        memory: Some(memory(resources)),
        processes: Some(resources.processes),
        disk: Some(resources.disk),
    }
}

/// The most that `/tmp` may hold: never so much that two of them fill the memory.
pub(super) fn temporary(resources: &Resources) -> u64 {
    memory(resources) / 4
}

fn memory(resources: &Resources) -> u64 {
    let here = of_machine();
    if resources.memory == 0 { here } else { resources.memory.min(here) }
}

fn of_machine() -> u64 {
    memory_of_this_machine().map_or(u64::MAX, |bytes| bytes / SHARE.1 * SHARE.0)
}

/// What it comes to that an action of `rule` ran into a limit. More memory than it declares is the action's failure; more
/// than this machine has is not.
pub(super) fn judge(exceeded: Exceeded, resources: &Resources, rule: &str) -> (Outcome, String) {
    let failed = |what: &str, limit: String, field: &str| {
        let message =
            format!("exceeded its {what} limit of {limit}: raise resources.{field} in rules/{rule}.ron");
        (Outcome::Fail, message)
    };
    match exceeded {
        Exceeded::Memory if (1..=of_machine()).contains(&resources.memory) => {
            failed("memory", size(resources.memory), "memory")
        }
        Exceeded::Memory | Exceeded::MachineMemory => {
            let message = format!(
                "this machine has too little memory for it: run less at a time, declare what it takes \
                 (resources.memory in rules/{rule}.ron), or use a larger machine"
            );
            (Outcome::Infra, message)
        }
        Exceeded::Processes => failed("process", resources.processes.to_string(), "processes"),
        Exceeded::Disk => failed("disk", size(resources.disk), "disk"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_declared_is_a_limit_and_what_the_machine_lacks_is_no_failure() {
        let declared = Resources { memory: 2 << 30, ..Resources::default() };
        let (outcome, message) = judge(Exceeded::Memory, &declared, "x");
        assert_eq!(outcome, Outcome::Fail);
        assert_eq!(message, "exceeded its memory limit of 2.0 GiB: raise resources.memory in rules/x.ron");
        assert_eq!(judge(Exceeded::MachineMemory, &declared, "x").0, Outcome::Infra);
        assert_eq!(judge(Exceeded::Memory, &Resources::default(), "x").0, Outcome::Infra);
        let beyond = Resources { memory: u64::MAX, ..Resources::default() };
        assert_eq!(judge(Exceeded::Memory, &beyond, "x").0, Outcome::Infra);
        assert!(limits(&beyond).memory < Some(u64::MAX));
    }
}
