//! Starting work: resources are reserved, the action's lock is taken, and a worker thread does the rest.

use std::collections::HashMap;
use std::process;
use std::sync::Arc;
use std::time::Instant;

use super::super::attempt::run_action;
use super::super::context::Task;
use super::super::error::ExecError;
use super::super::event::Event;
use super::super::run_loop::Workers;
use super::super::run_result::RunResult;
use super::super::unpack::Unpacking;
use super::super::worker::catch_panic;
use super::core::{Holdings, Scheduler};
use super::restore_outputs::restore_outputs;
use super::work::{Message, State, Transition, Work};
use crate::graph::{Action, NodeId, NodeKind, SourceName};
use crate::plan::{ActionResult, CacheLookup, KeyInputs, Keys, Outputs, Reason, look_up};
use crate::remote::Hit;
use crate::spec::model::Resources;
use crate::store::{BlobError, LockGuard, StoreError};

/// How many threads unpack a source tree at most: more don't make a disk or a repository faster.
const UNPACK_THREADS: u32 = 4;

/// Whether a node was started.
enum Start {
    /// A worker runs, and holds this lock.
    Started(Option<LockGuard>),
    /// Another process, or another node of this run, holds the lock of the same action.
    Locked,
}

impl<'a> Scheduler<'a, '_> {
    /// Starts ready nodes as long as there are resources for them.
    pub(super) fn start_ready<'scope>(
        &mut self,
        workers: &Workers<'scope, 'a, Message>,
    ) -> Result<(), ExecError> {
        self.queue.retry_locked();
        let mut later = Vec::new();
        while let Some(entry) = self.queue.pop() {
            let id = entry.id();
            let State::Ready(work) = self.node_state(id) else { continue };
            let work = work.clone();
            // A cached result that this node reads has turned out to be gone since it was decided.
            if matches!(work, Work::Run { .. }) && self.graph.deps(id).any(|dep| self.outputs(dep).is_none())
            {
                self.decide_again(id)?;
                continue;
            }
            let resources = self.resources_of(id, &work);
            let Some(reservation) = self.resources.reserve(&resources, self.lab(id).as_deref())? else {
                later.push(entry);
                // With a free core, only a pool or memory may have been too small for this one.
                if self.resources.has_no_free_core() {
                    break;
                }
                continue;
            };
            match self.start(id, work, workers) {
                Ok(Start::Started(lock)) => {
                    self.active.insert(id, Holdings { reservation, lock });
                    self.transition(id, Transition::Started);
                }
                Ok(Start::Locked) => {
                    self.resources.release(reservation)?;
                    self.queue.set_aside(entry);
                }
                Err(error) => {
                    self.resources.release(reservation)?;
                    return Err(error);
                }
            }
        }
        for entry in later {
            self.queue.push(entry);
        }
        Ok(())
    }

    /// The lab that a node takes a slot of.
    fn lab(&self, id: NodeId) -> Option<String> {
        let action = self.graph.node(id).action()?;
        Some(action.bindings.text_of(action.rule.decl.kind.lab()?))
    }

    fn resources_of(&self, id: NodeId, work: &Work) -> Resources {
        let cores = |cpu| Resources { cpu, ..Resources::default() };
        match (work, self.graph.node(id).action()) {
            // Its thread only waits for another machine.
            (Work::Run { .. }, Some(action)) if self.runs_remotely(action) => {
                Resources { pools: action.rule.decl.resources.pools.clone(), ..cores(0) }
            }
            (Work::Run { .. }, Some(action)) => action.rule.decl.resources.clone(),
            (Work::Unpack { .. }, _) => cores(UNPACK_THREADS),
            _ => cores(1),
        }
    }

    fn start<'scope>(
        &mut self,
        id: NodeId,
        work: Work,
        workers: &Workers<'scope, 'a, Message>,
    ) -> Result<Start, ExecError> {
        match (&self.graph.node(id).kind, work) {
            (NodeKind::Action(action), Work::Run { key_inputs, reasons }) => {
                let action = Arc::clone(action);
                self.start_run(id, action, key_inputs, reasons, workers)
            }
            (NodeKind::Action(action), Work::Restore { key_inputs, known, hit }) => {
                let action = Arc::clone(action);
                self.start_restore(id, action, &key_inputs, &known, hit, workers)?;
                Ok(Start::Started(None))
            }
            (NodeKind::Source(source), Work::Unpack { reasons }) => {
                let source = source.source.clone();
                self.start_unpack(id, source, reasons, workers)?;
                Ok(Start::Started(None))
            }
            _ => unreachable!("the work of a node is of the node's kind"),
        }
    }

    fn start_run<'scope>(
        &mut self,
        id: NodeId,
        action: Arc<Action>,
        key_inputs: Arc<KeyInputs>,
        reasons: Vec<Reason>,
        workers: &Workers<'scope, 'a, Message>,
    ) -> Result<Start, ExecError> {
        let name = self.graph.name(id).clone();
        let store = self.build.store;
        let Some(lock) = store.try_lock(&key_inputs.keys.exact_key, &name)? else {
            if let Some(holder) = store.lock_holder(&key_inputs.keys.exact_key) {
                let is_first = self.messages.insert(id, holder.to_string()).is_none();
                // Another node of this run may do the same.
                if is_first && holder.pid != process::id() {
                    (self.emit)(&Event::Waiting { node: name, holder: holder.to_string() });
                }
            }
            return Ok(Start::Locked);
        };
        self.messages.remove(&id);
        // Whoever held the lock may have left the result.
        if let Some(work) = self.recorded_since(&name, &action, &key_inputs)? {
            drop(lock);
            self.transition(id, Transition::Withdrawn);
            self.transition(id, Transition::Planned(work.clone()));
            return self.start(id, work, workers);
        }
        let outputs: HashMap<NodeId, Outputs> =
            self.graph.deps(id).filter_map(|dep| Some((dep, self.outputs(dep)?))).collect();
        let expected = self.estimate.durations.get(&id).copied();
        (self.emit)(&Event::Started { node: name.clone(), reasons, expected });
        let context = self.context;
        workers.spawn(move || {
            let outputs_of = |id| outputs.get(&id).cloned().unwrap_or_else(|| Arc::from([]));
            let task =
                Task { name: &name, action: &action, key_inputs: &key_inputs, outputs_of: &outputs_of };
            let result = catch_panic(|| run_action(context, &task)).unwrap_or_else(RunResult::infra);
            Message::Ran(id, Box::new(result))
        });
        Ok(Start::Started(Some(lock)))
    }

    /// A result that another process has recorded since the node was decided.
    fn recorded_since(
        &self,
        name: &str,
        action: &Action,
        key_inputs: &KeyInputs,
    ) -> Result<Option<Work>, ExecError> {
        if self.build.forced.contains(name) {
            return Ok(None);
        }
        let CacheLookup::Hit(strong, result) =
            look_up(self.build, action, key_inputs, key_inputs.keys.strong)?
        else {
            return Ok(None);
        };
        let known =
            ActionResult { outcome: result.outcome, outputs: result.outputs.into(), run: Some(result.run) };
        let keys = Keys { strong: Some(strong), ..key_inputs.keys };
        let key_inputs = Arc::new(KeyInputs { keys, manifest: key_inputs.manifest.clone() });
        Ok(Some(Work::Restore { key_inputs, known, hit: None }))
    }

    fn start_restore<'scope>(
        &mut self,
        id: NodeId,
        action: Arc<Action>,
        key_inputs: &KeyInputs,
        known: &ActionResult,
        hit: Option<Arc<Hit>>,
        workers: &Workers<'scope, 'a, Message>,
    ) -> Result<(), ExecError> {
        let build = self.build;
        if let Some(strong) = key_inputs.keys.strong {
            build.store.take_result(&strong.key)?;
        }
        let outputs = Arc::clone(&known.outputs);
        let declared = key_inputs.manifest.whole();
        self.transfers.begun(id.index());
        workers.spawn(move || {
            let restored =
                catch_panic(|| restore_outputs(build, &action, &outputs, hit.as_deref(), declared))
                    .unwrap_or_else(|bug| Err(BlobError::Store(StoreError::io(&build.out, bug)).into()));
            Message::Restored(id, restored)
        });
        Ok(())
    }

    fn start_unpack<'scope>(
        &mut self,
        id: NodeId,
        source: SourceName,
        reasons: Vec<Reason>,
        workers: &Workers<'scope, 'a, Message>,
    ) -> Result<(), ExecError> {
        let tree = self.build.sources.tree(&source)?;
        let unpacking = Unpacking {
            store: self.build.store,
            threads: self.options.jobs.min(UNPACK_THREADS as usize),
            cancel: self.context.cancel,
        };
        let expected = self.estimate.durations.get(&id).copied();
        (self.emit)(&Event::Started { node: self.graph.name(id).clone(), reasons, expected });
        workers.spawn(move || {
            let began = Instant::now();
            let notes = catch_panic(|| unpacking.run(&source, tree))
                .map_err(|bug| bug.to_string())
                .and_then(|notes| notes.map_err(|error| error.to_string()));
            Message::Unpacked(id, began.elapsed(), notes)
        });
        Ok(())
    }
}
