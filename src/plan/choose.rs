//! The choice of a verdict for an action whose inputs are known.
//!
//! The order of the questions is the policy; the answers come through [`Facts`], so that the policy can be tested without a
//! disk.

use std::sync::Arc;

use super::error::PlanError;
use super::reason::Reason;
use super::verdict::{ActionResult, StrongKey, Verdict};
use crate::remote::Hit;
use crate::store::StoredResult;

/// The facts that a verdict is chosen from. Each is established only if those before it leave the verdict open.
pub(super) trait Facts {
    /// Whether the user asked for a run.
    fn is_forced(&self) -> bool;

    /// The node's last result, if that is what its present inputs lead to.
    fn last_result(&self) -> Result<Option<LastResult>, PlanError>;

    /// The local cache. `known` is the strong key, if it is known before the lookup.
    fn look_up(&self, known: Option<StrongKey>) -> Result<CacheLookup, PlanError>;

    /// The remote caches.
    fn look_up_remotes(&self, known: Option<StrongKey>) -> Result<Option<(StrongKey, Hit)>, PlanError>;

    /// The differences from the last run.
    fn changes(&self) -> Result<Vec<Reason>, PlanError>;
}

/// The last result of a node, still valid for its inputs.
#[derive(Debug)]
pub(super) struct LastResult {
    /// Its key.
    pub strong: StrongKey,
    /// The result.
    pub result: ActionResult,
    /// The outputs that are not in place.
    pub misplaced: Vec<Reason>,
    /// Why the result is too old, if it is.
    pub expired: Option<Reason>,
}

/// The answer of the local cache for an action.
#[derive(Debug)]
pub enum CacheLookup {
    /// A result of which all blobs are present.
    Hit(StrongKey, Box<StoredResult>),
    /// A result that can't be used, with the reasons: blobs are missing, or it is too old.
    Unusable(Vec<Reason>),
    /// No result.
    Miss,
}

