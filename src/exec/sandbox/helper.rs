//! The helper: kiln's binary, executed anew, with one thread and nothing else to do.

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

use super::error::{During, Failure, Stage};
use super::identity::Identity;
use super::limits::Groups;
use super::wire::{self, FromInit, Go, Order, Report};
use super::{End, Exit, Mode, SandboxSpec, Usage, init, raw};

/// Serves as sandbox helper, and never returns: what `main` must call first of all when the binary's first argument
/// is [`HELPER_ARGUMENT`](super::HELPER_ARGUMENT).
///
/// Standard input is the control socket; standard output and error are those of the steps.
pub fn helper_main() -> ! {
    let code = serve().unwrap_or_else(|error| {
        eprintln!("kiln: the sandbox helper, which only kiln itself should start, fails: {error}");
        125
    });
    process::exit(code);
}

/// Serves one sandbox. Fails when kiln cannot be heard: what else goes wrong is reported to it.
fn serve() -> io::Result<i32> {
    close_strays()?;
    let control = take_stdin()?;
    let Some((order, fds)) = wire::receive_with_fds::<Order>(&control)? else { return Ok(0) };
    let (control, groups) = place(control, fds, &order.spec.inherit)?;
    match split(&order.spec) {
        Ok((_, Side::Init { helper, identity })) => {
            // Else init would hold the lifeline of its own sandbox.
            drop(control);
            Ok(init::main(&order, &helper, identity, groups))
        }
        Ok((mode, Side::Helper { init, pid })) => {
            // Those who wait for the end of an inherited pipe should wait for the steps, not for us.
            for fd in order.spec.inherit {
                close(fd)?;
            }
            drop(groups);
            let end = Watch { control: &control, init: &init, pid, mode }.until_the_end()?;
            // Where kiln is gone there is nobody to tell, and nothing left to do.
            let _ = wire::send(&control, &Report::Ended(end));
            Ok(0)
        }
        Err(failure) => {
            let _ = wire::send(&control, &Report::Ended(Err(failure)));
            Ok(0)
        }
    }
}

/// Closes whatever kiln's own parent let slip: it should not reach the steps, nor occupy a number they need.
fn close_strays() -> io::Result<()> {
    let open: Vec<RawFd> = fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&fd| fd > 2)
        .collect();
    for fd in open {
        // The descriptor of the directory read is among them, and closed by now.
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

/// Gives the received descriptors the numbers that steps expect; what is left are those of control groups.
fn place(control: UnixStream, fds: Vec<OwnedFd>, targets: &[RawFd]) -> io::Result<(UnixStream, Groups)> {
    // First everything goes above all targets, so that no target is taken when its turn comes.
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

/// Which of the two processes this is, with its end of the socket between them.
enum Side {
    Helper { init: UnixStream, pid: Pid },
    Init { helper: UnixStream, identity: Option<Identity> },
}

/// Enters the namespaces that must exist before PID 1 does, and forks it.
fn split(spec: &SandboxSpec) -> Result<(Mode, Side), Failure> {
    // A directory that kiln runs in may have to be unmounted while a sandbox runs.
    chdir("/").during(Stage::Other, || "enter /".to_owned())?;
    raw::reset_signals();
    let mode = Mode::current()?;
    mode.enter(spec)?;
    let identity = match mode {
        Mode::Root => Some(Identity::prepare(spec)?),
        Mode::UserNamespace => None,
    };
    unshare(CloneFlags::CLONE_NEWPID).during(Stage::Namespaces, || "create a PID namespace".to_owned())?;
    let (helper, init) = UnixStream::pair().during(Stage::Other, || "create a socket".to_owned())?;
    let side = match raw::fork().during(Stage::Namespaces, || "fork PID 1".to_owned())? {
        ForkResult::Child => Side::Init { helper, identity },
        ForkResult::Parent { child } => Side::Helper { init, pid: child },
    };
    Ok((mode, side))
}

/// The helper's watch over init.
struct Watch<'a> {
    control: &'a UnixStream,
    init: &'a UnixStream,
    /// Init is this process's child, so until it is waited for this number is no other's.
    pid: Pid,
    mode: Mode,
}

impl Watch<'_> {
    /// Carries messages, kills init if kiln hangs up, and returns how it ended when no process of the namespace is
    /// left.
    fn until_the_end(&self) -> io::Result<Result<Exit, Failure>> {
        let mut start = None;
        let mut end = None;
        while let Some(event) = self.next_event() {
            match event {
                Event::FromInit(FromInit::Ended(result), _) => end = Some(result),
                Event::FromInit(FromInit::Ready, fds) => {
                    let ready = Report::Ready { init_pid: self.pid.as_raw(), mode: self.mode };
                    let fds: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
                    // Should kiln be gone, the next event says so.
                    let _ = wire::send_with_fds(self.control, &ready, &fds);
                }
                Event::Go => {
                    start = Some(Instant::now());
                    // Should init be gone, the next event says so.
                    let _ = wire::send(self.init, &Go);
                }
                Event::KilnHungUp => {
                    kill(self.pid, Signal::SIGKILL)?;
                    break;
                }
            }
        }
        // The kernel lets PID 1 be waited for only when all others of its namespace are gone.
        let status = waitpid(self.pid, None)?;
        // Init may have had its say in the same moment.
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
                .during(Stage::Other, || "run PID 1, which ended without a report".to_owned()),
        }))
    }

    /// The next thing that happens, or `None` when init has closed its end, as it does by ending.
    fn next_event(&self) -> Option<Event> {
        let mut fds = [
            PollFd::new(self.init.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.control.as_fd(), PollFlags::POLLIN),
        ];
        while poll(&mut fds, PollTimeout::NONE) == Err(Errno::EINTR) {}
        if fds[0].any() == Some(true) {
            // A message cut short is the end, too.
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
    /// With the descriptors that came along.
    FromInit(FromInit, Vec<OwnedFd>),
    Go,
    KilnHungUp,
}
