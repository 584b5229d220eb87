//! Times of runs, for people.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::store::Run;

/// The start of a run in local time.
pub fn local_time(run: &Run) -> String {
    Timestamp::try_from(run.started).map_or_else(
        |_| "at an unknown time".to_owned(),
        |time| time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}
