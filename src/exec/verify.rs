//! Verifying: actions run again from scratch, and their outputs are compared with the recorded ones.
//!
//! Such a clean run leaves nothing in `out/`, in the index, or among the kept output directories. It takes no lock: a run of
//! the same action in another process does not affect it. Outputs that differ from the recorded ones are put in the
//! content-addressed store, where they can be inspected and nothing refers to them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::attempt::run_action;
use super::cancel::Cancel;
use super::context::{RunContext, Task};
use super::error::ExecError;
use super::event::{EVENTS_VERSION, Event, Finished, How, Summary};
use super::kind::{Kinds, Runner};
use super::resources::{Reservation, ResourcePool};
use super::run_loop::{Workers, Workload, run_to_end};
use super::run_result::RunResult;
use super::worker::catch_panic;
use crate::graph::{Graph, NodeId};
use crate::plan::{ActionResult, BuildContext, Outputs, Plan, Verdict, key_inputs};
use crate::store::{Artifact, Blob, Outcome};

/// Why a node has no result to compare a clean run with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unverifiable {
    /// It is no action: a source tree or an expansion point.
    #[error("nothing is made there that could be compared")]
    NoAction,
    /// kiln computes the outputs without a sandbox.
    #[error("kiln works it out itself, without a sandbox")]
    Computed,
    /// Downloads or packages.
    #[error("not verified: packages are installed with the time of the day")]
    Builtin,
    /// A boot.
    #[error("boots are not verified: no two consoles are the same")]
    Boot,
    /// It never ran.
    #[error("it has no result: build it first")]
    NeverRan,
    /// Its inputs are not those of its last run.
    #[error("stale: build it first")]
    Stale,
    /// Its result is a failure.
    #[error("its result is a failure, which made nothing that could be compared")]
    Failed,
}

/// The result of a clean run.
#[derive(Debug)]
pub struct Verification {
    /// The node.
    pub node: NodeId,
    /// The outcome of the clean run. Only a pass has outputs.
    pub outcome: Outcome,
    /// An explanation, where the run did not pass.
    pub message: Option<String>,
    /// The last lines of its log, where the run did not pass.
    pub log_tail: Vec<String>,
    /// Its log.
    pub log: Option<Blob>,
    /// Its outputs.
    pub outputs: Vec<OutputComparison>,
    /// How long it took.
    pub duration: Duration,
}

/// A recorded output, and the one that the clean run made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputComparison {
    /// Its name.
    pub output: String,
    /// The recorded artifact.
    pub recorded: Artifact,
    /// The artifact of the clean run.
    pub clean: Artifact,
}

impl Verification {
    /// Whether the clean run made the recorded outputs, bit for bit.
    pub fn is_same(&self) -> bool {
        self.outcome == Outcome::Pass && self.outputs.iter().all(OutputComparison::is_same)
    }
}

impl OutputComparison {
    /// Whether both are the same, bit for bit.
    pub fn is_same(&self) -> bool {
        self.recorded == self.clean
    }
}

/// The recorded result that a clean run of a node can be compared with.
pub fn result_to_compare<'a>(
    build: &BuildContext<'_>,
    graph: &Graph,
    plan: &'a Plan,
    id: NodeId,
    kinds: &dyn Kinds,
) -> Result<&'a ActionResult, Unverifiable> {
    let action = graph.node(id).action().ok_or(Unverifiable::NoAction)?;
    match kinds.runner(action.rule.decl.kind) {
        Runner::Steps | Runner::Checked(_) => {}
        Runner::Watched(_) | Runner::Submitted(_) => return Err(Unverifiable::Boot),
        Runner::Builtin(_) => return Err(Unverifiable::Builtin),
        Runner::Computed(_) => return Err(Unverifiable::Computed),
    }
    match plan.verdict(id) {
        Verdict::Fresh(known) | Verdict::Cached(known, _) if known.outcome == Outcome::Pass => Ok(known),
        Verdict::Fresh(_) | Verdict::Cached(..) => Err(Unverifiable::Failed),
        Verdict::Remote(..)
        | Verdict::Stale(_)
        | Verdict::Unknown(_)
        | Verdict::Blocked(_)
        | Verdict::MissingRequirement(_) => {
            let ran = build.previous.contains_key(&**graph.name(id));
            Err(if ran { Unverifiable::Stale } else { Unverifiable::NeverRan })
        }
    }
}

