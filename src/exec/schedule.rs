//! The scheduler: starts what is ready, longest way to go first, and decides anew whatever waited for a node that
//! has ended.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Scope, scope};
use std::time::{Duration, Instant, SystemTime};

use super::act::{Done, Kinds, Runner, Stage, Task, act};
use super::ask::Questions;
use super::cancel::Cancel;
use super::event::{EVENTS_VERSION, Event, Finished, How, Summary};
use super::fetching::Tally;
use super::place::place;
use super::sandbox::{Sandbox, memory_of_this_machine};
use super::tokens::{Held, Tokens};
use super::unpack::Unpacking;
use crate::graph::{Action, Body, Graph, NodeId, Selection};
use crate::plan::{
    Apart, Basis, Decided, Decision, Estimate, Found, Keys, Known, Outputs, Plan, PlanError, Progress,
    Reason, State as Seen, Strong, Verdict, World, boards, counts, decide, find,
};
use crate::remote::{FetchError, Hit, Meter, Remotes};
use crate::source::PathSet;
use crate::spec::model::{Lab, Resources};
use crate::store::{
    Artifact, BlobError, Built, LockGuard, NodeRecord, NodeState, Outcome, Placed, Run, RunId, StoreError,
    StoredResult,
};

/// How long the scheduler sleeps at most: how late it may be to see Ctrl-C, or that another kiln is done.
pub(super) const TICK: Duration = Duration::from_millis(50);

/// How many threads unpack a source tree at most: a disk and a repository serve no more.
const UNPACK_THREADS: u32 = 4;

/// How a plan is carried out.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Cores to use.
    pub jobs: usize,
    /// Whether to go on with what does not depend on a node that failed.
    pub keep_going: bool,
    /// Whether every run starts with an empty output directory, though one may have been kept.
    pub clean: bool,
    /// What is wanted.
    pub goal: Goal,
}

/// What carrying out a plan is to come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Everything is as the spec says: what is stale runs.
    Build,
    /// Whatever is known, here or elsewhere, is in place, and what runs next finds its inputs. No action runs.
    Restore,
}

