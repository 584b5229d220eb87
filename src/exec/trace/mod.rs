//! Read tracing: which files and directories of its inputs a sandbox opens, by fanotify (see fanotify(7)).
//!
//! A mark on a mount reports each open that goes through it, by whatever process, in whatever way: `open`, `execve`,
//! the interpreter of a script, the loader of a program, `mmap` (which needs an open first). The kernel queues the
//! event before the open returns, so when all processes of a sandbox are gone, all that they opened is in the queue.
//!
//! What leaves no event: looking without opening (`stat`, `access`, `readlink`, the lookup of names on the way, symbolic
//! links followed: what is reported is where they led), failed opens, and `O_PATH`, with which nothing can be read.
//! What is opened *through* an `O_PATH` descriptor is an open as any other. Newer kernels have no event for pipes and
//! devices, which hold nothing of the input. What a sandbox masks is not reported for the same reason.
//!
//! - **One event a file.** An inode that was seen gets an ignore mark: a kernel build opens its headers half a
//!   million times. Only where it has no second name: one under which it is opened later would be missed. When there
//!   are many such events, the tree is searched for second names, as those of a tree of hard links are elsewhere.
//! - **One fanotify group a mount**, as ignore marks are an inode's, and the same inode may be mounted twice.
//! - **Names are those of the moment when the event is read.** They are true as long as nobody moves anything in the
//!   input; who does that makes the trace unusable, see `names.rs`. Steps themselves can't: inputs are read-only.
//! - **The mount namespace is held** until the end, as a path in one that is gone has lost its beginning.
//! - **All or nothing.** Whatever may have cost an event, or a name, is an error.
//!
//! Only root may watch mounts of the host's. An ordinary user may watch those of a file system that was made in the
//! sandbox's own user namespace (Linux 6.16): there steps see a copy of the tree, in memory. Its events come without
//! descriptors, and tell the handle of a directory and a name in it; nothing is renamed in a copy. Their queue is bounded,
//! and one that overflows is an error as well.
//!
//! | file | what |
//! | --- | --- |
//! | `group.rs` | fanotify: groups, marks, events |
//! | `reader.rs` | from events to names, in a thread of its own |
//! | `copies.rs`, `handles.rs` | copies in memory: their events, and the handles of directories |
//! | `links.rs` | which files have a second name in the tree |
//! | `names.rs` | names, and whether they can be trusted |
//! | `error.rs` | why a trace is unusable |

mod copies;
mod error;
mod group;
mod handles;
mod links;
mod names;
mod reader;
#[cfg(test)]
mod tests;

use std::io::{self, PipeReader, PipeWriter};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;

use super::memory;
use super::sandbox::{Memory, MemoryTree, Output, Sandbox, SandboxSpec};
use crate::plan::Tracing;
use copies::Copies;
pub use error::TraceError;
use group::{Group, Queue};
use reader::Reader;

/// Watches what a sandbox opens below some of its mounts. Dropping it stops that, and forgets what was seen.
#[derive(Debug)]
pub struct Tracer {
    /// Closed to tell the thread to stop.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<Result<Watching, TraceError>>>,
}

/// What is watched.
#[derive(Debug)]
enum Watching {
    /// Mounts of the host's file systems.
    Mounts(Reader),
    /// Copies in memory.
    Copies(Copies),
}

impl Watching {
    fn follow(&mut self, stop: &PipeReader) -> Result<(), TraceError> {
        match self {
            Self::Mounts(reader) => reader.follow(stop),
            Self::Copies(copies) => copies.follow(stop),
        }
    }

    fn trace(self) -> Result<Trace, TraceError> {
        match self {
            Self::Mounts(reader) => reader.trace(),
            Self::Copies(copies) => copies.trace(),
        }
    }
}

/// What was opened, by mount in the order given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// One for each mount.
    pub mounts: Vec<Opened>,
}

