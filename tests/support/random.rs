//! Random numbers that are the same for the same seed, whatever version of whatever library is used; and the seeds of walks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `SplitMix64`.
pub struct Random(u64);

impl Random {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Seeded by an environment variable, or else by the time. Prints the seed.
    pub fn from_variable_or_time(variable: &str) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let seed = number(variable).unwrap_or(now.as_secs() ^ u64::from(now.subsec_nanos()) << 32);
        eprintln!("{variable}={seed} repeats this test");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    /// A time of less than so many milliseconds.
    pub fn milliseconds(&mut self, end: u64) -> Duration {
        Duration::from_millis(self.next() % end)
    }

    /// True with that probability in percent.
    pub fn percent(&mut self, chances: usize) -> bool {
        self.below(100) < chances
    }

    /// One of these.
    pub fn of<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        &things[self.below(things.len())]
    }
}

/// One of several random walks, each a test of its own.
pub struct WalkSettings {
    pub seed: u64,
    pub steps: usize,
}

impl WalkSettings {
    /// Walk number `walk` (from 1) of `walks`, which take `steps` steps together. `PREFIX_SEED` sets the first walk's seed,
    /// `PREFIX_STEPS` the number of steps of all walks.
    pub fn new(prefix: &str, walk: u64, walks: usize, steps: usize) -> Self {
        let seed = number(&format!("{prefix}_SEED")).map_or(walk, |seed| seed + walk - 1);
        let all = number(&format!("{prefix}_STEPS")).map_or(steps, |steps| usize::try_from(steps).unwrap());
        Self { seed, steps: all.div_ceil(walks) }
    }
}

/// The number in an environment variable, unless it is empty or not set.
pub fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok().filter(|value| !value.is_empty())?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable}={value} is no number")))
}
