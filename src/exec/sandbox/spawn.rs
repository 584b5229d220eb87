//! Kiln's side of a sandbox: prepare, start, wait.

use std::fs::File;
use std::io::{self, PipeReader};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::killer::Killer;
use super::limits::{Cgroups, DiskGuard, Group, WatchedPaths};
use super::validate::validate;
use super::wire::{self, Go, Order, Report};
use super::{End, Exceeded, Exit, HELPER_ARGUMENT, Limits, Mode, SandboxError, SandboxSpec};

/// Makes sandboxes.
#[derive(Clone, Debug)]
pub struct Sandbox {
    helper: PathBuf,
    /// Made for the first sandbox that has limits.
    cgroups: Arc<OnceLock<Cgroups>>,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

/// Where the standard output and error of steps go: unless said otherwise, to the same place, in the order of writing.
#[derive(Debug)]
pub enum Output {
    /// Into this file.
    File(File),
    /// Into a pipe, to be read from [`Running::take_output`]. Steps block when it is full.
    Piped,
    /// Standard output into a pipe as for [`Piped`](Self::Piped), and standard error into this file.
    Apart(File),
}

impl Sandbox {
    /// Makes sandboxes whose helper is the running program: its `main` has to call [`helper_main`](super::helper_main).
    pub fn new() -> Self {
        // Not the path that was executed: an upgrade may have replaced the file there.
        Self::with_helper("/proc/self/exe")
    }

    /// Makes sandboxes with another program as helper, for programs that are not kiln, such as tests.
    pub fn with_helper(helper: impl Into<PathBuf>) -> Self {
        Self { helper: helper.into(), cgroups: Arc::default() }
    }

    /// Prepares a sandbox, and runs the steps in it.
    pub fn spawn(&self, spec: &SandboxSpec, output: Output) -> Result<Running, SandboxError> {
        self.prepare(spec, output)?.start()
    }

    /// Prepares a sandbox, and runs nothing in it yet.
    pub fn prepare(&self, spec: &SandboxSpec, output: Output) -> Result<Prepared, SandboxError> {
        validate(spec)?;
        let failed = |source| SandboxError::Helper { helper: self.helper.clone(), source };
        let (group, entrances) = self.group(&spec.limits)?;
        let watched = watched(spec, &output).map_err(failed)?;
        let (mut link, output) = self.start_helper(output).map_err(failed)?;
        let order =
            Order { spec: spec.clone(), grouped: group.as_ref().map(Group::grouped).unwrap_or_default() };
        link.group = group;
        let entering = entrances.iter().map(AsRawFd::as_raw_fd);
        let fds: Vec<_> = spec.inherit.iter().copied().chain(entering).collect();
        match wire::send_with_fds(&link.control, &order, &fds) {
            // A helper that has ended has left its reason in the socket, or in its exit status.
            Err(error) if error.raw_os_error() != Some(Errno::EPIPE as i32) => return Err(failed(error)),
            _ => {}
        }
        match link.receive()? {
            (Report::Ready { init_pid, mode }, fds) => {
                link.init_pid = init_pid;
                Ok(Prepared { link, mode, output, watched, memory: Memory::of(fds) })
            }
            (Report::Ended(Err(failure)), _) => Err(failure.into()),
            // Killed before it was ready.
            (Report::Ended(Ok(_)), _) => Err(link.lost()),
        }
    }

    /// Makes the control groups of a sandbox, if it has limits that need them.
    fn group(&self, limits: &Limits) -> Result<(Option<Group>, Vec<OwnedFd>), SandboxError> {
        if limits.memory.is_none() && limits.processes.is_none() {
            return Ok((None, Vec::new()));
        }
        let group = self.cgroups.get_or_init(Cgroups::find).group(limits);
        let made = group.and_then(|group| group.entrances().map(|entrances| (Some(group), entrances)));
        made.map_err(|source| SandboxError::Group { source })
    }