/// Runs nodes again, each from scratch, with the inputs that the plan knows, in the order given. All must have a
/// [result to compare](result_to_compare). With a budget, nodes that are not expected to end within it are left
/// out, except the first.
#[expect(clippy::too_many_arguments, reason = "each is a thing of its own, and there is one caller")]
pub fn verify(
    build: &BuildContext<'_>,
    graph: &Graph,
    plan: &Plan,
    nodes: &[NodeId],
    jobs: usize,
    budget: Option<Duration>,
    kinds: &dyn Kinds,
    emit: &mut dyn FnMut(&Event),
    cancel: &Cancel,
) -> Result<Vec<Verification>, ExecError> {
    let began = Instant::now();
    let resources = ResourcePool::of_project(&build.spec.project, jobs)?;
    let context = RunContext {
        clean: true,
        ephemeral: true,
        ..RunContext::new(build, kinds, resources.jobserver().clone(), cancel)
    };
    let durations = build.store.durations(build.project())?;
    let expected = |id: NodeId| durations.get(&**graph.name(id)).copied();
    let all = nodes.iter().filter_map(|&id| expected(id)).sum();
    emit(&Event::Begun { version: EVENTS_VERSION, nodes: nodes.len(), fresh: 0, expected: all });
    let mut runs = CleanRuns {
        context: &context,
        graph,
        plan,
        emit,
        resources,
        expected: &expected,
        waiting: nodes.iter().copied().collect(),
        running: HashMap::new(),
        verified: Vec::with_capacity(nodes.len()),
        budget,
        began,
        started: 0,
    };
    run_to_end(&mut runs)?;
    let CleanRuns { emit, verified, .. } = runs;
    emit(&Event::Ended(Summary {
        ran: verified.len(),
        unchanged: verified.iter().filter(|one| one.is_same()).count(),
        interrupted: cancel.is_cancelled(),
        duration: began.elapsed(),
        ..Summary::default()
    }));
    Ok(verified)
}

/// Clean runs. None depends on another: the inputs of all are in the cache.
struct CleanRuns<'a> {
    context: &'a RunContext<'a>,
    graph: &'a Graph,
    plan: &'a Plan,
    emit: &'a mut dyn FnMut(&Event),
    resources: ResourcePool,
    expected: &'a dyn Fn(NodeId) -> Option<Duration>,
    waiting: VecDeque<NodeId>,
    running: HashMap<NodeId, Reservation>,
    verified: Vec<Verification>,
    budget: Option<Duration>,
    began: Instant,
    started: usize,
}

impl<'a> Workload<'a> for CleanRuns<'a> {
    type Message = (NodeId, RunResult);

    fn start<'scope>(&mut self, workers: &Workers<'scope, 'a, Self::Message>) -> Result<(), ExecError> {
        if self.context.cancel.is_cancelled() {
            self.waiting.clear();
        }
        self.keep_within_budget();
        let mut later = VecDeque::new();
        while let Some(id) = self.waiting.pop_front() {
            let action = self.graph.node(id).action().expect("only actions are verified");
            match self.resources.reserve(&action.rule.decl.resources, None)? {
                Some(reservation) => match self.start_one(id, workers) {
                    Ok(()) => {
                        self.running.insert(id, reservation);
                    }
                    Err(error) => {
                        self.resources.release(reservation)?;
                        return Err(error);
                    }
                },
                None => later.push_back(id),
            }
        }
        self.waiting = later;
        Ok(())
    }

    fn handle(&mut self, (id, result): Self::Message) -> Result<(), ExecError> {
        let reservation = self.running.remove(&id).expect("only running nodes end");
        self.resources.release(reservation)?;
        let verification = self.compare(id, result);
        (self.emit)(&Event::Finished(finished(self.graph, &verification)));
        self.verified.push(verification);
        Ok(())
    }

    fn stop(&mut self) {
        self.waiting.clear();
    }

    fn is_over(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }
}

