//! Recording: what a run made, and what it was made from, goes into the cache in one transaction.

use std::process;
use std::sync::Arc;
use std::time::Duration;

use super::super::error::ExecError;
use super::super::event::{Finished, How};
use super::super::run_result::RunResult;
use super::core::Scheduler;
use super::options::Goal;
use super::work::{Transition, Work};
use crate::graph::NodeId;
use crate::plan::{ActionResult, KeyInputs, Outputs, Reason, StrongKey, is_reusable};
use crate::store::{
    Artifact, Built, NodeRecord, NodeState, Origin, Outcome, Placed, Run, RunId, StoredResult,
};

impl<'a> Scheduler<'a, '_> {
    /// Handles the end of an action's run.
    pub(super) fn ran(&mut self, id: NodeId, result: RunResult) -> Result<(), ExecError> {
        let (work, lock) = self.release(id)?;
        let Work::Run { key_inputs, reasons } = work else { unreachable!("an action ran") };
        let name = self.graph.name(id).clone();
        let outputs: Outputs = result.outputs.clone().into();
        let before = self.build.previous.get(&*name).and_then(NodeState::record);
        let is_unchanged = result.outcome == Outcome::Pass
            && before.is_some_and(|before| self.made(id, &before.outputs).eq(self.made(id, &outputs)));
        let run = self.record(&name, id, &key_inputs, &reasons, &result)?;
        // Not before the result is recorded: a process that waits for the lock then finds it.
        drop(lock);
        if result.outcome == Outcome::Infra && result.lost.is_some() {
            self.blob_lost(id, &format!("{name}: {}", result.message.unwrap_or_default()));
            return Ok(());
        }
        self.summary.ran += 1;
        self.summary.unchanged += usize::from(is_unchanged);
        let transition = match result.outcome {
            outcome @ (Outcome::Pass | Outcome::Fail) if outcome == Outcome::Pass || !outputs.is_empty() => {
                Transition::Settled(ActionResult { outcome, outputs, run: Some(run) })
            }
            outcome => Transition::Failed(outcome),
        };
        match result.outcome {
            Outcome::Pass => {}
            Outcome::Fail => self.count_failure(id),
            Outcome::Infra => self.summary.infra += 1,
            Outcome::Cancelled => self.summary.interrupted = true,
            Outcome::Skipped => self.summary.skipped += 1,
        }
        // A job that no lab takes is no reason to stop others.
        if !matches!(result.outcome, Outcome::Pass | Outcome::Skipped) && !self.options.keep_going {
            self.stopping = true;
        }
        self.transition(id, transition);
        if let Some(message) = &result.message {
            self.messages.insert(id, message.clone());
        }
        let how = if is_unchanged { How::RanUnchanged } else { How::Ran };
        self.emit_finished(Finished {
            message: result.message,
            duration: result.duration,
            continued: result.continued,
            log_tail: result.log_tail,
            ..self.finished(id, result.outcome, how)
        });
        self.decide_readers(id)
    }

    /// The outputs among these that the action itself makes. Reports about its run are not compared.
    fn made<'o>(
        &self,
        id: NodeId,
        outputs: &'o [(String, Artifact)],
    ) -> impl Iterator<Item = &'o (String, Artifact)> + use<'_, 'o, 'a> {
        let action = self.graph.node(id).action();
        outputs.iter().filter(move |(output, _)| action.is_none_or(|action| action.makes(output)))
    }

    fn record(
        &self,
        name: &str,
        id: NodeId,
        key_inputs: &KeyInputs,
        reasons: &[Reason],
        result: &RunResult,
    ) -> Result<RunId, ExecError> {
        let action = self.graph.node(id).action().expect("an action ran");
        let store = self.build.store;
        let outcome = result.own_outcome.unwrap_or(result.outcome);
        let is_cached = is_reusable(action, outcome);
        let strong = result.read.as_ref().map(|read| read.strong);
        if let (Outcome::Fail, false, Some(strong)) = (outcome, is_cached, strong) {
            // An earlier pass with the same inputs can't be relied on any more.
            store.forget(&strong.key)?;
        }
        let run = Run {
            node: name.to_owned(),
            action_key: key_inputs.keys.action,
            strong_key: strong.map(|strong| strong.key),
            path_set: strong.map(|strong| strong.path_set),
            outcome: result.outcome,
            started: result.started,
            duration: result.duration,
            cpu: result.usage.user + result.usage.system,
            max_rss: result.usage.max_rss_bytes,
            reasons: serde_json::to_string(reasons).unwrap_or_default(),
            manifest: Some(key_inputs.manifest.encode()),
            log: result.log,
            pid: process::id(),
            continued: result.continued,
        };
        let listings = self.build.sources.new_listings(&key_inputs.manifest)?;
        let project = self.build.project();
        Ok(store.batch(|batch| {
            batch.put_listings(listings.iter().map(|(digest, listing)| (digest, listing.bytes())))?;
            let run = batch.record_run(project, &run)?;
            if let (true, Some(read)) = (is_cached, &result.read) {
                let stored = StoredResult {
                    action_key: key_inputs.keys.action,
                    outcome,
                    outputs: result.outputs.clone(),
                    log: result.log,
                    run,
                    built: Built::by_run(result.continued),
                    origin: Origin::Local,
                };
                batch.record(&read.strong.key, &read.set, &stored)?;
            }
            batch.settle(&key_inputs.keys.exact_key)?;
            if matches!(result.outcome, Outcome::Pass | Outcome::Fail) {
                let (outputs, placed) = (result.outputs.clone(), result.placed.clone());
                let state = recorded_state(run, result.outcome, key_inputs, strong, outputs, placed);
                batch.set_node(project, name, &state)?;
            }
            Ok(run)
        })?)
    }

    /// Handles the end of unpacking a source tree.
    pub(super) fn unpacked(
        &mut self,
        id: NodeId,
        duration: Duration,
        notes: Result<Vec<String>, String>,
    ) -> Result<(), ExecError> {
        self.release(id)?;
        self.summary.ran += 1;
        let mut end = Finished { duration, ..self.finished(id, Outcome::Pass, How::Ran) };
        match notes {
            Ok(notes) => {
                for note in notes {
                    self.warn(note);
                }
                let known = ActionResult { outcome: Outcome::Pass, outputs: Arc::from([]), run: None };
                self.transition(id, Transition::Settled(known));
                // Which results a restore fetches depends on the whole plan.
                self.plan_again |= self.options.goal == Goal::Restore;
            }
            Err(message) => {
                end.outcome = Outcome::Infra;
                end.message = Some(message.clone());
                self.count_infra(id, message);
                self.transition(id, Transition::Failed(Outcome::Infra));
            }
        }
        self.emit_finished(end);
        if self.plan_again { Ok(()) } else { self.decide_readers(id) }
    }
}

/// The state of a node as the cache records it.
pub(super) fn recorded_state(
    run: RunId,
    outcome: Outcome,
    key_inputs: &KeyInputs,
    strong: Option<StrongKey>,
    outputs: Vec<(String, Artifact)>,
    placed: Vec<Placed>,
) -> NodeState {
    let trees = key_inputs.manifest.trees().iter().map(|tree| (tree.input.clone(), tree.digest)).collect();
    let record = NodeRecord { outputs, placed, trees };
    let mut state = NodeState::new(run, outcome, key_inputs.keys.action, &record);
    state.path_set = strong.map(|strong| strong.path_set);
    state.strong_key = strong.map(|strong| strong.key);
    state
}