/// Why a run can't go on at all.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// A decision can't be made.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The jobserver's pipe.
    #[error("the jobserver failed: {0}")]
    Tokens(#[from] io::Error),
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Ended {
    /// In figures.
    pub summary: Summary,
    /// What each wanted node has come to.
    pub nodes: Vec<(NodeId, Outcome, Option<String>)>,
    /// Something is not as the plan took it to be, such as a blob that was lost: it is to be made anew.
    pub plan_again: bool,
}

/// Carries out a plan.
#[expect(clippy::too_many_arguments, reason = "each is a thing of its own, and there is one caller")]
pub fn execute(
    world: &World<'_>,
    graph: &mut Graph,
    plan: &Plan,
    selection: &Selection,
    estimate: &Estimate,
    options: Options,
    kinds: &dyn Kinds,
    emit: &mut dyn FnMut(&Event),
    cancel: &Cancel,
) -> Result<Ended, ExecError> {
    let began = Instant::now();
    let tokens = tokens(world, options.jobs)?;
    let stage = Stage {
        world,
        sandbox: Sandbox::new(),
        kinds,
        jobserver: tokens.jobserver().clone(),
        cancel,
        meter: Meter::default(),
        clean: options.clean,
        apart: false,
    };
    let (sender, receiver) = channel();
    let restored = match options.goal {
        Goal::Build => HashSet::new(),
        Goal::Restore => plan.restored(graph, selection),
    };
    let mut scheduler = Scheduler {
        stage: &stage,
        world,
        graph,
        selection,
        options,
        emit,
        tokens,
        estimate,
        wanted: plan.nodes().to_vec(),
        restored,
        states: Vec::new(),
        ready: BinaryHeap::new(),
        elsewhere: Vec::new(),
        questions: Questions::default(),
        active: HashMap::new(),
        messages: HashMap::new(),
        lacking: Vec::new(),
        tally: Tally::default(),
        summary: Summary::default(),
        stopping: false,
        plan_again: false,
    };
    scheduler.begin(plan);
    scope(|scope| scheduler.run(scope, &sender, &receiver))?;
    let mut ended = scheduler.end();
    ended.summary.duration = began.elapsed();
    Ok(ended)
}

/// What actions of this project share, with so many cores.
pub(super) fn tokens(world: &World<'_>, jobs: usize) -> io::Result<Tokens> {
    let project = &world.spec.project;
    let pools = project.pools.iter().map(|(name, size)| (name.clone(), size.value));
    let labs = project.labs.iter().filter_map(|(name, lab)| match &lab.value {
        Lab::Qemu { slots } => Some((name.clone(), *slots)),
        // Its slots are minded by whoever sends jobs there.
        Lab::Lava(_) => None,
    });
    Tokens::new(jobs, memory_of_this_machine().unwrap_or(u64::MAX), pools, labs)
}

struct Scheduler<'a, 'w> {
    stage: &'a Stage<'a>,
    world: &'a World<'w>,
    graph: &'a mut Graph,
    selection: &'a Selection,
    options: Options,
    emit: &'a mut dyn FnMut(&Event),
    tokens: Tokens,
    estimate: &'a Estimate,
    wanted: Vec<NodeId>,
    /// What of the plan a restore fetches, where a remote has it.
    restored: HashSet<NodeId>,
    /// By node.
    states: Vec<State>,
    /// Ready nodes: those that take nothing of this machine first, then those with the longest way to go.
    ready: BinaryHeap<Turn>,
    /// Ready nodes that another kiln is running.
    elsewhere: Vec<NodeId>,
    /// Nodes that are being decided, as remotes are asked for them.
    questions: Questions,
    active: HashMap<NodeId, Active>,
    messages: HashMap<NodeId, String>,
    /// What is still to be told of what the machine lacks.
    lacking: Vec<String>,
    /// What of all that is fetched has come.
    tally: Tally,
    summary: Summary,
    /// Nothing is started any more.
    stopping: bool,
    plan_again: bool,
}

/// When a ready node has its turn.
type Turn = (bool, Duration, Reverse<NodeId>);

enum State {
    Unwanted,
    Waiting,
    /// It is being decided: remotes are asked for it.
    Asking,
    Ready(Work),
    Active,
    Done(Known),
    /// It has no result: it failed without one, or can't run.
    Failed(Outcome),
}

/// What is to be done for a node.
#[derive(Clone)]
enum Work {
    Run { basis: Arc<Basis>, reasons: Vec<Reason> },
    Restore { basis: Arc<Basis>, known: Known, hit: Option<Arc<Hit>> },
    Unpack { reasons: Vec<Reason> },
}

/// What an active node holds.
struct Active {
    held: Option<Held>,
    /// Until the result is recorded.
    _lock: Option<LockGuard>,
    work: Work,
}

pub(super) enum Message {
    Asked(NodeId, Box<Result<Decided, PlanError>>),
    Ran(NodeId, Box<Done>),
    Restored(NodeId, Result<Restored, RestoreError>),
    /// With what the user should hear of.
    Unpacked(NodeId, Duration, Result<Vec<String>, String>),
}

/// What is in place now.
pub(super) struct Restored {
    placed: Vec<Placed>,
    /// What was read for a result that came from elsewhere.
    read: Option<Arc<PathSet>>,
}

/// Why a result could not be put in place.
#[derive(Debug, thiserror::Error)]
pub(super) enum RestoreError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Blob(#[from] BlobError),
}

impl RestoreError {
    /// Whether it is as if there were no result.
    fn is_miss(&self) -> bool {
        match self {
            Self::Fetch(error) => matches!(error, FetchError::Gone { .. }),
            Self::Blob(error) => error.is_miss(),
        }
    }
}

impl Progress for Scheduler<'_, '_> {
    fn state(&self, id: NodeId) -> Seen<'_> {
        match &self.states[id.index()] {
            State::Done(known) => Seen::Known(known),
            State::Failed(_) => Seen::Failed,
            State::Unwanted | State::Waiting | State::Asking | State::Ready(_) | State::Active => {
                Seen::Pending
            }
        }
    }
}

