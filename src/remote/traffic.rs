//! What comes from remotes in figures: how much of how much, how fast, and what was here from an earlier try.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Blobs that came, and are still to come, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// What has come, of use or not.
    pub came: u64,
    /// What did not have to come: an earlier try had left it here.
    pub resumed: u64,
    /// What is still to come of all that has been asked for.
    pub left: u64,
    /// How long anything was on its way.
    pub busy: Duration,
}

impl Traffic {
    /// Bytes a second, over the time in which anything was on its way.
    pub fn rate(&self) -> u64 {
        let rate = u128::from(self.came) * 1000 / self.busy.as_millis().max(1);
        u64::try_from(rate).unwrap_or(u64::MAX)
    }

    /// The figures of both. What is on its way is so at the same time, as far as can be told.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            came: self.came + other.came,
            resumed: self.resumed + other.resumed,
            left: self.left + other.left,
            busy: self.busy.max(other.busy),
        }
    }
}

/// Counts what comes, over all transfers.
#[derive(Default)]
pub struct Meter(Mutex<State>);

#[derive(Default)]
struct State {
    figures: Traffic,
    /// Transfers that are under way, and since when any is.
    active: usize,
    since: Option<Instant>,
}

impl Meter {
    /// All that has come, and is to come.
    pub fn traffic(&self) -> Traffic {
        let state = self.state();
        let now = state.since.map(|since| since.elapsed()).unwrap_or_default();
        Traffic { busy: state.figures.busy + now, ..state.figures }
    }

    /// A transfer of so many bytes begins.
    pub fn begin(&self, bytes: u64) -> Transfer<'_> {
        let mut state = self.state();
        state.figures.left += bytes;
        state.active += 1;
        state.since.get_or_insert_with(Instant::now);
        Transfer { meter: self, left: AtomicU64::new(bytes) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A transfer that is under way. Whatever of it has not come when it ends does not come.
pub struct Transfer<'a> {
    meter: &'a Meter,
    left: AtomicU64,
}

impl Transfer<'_> {
    /// So much has come.
    pub fn came(&self, bytes: u64) {
        self.meter.state().figures.came += bytes;
        self.less(bytes);
    }

    /// So much is here from an earlier try.
    pub fn is_here(&self, bytes: u64) {
        self.meter.state().figures.resumed += bytes;
        self.less(bytes);
    }

    /// What was here is of no use after all: this many bytes are to come.
    pub fn was_wrong(&self, here: u64, again: u64) {
        self.meter.state().figures.resumed -= here;
        self.again(again);
    }

    /// So much is to come once more.
    pub fn again(&self, bytes: u64) {
        let mut state = self.meter.state();
        self.left.fetch_add(bytes, Ordering::Relaxed);
        state.figures.left += bytes;
    }

    /// So much need not come any more.
    pub fn less(&self, bytes: u64) {
        let mut state = self.meter.state();
        let left = self.left.load(Ordering::Relaxed);
        let less = bytes.min(left);
        self.left.store(left - less, Ordering::Relaxed);
        state.figures.left -= less;
    }
}

impl Drop for Transfer<'_> {
    fn drop(&mut self) {
        self.less(u64::MAX);
        let mut state = self.meter.state();
        state.active -= 1;
        if state.active == 0
            && let Some(since) = state.since.take()
        {
            state.figures.busy += since.elapsed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(meter: &Meter) -> (u64, u64, u64) {
        let Traffic { came, resumed, left, .. } = meter.traffic();
        (came, resumed, left)
    }

    #[test]
    fn what_has_come_and_what_is_left_are_all_there_is() {
        let meter = Meter::default();
        let (one, other) = (meter.begin(100), meter.begin(50));
        assert_eq!(figures(&meter), (0, 0, 150));
        one.is_here(30);
        one.came(70);
        assert_eq!(figures(&meter), (70, 30, 50));
        // What an earlier try had left was wrong, and so was the whole.
        one.was_wrong(30, 100);
        assert_eq!(figures(&meter), (70, 0, 150));
        one.came(100);
        // One that fails leaves nothing to wait for.
        other.came(20);
        drop(other);
        assert_eq!(figures(&meter), (190, 0, 0));
        // More than was said is no reason to wait for less of another.
        let other = meter.begin(10);
        one.came(5);
        assert_eq!(figures(&meter), (195, 0, 10));
        drop((one, other));
        assert_eq!(figures(&meter), (195, 0, 0));
    }

    #[test]
    fn the_rate_is_of_what_came_while_anything_did() {
        let traffic = Traffic { came: 3 << 20, resumed: 7 << 20, left: 1, busy: Duration::from_millis(1500) };
        assert_eq!(traffic.rate(), 2 << 20);
        assert_eq!(Traffic::default().rate(), 0);
        let meter = Meter::default();
        drop(meter.begin(1));
        let busy = meter.traffic().busy;
        assert_eq!(meter.traffic().busy, busy, "nothing is under way");
    }
}
