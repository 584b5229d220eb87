//! Why there is no trace.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why there is no trace, or none that can be used: what the sandbox read is unknown then, and all of its inputs have
/// to be taken for read.
#[derive(Debug, Error)]
pub enum TraceError {
    /// The sandbox's mounts can't be looked at: it has ended, or belongs to another user.
    #[error("cannot look at the mounts of the sandbox: {}: {source}", path.display())]
    Sandbox {
        /// The file of `/proc` that says it.
        path: PathBuf,
        /// How the kernel answered.
        source: io::Error,
    },
    /// Nothing is mounted there.
    #[error("cannot watch {}: nothing is mounted there in the sandbox", path.display())]
    NotMounted {
        /// Where steps would see it.
        path: PathBuf,
    },
    /// The mount can't be watched.
    #[error("cannot watch what is opened below {}: {source}", path.display())]
    Mark {
        /// Where steps see it.
        path: PathBuf,
        /// How the kernel answered.
        source: io::Error,
    },
    /// There is no thread to read events.
    #[error("cannot start to read what is opened: {source}")]
    Thread {
        /// How the kernel answered.
        source: io::Error,
    },
    /// More was opened than the queue could hold: the rest is unknown.
    #[error("lost track of what was opened: there were more events at once than the kernel keeps")]
    Overflow,
    /// An event can't be read, so what it told is unknown.
    #[error("lost track of what was opened below {}: {source}", path.display())]
    Read {
        /// Where steps see the mount.
        path: PathBuf,
        /// How the kernel answered.
        source: io::Error,
    },
    /// Something was opened whose name is not certain.
    #[error("cannot tell under which name something was opened: {}: {reason}", path.display())]
    Unnamed {
        /// The name it may have had.
        path: PathBuf,
        /// Why that is not certain.
        reason: &'static str,
    },
    /// The thread that reads events panicked.
    #[error("lost track of what was opened: the thread that reads events panicked (a bug)")]
    Panicked,
}
