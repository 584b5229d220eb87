//! How long to wait for the other end of a connection.

use std::future::Future;
use std::time::{Duration, Instant};

/// Bounds one transfer: it must not stall, and must keep up a minimum rate overall. Its total time is not limited.
pub struct StallGuard {
    timeout: Duration,
    min_rate: u64,
    started: Instant,
    bytes: u64,
}

/// Why a transfer was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stall {
    /// Nothing arrived for this long.
    #[error("nothing came for {}", humantime::format_duration(*.0))]
    Silent(Duration),
    /// The transfer is slower than this many bytes a second.
    #[error("it is slower than {} KiB a second", .0 >> 10)]
    Slow(u64),
}

impl StallGuard {
    /// Guards a transfer that starts now. It may stall for `timeout` and must reach `min_rate` bytes a second overall.
    pub fn new(timeout: Duration, min_rate: u64) -> Self {
        Self { timeout, min_rate, started: Instant::now(), bytes: 0 }
    }

    /// The output of the next step, if it completes in time.
    pub async fn in_time<F: Future>(&self, step: F) -> Result<F::Output, Stall> {
        let due = Duration::from_millis(self.bytes.saturating_mul(1000) / self.min_rate.max(1));
        let left = self.timeout.saturating_add(due).saturating_sub(self.started.elapsed());
        tokio::time::timeout(left.min(self.timeout), step).await.map_err(|_| {
            if self.bytes > 0 && left < self.timeout {
                Stall::Slow(self.min_rate)
            } else {
                Stall::Silent(self.timeout)
            }
        })
    }

    /// The bytes transferred so far.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Counts transferred bytes.
    pub fn add(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<F: Future>(call: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(call)
    }

    #[test]
    fn silence_and_slowness_are_distinguished() {
        let never = || std::future::pending::<()>();
        let timeout = Duration::from_millis(20);
        run(async {
            let mut guard = StallGuard::new(timeout, 1 << 20);
            assert_eq!(guard.in_time(async { 7 }).await, Ok(7));
            assert_eq!(guard.in_time(never()).await, Err(Stall::Silent(timeout)));
            // One byte extends the deadline by nothing noticeable, a gigabyte does.
            guard.add(1);
            assert_eq!(guard.in_time(never()).await, Err(Stall::Slow(1 << 20)));
            guard.add(1 << 30);
            assert_eq!(guard.in_time(never()).await, Err(Stall::Silent(timeout)));
        });
        assert_eq!(Stall::Silent(Duration::from_secs(90)).to_string(), "nothing came for 1m 30s");
        assert_eq!(Stall::Slow(64 << 10).to_string(), "it is slower than 64 KiB a second");
    }
}
