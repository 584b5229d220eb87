//! The resource limits of an action, and the outcome when one is exceeded.

use super::sandbox::{Exceeded, Limits, memory_of_this_machine};
use crate::spec::model::Resources;
use crate::spec::show_size as size;
use crate::store::Outcome;

/// The share of the machine's memory that actions may use. The rest is for kiln and other programs.
const ACTIONS_SHARE: (u64, u64) = (7, 8);

/// The limits of an action's sandbox.
pub(super) fn limits(resources: &Resources) -> Limits {
    Limits {
        memory: Some(memory(resources)),
        processes: Some(resources.processes),
        disk: Some(resources.disk),
    }
}

/// The size of `/tmp`: two full ones leave memory for the steps.
pub(super) fn tmp_size(resources: &Resources) -> u64 {
    memory(resources) / 4
}

fn memory(resources: &Resources) -> u64 {
    let here = of_machine();
    if resources.memory == 0 { here } else { resources.memory.min(here) }
}

fn of_machine() -> u64 {
    memory_of_this_machine().map_or(u64::MAX, |bytes| bytes / ACTIONS_SHARE.1 * ACTIONS_SHARE.0)
}

/// The outcome of an action of `rule` that exceeded a limit. Exceeding the declared memory is the action's failure;
/// exceeding the memory of this machine is not.
pub(super) fn judge_exceeded(exceeded: Exceeded, resources: &Resources, rule: &str) -> (Outcome, String) {
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
        let (outcome, message) = judge_exceeded(Exceeded::Memory, &declared, "x");
        assert_eq!(outcome, Outcome::Fail);
        assert_eq!(message, "exceeded its memory limit of 2.0 GiB: raise resources.memory in rules/x.ron");
        assert_eq!(judge_exceeded(Exceeded::MachineMemory, &declared, "x").0, Outcome::Infra);
        assert_eq!(judge_exceeded(Exceeded::Memory, &Resources::default(), "x").0, Outcome::Infra);
        let beyond = Resources { memory: u64::MAX, ..Resources::default() };
        assert_eq!(judge_exceeded(Exceeded::Memory, &beyond, "x").0, Outcome::Infra);
        assert!(limits(&beyond).memory < Some(u64::MAX));
    }
}
