//! How long somebody is waited for.

use std::future::Future;
use std::time::{Duration, Instant};

/// The bounds of one transfer: it must not stand still, nor all but do so. One that moves takes as long as it takes.
pub struct Pace {
    standstill: Duration,
    least: u64,
    began: Instant,
    moved: u64,
}

/// Why somebody is not waited for any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Late {
    /// Nothing came for so long.
    #[error("nothing came for {}", humantime::format_duration(*.0))]
    Silent(Duration),
    /// What comes, comes at less than so many bytes a second.
    #[error("it is slower than {} KiB a second", .0 >> 10)]
    Slow(u64),
}

impl Pace {
    /// Of a transfer that begins now. It may stand still for so long, and has to come to so many bytes a second on the whole:
    /// who is slower than that only holds us up.
    pub fn new(standstill: Duration, least: u64) -> Self {
        Self { standstill, least, began: Instant::now(), moved: 0 }
    }

    /// The outcome of the next step, if it comes in time.
    pub async fn in_time<F: Future>(&self, step: F) -> Result<F::Output, Late> {
        let due = Duration::from_millis(self.moved.saturating_mul(1000) / self.least.max(1));
        let left = self.standstill.saturating_add(due).saturating_sub(self.began.elapsed());
        tokio::time::timeout(left.min(self.standstill), step).await.map_err(|_| {
            if self.moved > 0 && left < self.standstill {
                Late::Slow(self.least)
            } else {
                Late::Silent(self.standstill)
            }
        })
    }

    /// How many bytes that have been.
    pub const fn so_far(&self) -> u64 {
        self.moved
    }

    /// Counts what has come, or gone.
    pub fn moved(&mut self, bytes: usize) {
        self.moved = self.moved.saturating_add(bytes as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<F: Future>(call: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(call)
    }

    #[test]
    fn who_says_nothing_is_told_from_who_is_slow() {
        let never = || std::future::pending::<()>();
        let standstill = Duration::from_millis(20);
        run(async {
            let mut pace = Pace::new(standstill, 1 << 20);
            assert_eq!(pace.in_time(async { 7 }).await, Ok(7));
            assert_eq!(pace.in_time(never()).await, Err(Late::Silent(standstill)));
            // A byte buys no time to speak of, a gigabyte some.
            pace.moved(1);
            assert_eq!(pace.in_time(never()).await, Err(Late::Slow(1 << 20)));
            pace.moved(1 << 30);
            assert_eq!(pace.in_time(never()).await, Err(Late::Silent(standstill)));
        });
        assert_eq!(Late::Silent(Duration::from_secs(90)).to_string(), "nothing came for 1m 30s");
        assert_eq!(Late::Slow(64 << 10).to_string(), "it is slower than 64 KiB a second");
    }
}
