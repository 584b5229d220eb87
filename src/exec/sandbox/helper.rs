//! The helper: kiln's binary, executed with one thread.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use std::{fs, process};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, chdir, close, dup2_stdin};

use super::failure::{During, Failure, SetupPart};
use super::identity::Identity;
use super::limits::Groups;
use super::wire::{self, FromInit, Go, Order, Report};
use super::{End, Exit, Mode, SandboxSpec, Usage, init, raw};

/// Runs the helper, and never returns. `main` must call it first when the binary's first argument is
/// [`HELPER_ARGUMENT`](super::HELPER_ARGUMENT).
///
/// Standard input is the control socket; standard output and error are those of the steps.
pub fn helper_main() -> ! {
    let code = serve().unwrap_or_else(|error| {
        eprintln!("kiln: the sandbox helper, which only kiln itself should start, fails: {error}");
        125
    });
    process::exit(code);
}

/// Serves one sandbox. Fails only when kiln can't be heard: all other failures are reported to it.
fn serve() -> io::Result<i32> {
    close_strays()?;
    let control = take_stdin()?;
    let Some((order, fds)) = wire::receive_with_fds::<Order>(&control)? else { return Ok(0) };
    let (control, groups) = place(control, fds, &order.spec.inherit)?;
    match split(&order.spec) {
        Ok((_, Side::Init { helper, identity })) => {
            // Otherwise init would hold the lifeline of its own sandbox.
            drop(control);
            Ok(init::main(&order, &helper, identity, groups))
        }
        Ok((mode, Side::Helper { init, pid })) => {
            // Whoever waits for the end of an inherited pipe waits for the steps, not for the helper.
            for fd in order.spec.inherit {
                close(fd)?;
            }
            drop(groups);
            let end = Watch { control: &control, init: &init, pid, mode }.until_the_end()?;
            // If kiln is gone, there is nothing left to do.
            let _ = wire::send(&control, &Report::Ended(end));
            Ok(0)
        }
        Err(failure) => {
            let _ = wire::send(&control, &Report::Ended(Err(failure)));
            Ok(0)
        }
    }
}

/// Closes descriptors that kiln's parent has leaked: steps must not inherit them, and their numbers may be needed.
fn close_strays() -> io::Result<()> {
    let open: Vec<RawFd> = fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&fd| fd > 2)
        .collect();
    for fd in open {
        // The descriptor of the directory itself is among them, and closed by now.
        let _ = close(fd);
    }
    Ok(())
}

/// Moves the control socket away from standard input.
fn take_stdin() -> io::Result<UnixStream> {
    let control = io::stdin().as_fd().try_clone_to_owned()?;
    dup2_stdin(File::open("/dev/null")?)?;
    Ok(UnixStream::from(control))
}

/// Gives the received descriptors the numbers that steps expect; the others are those of control groups.
fn place(control: UnixStream, fds: Vec<OwnedFd>, targets: &[RawFd]) -> io::Result<(UnixStream, Groups)> {
    // Everything is first moved above all targets, so that no target is in use.
    let floor = targets.iter().max().map_or(3, |highest| highest + 1);
    let lift =
        |fd: OwnedFd| -> io::Result<OwnedFd> { Ok(raw::own(fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(floor))?)) };
    let control = lift(control.into())?;
    let mut fds = fds.into_iter().map(lift).collect::<io::Result<Vec<_>>>()?;
    for (fd, &target) in fds.iter().zip(targets) {
        raw::place(fd, target)?;
    }
    Ok((control.into(), Groups::new(fds.split_off(targets.len()))))
}

/// The parent or the child of a fork, with its end of the socket between them.
enum Side {
    Helper { init: UnixStream, pid: Pid },
    Init { helper: UnixStream, identity: Option<Identity> },
}

/// Enters the namespaces that must exist before PID 1, and forks it.
fn split(spec: &SandboxSpec) -> Result<(Mode, Side), Failure> {
    // The working directory may have to be unmounted while a sandbox runs.
    chdir("/").during(SetupPart::Other, || "enter /".to_owned())?;
    raw::reset_signals();
    let mode = Mode::current()?;
    mode.enter(spec)?;
    let identity = match mode {
        Mode::Root => Some(Identity::prepare(spec)?),
        Mode::UserNamespace => None,
    };
    unshare(CloneFlags::CLONE_NEWPID)
        .during(SetupPart::Namespaces, || "create a PID namespace".to_owned())?;
    let (helper, init) = UnixStream::pair().during(SetupPart::Other, || "create a socket".to_owned())?;
    let side = match raw::fork().during(SetupPart::Namespaces, || "fork PID 1".to_owned())? {
        ForkResult::Child => Side::Init { helper, identity },
        ForkResult::Parent { child } => Side::Helper { init, pid: child },
    };
    Ok((mode, side))
}

/// The helper's view of init.
struct Watch<'a> {
    control: &'a UnixStream,
    init: &'a UnixStream,
    /// Init is a child of this process: its number stays valid until it is waited for.
    pid: Pid,
    mode: Mode,
}

impl Watch<'_> {
    /// Passes messages on, kills init when kiln hangs up, and returns init's end when no process of the namespace is left.
    fn until_the_end(&self) -> io::Result<Result<Exit, Failure>> {
        let mut start = None;
        let mut end = None;
        while let Some(event) = self.next_event() {
            match event {
                Event::FromInit(FromInit::Ended(result), _) => end = Some(result),
                Event::FromInit(FromInit::Ready, fds) => {
                    let ready = Report::Ready { init_pid: self.pid.as_raw(), mode: self.mode };
                    let fds: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
                    // If kiln is gone, the next event says so.
                    let _ = wire::send_with_fds(self.control, &ready, &fds);
                }
                Event::Go => {
                    start = Some(Instant::now());
                    // If init is gone, the next event says so.
                    let _ = wire::send(self.init, &Go);
                }
                Event::KilnHungUp => {
                    kill(self.pid, Signal::SIGKILL)?;
                    break;
                }
            }
        }
        // The kernel reports the end of PID 1 when all other processes of its namespace are gone.
        let status = waitpid(self.pid, None)?;
        // Init may have sent its last message at the same moment.
        while let Ok(Some(message)) = wire::receive(self.init) {
            if let FromInit::Ended(result) = message {
                end = Some(result);
            }
        }
        Ok(end.unwrap_or_else(|| match status {
            WaitStatus::Signaled(..) => {
                let wall = start.map_or(Duration::ZERO, |start| start.elapsed());
                Ok(Exit { end: End::Killed, exceeded: None, usage: Usage::of_children(wall) })
            }
            _ => Err(Errno::EPROTO)
                .during(SetupPart::Other, || "run PID 1, which ended without a report".to_owned()),
        }))
    }

    /// The next event, or `None` when init has closed its end, which it does by ending.
    fn next_event(&self) -> Option<Event> {
        let mut fds = [
            PollFd::new(self.init.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.control.as_fd(), PollFlags::POLLIN),
        ];
        while poll(&mut fds, PollTimeout::NONE) == Err(Errno::EINTR) {}
        if fds[0].any() == Some(true) {
            // A torn message is an end, too.
            let message = wire::receive_with_fds(self.init).unwrap_or(None);
            return message.map(|(message, fds)| Event::FromInit(message, fds));
        }
        Some(match wire::receive(self.control) {
            Ok(Some(Go)) => Event::Go,
            Ok(None) | Err(_) => Event::KilnHungUp,
        })
    }
}

enum Event {
    /// With the descriptors that came with it.
    FromInit(FromInit, Vec<OwnedFd>),
    Go,
    KilnHungUp,
}
