//! Worker threads.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// How long a thread sleeps at most before it looks again for Ctrl-C, or for a lock that another process holds.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Turns a panic of `work` into an error: whoever waits for a worker gets a message from it in any case.
pub(super) fn catch_panic<T>(work: impl FnOnce() -> T) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| io::Error::other("kiln itself failed here: a bug"))
}
