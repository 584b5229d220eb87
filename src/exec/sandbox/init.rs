//! Init: PID 1 of the sandbox. It builds the root, drops all privileges, and runs the steps.

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, chdir, setsid};

use super::failure::{During, Failure, SetupPart, errno};
use super::identity::Identity;
use super::limits::Groups;
use super::wire::{self, FromInit, Go, Order};
use super::{End, Exit, SandboxSpec, Step, Usage, privileges, root};

/// Runs init. The helper is at the other end of `helper`; if the helper dies, init must die too.
///
/// The result is init's exit code, which nobody reads: everything is reported through the socket.
pub(super) fn main(order: &Order, helper: &UnixStream, identity: Option<Identity>, groups: Groups) -> i32 {
    match serve(order, helper, identity, groups) {
        Ok(()) => 0,
        Err(failure) => {
            let _ = wire::send(helper, &FromInit::Ended(Err(failure)));
            1
        }
    }
}

fn serve(
    Order { spec, grouped }: &Order,
    helper: &UnixStream,
    identity: Option<Identity>,
    groups: Groups,
) -> Result<(), Failure> {
    die_with_helper(helper)?;
    umask(Mode::from_bits_truncate(0o022));
    setsid().during(SetupPart::Other, || "start a session".to_owned())?;
    if identity.is_some() {
        Identity::make_files()?;
    }
    let memory = root::build(spec, identity.as_ref())?;
    groups.enter().during(SetupPart::Other, || "join the control groups of the sandbox".to_owned())?;
    spec.limits.apply(*grouped)?;
    if let Some(identity) = identity {
        identity.enter()?;
    }
    privileges::become_user(spec.run_as)?;
    // Changing the user has reset it.
    die_with_helper(helper)?;
    // Steps are the same user: they must not trace init, nor reach kiln's binary as /proc/1/exe.
    prctl::set_dumpable(false).during(SetupPart::Other, || "hide init from steps".to_owned())?;
    spec.system_calls.apply()?;

    // From here on an error of the socket means that the helper is gone, and nobody can be told.
    let fds: Vec<RawFd> = memory.iter().map(AsRawFd::as_raw_fd).collect();
    if wire::send_with_fds(helper, &FromInit::Ready, &fds).is_err() {
        return Ok(());
    }
    // Kiln has them now. Steps must not: the tree in memory is writable through one of them.
    drop(memory);
    if !matches!(wire::receive(helper), Ok(Some(Go))) {
        return Ok(());
    }
    let start = Instant::now();
    let end = run(spec);
    end_the_rest();
    let exit = end.map(|end| Exit { end, exceeded: None, usage: Usage::of_children(start.elapsed()) });
    let _ = wire::send(helper, &FromInit::Ended(exit));
    Ok(())
}

/// Asks the kernel to kill this process when the helper dies.
fn die_with_helper(helper: &UnixStream) -> Result<(), Failure> {
    prctl::set_pdeathsig(Signal::SIGKILL).during(SetupPart::Other, || "tie init to the helper".to_owned())?;
    // If the helper died before, no signal comes. Its process number is 0 in this namespace, so only the closed socket tells.
    let mut ends = [PollFd::new(helper.as_fd(), PollFlags::empty())];
    poll(&mut ends, PollTimeout::ZERO).during(SetupPart::Other, || "look for the helper".to_owned())?;
    if ends[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP)) {
        std::process::exit(1);
    }
    Ok(())
}

/// Runs the steps, up to the first that fails.
fn run(spec: &SandboxSpec) -> Result<End, Failure> {
    for (index, step) in spec.steps.iter().enumerate() {
        match wait_for(start(index, step, spec)?)? {
            WaitStatus::Exited(_, 0) => {}
            WaitStatus::Exited(_, code) => return Ok(End::StepExited { step: index, code }),
            WaitStatus::Signaled(_, signal, _) => {
                return Ok(End::StepSignaled { step: index, signal: signal as i32 });
            }
            status => unreachable!("waitpid reports {status:?} only if asked to"),
        }
    }
    Ok(End::AllStepsPassed)
}

fn start(index: usize, step: &Step, spec: &SandboxSpec) -> Result<Pid, Failure> {
    // `Command` would not tell a missing directory from a missing program.
    chdir(&step.cwd).during(SetupPart::Input, || format!("enter {} (step {index})", step.cwd.display()))?;
    let (program, arguments) = step.argv.split_first().expect("the spec was validated");
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(spec.library_path())
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| Failure::Exec { step: index, program: program.clone(), errno: errno(&error) })?;
    Ok(Pid::from_raw(child.id().cast_signed()))
}

/// Waits for `child` to end, and reaps orphans meanwhile.
fn wait_for(child: Pid) -> Result<WaitStatus, Failure> {
    loop {
        match waitpid(None, None) {
            Ok(status) if status.pid() == Some(child) => return Ok(status),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).during(SetupPart::Other, || "wait for a step".to_owned()),
        }
    }
}

/// Kills what the steps left running, and waits for it, so that its usage is counted.
///
/// The end of PID 1 would kill it as well, but then the kernel discards its usage.
fn end_the_rest() {
    let everyone = Pid::from_raw(-1);
    loop {
        // This fails when no other process exists.
        let _ = kill(everyone, Signal::SIGKILL);
        if waitpid(None, None) == Err(Errno::ECHILD) {
            return;
        }
    }
}