    fn start_helper(&self, output: Output) -> io::Result<(Link, Option<PipeReader>)> {
        let (ours, theirs) = UnixStream::pair()?;
        let (reader, stdout, stderr) = match output {
            Output::File(file) => (None, OwnedFd::from(file.try_clone()?), OwnedFd::from(file)),
            Output::Piped => {
                let (reader, writer) = io::pipe()?;
                (Some(reader), OwnedFd::from(writer.try_clone()?), OwnedFd::from(writer))
            }
            Output::Apart(errors) => {
                let (reader, writer) = io::pipe()?;
                (Some(reader), OwnedFd::from(writer), OwnedFd::from(errors))
            }
        };
        let child = Command::new(&self.helper)
            .arg0("kiln")
            .arg(HELPER_ARGUMENT)
            // Kiln's environment is hidden from steps, also in the memory of their PID 1.
            .env_clear()
            .stdin(OwnedFd::from(theirs))
            .stderr(stderr)
            .stdout(stdout)
            // Ctrl-C at the terminal only reaches kiln, which decides what to do with each sandbox.
            .process_group(0)
            .spawn()?;
        let link =
            Link { helper: self.helper.clone(), control: Arc::new(ours), child, init_pid: 0, group: None };
        Ok((link, reader))
    }
}

/// The helper, and the socket to it. Dropping it kills the sandbox, and waits until all its processes are gone.
#[derive(Debug)]
struct Link {
    helper: PathBuf,
    control: Arc<UnixStream>,
    child: Child,
    init_pid: i32,
    /// Removed when all processes of the sandbox are gone.
    group: Option<Group>,
}

impl Link {
    fn killer(&self) -> Killer {
        Killer::new(Arc::clone(&self.control))
    }

    fn receive(&mut self) -> Result<(Report, Vec<OwnedFd>), SandboxError> {
        match wire::receive_with_fds(&self.control) {
            Ok(Some(message)) => Ok(message),
            Ok(None) | Err(_) => Err(self.lost()),
        }
    }

    fn lost(&mut self) -> SandboxError {
        self.killer().kill();
        match self.child.wait() {
            Ok(status) => SandboxError::HelperLost { status },
            Err(source) => SandboxError::Helper { helper: self.helper.clone(), source },
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.killer().kill();
        // Returns at once if the sandbox has been waited for already.
        let _ = self.child.wait();
    }
}

/// A sandbox in which nothing runs yet. Dropping it removes it.
#[derive(Debug)]
pub struct Prepared {
    link: Link,
    mode: Mode,
    output: Option<PipeReader>,
    /// The directories whose size is limited, and the limit.
    watched: Option<(WatchedPaths, u64)>,
    memory: Vec<Memory>,
}

/// An empty tree in memory, whose opens are reported from now on.
#[derive(Debug)]
pub struct Memory {
    /// Its directory, in a mount that is writable and not traced.
    pub root: OwnedFd,
    /// The fanotify group of the mount that steps see.
    pub events: OwnedFd,
}

impl Memory {
    fn of(fds: Vec<OwnedFd>) -> Vec<Self> {
        let mut fds = fds.into_iter();
        std::iter::from_fn(|| Some(Self { root: fds.next()?, events: fds.next()? })).collect()
    }
}

impl Prepared {
    /// The trees in memory, in the order of the specification, once.
    pub fn take_memory(&mut self) -> Vec<Memory> {
        std::mem::take(&mut self.memory)
    }

    /// The privileges that the sandbox was made with.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The process number, on the host, of the sandbox's PID 1.
    pub fn init_pid(&self) -> i32 {
        self.link.init_pid
    }

    /// The sandbox's root as a path of the host: `root().join("src")` is the mount that steps see as `/src`, so a fanotify mark
    /// there reports exactly the opens of steps. For root only: an ordinary user can't look into PID 1.
    pub fn root(&self) -> PathBuf {
        Path::new("/proc").join(self.init_pid().to_string()).join("root")
    }