/// What was opened below one mount: paths from its root, with `/` between names and `""` for the root itself; sorted,
/// each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// What is no directory.
    pub files: Vec<Box<[u8]>>,
    /// Directories. Opened, that is, not necessarily listed.
    pub dirs: Vec<Box<[u8]>>,
}

impl Tracer {
    /// How sandboxes made by this one can be traced; the reason where they can't.
    pub fn probe(sandbox: &Sandbox) -> Result<Tracing, String> {
        let Err(why) = Self::probe_mounts() else { return Ok(Tracing::Mounts) };
        match Self::probe_copies(sandbox) {
            Ok(()) => Ok(Tracing::Copies),
            Err(no_copies) => Err(format!("{why}; nor can copies of trees be watched: {no_copies}")),
        }
    }

    fn probe_copies(sandbox: &Sandbox) -> Result<(), String> {
        if memory::total().is_none_or(|total| total < memory::LEAST) {
            return Err(format!("there is less than {} GiB of memory", memory::LEAST >> 30));
        }
        let to = PathBuf::from("/kiln/in/probe");
        let tree = MemoryTree { to: to.clone(), size: 1 << 20 };
        let spec = SandboxSpec { memory: vec![tree], ..SandboxSpec::default() };
        let prepared = sandbox.prepare(&spec, Output::Piped);
        let memory = prepared.map_err(|error| error.to_string())?.take_memory();
        let trees = memory.into_iter().map(|memory| (to.clone(), memory)).collect();
        Copies::open(trees).map(drop).map_err(|error| error.to_string())
    }

    /// Whether mounts of the host's can be watched.
    fn probe_mounts() -> Result<(), String> {
        let marked =
            Group::new(Queue::Unlimited).and_then(|group| group.watch_mount(AT_FDCWD, Path::new("/proc")));
        marked.map_err(|errno| match errno {
            Errno::EPERM => {
                "only root may watch what others open (fanotify needs CAP_SYS_ADMIN, and not merely in \
                             a user namespace or container): run kiln as root to have reads traced"
                    .to_owned()
            }
            Errno::ENOSYS => "the kernel lacks fanotify (CONFIG_FANOTIFY)".to_owned(),
            _ => format!("fanotify does not work here: {}", io::Error::from(errno)),
        })
    }

    /// Marks mounts of a sandbox, and begins to read events in a thread of its own.
    ///
    /// `root` is the sandbox's [root](super::sandbox::Prepared::root), `/proc/PID/root`, and `mounts` are absolute, as
    /// the steps see them. What is mounted below one of them counts as its own. May take some milliseconds: until the
    /// clock of the file systems has ticked.
    pub fn start(root: &Path, mounts: &[PathBuf]) -> Result<Self, TraceError> {
        Self::watch(Watching::Mounts(Reader::open(root, mounts, Queue::Unlimited)?))
    }

    /// Begins to read the events of trees in memory, which hold all that they ever will; with the paths by which the steps
    /// see them.
    pub fn start_on_copies(trees: Vec<(PathBuf, Memory)>) -> Result<Self, TraceError> {
        Self::watch(Watching::Copies(Copies::open(trees)?))
    }

    fn watch(mut watching: Watching) -> Result<Self, TraceError> {
        let spawn = || {
            let (stopped, stop) = io::pipe()?;
            let thread = thread::Builder::new()
                .name("trace".to_owned())
                .spawn(move || watching.follow(&stopped).map(|()| watching))?;
            Ok(Self { stop: Some(stop), thread: Some(thread) })
        };
        spawn().map_err(|source| TraceError::Thread { source })
    }

    /// All that was opened. To be called when the sandbox is gone: events of every process of it, orphans included,
    /// have been queued by then.
    pub fn finish(mut self) -> Result<Trace, TraceError> {
        self.halt().unwrap_or(Err(TraceError::Panicked))?.trace()
    }

    /// Stops the thread and waits for it. `None` if it panicked.
    fn halt(&mut self) -> Option<Result<Watching, TraceError>> {
        drop(self.stop.take());
        self.thread.take()?.join().ok()
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.halt();
    }
}