impl<'a> CleanRuns<'a> {
    /// Drops waiting nodes that are not expected to end within the budget, but never the first of all.
    fn keep_within_budget(&mut self) {
        let Some(budget) = self.budget else { return };
        let first = (self.started == 0).then(|| self.waiting.front().copied()).flatten();
        let (elapsed, expected) = (self.began.elapsed(), self.expected);
        self.waiting.retain(|&id| first == Some(id) || elapsed + expected(id).unwrap_or_default() <= budget);
    }

    fn start_one<'scope>(
        &mut self,
        id: NodeId,
        workers: &Workers<'scope, 'a, (NodeId, RunResult)>,
    ) -> Result<(), ExecError> {
        let (context, graph, plan) = (self.context, self.graph, self.plan);
        let key_inputs = key_inputs(context.build, graph, id, plan)?;
        let key_inputs = key_inputs.expect("the result is known, so the inputs are");
        self.started += 1;
        let node = graph.node(id);
        let started =
            Event::Started { node: node.name.clone(), reasons: Vec::new(), expected: (self.expected)(id) };
        (self.emit)(&started);
        workers.spawn(move || {
            let action = node.action().expect("only actions are verified");
            let outputs_of = |id: NodeId| {
                let known = plan.decision(id).and_then(|decision| decision.verdict.known());
                known.map_or_else(|| Arc::from([]), |known| Arc::clone(&known.outputs))
            };
            let task = Task { name: &node.name, action, key_inputs: &key_inputs, outputs_of: &outputs_of };
            let result = catch_panic(|| run_action(context, &task)).unwrap_or_else(RunResult::infra);
            (id, result)
        });
        Ok(())
    }

    fn compare(&self, id: NodeId, result: RunResult) -> Verification {
        let passed = result.outcome == Outcome::Pass;
        let recorded = self.plan.verdict(id).known().map(|known| Arc::clone(&known.outputs));
        let recorded: Outputs = recorded.filter(|_| passed).unwrap_or_else(|| Arc::from([]));
        let clean: HashMap<&str, Artifact> =
            result.outputs.iter().map(|(name, artifact)| (name.as_str(), *artifact)).collect();
        let action = self.graph.node(id).action();
        // Reports about a run differ from run to run.
        let recorded = recorded.iter().filter(|(output, _)| action.is_none_or(|action| action.makes(output)));
        let outputs = recorded.map(|(output, recorded)| OutputComparison {
            output: output.clone(),
            recorded: *recorded,
            clean: clean.get(output.as_str()).copied().unwrap_or(Artifact::Absent),
        });
        Verification {
            node: id,
            outcome: result.outcome,
            outputs: outputs.collect(),
            message: result.message.filter(|_| !passed),
            log_tail: result.log_tail,
            log: result.log,
            duration: result.duration,
        }
    }
}

fn finished(graph: &Graph, verified: &Verification) -> Finished {
    let how = if verified.is_same() { How::RanUnchanged } else { How::Ran };
    let differs = verified.outcome == Outcome::Pass && !verified.is_same();
    let message =
        if differs { Some("other outputs than before".to_owned()) } else { verified.message.clone() };
    // No `log_tail`: `kiln log` does not know this run.
    Finished {
        message,
        duration: verified.duration,
        ..Finished::new(graph.name(verified.node).clone(), verified.outcome, how)
    }
}
