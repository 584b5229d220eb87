//! The two-phase lookup of results, in the local cache and at remotes.
//!
//! The action key leads to the path sets of earlier runs, newest first. Each of these, with the present content of its paths,
//! gives the strong key of a possible result. `BuildXL` calls the two keys weak and strong fingerprint.

use std::sync::Arc;

use super::choose::CacheLookup;
use super::context::BuildContext;
use super::error::PlanError;
use super::expiry;
use super::reason::Reason;
use super::verdict::{KeyInputs, Keys, StrongKey};
use crate::digest::Digest;
use crate::graph::Action;
use crate::remote::{Hit, Remotes};
use crate::store::{Artifact, Outcome, RunId, StoredPathSet, StoredResult};

/// Whether an outcome is a reusable result of this action.
pub fn is_reusable(action: &Action, outcome: Outcome) -> bool {
    match outcome {
        Outcome::Pass => true,
        Outcome::Fail => action.rule.decl.outcome.cache_fail,
        Outcome::Infra | Outcome::Skipped | Outcome::Cancelled => false,
    }
}

/// Looks for a result of an action in the local cache. A strong key that is `known` is tried first.
pub fn look_up(
    context: &BuildContext<'_>,
    action: &Action,
    key_inputs: &KeyInputs,
    known: Option<StrongKey>,
) -> Result<CacheLookup, PlanError> {
    look_up_in(&LocalCache { context, action, key_inputs }, known)
}

/// A cache of results, for one action.
trait ResultCache {
    /// The reusable result of a strong key.
    fn result(&self, strong_key: &Digest) -> Result<Option<StoredResult>, PlanError>;

    /// The path sets of the action's earlier runs, newest first. None if reads are not discovered.
    fn path_sets(&self) -> Result<Vec<Arc<StoredPathSet>>, PlanError>;

    /// The strong key of the action with this path set; `None` if it can't have read that.
    fn strong_key(&self, set: &StoredPathSet) -> Result<Option<Digest>, PlanError>;

    /// Why the result of a run is too old, if it is.
    fn expired(&self, run: RunId) -> Result<Option<Reason>, PlanError>;

    /// Whether all blobs of an artifact are present.
    fn has_artifact(&self, artifact: &Artifact) -> Result<bool, PlanError>;
}

/// Both phases. A strong key that is `known` is tried first: it was declared, or is that of the node's last result.
fn look_up_in(cache: &impl ResultCache, known: Option<StrongKey>) -> Result<CacheLookup, PlanError> {
    let mut unusable = CacheLookup::Miss;
    let mut look = |strong: StrongKey| -> Result<Option<CacheLookup>, PlanError> {
        let Some(result) = cache.result(&strong.key)? else { return Ok(None) };
        let mut reasons = Vec::from_iter(cache.expired(result.run)?);
        for (output, artifact) in &result.outputs {
            if !cache.has_artifact(artifact)? {
                reasons.push(Reason::BlobMissing { output: output.clone() });
            }
        }
        if reasons.is_empty() {
            return Ok(Some(CacheLookup::Hit(strong, Box::new(result))));
        }
        unusable = CacheLookup::Unusable(reasons);
        Ok(None)
    };
    if let Some(strong) = known
        && let Some(found) = look(strong)?
    {
        return Ok(found);
    }
    for set in cache.path_sets()? {
        if let Some(key) = cache.strong_key(&set)?
            && let Some(found) = look(StrongKey { key, path_set: set.digest })?
        {
            return Ok(found);
        }
    }
    Ok(unusable)
}

/// The cache of this machine.
struct LocalCache<'a, 'w> {
    context: &'a BuildContext<'w>,
    action: &'a Action,
    key_inputs: &'a KeyInputs,
}

impl ResultCache for LocalCache<'_, '_> {
    fn result(&self, strong_key: &Digest) -> Result<Option<StoredResult>, PlanError> {
        let result = self.context.store.result(strong_key)?;
        Ok(result.filter(|result| is_reusable(self.action, result.outcome)))
    }

    fn path_sets(&self) -> Result<Vec<Arc<StoredPathSet>>, PlanError> {
        let KeyInputs { keys, manifest } = self.key_inputs;
        Ok(if manifest.is_discovered() { self.context.store.path_sets(&keys.action)? } else { Vec::new() })
    }

    fn strong_key(&self, set: &StoredPathSet) -> Result<Option<Digest>, PlanError> {
        let KeyInputs { keys, manifest } = self.key_inputs;
        self.context.strong_key_of(&keys.action, manifest, set)
    }

    fn expired(&self, run: RunId) -> Result<Option<Reason>, PlanError> {
        expired(self.context, self.action, Some(run))
    }

    fn has_artifact(&self, artifact: &Artifact) -> Result<bool, PlanError> {
        Ok(self.context.store.has_artifact(artifact)?)
    }
}

/// Why the result of a run is too old for its rule, if it is. Without a run, nobody knows when it was made.
pub(super) fn expired(
    context: &BuildContext<'_>,
    action: &Action,
    run: Option<RunId>,
) -> Result<Option<Reason>, PlanError> {
    let Some(limit) = action.rule.decl.outcome.older_than else { return Ok(None) };
    let made = run.map(|run| context.made_at(run)).transpose()?.flatten();
    Ok(expiry::reason(context.now, made, limit))
}