    /// A handle that kills the sandbox.
    pub fn killer(&self) -> Killer {
        self.link.killer()
    }

    /// Runs the steps.
    pub fn start(mut self) -> Result<Running, SandboxError> {
        let killer = self.killer();
        let guard =
            self.watched.take().map(|(places, limit)| DiskGuard::start(places, limit, killer)).transpose();
        let guard =
            guard.map_err(|source| SandboxError::Helper { helper: self.link.helper.clone(), source })?;
        match wire::send(&self.link.control, &Go) {
            // Killed meanwhile: `wait` reports that.
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(Errno::EPIPE as i32) => {}
            Err(_) => return Err(self.link.lost()),
        }
        Ok(Running { link: self.link, mode: self.mode, output: self.output, exit: None, guard })
    }
}

/// A sandbox whose steps run. Dropping it kills them, and waits until they are gone.
#[derive(Debug)]
pub struct Running {
    link: Link,
    mode: Mode,
    output: Option<PipeReader>,
    exit: Option<Exit>,
    guard: Option<DiskGuard>,
}

impl Running {
    /// The privileges that the sandbox was made with.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The process number, on the host, of the sandbox's PID 1. Valid until a wait has returned the exit.
    pub fn init_pid(&self) -> i32 {
        self.link.init_pid
    }

    /// The reading end of [`Output::Piped`] and [`Output::Apart`], once. It ends when the sandbox does.
    pub fn take_output(&mut self) -> Option<PipeReader> {
        self.output.take()
    }

    /// A handle that kills the sandbox.
    pub fn killer(&self) -> Killer {
        self.link.killer()
    }

    /// Waits until the sandbox has ended and all its processes are gone.
    pub fn wait(&mut self) -> Result<Exit, SandboxError> {
        if let Some(exit) = self.exit {
            return Ok(exit);
        }
        let (report, _) = self.link.receive()?;
        // The helper exits after its report.
        let _ = self.link.child.wait();
        let failed = !matches!(report, Report::Ended(Ok(Exit { end: End::AllStepsPassed, .. })));
        let wrote_too_much = self.guard.take().is_some_and(|guard| guard.finish(failed));
        match report {
            Report::Ended(Ok(exit)) => {
                let by_group = self.link.group.as_ref().and_then(Group::exceeded);
                let exceeded = if wrote_too_much { Some(Exceeded::Disk) } else { by_group };
                Ok(*self.exit.insert(Exit { exceeded, ..exit }))
            }
            Report::Ended(Err(failure)) => Err(failure.into()),
            Report::Ready { .. } => Err(self.link.lost()),
        }
    }

    /// As [`wait`](Self::wait), but no longer than `timeout`: `None` if the sandbox still runs.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<Option<Exit>, SandboxError> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if self.exit.is_some() || readable(&self.link.control, left) {
                return self.wait().map(Some);
            }
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
        }
    }

    /// As [`wait`](Self::wait), but without waiting: `None` if the sandbox still runs.
    pub fn try_wait(&mut self) -> Result<Option<Exit>, SandboxError> {
        self.wait_timeout(Duration::ZERO)
    }
}

/// The directories whose size is limited, and the limit.
fn watched(spec: &SandboxSpec, output: &Output) -> io::Result<Option<(WatchedPaths, u64)>> {
    let Some(limit) = spec.limits.disk else { return Ok(None) };
    let output = match output {
        Output::File(file) | Output::Apart(file) => Some(file.try_clone()?),
        Output::Piped => None,
    };
    Ok(Some((WatchedPaths { dirs: spec.written(), output }, limit)))
}

/// Waits until there is something to read; may return early.
fn readable(socket: &UnixStream, timeout: Option<Duration>) -> bool {
    let timeout = match timeout {
        // Rounded up: otherwise the last millisecond would be a busy loop.
        Some(timeout) => {
            PollTimeout::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX)
        }
        None => PollTimeout::NONE,
    };
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, timeout).is_ok_and(|ready| ready > 0)
}