/// Chooses the verdict, and returns the strong key of a known result. `declared` is the strong key of an action whose reads
/// are not discovered. `lost`: a blob of the known result is missing, so the last result is not fresh.
pub(super) fn choose(
    facts: &impl Facts,
    declared: Option<StrongKey>,
    lost: bool,
) -> Result<(Verdict, Option<StrongKey>), PlanError> {
    if facts.is_forced() {
        return Ok((Verdict::Stale(vec![Reason::Forced]), declared));
    }
    let mut strong = declared;
    let mut restore_reasons = vec![Reason::SeenBefore];
    let mut expired = None;
    if let Some(last) = facts.last_result()? {
        strong = Some(last.strong);
        if last.misplaced.is_empty() && last.expired.is_none() && !lost {
            return Ok((Verdict::Fresh(last.result), strong));
        }
        if !last.misplaced.is_empty() || lost {
            restore_reasons = last.misplaced;
        }
        expired = last.expired;
    }
    let unusable = match facts.look_up(strong)? {
        CacheLookup::Hit(key, result) => {
            let StoredResult { outcome, outputs, run, .. } = *result;
            let result = ActionResult { outcome, outputs: outputs.into(), run: Some(run) };
            return Ok((Verdict::Cached(result, restore_reasons), Some(key)));
        }
        CacheLookup::Unusable(reasons) => Some(reasons),
        CacheLookup::Miss => None,
    };
    if let Some((key, hit)) = facts.look_up_remotes(strong)? {
        let outputs = hit.entry.outputs.iter().map(|(name, output)| (name.clone(), output.artifact()));
        let result = ActionResult { outcome: hit.entry.outcome, outputs: outputs.collect(), run: None };
        return Ok((Verdict::Remote(result, Arc::new(hit)), Some(key)));
    }
    let reasons = match (unusable, expired) {
        (Some(reasons), _) => reasons,
        (None, Some(expired)) => vec![expired],
        (None, None) => facts.changes()?,
    };
    Ok((Verdict::Stale(reasons), strong))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::store::{Built, Origin, Outcome, RunId};

    /// Facts that are given.
    #[derive(Default)]
    struct Given {
        forced: bool,
        last: Option<(Vec<Reason>, Option<Reason>)>,
        cache: Option<Result<(), Vec<Reason>>>,
        remotes_fail: bool,
    }

    fn key(name: &str) -> StrongKey {
        StrongKey { key: Digest::of_bytes(name.as_bytes()), path_set: Digest::of_bytes(b"paths") }
    }

    fn changed() -> Reason {
        Reason::MoreFiles { source: "linux".to_owned(), count: 1 }
    }

    impl Facts for Given {
        fn is_forced(&self) -> bool {
            self.forced
        }

        fn last_result(&self) -> Result<Option<LastResult>, PlanError> {
            Ok(self.last.clone().map(|(misplaced, expired)| LastResult {
                strong: key("last"),
                result: ActionResult::empty(),
                misplaced,
                expired,
            }))
        }

        fn look_up(&self, known: Option<StrongKey>) -> Result<CacheLookup, PlanError> {
            Ok(match &self.cache {
                None => CacheLookup::Miss,
                Some(Err(reasons)) => CacheLookup::Unusable(reasons.clone()),
                Some(Ok(())) => {
                    let result = StoredResult {
                        action_key: Digest::of_bytes(b"action"),
                        outcome: Outcome::Pass,
                        outputs: Vec::new(),
                        log: None,
                        run: RunId::ELSEWHERE,
                        built: Built::FromNothing,
                        origin: Origin::Local,
                    };
                    CacheLookup::Hit(known.unwrap_or_else(|| key("found")), Box::new(result))
                }
            })
        }

        fn look_up_remotes(&self, _: Option<StrongKey>) -> Result<Option<(StrongKey, Hit)>, PlanError> {
            let failed = || PlanError::Unusable { node: "node".to_owned(), message: "asked".to_owned() };
            if self.remotes_fail { Err(failed()) } else { Ok(None) }
        }

        fn changes(&self) -> Result<Vec<Reason>, PlanError> {
            Ok(vec![changed()])
        }
    }

    #[test]
    fn the_first_fact_that_settles_the_verdict_decides() {
        let old = || Reason::TooOld { age_seconds: Some(9), limit_seconds: 5 };
        let moved = || Reason::Misplaced { path: "a/config".into() };
        let lost = || Reason::BlobMissing { output: "config".to_owned() };
        let in_place = || Some((Vec::new(), None));
        let hit = || Some(Ok(()));
        // Facts, whether a blob is lost, and the verdict with its reasons and its strong key.
        #[rustfmt::skip]
        let cases: Vec<(&str, Given, bool, &str, Vec<Reason>, Option<StrongKey>)> = vec![
            ("nothing is known", Given::default(), false, "stale", vec![changed()], None),
            ("in place", Given { last: in_place(), ..Given::default() }, false, "fresh", vec![], Some(key("last"))),
            ("forced", Given { forced: true, last: in_place(), cache: hit(), ..Given::default() }, false, "stale", vec![Reason::Forced], None),
            ("moved, and cached", Given { last: Some((vec![moved()], None)), cache: hit(), ..Given::default() },
                false, "cached", vec![moved()], Some(key("last"))),
            ("moved, and not cached", Given { last: Some((vec![moved()], None)), ..Given::default() },
                false, "stale", vec![changed()], Some(key("last"))),
            ("seen before", Given { cache: hit(), ..Given::default() },
                false, "cached", vec![Reason::SeenBefore], Some(key("found"))),
            ("too old", Given { last: Some((Vec::new(), Some(old()))), ..Given::default() },
                false, "stale", vec![old()], Some(key("last"))),
            ("a lost blob", Given { last: in_place(), cache: Some(Err(vec![lost()])), ..Given::default() },
                true, "stale", vec![lost()], Some(key("last"))),
            ("too old, and a blob is missing",
                Given { last: Some((Vec::new(), Some(old()))), cache: Some(Err(vec![lost()])), ..Given::default() },
                false, "stale", vec![lost()], Some(key("last"))),
            ("a lost blob elsewhere", Given { last: in_place(), cache: hit(), ..Given::default() },
                true, "cached", vec![], Some(key("last"))),
        ];
        for (case, facts, lost, word, reasons, strong) in cases {
            let (verdict, found) = choose(&facts, None, lost).unwrap();
            assert_eq!(verdict.word(), word, "{case}");
            assert_eq!(found, strong, "{case}");
            let (Verdict::Stale(given) | Verdict::Cached(_, given)) = &verdict else {
                assert!(reasons.is_empty(), "{case}");
                continue;
            };
            assert_eq!(*given, reasons, "{case}");
        }
    }
    #[test]
    fn remotes_are_asked_if_nothing_here_can_be_used() {
        let in_place = Some((Vec::new(), None));
        let here = [
            Given { last: in_place, remotes_fail: true, ..Given::default() },
            Given { cache: Some(Ok(())), remotes_fail: true, ..Given::default() },
        ];
        for facts in here {
            choose(&facts, None, false).unwrap();
        }
        let missing = Reason::BlobMissing { output: "config".to_owned() };
        for cache in [None, Some(Err(vec![missing]))] {
            choose(&Given { cache, remotes_fail: true, ..Given::default() }, None, false).unwrap_err();
        }
    }
}
