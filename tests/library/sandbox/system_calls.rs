//! What the system-call filter refuses, and what it leaves alone.

use std::ffi::OsString;
use std::fs;
use std::process::Command;

use kiln::exec::sandbox::{Access, End, SandboxSpec, SystemCalls};
use nix::errno::Errno;
use nix::libc;

use super::{Host, mount, shell, step};

/// A call by number, with its arguments as Perl has them, and the answer of the filter.
struct Call {
    name: &'static str,
    number: libc::c_long,
    arguments: &'static str,
    answer: Errno,
}

const fn refused(name: &'static str, number: libc::c_long, arguments: &'static str) -> Call {
    Call { name, number, arguments, answer: Errno::EPERM }
}

const fn absent(name: &'static str, number: libc::c_long, arguments: &'static str) -> Call {
    Call { name, number, arguments, answer: Errno::ENOSYS }
}

/// Those that the kernel would answer otherwise, or might on some host, for a user without capabilities.
const CALLS: &[Call] = &[
    refused("unshare(NEWUSER)", libc::SYS_unshare, "0x10000000"),
    refused("unshare(NEWUSER|NEWNS)", libc::SYS_unshare, "0x10020000"),
    refused("clone(NEWUSER)", libc::SYS_clone, "0x10000011, 0, 0, 0, 0"),
    refused("setns", libc::SYS_setns, "0, 0"),
    refused("mount", libc::SYS_mount, "0, 0, 0, 0, 0"),
    refused("fsopen", libc::SYS_fsopen, "0, 0"),
    refused("open_tree", libc::SYS_open_tree, "0, 0, 0"),
    refused("mount_setattr", libc::SYS_mount_setattr, "0, 0, 0, 0, 0"),
    refused("add_key", libc::SYS_add_key, "$user, $name, $data, 1, -2"),
    refused("keyctl(GET_KEYRING_ID)", libc::SYS_keyctl, "0, -2, 1"),
    refused("request_key", libc::SYS_request_key, "$user, $name, 0, -2"),
    refused("ptrace(ATTACH)", libc::SYS_ptrace, "16, $$, 0, 0"),
    refused("ptrace(SEIZE)", libc::SYS_ptrace, "0x4206, $$, 0, 0"),
    refused("process_vm_readv", libc::SYS_process_vm_readv, "$$, 0, 0, 0, 0, 0"),
    refused("process_vm_writev", libc::SYS_process_vm_writev, "$$, 0, 0, 0, 0, 0"),
    refused("pidfd_getfd", libc::SYS_pidfd_getfd, "0, 0, 0"),
    refused("kcmp", libc::SYS_kcmp, "$$, $$, 0, 0, 0"),
    refused("bpf", libc::SYS_bpf, "0, 0, 0"),
    refused("perf_event_open", libc::SYS_perf_event_open, "0, 0, 0, 0, 0"),
    refused("userfaultfd", libc::SYS_userfaultfd, "1"),
    refused("init_module", libc::SYS_init_module, "0, 0, 0"),
    refused("finit_module", libc::SYS_finit_module, "0, 0, 0"),
    refused("delete_module", libc::SYS_delete_module, "0, 0"),
    refused("kexec_load", libc::SYS_kexec_load, "0, 0, 0, 0"),
    refused("fanotify_init", libc::SYS_fanotify_init, "0x200, 0"),
    refused("syslog", libc::SYS_syslog, "10, 0, 0"),
    refused("ioctl(TIOCSTI)", libc::SYS_ioctl, "0, 0x5412, 0"),
    refused("ioctl(TIOCSTI) with high bits", libc::SYS_ioctl, "0, 0x100005412, 0"),
    refused("ioctl(TIOCLINUX)", libc::SYS_ioctl, "0, 0x541c, 0"),
    refused("socket(VSOCK)", libc::SYS_socket, "40, 1, 0"),
    refused("socket(ALG)", libc::SYS_socket, "38, 5, 0"),
    refused("socket(PACKET)", libc::SYS_socket, "17, 3, 0"),
    absent("clone3", libc::SYS_clone3, "0, 0"),
    absent("io_uring_setup", libc::SYS_io_uring_setup, "1, 0"),
    absent("a call of the future", 4000, "0"),
    #[cfg(target_arch = "x86_64")]
    absent("getpid of x32", 0x4000_0000 | libc::SYS_getpid, "0"),
    #[cfg(target_arch = "x86_64")]
    absent("unshare of x32", 0x4000_0000 | libc::SYS_unshare, "0x10000000"),
];

