//! Verifying: actions run once more, from nothing, and what they make is held against what is recorded of them.
//!
//! Such a run has a work directory of its own and leaves nothing in `out/`, in the index, or among the kept output
//! directories; it takes no lock, as whoever else runs the same action is none of its concern. Outputs that are other
//! than the recorded ones go into the content-addressed store, where they can be looked at, and where nothing refers
//! to them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::scope;
use std::time::{Duration, Instant};

use super::act::{Done, Kinds, Runner, Stage, Task, act};
use super::cancel::Cancel;
use super::event::{EVENTS_VERSION, Event, Finished, How, Summary};
use super::sandbox::Sandbox;
use super::schedule::{ExecError, TICK, caught, tokens};
use super::tokens::{Held, Tokens};
use crate::graph::{Graph, NodeId};
use crate::plan::{Basis, Known, Outputs, Plan, Verdict, World, basis};
use crate::remote::Meter;
use crate::store::{Artifact, Blob, Outcome};

/// Why there is nothing to compare a node with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unverifiable {
    /// It is no action: a source tree, or what stands for nodes.
    #[error("nothing is made there that could be compared")]
    NoAction,
    /// kiln works it out without a sandbox.
    #[error("kiln works it out itself, without a sandbox")]
    Computed,
    /// What servers had, or packages.
    #[error("not verified: packages are installed with the time of the day")]
    Made,
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

/// What came of a clean run.
#[derive(Debug)]
pub struct Verified {
    /// The node.
    pub node: NodeId,
    /// How the clean run ended. Only a pass has outputs.
    pub outcome: Outcome,
    /// Why, where it did not pass.
    pub message: Option<String>,
    /// The last lines of its log, where it did not pass.
    pub log_tail: Vec<String>,
    /// Its log.
    pub log: Option<Blob>,
    /// Its outputs.
    pub outputs: Vec<Compared>,
    /// How long it took.
    pub duration: Duration,
}

/// An output as it is recorded, and as the clean run made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// Its name.
    pub output: String,
    /// As recorded.
    pub recorded: Artifact,
    /// As made now.
    pub clean: Artifact,
}

impl Verified {
    /// Whether it made what is recorded, to the bit.
    pub fn is_same(&self) -> bool {
        self.outcome == Outcome::Pass && self.outputs.iter().all(Compared::is_same)
    }
}

impl Compared {
    /// Whether both are the same, to the bit.
    pub fn is_same(&self) -> bool {
        self.recorded == self.clean
    }
}

/// The result that a clean run of a node can be compared with.
pub fn comparable<'a>(
    world: &World<'_>,
    graph: &Graph,
    plan: &'a Plan,
    id: NodeId,
    kinds: &dyn Kinds,
) -> Result<&'a Known, Unverifiable> {
    let action = graph.node(id).action().ok_or(Unverifiable::NoAction)?;
    match kinds.runner(action.rule.rule.kind) {
        Runner::Steps | Runner::Checked(_) => {}
        Runner::Watched(_) | Runner::Submitted(_) => return Err(Unverifiable::Boot),
        Runner::Made(_) => return Err(Unverifiable::Made),
        Runner::Computed(_) => return Err(Unverifiable::Computed),
    }
    match plan.verdict(id) {
        Verdict::Fresh(known) | Verdict::Cached(known, _) if known.outcome == Outcome::Pass => Ok(known),
        Verdict::Fresh(_) | Verdict::Cached(..) => Err(Unverifiable::Failed),
        Verdict::Remote(..)
        | Verdict::Stale(_)
        | Verdict::Unknown(_)
        | Verdict::Blocked(_)
        | Verdict::Lacking(_) => {
            let ran = world.previous.contains_key(&**graph.name(id));
            Err(if ran { Unverifiable::Stale } else { Unverifiable::NeverRan })
        }
    }
}

/// Runs nodes once more, each from nothing, with the inputs that the plan knows, in the order in which they are given. All
/// must be [`comparable`]. With a budget, none but the first begins that is not expected to end within it: what is left
/// is not in the answer.
#[expect(clippy::too_many_arguments, reason = "each is a thing of its own, and there is one caller")]
pub fn verify(
    world: &World<'_>,
    graph: &Graph,
    plan: &Plan,
    nodes: &[NodeId],
    jobs: usize,
    budget: Option<Duration>,
    kinds: &dyn Kinds,
    emit: &mut dyn FnMut(&Event),
    cancel: &Cancel,
) -> Result<Vec<Verified>, ExecError> {
    let tokens = tokens(world, jobs)?;
    let stage = Stage {
        world,
        sandbox: Sandbox::new(),
        kinds,
        jobserver: tokens.jobserver().clone(),
        cancel,
        meter: Meter::default(),
        clean: true,
        apart: true,
    };
    let durations = world.store.durations(world.project())?;
    let expected = |id: NodeId| durations.get(&**graph.name(id)).copied();
    let all = nodes.iter().filter_map(|&id| expected(id)).sum();
    emit(&Event::Begun { version: EVENTS_VERSION, nodes: nodes.len(), fresh: 0, expected: all });
    let waiting = nodes.iter().copied().collect();
    let mut runs = Runs { stage: &stage, graph, plan, tokens, waiting, budget, begun: 0 };
    let verified = runs.all(&expected, emit)?;
    Ok(verified)
}

/// Clean runs. None waits for another: what they read is in the cache.
struct Runs<'a> {
    stage: &'a Stage<'a>,
    graph: &'a Graph,
    plan: &'a Plan,
    tokens: Tokens,
    waiting: VecDeque<NodeId>,
    budget: Option<Duration>,
    /// How many have begun.
    begun: usize,
}

