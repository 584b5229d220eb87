//! Importing: the results of a bundle become ones of the store, if they count.

use std::time::Duration;

use super::Remote as _;
use super::bundle::Bundle;
use super::candidates;
use super::client::Remotes;
use super::fetch::FetchError;
use super::keys::Trust;
use super::line::Line;
use crate::digest::Digest;
use crate::store::{Built, Origin, RunId, Store, StoreError, StoredResult};

/// What an import came to.
#[derive(Debug, Default)]
pub struct Imported {
    /// Results that are in the store now.
    pub results: usize,
    /// Of these, the ones that were there already.
    pub known: usize,
    /// Bytes of blobs that came.
    pub bytes: u64,
    /// What did not count, or could not be read, and why.
    pub refused: Vec<String>,
}

/// Takes all results of a bundle that count into the store. One that does not costs the others nothing.
pub fn import(store: &Store, name: &str, bundle: Bundle, trust: Trust) -> Result<Imported, StoreError> {
    // Lists of path sets come with the results that they lead to.
    let is_list = |key: &Digest| {
        let entry = bundle.entry(key).ok().flatten();
        entry.is_some_and(|entry| candidates::decode(&entry).is_ok())
    };
    let keys: Vec<Digest> = bundle.entries().copied().filter(|key| !is_list(key)).collect();
    // A file answers at once.
    let mut line = Line::new(name, Box::new(bundle), Duration::from_secs(1));
    line.trust = trust;
    let remotes = Remotes::new(vec![line]);
    let mut imported = Imported::default();
    for key in keys {
        let Some(hit) = remotes.result(&key, |_| true) else { continue };
        if store.result(&key)?.is_some_and(|known| all_here(store, &known)) {
            imported.results += 1;
            imported.known += 1;
            continue;
        }
        let Some(set) = remotes.path_set(&hit.path_set()) else {
            imported.refused.push(format!("{name}: what was read for result {} is not there", key.short()));
            continue;
        };
        match remotes.fetch(store, &hit) {
            Ok(()) => {}
            Err(FetchError::Gone { .. }) => continue,
            Err(FetchError::Store(error)) => return Err(error),
        }
        let outputs = hit.entry.outputs.iter().map(|(name, output)| (name.clone(), output.artifact()));
        let result = StoredResult {
            action_key: hit.entry.action_key,
            outcome: hit.entry.outcome,
            outputs: outputs.collect(),
            log: hit.log(),
            run: RunId::ELSEWHERE,
            built: Built::by_run(hit.entry.continued),
            origin: Origin::Remote(name.to_owned()),
        };
        store.batch(|batch| {
            batch.record(&key, &set, &result)?;
            batch.put_sealed(&key, &hit.sealed)
        })?;
        imported.results += 1;
    }
    imported.bytes = remotes.traffic().came;
    imported.refused.extend(remotes.warnings());
    Ok(imported)
}

fn all_here(store: &Store, result: &StoredResult) -> bool {
    result.outputs.iter().all(|(_, artifact)| store.has_artifact(artifact).unwrap_or(false))
}
