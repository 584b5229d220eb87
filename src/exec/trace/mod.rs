//! Traces which files and directories of its inputs a sandbox opens, with fanotify (see fanotify(7)).
//!
//! A mark on a mount reports each open through it, by any process and in any way: `open`, `execve`, the interpreter of a script,
//! the loader of a program, `mmap` (which needs an open first). The kernel queues the event before the open returns. So when all
//! processes of a sandbox are gone, everything that they opened is in the queue.
//!
//! No event is reported for look-ups without an open (`stat`, `access`, `readlink`, directories on the way, symbolic links
//! that were followed: the event names their target), for failed opens, and for `O_PATH`, with which nothing can be read. An open
//! *through* an `O_PATH` descriptor is reported. Newer kernels report no opens of pipes and devices, which hold no content of the
//! input. Opens of masked paths are not reported, for the same reason.
//!
//! - **One event per file.** An inode that was seen gets an ignore mark: a kernel build opens its headers half a million times.
//!   This is only done for files with one name: otherwise an open under another name would be missed. After many such events, the
//!   tree is searched for further names, because the other names of a hard-linked tree are often elsewhere.
//! - **One fanotify group per mount**: ignore marks belong to an inode, which may be visible in two mounts.
//! - **Names are read with the event.** They are right unless something in the input was moved, which makes the trace unusable: see
//!   `names.rs`. Steps can't move inputs, which are read-only.
//! - **The mount namespace is kept** until the end: paths in a namespace that is gone are incomplete.
//! - **All or nothing.** Whatever may have cost an event or a name is an error.
//!
//! Only root may watch mounts of the host's file systems. An ordinary user may watch a file system that was made in the
//! sandbox's own user namespace (Linux 6.16): there, steps see a copy of the tree in memory. Its events have no descriptors, but the
//! handle of a directory and a name in it; nothing is renamed in a copy. Their queue is bounded, and an overflow is an error.
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

use super::free_memory;
use super::sandbox::{Memory, MemoryTree, Output, Sandbox, SandboxSpec};
use crate::plan::Tracing;
use copies::Copies;
pub use error::TraceError;
use group::{Group, Queue};
use reader::Reader;

/// Watches what a sandbox opens below some of its mounts. Dropping it stops that, and discards the events.
#[derive(Debug)]
pub struct Tracer {
    /// Closing it stops the thread.
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
    /// One entry per mount.
    pub mounts: Vec<Opened>,
}

/// What was opened below one mount: paths relative to its root, `""` for the root itself; sorted, without duplicates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Files and everything else that is no directory.
    pub files: Vec<Box<[u8]>>,
    /// Directories that were opened, which need not have been listed.
    pub dirs: Vec<Box<[u8]>>,
}

impl Tracer {
    /// How sandboxes made by this one can be traced; the reason where they can't be.
    pub fn probe(sandbox: &Sandbox) -> Result<Tracing, String> {
        let Err(why) = Self::probe_mounts() else { return Ok(Tracing::Mounts) };
        match Self::probe_copies(sandbox) {
            Ok(()) => Ok(Tracing::Copies),
            Err(no_copies) => Err(format!("{why}; nor can copies of trees be watched: {no_copies}")),
        }
    }

    fn probe_copies(sandbox: &Sandbox) -> Result<(), String> {
        if free_memory::total().is_none_or(|total| total < free_memory::MIN_FREE_MEMORY) {
            return Err(format!("there is less than {} GiB of memory", free_memory::MIN_FREE_MEMORY >> 30));
        }
        let to = PathBuf::from("/kiln/in/probe");
        let tree = MemoryTree { to: to.clone(), size: 1 << 20 };
        let spec = SandboxSpec { memory: vec![tree], ..SandboxSpec::default() };
        let prepared = sandbox.prepare(&spec, Output::Piped);
        let memory = prepared.map_err(|error| error.to_string())?.take_memory();
        let trees = memory.into_iter().map(|memory| (to.clone(), memory)).collect();
        Copies::open(trees).map(drop).map_err(|error| error.to_string())
    }

    /// Whether mounts of the host's file systems can be watched.
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

    /// Marks mounts of a sandbox, and starts a thread that reads events.
    ///
    /// `root` is the sandbox's [root](super::sandbox::Prepared::root), `/proc/PID/root`. `mounts` are absolute paths in the sandbox.
    /// Mounts below one of them count as part of it. May take some milliseconds, until the clock of the file systems has ticked.
    pub fn start(root: &Path, mounts: &[PathBuf]) -> Result<Self, TraceError> {
        Self::watch(Watching::Mounts(Reader::open(root, mounts, Queue::Unlimited)?))
    }

    /// Starts a thread that reads the events of trees in memory, whose content is complete. With each tree comes its path in the
    /// sandbox.
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

    /// All that was opened. To be called when the sandbox is gone: the events of all its processes, orphans included, are
    /// queued by then.
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