impl<'a> Scheduler<'a, '_> {
    fn begin(&mut self, plan: &Plan) {
        self.states.resize_with(self.graph.len(), || State::Unwanted);
        for &id in plan.nodes() {
            let decision = plan.decision(id).expect("a plan decides all its nodes").clone();
            self.take(id, decision);
        }
        let event = Event::Begun {
            version: EVENTS_VERSION,
            nodes: self.wanted.len(),
            fresh: self.summary.fresh,
            expected: self.estimate.wall,
        };
        (self.emit)(&event);
        self.tell_lacking();
    }

    /// Takes over a decision: the plan's, or one that was made when a node had ended.
    fn take(&mut self, id: NodeId, decision: Decision) {
        let Decision { verdict, basis, .. } = decision;
        self.states[id.index()] = match (verdict, basis) {
            (Verdict::Fresh(known), _) => {
                let is_action = matches!(self.graph.node(id).body, Body::Action(_));
                self.summary.fresh += usize::from(is_action);
                if known.outcome == Outcome::Fail {
                    self.count_failure(id);
                    self.messages.insert(id, format!("as before: kiln log {}", self.graph.name(id)));
                }
                State::Done(known)
            }
            (Verdict::Cached(known, _), Some(basis)) => {
                self.make_ready(id, Work::Restore { basis, known, hit: None })
            }
            (Verdict::Remote(known, hit), Some(basis)) if self.needs(id) => {
                self.expect(id, &hit);
                self.make_ready(id, Work::Restore { basis, known, hit: Some(hit) })
            }
            // Its readers fetch what they read.
            (Verdict::Remote(known, hit), _) => {
                self.summary.elsewhere += 1;
                if known.outcome == Outcome::Fail {
                    self.count_failure(id);
                    self.messages.insert(id, format!("as remote {} has it", hit.remote));
                }
                State::Done(known)
            }
            (Verdict::Stale(_), Some(_)) if self.options.goal == Goal::Restore => {
                self.summary.skipped += 1;
                State::Failed(Outcome::Skipped)
            }
            (Verdict::Stale(reasons), Some(basis)) => self.make_ready(id, Work::Run { basis, reasons }),
            (Verdict::Stale(reasons), None) => self.make_ready(id, Work::Unpack { reasons }),
            (Verdict::Blocked(by), _) => {
                self.summary.skipped += 1;
                let message = format!("needs {}", self.graph.name(by));
                self.messages.insert(id, message);
                State::Failed(Outcome::Skipped)
            }
            // The others go on: none of them needs it.
            (Verdict::Lacking(what), _) => {
                self.summary.infra += 1;
                let name = self.graph.name(id);
                let message = format!("{name}: {what}; `kiln doctor` lists all that is missing");
                self.lacking.push(message);
                self.messages.insert(id, what);
                State::Failed(Outcome::Infra)
            }
            (Verdict::Unknown(_) | Verdict::Cached(..), _) => State::Waiting,
        };
    }

    /// Whether what a remote has of a node is to be here. A build fetches what was asked for; what runs brings what it
    /// reads.
    fn needs(&self, id: NodeId) -> bool {
        match self.options.goal {
            Goal::Build => self.selection.wants(self.graph, id),
            Goal::Restore => self.restored.contains(&id),
        }
    }

    /// Takes note of how much a result will come to, at most.
    fn expect(&mut self, id: NodeId, hit: &Hit) {
        if let Some(remotes) = self.world.remotes {
            // Who can't tell by then fetches it all the same, and fails there.
            self.tally.expect(id.index(), remotes.lacking(self.world.store, hit).unwrap_or(0));
        }
    }

    /// Tells how much has come from elsewhere.
    fn tell_fetching(&mut self) {
        if let Some(event) = self.tally.now(self.stage.traffic(), Instant::now()) {
            (self.emit)(&event);
        }
    }

    /// Tells what the machine lacks, as soon as the run has begun.
    fn tell_lacking(&mut self) {
        for message in std::mem::take(&mut self.lacking) {
            (self.emit)(&Event::Warning { message });
        }
    }

    fn make_ready(&mut self, id: NodeId, work: Work) -> State {
        self.ready.push(self.turn(id));
        State::Ready(work)
    }

    fn run<'scope>(
        &mut self,
        scope: &'scope Scope<'scope, 'a>,
        sender: &Sender<Message>,
        receiver: &Receiver<Message>,
    ) -> Result<(), ExecError> {
        // What can't go on starts nothing more, but what runs is waited for all the same: so it may as well be recorded.
        let mut outcome = Ok(());
        let mut keep_first = |result: Result<(), ExecError>| match result {
            Err(error) if outcome.is_ok() => {
                outcome = Err(error);
                true
            }
            result => result.is_err(),
        };
        loop {
            self.tell_fetching();
            if self.stage.cancel.is_cancelled() {
                self.stopping = true;
                self.summary.interrupted = true;
            }
            if !self.stopping {
                self.stopping |= keep_first(self.start_ready(scope, sender));
                self.questions.ask(self.world, scope, sender);
            }
            let waits = self.stopping || self.elsewhere.is_empty();
            if self.active.is_empty() && !self.questions.is_asking() && waits {
                return outcome;
            }
            match receiver.recv_timeout(TICK) {
                Ok(message) => self.stopping |= keep_first(self.ended(message)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("the scheduler holds a sender"),
            }
            while let Ok(message) = receiver.try_recv() {
                self.stopping |= keep_first(self.ended(message));
            }
        }
    }

    /// Starts what is ready and fits.
    fn start_ready<'scope>(
        &mut self,
        scope: &'scope Scope<'scope, 'a>,
        sender: &Sender<Message>,
    ) -> Result<(), ExecError> {
        for id in std::mem::take(&mut self.elsewhere) {
            self.ready.push(self.turn(id));
        }
        let mut later = Vec::new();
        while let Some(turn) = self.ready.pop() {
            let (_, _, Reverse(id)) = turn;
            let State::Ready(work) = &self.states[id.index()] else { continue };
            let work = work.clone();
            // A result that was to be put in place has turned out to be of no use: this waits for another.
            if matches!(work, Work::Run { .. }) && self.graph.deps(id).any(|dep| self.outputs(dep).is_none())
            {
                self.states[id.index()] = State::Waiting;
                let mut settled = Vec::new();
                self.decide_one(id, &mut settled)?;
                for id in settled {
                    self.decide_readers(id)?;
                }
                continue;
            }
            let Some(held) = self.tokens.take(&self.resources(id, &work), self.lab(id).as_deref())? else {
                later.push(turn);
                // Nothing else fits either, unless it was a pool that this one lacked.
                if self.tokens.cores_are_taken() {
                    break;
                }
                continue;
            };
            match self.start(id, work, scope, sender) {
                Ok(Some(mut active)) => {
                    active.held = Some(held);
                    self.active.insert(id, active);
                    self.states[id.index()] = State::Active;
                }
                Ok(None) => self.tokens.give_back(held)?,
                Err(error) => {
                    self.tokens.give_back(held)?;
                    return Err(error);
                }
            }
        }
        self.ready.extend(later);
        Ok(())
    }

    /// A node's outputs, where they are known. They are while they are being put in place: readers take them from the
    /// cache, and were decided with them.
    fn outputs(&self, id: NodeId) -> Option<Outputs> {
        let known = match &self.states[id.index()] {
            State::Done(known) | State::Ready(Work::Restore { known, .. }) => known,
            State::Active => match &self.active.get(&id)?.work {
                Work::Restore { known, .. } => known,
                Work::Run { .. } | Work::Unpack { .. } => return None,
            },
            _ => return None,
        };
        Some(Arc::clone(&known.outputs))
    }

    /// The lab of which a node takes a slot.
    fn lab(&self, id: NodeId) -> Option<String> {
        let action = self.graph.node(id).action()?;
        Some(action.bindings.text_of(action.rule.rule.kind.lab()?))
    }

    fn resources(&self, id: NodeId, work: &Work) -> Resources {
        let cores = |cpu| Resources { cpu, ..Resources::default() };
        match (work, self.graph.node(id).action()) {
            // Its thread waits for machines elsewhere.
            (Work::Run { .. }, Some(action)) if self.is_elsewhere(action) => {
                Resources { pools: action.rule.rule.resources.pools.clone(), ..cores(0) }
            }
            (Work::Run { .. }, Some(action)) => action.rule.rule.resources.clone(),
            (Work::Unpack { .. }, _) => cores(UNPACK_THREADS),
            _ => cores(1),
        }
    }

    fn is_elsewhere(&self, action: &Action) -> bool {
        matches!(self.stage.kinds.runner(action.rule.rule.kind), Runner::Submitted(_))
    }

    fn turn(&self, id: NodeId) -> Turn {
        let elsewhere = self.graph.node(id).action().is_some_and(|action| self.is_elsewhere(action));
        (elsewhere, self.estimate.tails.get(&id).copied().unwrap_or_default(), Reverse(id))
    }

    /// Starts one node; `None` where another kiln has it.
    fn start<'scope>(
        &mut self,
        id: NodeId,
        work: Work,
        scope: &'scope Scope<'scope, 'a>,
        sender: &Sender<Message>,
    ) -> Result<Option<Active>, ExecError> {
        let node = self.graph.node(id);
        let name = Arc::clone(&node.name);
        let (stage, world, sender) = (self.stage, self.world, sender.clone());
        match (&node.body, work) {
            (Body::Action(action), Work::Run { basis, reasons }) => {
                let action = Arc::clone(action);
                let Some(lock) = world.store.try_lock(&basis.keys.given, &name)? else {
                    let holder = world.store.holder(&basis.keys.given).unwrap_or_default();
                    // It may be another node of this very run, which does the same.
                    let ours = holder.split(' ').next() == Some(&std::process::id().to_string());
                    if self.messages.insert(id, holder.clone()).is_none() && !ours {
                        (self.emit)(&Event::Waiting { node: name, holder });
                    }
                    self.elsewhere.push(id);
                    return Ok(None);
                };
                self.messages.remove(&id);
                // Whoever held the lock may have left the result.
                if let Some(work) = self.made_elsewhere(&name, &action, &basis)? {
                    drop(lock);
                    self.states[id.index()] = State::Ready(work.clone());
                    return self.start(id, work, scope, &sender);
                }
                let outputs: HashMap<NodeId, Outputs> =
                    self.graph.deps(id).filter_map(|dep| Some((dep, self.outputs(dep)?))).collect();
                let expected = self.estimate.durations.get(&id).copied();
                (self.emit)(&Event::Started { node: Arc::clone(&name), reasons: reasons.clone(), expected });
                let task_basis = Arc::clone(&basis);
                scope.spawn(move || {
                    let outputs_of = |id| outputs.get(&id).cloned().unwrap_or_else(|| Arc::from([]));
                    let task =
                        Task { name: &name, action: &action, basis: &task_basis, outputs_of: &outputs_of };
                    let done = caught(|| act(stage, &task))
                        .unwrap_or_else(|bug| Done::new(Outcome::Infra).saying(bug));
                    let _ = sender.send(Message::Ran(id, Box::new(done)));
                });
                Ok(Some(Active { held: None, _lock: Some(lock), work: Work::Run { basis, reasons } }))
            }
            (Body::Action(action), Work::Restore { basis, known, hit }) => {
                let action = Arc::clone(action);
                if let Some(strong) = basis.keys.strong {
                    world.store.take_result(&strong.key)?;
                }
                let (outputs, from) = (Arc::clone(&known.outputs), hit.clone());
                let whole = basis.manifest.whole();
                self.tally.begun(id.index());
                scope.spawn(move || {
                    let restored = caught(|| restore(world, &action, &outputs, from.as_deref(), whole))
                        .unwrap_or_else(|bug| Err(BlobError::Store(StoreError::io(&world.out, bug)).into()));
                    let _ = sender.send(Message::Restored(id, restored));
                });
                Ok(Some(Active { held: None, _lock: None, work: Work::Restore { basis, known, hit } }))
            }
            (Body::Source(source), Work::Unpack { reasons }) => {
                let source = Arc::clone(&source.source);
                let tree = world.source_tree(&source)?;
                let unpacking = Unpacking {
                    store: world.store,
                    threads: self.options.jobs.min(UNPACK_THREADS as usize),
                    cancel: stage.cancel,
                };
                let expected = self.estimate.durations.get(&id).copied();
                (self.emit)(&Event::Started { node: name, reasons: reasons.clone(), expected });
                scope.spawn(move || {
                    let began = Instant::now();
                    let made = caught(|| unpacking.run(&source, tree))
                        .map_err(|bug| bug.to_string())
                        .and_then(|made| made.map_err(|error| error.to_string()));
                    let _ = sender.send(Message::Unpacked(id, began.elapsed(), made));
                });
                Ok(Some(Active { held: None, _lock: None, work: Work::Unpack { reasons } }))
            }
            _ => unreachable!("work is of its node's kind"),
        }
    }

    /// A result that was recorded since the decision was made.
    fn made_elsewhere(&self, name: &str, action: &Action, basis: &Basis) -> Result<Option<Work>, ExecError> {
        if self.world.forced.contains(name) {
            return Ok(None);
        }
        let Found::Result(strong, result) = find(self.world, action, basis)? else { return Ok(None) };
        let known = Known { outcome: result.outcome, outputs: result.outputs.into(), run: Some(result.run) };
        let keys = Keys { strong: Some(strong), ..basis.keys };
        let basis = Arc::new(Basis { keys, manifest: basis.manifest.clone() });
        Ok(Some(Work::Restore { basis, known, hit: None }))
    }

    fn ended(&mut self, message: Message) -> Result<(), ExecError> {
        match message {
            Message::Asked(id, decided) => self.asked(id, *decided),
            Message::Ran(id, done) => self.ran(id, *done),
            Message::Restored(id, restored) => self.restored(id, restored),
            Message::Unpacked(id, duration, made) => self.unpacked(id, duration, made),
        }
    }

    fn release(&mut self, id: NodeId) -> Result<Active, ExecError> {
        let mut active = self.active.remove(&id).expect("only active nodes end");
        if let Some(held) = active.held.take() {
            self.tokens.give_back(held)?;
        }
        Ok(active)
    }

    /// Of a node's outputs those that it made.
    fn made<'o>(
        &self,
        id: NodeId,
        outputs: &'o [(String, Artifact)],
    ) -> impl Iterator<Item = &'o (String, Artifact)> + use<'_, 'o, 'a> {
        let action = self.graph.node(id).action();
        outputs.iter().filter(move |(output, _)| action.is_none_or(|action| action.makes(output)))
    }

    fn ran(&mut self, id: NodeId, done: Done) -> Result<(), ExecError> {
        let active = self.release(id)?;
        let Work::Run { basis, reasons } = &active.work else { unreachable!("it ran") };
        let name = Arc::clone(self.graph.name(id));
        let outputs: Outputs = done.outputs.clone().into();
        let before = self.world.previous.get(&*name).and_then(NodeState::record);
        let unchanged = done.outcome == Outcome::Pass
            && before.is_some_and(|before| self.made(id, &before.outputs).eq(self.made(id, &outputs)));
        let run = self.record(&name, id, basis, reasons, &done)?;
        // The lock goes only now: whoever waited for it finds the result.
        drop(active);
        if done.outcome == Outcome::Infra && done.lost.is_some() {
            self.lost(id, &format!("{name}: {}", done.message.unwrap_or_default()));
            return Ok(());
        }
        self.summary.ran += 1;
        self.summary.unchanged += usize::from(unchanged);
        let (how, state) = match done.outcome {
            Outcome::Pass | Outcome::Fail if !done.outputs.is_empty() || done.outcome == Outcome::Pass => {
                let known = Known { outcome: done.outcome, outputs, run: Some(run) };
                (if unchanged { How::RanUnchanged } else { How::Ran }, State::Done(known))
            }
            outcome => (How::Ran, State::Failed(outcome)),
        };
        match done.outcome {
            Outcome::Pass | Outcome::Skipped => {}
            Outcome::Fail => self.count_failure(id),
            Outcome::Infra => self.summary.infra += 1,
            Outcome::Cancelled => self.summary.interrupted = true,
        }
        // What could not be handed to any lab keeps nobody else from going on.
        if !matches!(done.outcome, Outcome::Pass | Outcome::Skipped) && !self.options.keep_going {
            self.stopping = true;
        }
        self.summary.skipped += usize::from(done.outcome == Outcome::Skipped);
        self.states[id.index()] = state;
        if let Some(message) = &done.message {
            self.messages.insert(id, message.clone());
        }
        (self.emit)(&Event::Finished(Finished {
            node: name,
            outcome: done.outcome,
            how,
            message: done.message,
            duration: done.duration,
            continued: done.continued,
            log_tail: done.log_tail,
        }));
        self.decide_readers(id)
    }

    /// A blob that a node needs is gone: all is planned again, and what makes it runs again.
    fn lost(&mut self, id: NodeId, what: &str) {
        self.plan_again = true;
        self.stopping = true;
        (self.emit)(&Event::Warning { message: format!("{what}; what makes it runs again") });
        self.states[id.index()] = State::Failed(Outcome::Skipped);
    }

    /// Commits a run in one transaction: what it made, what it was made from, and what is in place now.
    fn record(
        &mut self,
        name: &str,
        id: NodeId,
        basis: &Basis,
        reasons: &[Reason],
        done: &Done,
    ) -> Result<RunId, ExecError> {
        let action = self.graph.node(id).action().expect("an action ran");
        let store = self.world.store;
        let outcome = done.kept.unwrap_or(done.outcome);
        let counts = counts(action, outcome);
        let strong = done.read.as_ref().map(|read| read.strong);
        if let (Outcome::Fail, false, Some(strong)) = (outcome, counts, strong) {
            // Should it have passed before with the same inputs, that is not to be relied on any more.
            store.forget(&strong.key)?;
        }
        let run = Run {
            node: name.to_owned(),
            action_key: basis.keys.action,
            strong_key: strong.map(|strong| strong.key),
            path_set: strong.map(|strong| strong.path_set),
            outcome: done.outcome,
            started: done.started,
            duration: done.duration,
            cpu: done.usage.user + done.usage.system,
            max_rss: done.usage.max_rss_bytes,
            reasons: serde_json::to_string(reasons).unwrap_or_default(),
            manifest: Some(basis.manifest.encode()),
            log: done.log,
            pid: std::process::id(),
            continued: done.continued,
        };
        let listings = self.world.new_listings(&basis.manifest)?;
        let project = self.world.project();
        let run = store.batch(|batch| {
            batch.put_listings(listings.iter().map(|(digest, listing)| (digest, listing.bytes())))?;
            let id = batch.record_run(project, &run)?;
            if let (true, Some(read)) = (counts, &done.read) {
                let result = StoredResult {
                    action_key: basis.keys.action,
                    outcome,
                    outputs: done.outputs.clone(),
                    log: done.log,
                    run: id,
                    built: Built::by_run(done.continued),
                };
                batch.record(&read.strong.key, &read.set, &result)?;
            }
            batch.settle(&basis.keys.given)?;
            if matches!(done.outcome, Outcome::Pass | Outcome::Fail) {
                let (outputs, placed) = (done.outputs.clone(), done.placed.clone());
                let state = node_state(id, done.outcome, basis, strong, outputs, placed);
                batch.set_node(project, name, &state)?;
            }
            Ok(id)
        })?;
        Ok(run)
    }

    fn restored(&mut self, id: NodeId, restored: Result<Restored, RestoreError>) -> Result<(), ExecError> {
        let active = self.release(id)?;
        let Work::Restore { basis, known, hit } = active.work else { unreachable!("it was restored") };
        let name = Arc::clone(self.graph.name(id));
        let restored = match restored {
            Ok(restored) => restored,
            Err(error) if error.is_miss() => {
                // The result turned out to be unusable: then it is as if there were none.
                if let (Some(hit), Some(remotes)) = (&hit, self.world.remotes) {
                    remotes.spoil(hit);
                }
                let then = if self.options.goal == Goal::Build { "; it runs again" } else { "" };
                (self.emit)(&Event::Warning { message: format!("{name}: {error}{then}") });
                return self.without_result(id, basis, &known, hit.as_deref());
            }
            // The result is good, and there is no place for it: to make it once more would not help.
            Err(error) => return self.not_placed(id, error.to_string()),
        };
        let run = match (&hit, restored.read) {
            (Some(hit), Some(read)) => Some(self.record_elsewhere(&name, &basis, &known, hit, &read)?),
            _ => known.run,
        };
        if let Some(run) = run {
            let outputs = known.outputs.to_vec();
            let state = node_state(run, known.outcome, &basis, basis.keys.strong, outputs, restored.placed);
            let project = self.world.project();
            self.world.store.batch(|batch| batch.set_node(project, &name, &state))?;
        }
        self.summary.restored += 1;
        if known.outcome == Outcome::Fail {
            self.count_failure(id);
        }
        (self.emit)(&Event::Finished(Finished {
            node: name,
            outcome: known.outcome,
            how: How::Restored,
            message: hit.map(|hit| format!("from {}", hit.remote)),
            duration: Duration::ZERO,
            continued: false,
            log_tail: Vec::new(),
        }));
        self.states[id.index()] = State::Done(Known { run, ..known });
        self.decide_readers(id)
    }

    /// A result that was to be put in place is of no use.
    fn without_result(
        &mut self,
        id: NodeId,
        basis: Arc<Basis>,
        known: &Known,
        hit: Option<&Hit>,
    ) -> Result<(), ExecError> {
        if hit.is_some() {
            // If it runs next, what it reads is to be here.
            self.plan_again |= self.options.goal == Goal::Restore;
            // Another remote may have it.
            self.states[id.index()] = State::Waiting;
            let mut settled = Vec::new();
            self.decide_one(id, &mut settled)?;
            for id in settled {
                self.decide_readers(id)?;
            }
            return Ok(());
        }
        let store = self.world.store;
        let gone =
            known.outputs.iter().filter(|(_, artifact)| !store.has_artifact(artifact).unwrap_or(false));
        let mut reasons: Vec<Reason> =
            gone.map(|(output, _)| Reason::BlobMissing { output: output.clone() }).collect();
        if reasons.is_empty() {
            reasons.push(Reason::LastRun { outcome: known.outcome });
        }
        if let Some(strong) = basis.keys.strong {
            store.forget(&strong.key)?;
        }
        let decision = Decision { verdict: Verdict::Stale(reasons), keys: None, basis: Some(basis) };
        self.take(id, decision);
        Ok(())
    }

    /// Records a result that came from elsewhere as one that is here, and that it came.
    fn record_elsewhere(
        &self,
        name: &str,
        basis: &Basis,
        known: &Known,
        hit: &Hit,
        read: &PathSet,
    ) -> Result<RunId, ExecError> {
        let strong = basis.keys.strong.expect("a result is found by its strong key");
        let reason = Reason::Remote { remote: hit.remote.clone(), signed_by: hit.signed_by.clone() };
        let log = hit.log();
        let run = Run {
            node: name.to_owned(),
            action_key: basis.keys.action,
            strong_key: Some(strong.key),
            path_set: Some(strong.path_set),
            outcome: known.outcome,
            started: SystemTime::now(),
            duration: Duration::ZERO,
            cpu: Duration::ZERO,
            max_rss: 0,
            reasons: serde_json::to_string(&[reason]).unwrap_or_default(),
            manifest: Some(basis.manifest.encode()),
            log,
            pid: std::process::id(),
            continued: false,
        };
        let listings = self.world.new_listings(&basis.manifest)?;
        let project = self.world.project();
        Ok(self.world.store.batch(|batch| {
            batch.put_listings(listings.iter().map(|(digest, listing)| (digest, listing.bytes())))?;
            let run = batch.record_run(project, &run)?;
            let result = StoredResult {
                action_key: basis.keys.action,
                outcome: known.outcome,
                outputs: known.outputs.to_vec(),
                log,
                run,
                built: Built::by_run(hit.entry.continued),
            };
            batch.record(&strong.key, read, &result)?;
            batch.put_sealed(&strong.key, &hit.sealed)?;
            Ok(run)
        })?)
    }

    fn not_placed(&mut self, id: NodeId, message: String) -> Result<(), ExecError> {
        self.summary.infra += 1;
        self.stopping |= !self.options.keep_going;
        self.messages.insert(id, message.clone());
        self.states[id.index()] = State::Failed(Outcome::Infra);
        (self.emit)(&Event::Finished(Finished {
            node: Arc::clone(self.graph.name(id)),
            outcome: Outcome::Infra,
            how: How::Restored,
            message: Some(message),
            duration: Duration::ZERO,
            continued: false,
            log_tail: Vec::new(),
        }));
        self.decide_readers(id)
    }

    fn unpacked(
        &mut self,
        id: NodeId,
        duration: Duration,
        made: Result<Vec<String>, String>,
    ) -> Result<(), ExecError> {
        self.release(id)?;
        self.summary.ran += 1;
        let name = Arc::clone(self.graph.name(id));
        let (outcome, message) = match made {
            Ok(notes) => {
                for message in notes {
                    (self.emit)(&Event::Warning { message });
                }
                (Outcome::Pass, None)
            }
            Err(message) => (Outcome::Infra, Some(message)),
        };
        if outcome == Outcome::Pass {
            let known = Known { outcome, outputs: Arc::from([]), run: None };
            self.states[id.index()] = State::Done(known);
            // Only a whole plan says what is read by what runs next.
            self.plan_again |= self.options.goal == Goal::Restore;
        } else {
            self.summary.infra += 1;
            self.stopping |= !self.options.keep_going;
            self.messages.insert(id, message.clone().unwrap_or_default());
            self.states[id.index()] = State::Failed(outcome);
        }
        let log_tail = Vec::new();
        let how = How::Ran;
        (self.emit)(&Event::Finished(Finished {
            node: name,
            outcome,
            how,
            message,
            duration,
            continued: false,
            log_tail,
        }));
        if self.plan_again { Ok(()) } else { self.decide_readers(id) }
    }

    fn count_failure(&mut self, id: NodeId) {
        self.summary.failed += 1;
        let action = self.graph.node(id).action();
        if action.is_some_and(|action| action.rule.rule.kind.boots().is_some()) {
            self.summary.boots_failed += 1;
        }
    }

    /// Decides what waited for this node, and for what those decisions settle at once.
    fn decide_readers(&mut self, id: NodeId) -> Result<(), ExecError> {
        let mut settled = vec![id];
        while let Some(id) = settled.pop() {
            let readers: Vec<NodeId> = self.graph.rdeps(id).collect();
            for reader in readers {
                if matches!(self.states[reader.index()], State::Waiting) {
                    self.decide_one(reader, &mut settled)?;
                }
            }
        }
        Ok(())
    }

    fn decide_one(&mut self, id: NodeId, settled: &mut Vec<NodeId>) -> Result<(), ExecError> {
        if self.world.remotes.is_some_and(Remotes::is_on)
            && let Some(question) = Apart::of(self.graph, id, self)
        {
            self.states[id.index()] = State::Asking;
            self.questions.push(id, question);
            return Ok(());
        }
        let is_point = matches!(self.graph.node(id).body, Body::Expansion(_));
        let decided = if is_point && self.graph.expansion(id).is_none() {
            let boards = boards(self.world, self.graph, id, self);
            boards.map(|boards| boards.map_or_else(Decided::Node, Decided::Point))
        } else {
            decide(self.world, self.graph, id, self, false).map(Decided::Node)
        };
        self.decided(id, decided, settled)
    }

    /// Remotes have been asked for a node.
    fn asked(&mut self, id: NodeId, decided: Result<Decided, PlanError>) -> Result<(), ExecError> {
        self.questions.answered();
        let mut settled = Vec::new();
        self.decided(id, decided, &mut settled)?;
        settled.into_iter().try_for_each(|id| self.decide_readers(id))
    }

    fn decided(
        &mut self,
        id: NodeId,
        decided: Result<Decided, PlanError>,
        settled: &mut Vec<NodeId>,
    ) -> Result<(), ExecError> {
        match decided {
            Ok(Decided::Point(boards)) => {
                self.expand(id, &boards, settled)?;
                self.take(id, Decision::expanded());
            }
            Ok(Decided::Node(decision)) => {
                self.take(id, decision);
                self.tell_lacking();
            }
            Err(error) if error.lost().is_some() => {
                self.lost(id, &error.to_string());
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        if matches!(self.states[id.index()], State::Done(_) | State::Failed(_)) {
            settled.push(id);
        }
        Ok(())
    }

    fn expand(
        &mut self,
        point: NodeId,
        boards: &[String],
        settled: &mut Vec<NodeId>,
    ) -> Result<(), ExecError> {
        let new = self.graph.expand(point, boards).map_err(PlanError::from)?;
        self.states.resize_with(self.graph.len(), || State::Unwanted);
        let wanted: Vec<NodeId> =
            new.into_iter().filter(|&id| self.selection.wants(self.graph, id)).collect();
        let into = wanted.iter().map(|&id| Arc::clone(self.graph.name(id))).collect();
        let states = &self.states;
        let wanted = self.graph.closure_until(wanted, |id| !matches!(states[id.index()], State::Unwanted));
        self.wanted.extend(&wanted);
        (self.emit)(&Event::Expanded { node: Arc::clone(self.graph.name(point)), into });
        for &id in &wanted {
            self.states[id.index()] = State::Waiting;
        }
        for &id in &wanted {
            self.decide_one(id, settled)?;
        }
        Ok(())
    }

    fn end(mut self) -> Ended {
        if let Some(event) = self.tally.last(self.stage.traffic()) {
            (self.emit)(&event);
        }
        let mut nodes = Vec::with_capacity(self.wanted.len());
        for &id in &self.wanted {
            let outcome = match &self.states[id.index()] {
                State::Done(known) => known.outcome,
                State::Failed(outcome) => *outcome,
                State::Unwanted | State::Waiting | State::Asking | State::Ready(_) | State::Active => {
                    self.summary.skipped += 1;
                    Outcome::Skipped
                }
            };
            nodes.push((id, outcome, self.messages.remove(&id)));
        }
        Ended { summary: self.summary, nodes, plan_again: self.plan_again }
    }
}

/// Puts a result in place. One that is elsewhere is fetched first.
fn restore(
    world: &World<'_>,
    action: &Action,
    outputs: &[(String, Artifact)],
    hit: Option<&Hit>,
    whole: PathSet,
) -> Result<Restored, RestoreError> {
    let mut read = None;
    if let (Some(hit), Some(remotes)) = (hit, world.remotes) {
        remotes.fetch(world.store, hit)?;
        // What is declared is known without the remote.
        let declared = (hit.entry.path_set_digest == whole.digest()).then(|| Arc::new(whole));
        let found = match declared {
            Some(whole) => Some(whole),
            None => world.path_set_of(remotes, hit).map_err(FetchError::Store)?,
        };
        read = Some(found.ok_or_else(|| FetchError::Gone {
            remote: hit.remote.clone(),
            why: "has lost what was read for a result".to_owned(),
        })?);
    }
    let placed = place(world.store, action, outputs, &world.out)?;
    Ok(Restored { placed, read })
}

fn node_state(
    run: RunId,
    outcome: Outcome,
    basis: &Basis,
    strong: Option<Strong>,
    outputs: Vec<(String, Artifact)>,
    placed: Vec<Placed>,
) -> NodeState {
    let trees = basis.manifest.trees().iter().map(|tree| (tree.input.clone(), tree.digest)).collect();
    let record = NodeRecord { outputs, placed, trees };
    let mut state = NodeState::new(run, outcome, basis.keys.action, &record);
    state.path_set = strong.map(|strong| strong.path_set);
    state.strong_key = strong.map(|strong| strong.key);
    state
}

/// Runs what a thread is for. The scheduler waits for word of every thread, so one that panics must send it too.
pub(super) fn caught<T>(run: impl FnOnce() -> T) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| io::Error::other("kiln itself failed here: a bug"))
}
