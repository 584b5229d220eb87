//! The system-call filter of steps: a seccomp program that refuses what no build needs and what reaches past a sandbox.
//!
//! Namespaces and missing capabilities confine steps already. The filter removes parts of the kernel that they could still call,
//! and that have been the way out of other sandboxes. It lists what is refused, not what is allowed; but calls that are newer than the
//! list are refused too.
//!
//! Since Linux 5.11, the kernel runs the program once for each call number when it is installed, and remembers the numbers that are
//! always allowed. These calls cost nothing, so the program may be linear.

use std::collections::BTreeMap;

use nix::errno::Errno;
use nix::libc;
use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
    apply_filter, sock_filter,
};
use serde::{Deserialize, Serialize};

use super::failure::{Failure, SetupPart};

/// The system calls that steps may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SystemCalls {
    /// Those that the filter allows.
    #[default]
    Filtered,
    /// All.
    Unfiltered,
}

/// The architecture that kiln is compiled for.
#[cfg(target_arch = "x86_64")]
const ARCH: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCH: TargetArch = TargetArch::aarch64;

/// The newest call that was reviewed: `file_setattr`, of Linux 6.17. Newer ones, and those of the x32 ABI, which have bit 30 set,
/// do not exist for steps.
const NEWEST: u32 = 469;

/// Calls that do not exist for steps, so that libraries do without them. `clone3` has its flags in memory, where a filter can't
/// look; `io_uring` runs calls that no filter sees.
const ABSENT: [libc::c_long; 4] =
    [libc::SYS_clone3, libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];

/// Calls that are refused whatever their arguments are.
const REFUSED: &[libc::c_long] = &[
    // Namespaces and mounts.
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    OPEN_TREE_ATTR,
    // Keyrings, which no namespace separates.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // Memory and descriptors of other processes.
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Programs and code in the kernel.
    libc::SYS_bpf,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    // Observing or stopping the kernel.
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_lookup_dcookie,
    libc::SYS_fanotify_init,
    libc::SYS_syslog,
    libc::SYS_open_by_handle_at,
    // The machine as a whole.
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
];

/// Missing in the C library's headers; the number is the same on all architectures.
const OPEN_TREE_ATTR: libc::c_long = 467;

/// Requests that put input into a terminal, or change what a terminal is.
const TERMINAL_REQUESTS: [u64; 4] = [libc::TIOCSTI, libc::TIOCLINUX, libc::TIOCCONS, libc::TIOCSETD];

/// Requests to trace a process that is not a child and did not ask for it.
const TRACE_OTHERS: [u64; 2] = [libc::PTRACE_ATTACH as u64, libc::PTRACE_SEIZE as u64];

/// Allowed socket families. All others (vsock, which reaches a hypervisor, kernel crypto, buses) are refused.
const SOCKET_FAMILIES: [u64; 4] =
    [libc::AF_UNIX as u64, libc::AF_INET as u64, libc::AF_INET6 as u64, libc::AF_NETLINK as u64];

impl SystemCalls {
    /// Installs the filter in this process, and in all that it executes.
    pub(super) fn apply(self) -> Result<(), Failure> {
        if self == Self::Unfiltered {
            return Ok(());
        }
        let installed = program().and_then(|program| apply_filter(&program));
        installed.map_err(|error: seccompiler::Error| Failure::Refused {
            part: SetupPart::Filter,
            operation: "install the system-call filter".to_owned(),
            reason: error.to_string(),
        })
    }
}

/// The whole program: first what does not exist, then what is refused.
fn program() -> Result<BpfProgram, seccompiler::Error> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = REFUSED.iter().map(|&call| (call, Vec::new())).collect();
    let new_user = libc::CLONE_NEWUSER as u64;
    for call in [libc::SYS_clone, libc::SYS_unshare] {
        rules.insert(call, vec![rule([(0, Qword, SeccompCmpOp::MaskedEq(new_user), new_user)])?]);
    }
    let any_of = |argument, length: fn() -> _, values: &[u64]| {
        values
            .iter()
            .map(|&value| rule([(argument, length(), SeccompCmpOp::Eq, value)]))
            .collect::<Result<_, _>>()
    };
    rules.insert(libc::SYS_ioctl, any_of(1, || Dword, &TERMINAL_REQUESTS)?);
    rules.insert(libc::SYS_ptrace, any_of(0, || Qword, &TRACE_OTHERS)?);
    let other_family = SOCKET_FAMILIES.map(|family| (0, Dword, SeccompCmpOp::Ne, family));
    for call in [libc::SYS_socket, libc::SYS_socketpair] {
        rules.insert(call, vec![rule(other_family.clone())?]);
    }
    let refuse = SeccompAction::Errno(Errno::EPERM as u32);
    // A call of another ABI (32-bit programs) has other numbers: the crate's program kills the process.
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, ARCH)?;
    let mut program = absent();
    program.extend(BpfProgram::try_from(filter)?);
    Ok(program)
}

fn rule<const N: usize>(
    conditions: [(u8, seccompiler::SeccompCmpArgLen, SeccompCmpOp, u64); N],
) -> Result<SeccompRule, seccompiler::BackendError> {
    let conditions = conditions
        .into_iter()
        .map(|(argument, length, operator, value)| SeccompCondition::new(argument, length, operator, value));
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}

/// Answers `ENOSYS` where a call does not exist, and continues behind its end otherwise. The crate's filters have one answer besides
/// permission, and can only compare call numbers for equality.
#[expect(clippy::cast_possible_truncation, reason = "the codes of classic BPF have 16 bits")]
fn absent() -> BpfProgram {
    const LOAD_NUMBER: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const IF_GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

    let mut program = vec![sock_filter { code: LOAD_NUMBER, jt: 0, jf: 0, k: 0 }];
    let mut answer_if = |code, k| {
        program.push(sock_filter { code, jt: 0, jf: 1, k });
        program.push(sock_filter { code: RETURN, jt: 0, jf: 0, k: ENOSYS });
    };
    answer_if(IF_GREATER, NEWEST);
    for call in ABSENT {
        answer_if(IF_EQUAL, u32::try_from(call).expect("call numbers are small"));
    }
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_short_enough_to_be_installed_in_no_time() {
        let length = program().unwrap().len();
        assert!((100..400).contains(&length), "{length}");
    }

    #[test]
    fn no_call_is_both_absent_and_refused() {
        assert!(ABSENT.iter().all(|call| !REFUSED.contains(call)));
        assert!(REFUSED.iter().chain(&ABSENT).all(|&call| call <= NEWEST.into()));
    }
}
