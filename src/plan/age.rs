//! Results that are too old, for rules that say how long one counts (`outcome: (older_than: "30days")`).

use std::time::{Duration, SystemTime};

use super::reason::Reason;
use super::world::{PlanError, World};
use crate::graph::Action;
use crate::store::RunId;

/// Why a result that comes from that run does not count any more, if it does not. `None` for the run: it is not known, as of
/// what a remote has.
pub(super) fn too_old(
    world: &World<'_>,
    action: &Action,
    run: Option<RunId>,
) -> Result<Option<Reason>, PlanError> {
    let Some(limit) = action.rule.decl.outcome.older_than else { return Ok(None) };
    let made = match run {
        Some(run) => world.made_at(run)?,
        None => None,
    };
    Ok(beyond(world.now, made, limit))
}

/// One of which nobody knows the age may be of any. One from the future, as after a clock that went wrong, is new.
fn beyond(now: SystemTime, made: Option<SystemTime>, limit: Duration) -> Option<Reason> {
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
    fn what_is_within_the_limit_counts() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let limit = Duration::from_secs(100);
        let at = |seconds: i64| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.cast_unsigned()));
        assert_eq!(beyond(now, at(999_900), limit), None);
        assert_eq!(beyond(now, at(1_000_050), limit), None, "a clock that was put back");
        let old = Reason::TooOld { age_seconds: Some(101), limit_seconds: 100 };
        assert_eq!(beyond(now, at(999_899), limit), Some(old.clone()));
        assert_eq!(old.to_string(), "its result is 1m 41s old, and counts for 1m 40s");
        let unknown = beyond(now, None, limit).unwrap();
        assert_eq!(unknown.to_string(), "nobody knows how old its result is, which counts for 1m 40s");
    }
}