/// Looks for a result of an action at the remotes.
pub(super) fn look_up_remotes(
    context: &BuildContext<'_>,
    action: &Action,
    key_inputs: &KeyInputs,
    known: Option<StrongKey>,
) -> Result<Option<(StrongKey, Hit)>, PlanError> {
    let Some(remotes) = context.remotes else { return Ok(None) };
    // A remote does not say when a result was made.
    if expired(context, action, None)?.is_some() {
        return Ok(None);
    }
    let KeyInputs { keys: Keys { action: action_key, .. }, manifest } = key_inputs;
    let look = |strong: StrongKey| look_at_remotes(remotes, action, action_key, strong);
    if let Some(strong) = known
        && let Some(found) = look(strong)
    {
        return Ok(Some(found));
    }
    if !manifest.is_discovered() {
        return Ok(None);
    }
    for set in remotes.path_sets(action_key, manifest.least()) {
        let Some((key, paths)) = context.remote_strong_key(action_key, manifest, remotes, &set)? else {
            continue;
        };
        if let Some(found) = look(StrongKey { key, path_set: set.digest }) {
            if let Some(paths) = paths {
                remotes.remember(set.digest, paths);
            }
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The result of a strong key at the remotes. An entry for another key, another path set or an outcome that can't be reused
/// does not count.
fn look_at_remotes(
    remotes: &Remotes,
    action: &Action,
    action_key: &Digest,
    strong: StrongKey,
) -> Option<(StrongKey, Hit)> {
    let hit = remotes.result(&strong.key, |entry| {
        entry.action_key == *action_key
            && entry.path_set_digest == strong.path_set
            && is_reusable(action, entry.outcome)
    });
    hit.map(|hit| (strong, hit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Provenance;
    use crate::store::{Blob, Built, Origin};

    fn digest(name: &str) -> Digest {
        Digest::of_bytes(name.as_bytes())
    }

    fn strong(key: &str, path_set: &str) -> StrongKey {
        StrongKey { key: digest(key), path_set: digest(path_set) }
    }

    /// A cache in memory. The strong key of a path set has the name of the path set, in capitals.
    struct Given {
        results: Vec<&'static str>,
        path_sets: Vec<&'static str>,
        lost: Vec<&'static str>,
        expired: bool,
    }

    impl ResultCache for Given {
        fn result(&self, strong_key: &Digest) -> Result<Option<StoredResult>, PlanError> {
            let found = self.results.iter().find(|name| digest(name) == *strong_key);
            Ok(found.map(|name| StoredResult {
                action_key: digest("action"),
                outcome: Outcome::Pass,
                outputs: vec![(
                    (*name).to_owned(),
                    Artifact::file(Blob { digest: digest(name), size: 1 }, false),
                )],
                log: None,
                run: RunId::ELSEWHERE,
                built: Built::FromNothing,
                origin: Origin::Local,
            }))
        }

        fn path_sets(&self) -> Result<Vec<Arc<StoredPathSet>>, PlanError> {
            let set = |name: &&str| {
                let (digest, provenance) = (digest(name), Provenance::Opens);
                Arc::new(StoredPathSet { digest, provenance, inputs: Vec::new() })
            };
            Ok(self.path_sets.iter().map(set).collect())
        }

        fn strong_key(&self, set: &StoredPathSet) -> Result<Option<Digest>, PlanError> {
            let name = self.path_sets.iter().find(|name| digest(name) == set.digest);
            Ok(name.filter(|name| **name != "foreign").map(|name| digest(&name.to_uppercase())))
        }

        fn expired(&self, _: RunId) -> Result<Option<Reason>, PlanError> {
            let expired = Reason::TooOld { age_seconds: None, limit_seconds: 1 };
            Ok(self.expired.then_some(expired))
        }

        fn has_artifact(&self, artifact: &Artifact) -> Result<bool, PlanError> {
            let Artifact::File { digest: found, .. } = artifact else { return Ok(true) };
            Ok(!self.lost.iter().any(|name| digest(name) == *found))
        }
    }

    #[test]
    fn the_first_usable_result_is_found() {
        let cache = || Given {
            results: vec!["B", "C", "known"],
            path_sets: vec!["foreign", "a", "b", "c"],
            lost: Vec::new(),
            expired: false,
        };
        let found = |cache: &Given, known: Option<StrongKey>| look_up_in(cache, known).unwrap();
        let is_hit = |lookup: &CacheLookup, key: StrongKey| matches!(lookup, CacheLookup::Hit(found, _) if *found == key);
        let known = strong("known", "paths");
        assert!(is_hit(&found(&cache(), Some(known)), known), "a known key is tried first");
        assert!(is_hit(&found(&cache(), None), strong("B", "b")), "the newest path set with a result");
        let lost = Given { lost: vec!["B"], ..cache() };
        assert!(is_hit(&found(&lost, None), strong("C", "c")), "a result without its blobs is passed over");
        let all_lost = Given { lost: vec!["B", "C"], ..cache() };
        let CacheLookup::Unusable(reasons) = found(&all_lost, None) else { panic!("a hit without blobs") };
        assert_eq!(reasons, [Reason::BlobMissing { output: "C".to_owned() }]);
        let expired = Given { expired: true, ..cache() };
        assert!(matches!(found(&expired, None), CacheLookup::Unusable(_)), "all results are too old");
        let empty = Given { results: Vec::new(), ..cache() };
        assert!(matches!(found(&empty, Some(known)), CacheLookup::Miss));
    }
}