impl Runs<'_> {
    fn all(
        &mut self,
        expected: &dyn Fn(NodeId) -> Option<Duration>,
        emit: &mut dyn FnMut(&Event),
    ) -> Result<Vec<Verified>, ExecError> {
        let began = Instant::now();
        let (sender, receiver) = channel();
        let mut verified = Vec::with_capacity(self.waiting.len());
        let (stage, graph, plan) = (self.stage, self.graph, self.plan);
        scope(|scope| {
            let mut running: HashMap<NodeId, Held> = HashMap::new();
            loop {
                if stage.cancel.is_cancelled() {
                    self.waiting.clear();
                }
                self.keep_within_budget(began.elapsed(), expected);
                for (id, basis, held) in self.ready()? {
                    let node = Arc::clone(graph.name(id));
                    emit(&Event::Started { node, reasons: Vec::new(), expected: expected(id) });
                    running.insert(id, held);
                    let sender = sender.clone();
                    scope.spawn(move || {
                        let done = caught(|| run(stage, graph, plan, id, &basis))
                            .unwrap_or_else(|bug| Done::new(Outcome::Infra).saying(bug));
                        let _ = sender.send((id, done));
                    });
                }
                if running.is_empty() && self.waiting.is_empty() {
                    break;
                }
                for (id, done) in arrived(&receiver) {
                    let held = running.remove(&id).expect("only what runs ends");
                    self.tokens.give_back(held)?;
                    let one = self.compared(id, done);
                    emit(&Event::Finished(finished(graph, &one)));
                    verified.push(one);
                }
            }
            Ok::<_, ExecError>(())
        })?;
        emit(&Event::Ended(Summary {
            ran: verified.len(),
            unchanged: verified.iter().filter(|one| one.is_same()).count(),
            interrupted: stage.cancel.is_cancelled(),
            duration: began.elapsed(),
            ..Summary::default()
        }));
        Ok(verified)
    }

    /// Drops those waiting that are not expected to end within the budget, other than the very first.
    fn keep_within_budget(&mut self, elapsed: Duration, expected: &dyn Fn(NodeId) -> Option<Duration>) {
        let Some(budget) = self.budget else { return };
        let first = (self.begun == 0).then(|| self.waiting.front().copied()).flatten();
        self.waiting.retain(|&id| first == Some(id) || elapsed + expected(id).unwrap_or_default() <= budget);
    }

    /// Those waiting for which there is room now.
    fn ready(&mut self) -> Result<Vec<(NodeId, Basis, Held)>, ExecError> {
        let (mut ready, mut later) = (Vec::new(), VecDeque::new());
        while let Some(id) = self.waiting.pop_front() {
            let action = self.graph.node(id).action().expect("only actions are verified");
            match self.tokens.take(&action.rule.rule.resources, None)? {
                Some(held) => {
                    let basis = basis(self.stage.world, self.graph, id, self.plan)?;
                    ready.push((id, basis.expect("its result is known, so its inputs are"), held));
                    self.begun += 1;
                }
                None => later.push_back(id),
            }
        }
        self.waiting = later;
        Ok(ready)
    }

    fn compared(&self, id: NodeId, done: Done) -> Verified {
        let passed = done.outcome == Outcome::Pass;
        let recorded = self.plan.verdict(id).known().map(|known| Arc::clone(&known.outputs));
        let recorded: Outputs = recorded.filter(|_| passed).unwrap_or_else(|| Arc::from([]));
        let made: HashMap<&str, Artifact> =
            done.outputs.iter().map(|(name, artifact)| (name.as_str(), *artifact)).collect();
        let action = self.graph.node(id).action();
        // What is told of a run differs from run to run.
        let recorded = recorded.iter().filter(|(output, _)| action.is_none_or(|action| action.makes(output)));
        let outputs = recorded.map(|(output, recorded)| Compared {
            output: output.clone(),
            recorded: *recorded,
            clean: made.get(output.as_str()).copied().unwrap_or(Artifact::Absent),
        });
        Verified {
            node: id,
            outcome: done.outcome,
            message: done.message.filter(|_| !passed),
            log_tail: done.log_tail,
            log: done.log,
            outputs: outputs.collect(),
            duration: done.duration,
        }
    }
}

fn run(stage: &Stage<'_>, graph: &Graph, plan: &Plan, id: NodeId, basis: &Basis) -> Done {
    let node = graph.node(id);
    let action = node.action().expect("only actions are verified");
    let outputs_of = |id: NodeId| {
        let known = plan.decision(id).and_then(|decision| decision.verdict.known());
        known.map_or_else(|| Arc::from([]), |known| Arc::clone(&known.outputs))
    };
    act(stage, &Task { name: &node.name, action, basis, outputs_of: &outputs_of })
}

/// What has come to its end, no later than a tick from now.
fn arrived<T>(receiver: &Receiver<T>) -> Vec<T> {
    receiver.recv_timeout(TICK).ok().into_iter().chain(receiver.try_iter()).collect()
}

fn finished(graph: &Graph, verified: &Verified) -> Finished {
    let differs = verified.outcome == Outcome::Pass && !verified.is_same();
    Finished {
        node: Arc::clone(graph.name(verified.node)),
        outcome: verified.outcome,
        how: if verified.is_same() { How::RanUnchanged } else { How::Ran },
        message: if differs {
            Some("other outputs than before".to_owned())
        } else {
            verified.message.clone()
        },
        duration: verified.duration,
        continued: false,
        // It is no run of which `kiln log` knows.
        log_tail: Vec::new(),
    }
}
