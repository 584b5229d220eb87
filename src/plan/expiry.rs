//! Expiry of results, for rules that limit their age (`outcome: (older_than: "30days")`).

use std::time::{Duration, SystemTime};

use super::reason::Reason;

/// Why a result that was made at `made` is too old, if it is. A result of unknown age is; one from the future, as after a
/// clock was set back, is not.
pub(super) fn reason(now: SystemTime, made: Option<SystemTime>, limit: Duration) -> Option<Reason> {
    let age = made.map(|made| now.duration_since(made).unwrap_or_default());
    if age.is_some_and(|age| age <= limit) {
        return None;
    }
    Some(Reason::TooOld { age_seconds: age.map(|age| age.as_secs()), limit_seconds: limit.as_secs() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_within_the_limit_are_valid() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let limit = Duration::from_secs(100);
        let at = |seconds: i64| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.cast_unsigned()));
        assert_eq!(reason(now, at(999_900), limit), None);
        assert_eq!(reason(now, at(1_000_050), limit), None, "the clock was set back");
        let old = Reason::TooOld { age_seconds: Some(101), limit_seconds: 100 };
        assert_eq!(reason(now, at(999_899), limit), Some(old.clone()));
        assert_eq!(old.to_string(), "its result is 1m 41s old, and the limit is 1m 40s");
        let unknown = reason(now, None, limit).unwrap();
        assert_eq!(unknown.to_string(), "the age of its result is unknown, and the limit is 1m 40s");
    }
}
