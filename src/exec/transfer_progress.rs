//! Progress of downloads, as events.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::event::{Event, Fetching};
use crate::remote::Traffic;

/// The shortest time between two events.
const EVERY: Duration = Duration::from_millis(500);

/// Expected downloads, and the last event.
#[derive(Default)]
pub(super) struct TransferProgress {
    /// By node index: the bytes to download for results whose download has not begun.
    to_come: HashMap<usize, u64>,
    /// The last event, and its time.
    told: Option<(Fetching, Instant)>,
}

impl TransferProgress {
    /// Expects a download for a node.
    pub(super) fn expect(&mut self, node: usize, bytes: u64) {
        self.to_come.insert(node, bytes);
    }

    /// The download of a node has begun: remotes count it from now on.
    pub(super) fn begun(&mut self, node: usize) {
        self.to_come.remove(&node);
    }

    /// The event that is due, if any.
    pub(super) fn now(&mut self, traffic: Traffic, now: Instant) -> Option<Event> {
        let is_time = self.told.is_none_or(|(_, then)| now.duration_since(then) >= EVERY);
        if is_time { self.tell(traffic, now) } else { None }
    }

    /// The last event: nothing more is expected.
    pub(super) fn last(mut self, traffic: Traffic) -> Option<Event> {
        self.to_come.clear();
        self.tell(traffic, Instant::now())
    }

    fn tell(&mut self, traffic: Traffic, now: Instant) -> Option<Event> {
        let mut fetching = Fetching::from(traffic);
        fetching.of += self.to_come.values().sum::<u64>();
        let before = self.told.map_or((0, 0, 0), |(told, _)| (told.bytes, told.resumed, told.of));
        // Whoever shows progress notices by its own clock that nothing moves.
        if fetching.is_here() == 0 || (fetching.bytes, fetching.resumed, fetching.of) == before {
            return None;
        }
        self.told = Some((fetching, now));
        Some(Event::Fetching(fetching))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(came: u64, resumed: u64, left: u64) -> Traffic {
        Traffic { came, resumed, left, busy: Duration::from_secs(1) }
    }

    fn figures(event: Option<Event>) -> Option<(u64, u64, u64)> {
        event.map(|event| match event {
            Event::Fetching(Fetching { bytes, resumed, of, .. }) => (bytes, resumed, of),
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn it_is_told_now_and_then_and_at_the_end() {
        let mut transfers = TransferProgress::default();
        transfers.expect(0, 100);
        transfers.expect(1, 50);
        let began = Instant::now();
        assert_eq!(figures(transfers.now(traffic(0, 0, 0), began)), None, "nothing has come");
        transfers.begun(0);
        assert_eq!(figures(transfers.now(traffic(10, 20, 70), began)), Some((10, 20, 150)));
        assert_eq!(figures(transfers.now(traffic(20, 20, 60), began)), None, "that was a moment ago");
        let later = began + EVERY;
        assert_eq!(figures(transfers.now(traffic(20, 20, 60), later)), Some((20, 20, 150)));
        assert_eq!(figures(transfers.now(traffic(20, 20, 60), later + EVERY)), None, "nothing has changed");
        // The second is not fetched after all.
        assert_eq!(figures(transfers.last(traffic(80, 20, 0))), Some((80, 20, 100)));
    }
}