/// What ordinary programs do.
const ALLOWED: &str = r#"
    $pid = fork // die "fork: $!"; exit 0 if !$pid; waitpid $pid, 0;
    socketpair($a, $b, 1, 1, 0) or die "socketpair: $!";
    for (1, 2, 10, 16) { socket($s, $_, $_ == 16 ? 3 : 1, 0) or $! == 97 or die "socket $_: $!" }
    syscall(PTRACE, 0, 0, 0, 0) == 0 or die "ptrace(TRACEME): $!";
    print "fine\n";
"#;

fn perl(text: &str, system_calls: SystemCalls) -> SandboxSpec {
    SandboxSpec { system_calls, ..with_steps(["perl", "-e", text]) }
}

fn with_steps<const N: usize>(argv: [&str; N]) -> SandboxSpec {
    SandboxSpec { steps: vec![step(argv)], ..shell("") }
}

/// Makes each call and prints its error's number.
fn script() -> String {
    let prelude = "$user = \"user\\0\"; $name = \"kiln\\0\"; $data = \"x\"; $| = 1;\n";
    let call = |call: &Call| {
        format!(
            "$r = syscall({}, {}); print qq({}: ), ($r == -1 ? $! + 0 : q(works)), qq(\\n);\n",
            call.number, call.arguments, call.name
        )
    };
    CALLS.iter().map(call).fold(prelude.to_owned(), |script, call| script + &call)
}

#[test]
fn calls_that_reach_past_a_sandbox_are_refused() {
    let answers: String =
        CALLS.iter().map(|call| format!("{}: {}\n", call.name, call.answer as i32)).collect();
    for host in Host::all() {
        let (exit, output) = host.run(&perl(&script(), SystemCalls::Filtered));
        assert_eq!((exit.end, output.as_str()), (End::AllStepsPassed, answers.as_str()), "{:?}", host.mode);
    }
}

#[test]
fn a_rule_can_do_without_the_filter() {
    for host in Host::all() {
        let calls = "print syscall(KEYCTL, 0, -2, 1) == -1 ? $! + 0 : 'works', ' ';
                     print syscall(UNSHARE, 0x10000000) == -1 ? $! + 0 : 'works';"
            .replace("KEYCTL", &libc::SYS_keyctl.to_string())
            .replace("UNSHARE", &libc::SYS_unshare.to_string());
        let (_, output) = host.run(&perl(&calls, SystemCalls::Unfiltered));
        assert_eq!(output, "works works", "{:?}", host.mode);
    }
}

#[test]
fn calls_of_ordinary_programs_are_allowed() {
    for host in Host::all() {
        let text = ALLOWED.replace("PTRACE", &libc::SYS_ptrace.to_string());
        let (exit, output) = host.run(&perl(&text, SystemCalls::Filtered));
        assert_eq!((exit.end, output.as_str()), (End::AllStepsPassed, "fine\n"), "{:?}", host.mode);
    }
}

/// A 64-bit program may make calls by the 32-bit ABI, whose numbers mean something else.
#[cfg(target_arch = "x86_64")]
#[test]
fn calls_of_the_32_bit_abi_end_the_process() {
    for host in Host::all() {
        let dir = host.subdir("programs");
        let source = dir.join("call.c");
        fs::write(&source, "int main(void) { int r; __asm__ volatile(\"int $0x80\" : \"=a\"(r) : \"a\"(20)); return r < 1; }")
            .unwrap();
        let program = dir.join("call");
        let compiled = Command::new("cc").arg("-o").arg(&program).arg(&source).status().unwrap();
        assert!(compiled.success());
        let mut spec = with_steps(["/programs/call"]);
        spec.mounts = vec![mount(&dir, "/programs", Access::ReadOnly)];
        let (exit, _) = host.run(&spec);
        assert_eq!(exit.end, End::StepSignaled { step: 0, signal: libc::SIGSYS }, "{:?}", host.mode);
        spec.system_calls = SystemCalls::Unfiltered;
        spec.steps[0].argv.push(OsString::from("unfiltered"));
        // A kernel without 32-bit programs ends it by another signal.
        assert_ne!(host.run(&spec).0.end, End::StepSignaled { step: 0, signal: libc::SIGSYS });
    }
}
