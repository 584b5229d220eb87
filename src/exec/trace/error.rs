//! Why a trace is unusable.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a trace is missing or unusable. It is then unknown what the sandbox read, and all of its inputs count as read.
#[derive(Debug, Error)]
pub enum TraceError {
    /// The sandbox's mounts can't be read: it has ended, or belongs to another user.
    #[error("cannot look at the mounts of the sandbox: {}: {source}", path.display())]
    Sandbox {
        /// The file in `/proc`.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Nothing is mounted at this path.
    #[error("cannot watch {}: nothing is mounted there in the sandbox", path.display())]
    NotMounted {
        /// The path in the sandbox.
        path: PathBuf,
    },
    /// The mount can't be watched.
    #[error("cannot watch what is opened below {}: {source}", path.display())]
    Mark {
        /// The path in the sandbox.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The thread that reads events can't be started.
    #[error("cannot start to read what is opened: {source}")]
    Thread {
        /// The kernel's answer.
        source: io::Error,
    },
    /// The queue overflowed: further opens are unknown.
    #[error("lost track of what was opened: there were more events at once than the kernel keeps")]
    Overflow,
    /// An event can't be read, so it is unknown what was opened.
    #[error("lost track of what was opened below {}: {source}", path.display())]
    Read {
        /// The mount's path in the sandbox.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The name of an opened object is not certain.
    #[error("cannot tell under which name something was opened: {}: {reason}", path.display())]
    Unnamed {
        /// The name that it may have had.
        path: PathBuf,
        /// Why it is not certain.
        reason: &'static str,
    },
    /// The thread that reads events panicked.
    #[error("lost track of what was opened: the thread that reads events panicked (a bug)")]
    Panicked,
}
