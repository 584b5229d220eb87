//! How much comes from remotes, as events: now and then while anything does.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::event::{Event, Fetching};
use crate::remote::Traffic;

/// How often it is told.
const EVERY: Duration = Duration::from_millis(500);

/// What has been told, and what it will be about.
#[derive(Default)]
pub(super) struct Tally {
    /// By the node's number: what the store lacks of results that are to be fetched, and have not been begun with.
    to_come: HashMap<usize, u64>,
    /// What was told last, and when.
    told: Option<(Fetching, Instant)>,
}

impl Tally {
    /// A node's result is to be fetched.
    pub(super) fn expect(&mut self, node: usize, bytes: u64) {
        self.to_come.insert(node, bytes);
    }

    /// It is being fetched: from now on the remotes count it.
    pub(super) fn begun(&mut self, node: usize) {
        self.to_come.remove(&node);
    }

    /// What is to be told now, if anything is.
    pub(super) fn now(&mut self, traffic: Traffic, now: Instant) -> Option<Event> {
        let is_time = self.told.is_none_or(|(_, then)| now.duration_since(then) >= EVERY);
        if is_time { self.tell(traffic, now) } else { None }
    }

    /// What is to be told at the end: nothing more is to come.
    pub(super) fn last(mut self, traffic: Traffic) -> Option<Event> {
        self.to_come.clear();
        self.tell(traffic, Instant::now())
    }

    fn tell(&mut self, traffic: Traffic, now: Instant) -> Option<Event> {
        let mut fetching = Fetching::from(traffic);
        fetching.of += self.to_come.values().sum::<u64>();
        let before = self.told.map_or((0, 0, 0), |(told, _)| (told.bytes, told.resumed, told.of));
        // One that only stands still is told of by the clock of whoever shows it.
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
        let mut tally = Tally::default();
        tally.expect(0, 100);
        tally.expect(1, 50);
        let began = Instant::now();
        assert_eq!(figures(tally.now(traffic(0, 0, 0), began)), None, "nothing has come");
        tally.begun(0);
        assert_eq!(figures(tally.now(traffic(10, 20, 70), began)), Some((10, 20, 150)));
        assert_eq!(figures(tally.now(traffic(20, 20, 60), began)), None, "that was a moment ago");
        let later = began + EVERY;
        assert_eq!(figures(tally.now(traffic(20, 20, 60), later)), Some((20, 20, 150)));
        assert_eq!(figures(tally.now(traffic(20, 20, 60), later + EVERY)), None, "nothing has changed");
        // The second is not fetched after all.
        assert_eq!(figures(tally.last(traffic(80, 20, 0))), Some((80, 20, 100)));
    }
}
