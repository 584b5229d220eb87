//! Times of the index: milliseconds since 1970.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The present time.
pub(super) fn now() -> i64 {
    of(SystemTime::now())
}

/// A time as the index has it. Before 1970 there is none.
pub(super) fn of(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, length)
}

/// A duration in milliseconds.
pub(super) fn length(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The other way.
pub(super) fn time(milliseconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0))
}
