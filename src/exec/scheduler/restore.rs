//! Handling the end of a restore: the result is recorded, or the node is decided again without it.

use std::process;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::super::error::ExecError;
use super::super::event::{Finished, How};
use super::core::Scheduler;
use super::options::Goal;
use super::record::recorded_state;
use super::restore_outputs::{RestoreError, Restored};
use super::work::{Transition, Work};
use crate::graph::NodeId;
use crate::plan::{ActionResult, Decision, KeyInputs, Reason, Verdict};
use crate::remote::Hit;
use crate::source::PathSet;
use crate::store::{Built, Origin, Outcome, Run, RunId, StoredResult};

impl Scheduler<'_, '_> {
    pub(super) fn restored(
        &mut self,
        id: NodeId,
        restored: Result<Restored, RestoreError>,
    ) -> Result<(), ExecError> {
        let (work, _) = self.release(id)?;
        let Work::Restore { key_inputs, known, hit } = work else { unreachable!("a result was restored") };
        let name = self.graph.name(id).clone();
        let restored = match restored {
            Ok(restored) => restored,
            Err(error) if error.is_miss() => {
                if let (Some(hit), Some(remotes)) = (&hit, self.build.remotes) {
                    remotes.spoil(hit);
                }
                let then = if self.options.goal == Goal::Build { "; it runs again" } else { "" };
                self.warn(format!("{name}: {error}{then}"));
                return self.discard_result(id, key_inputs, &known, hit.as_deref());
            }
            // The result is good, but can't be put in place: running the action again would not help.
            Err(error) => return self.not_restored(id, error.to_string()),
        };
        let run = match (&hit, restored.path_set) {
            (Some(hit), Some(path_set)) => {
                Some(self.record_fetched(&name, &key_inputs, &known, hit, &path_set)?)
            }
            _ => known.run,
        };
        if let Some(run) = run {
            let outputs = known.outputs.to_vec();
            let state = recorded_state(
                run,
                known.outcome,
                &key_inputs,
                key_inputs.keys.strong,
                outputs,
                restored.placed,
            );
            let project = self.build.project();
            self.build.store.batch(|batch| batch.set_node(project, &name, &state))?;
        }
        self.summary.restored += 1;
        if known.outcome == Outcome::Fail {
            self.count_failure(id);
        }
        let message = hit.map(|hit| format!("from {}", hit.remote));
        self.emit_finished(Finished { message, ..self.finished(id, known.outcome, How::Restored) });
        self.transition(id, Transition::Settled(ActionResult { run, ..known }));
        self.decide_readers(id)
    }

    /// Decides a node as if the result that it was to restore did not exist.
    fn discard_result(
        &mut self,
        id: NodeId,
        key_inputs: Arc<KeyInputs>,
        known: &ActionResult,
        hit: Option<&Hit>,
    ) -> Result<(), ExecError> {
        if hit.is_some() {
            // The inputs of an action that the next build runs are part of a restore.
            self.plan_again |= self.options.goal == Goal::Restore;
            // Another remote may have the result.
            return self.decide_again(id);
        }
        let store = self.build.store;
        let gone =
            known.outputs.iter().filter(|(_, artifact)| !store.has_artifact(artifact).unwrap_or(false));
        let mut reasons: Vec<Reason> =
            gone.map(|(output, _)| Reason::BlobMissing { output: output.clone() }).collect();
        if reasons.is_empty() {
            reasons.push(Reason::LastRun { outcome: known.outcome });
        }
        if let Some(strong) = key_inputs.keys.strong {
            store.forget(&strong.key)?;
        }
        self.transition(id, Transition::Withdrawn);
        self.apply(
            id,
            Decision { verdict: Verdict::Stale(reasons), keys: None, key_inputs: Some(key_inputs) },
        );
        Ok(())
    }

    /// Records the result of a remote as one of this cache, with a run that stands for the fetch.
    fn record_fetched(
        &self,
        name: &str,
        key_inputs: &KeyInputs,
        known: &ActionResult,
        hit: &Hit,
        path_set: &PathSet,
    ) -> Result<RunId, ExecError> {
        let strong = key_inputs.keys.strong.expect("a result is found by its strong key");
        let reason = Reason::Remote { remote: hit.remote.clone(), signed_by: hit.signed_by.clone() };
        let log = hit.log();
        let run = Run {
            node: name.to_owned(),
            action_key: key_inputs.keys.action,
            strong_key: Some(strong.key),
            path_set: Some(strong.path_set),
            outcome: known.outcome,
            started: SystemTime::now(),
            duration: Duration::ZERO,
            cpu: Duration::ZERO,
            max_rss: 0,
            reasons: serde_json::to_string(&[reason]).unwrap_or_default(),
            manifest: Some(key_inputs.manifest.encode()),
            log,
            pid: process::id(),
            continued: false,
        };
        let listings = self.build.sources.new_listings(&key_inputs.manifest)?;
        let project = self.build.project();
        Ok(self.build.store.batch(|batch| {
            batch.put_listings(listings.iter().map(|(digest, listing)| (digest, listing.bytes())))?;
            let run = batch.record_run(project, &run)?;
            let result = StoredResult {
                action_key: key_inputs.keys.action,
                outcome: known.outcome,
                outputs: known.outputs.to_vec(),
                log,
                run,
                built: Built::by_run(hit.entry.continued),
                origin: Origin::Remote(hit.remote.clone()),
            };
            batch.record(&strong.key, path_set, &result)?;
            batch.put_sealed(&strong.key, &hit.sealed)?;
            Ok(run)
        })?)
    }

    /// Handles a good result whose outputs could not be put in place.
    fn not_restored(&mut self, id: NodeId, message: String) -> Result<(), ExecError> {
        self.count_infra(id, message.clone());
        self.transition(id, Transition::Failed(Outcome::Infra));
        let message = Some(message);
        self.emit_finished(Finished { message, ..self.finished(id, Outcome::Infra, How::Restored) });
        self.decide_readers(id)
    }
}
