//! Killing a sandbox.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// Kills a sandbox, from any thread, at any time.
#[derive(Clone, Debug)]
pub struct Killer {
    /// The sandbox's lifeline: closing it kills the sandbox.
    control: Arc<UnixStream>,
}

impl Killer {
    pub(super) const fn new(control: Arc<UnixStream>) -> Self {
        Self { control }
    }

    /// Kills every process of the sandbox (SIGKILL), and returns at once: see [`Running::wait`](super::Running::wait).
    ///
    /// May be called any number of times, before and after the end. It closes the lifeline, and the helper kills its own child: no process
    /// number is used that could have come to mean another process.
    pub fn kill(&self) {
        // This only fails after an earlier call, or if the helper has ended.
        let _ = self.control.shutdown(Shutdown::Write);
    }
}
