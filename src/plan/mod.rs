//! The plan: for every node a verdict with its reasons. `kiln plan` prints it, `kiln build` goes on with it, and both
//! take every decision in [`decide()`], so that a dry run can't disagree with the run.

mod affected;
mod age;
mod apart;
mod commits;
mod decide;
mod estimate;
mod host;
mod lookup;
pub mod manifest;
mod reach;
mod reason;
mod rule_parts;
mod sources;
mod verdict;
mod world;

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

pub use affected::{Affected, Because, By, Effect, Happens, Unknown, affected};
pub use apart::{Apart, Decided};
pub use commits::{Commit, Commits, commits};
pub use decide::{Found, Progress, State, basis, boards, counts, decide, find};
pub use estimate::{Estimate, estimate};
pub use lookup::strong_key;
pub use reach::{Reach, Reached, Touch};
pub use reason::Reason;
pub use sources::{SourceTree, Unpacked, UnpackedFrom};
pub use verdict::{Basis, Decision, Keys, Known, Outputs, Strong, Verdict};
pub use world::{Inputs, LastRun, PlanError, ProjectPath, Projected, Projection, Tracing, World};

use crate::digest::Digest;
use crate::graph::{Graph, Input, NodeId, NodeKind, Selection};
use crate::remote::Remotes;
use crate::store::{Outcome, PATH_SETS_PER_KEY};

/// From how many nodes on it pays to decide them in several threads.
const PARALLEL: usize = 256;

/// What is to happen to every wanted node.
#[derive(Debug)]
pub struct Plan {
    /// The wanted nodes, those depended on first.
    nodes: Vec<NodeId>,
    /// By node; `None` for nodes that are not wanted.
    decisions: Vec<Option<Decision>>,
}

impl Plan {
    /// The wanted nodes, those depended on first.
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// A node's decision; `None` where it is not wanted.
    pub fn decision(&self, id: NodeId) -> Option<&Decision> {
        self.decisions.get(id.index())?.as_ref()
    }

    /// A wanted node's verdict.
    pub fn verdict(&self, id: NodeId) -> &Verdict {
        &self.decision(id).expect("the node is part of the plan").verdict
    }

    /// The key of a node's result, where it is known.
    pub fn strong_key(&self, id: NodeId) -> Option<Digest> {
        Some(self.decision(id)?.keys?.strong?.key)
    }

    /// The nodes that can't run because this machine lacks a program, and what each says of it.
    pub fn lacking(&self) -> impl Iterator<Item = (NodeId, &str)> {
        self.nodes.iter().filter_map(|&id| match self.verdict(id) {
            Verdict::Lacking(what) => Some((id, what.as_str())),
            _ => None,
        })
    }

    /// Whether nothing runs and nothing is put in place.
    pub fn is_fresh(&self) -> bool {
        self.nodes.iter().all(|&id| matches!(self.verdict(id), Verdict::Fresh(_) | Verdict::Blocked(_)))
    }

    /// The nodes of which a restore fetches what a remote has: those that were asked for, and those that what runs next
    /// reads. The rest stays where it is.
    ///
    /// While sources have yet to be unpacked, it is not known what runs next: then only what was asked for is among them.
    pub fn restored(&self, graph: &Graph, selection: &Selection) -> HashSet<NodeId> {
        let unpacks = self.unpacks(graph);
        let runs = |by| self.decision(by).is_some_and(|decision| decision.verdict.may_run());
        let is_read = |id| !unpacks && graph.rdeps(id).any(runs);
        let nodes = self.nodes.iter().copied();
        nodes.filter(|&id| selection.wants(graph, id) || is_read(id)).collect()
    }

    fn unpacks(&self, graph: &Graph) -> bool {
        let is_source = |id: NodeId| matches!(graph.node(id).kind, NodeKind::Source(_));
        self.nodes.iter().any(|&id| is_source(id) && self.verdict(id).may_run())
    }

    fn set(&mut self, id: NodeId, decision: Decision) {
        if self.decisions.len() <= id.index() {
            self.decisions.resize_with(id.index() + 1, || None);
        }
        self.decisions[id.index()] = Some(decision);
    }
}

impl Progress for Plan {
    fn state(&self, id: NodeId) -> decide::State<'_> {
        match &self.decision(id).expect("a node is decided after those it depends on").verdict {
            Verdict::Fresh(known) | Verdict::Cached(known, _) | Verdict::Remote(known, _) => {
                decide::State::Known(known)
            }
            Verdict::Stale(_) | Verdict::Unknown(_) => decide::State::Pending,
            Verdict::Blocked(_) | Verdict::Lacking(_) => decide::State::Failed,
        }
    }
}

/// Decides every wanted node. Expansion points whose value is known are expanded in the graph.
pub fn plan(world: &World<'_>, graph: &mut Graph, selection: &Selection) -> Result<Plan, PlanError> {
    // Results of which a blob is gone, though a node that runs wants to read it.
    let mut lost = HashSet::new();
    // Where a blob is read to decide, each remote may have the result without it, under each key that it may have.
    let mut again = HashMap::new();
    let remotes = world.remotes.map_or(0, Remotes::len);
    let most = 1 + remotes * (PATH_SETS_PER_KEY as usize + 1);
    loop {
        let plan = match pass(world, graph, selection, &lost) {
            Err(error) if error.lost().is_some_and(|node| tried(&mut again, node) <= most) => {
                lost.extend(error.lost());
                continue;
            }
            plan => plan?,
        };
        let found = lost_blobs(world, graph, &plan)?;
        if found.is_subset(&lost) {
            return Ok(plan);
        }
        lost.extend(found);
    }
}

/// How often something has been tried, this time included.
fn tried(times: &mut HashMap<NodeId, usize>, node: NodeId) -> usize {
    let times = times.entry(node).or_insert(0);
    *times += 1;
    *times
}

fn pass(
    world: &World<'_>,
    graph: &mut Graph,
    selection: &Selection,
    lost: &HashSet<NodeId>,
) -> Result<Plan, PlanError> {
    let mut plan = Plan { nodes: selection.nodes(graph), decisions: Vec::new() };
    plan.decisions.resize_with(graph.len(), || None);
    let mut next = 0;
    while let Some(&id) = plan.nodes.get(next) {
        if is_open(graph, id) {
            next += 1;
            let decision = match decide::boards(world, graph, id, &plan)? {
                Ok(boards) => {
                    let new = graph.expand(id, &boards)?;
                    let wanted = new.into_iter().filter(|&new| selection.wants(graph, new));
                    let known: HashSet<NodeId> = plan.nodes.iter().copied().collect();
                    plan.nodes.extend(graph.closure_until(wanted, |id| known.contains(&id)));
                    Decision::expanded()
                }
                Err(decision) => decision,
            };
            plan.set(id, decision);
        } else {
            let wave = wave(graph, &plan, next);
            next = wave.end;
            let ids = plan.nodes[wave].to_vec();
            for (id, decision) in ids.iter().zip(decide_all(world, graph, &plan, &ids, lost)) {
                plan.set(*id, decision?);
            }
        }
    }
    Ok(plan)
}

/// Whether a node is an expansion point that has not become its nodes.
fn is_open(graph: &Graph, id: NodeId) -> bool {
    matches!(graph.node(id).kind, NodeKind::Expansion(_)) && graph.expansion(id).is_none()
}

/// The next nodes that can be decided side by side: none depends on another of them. At least one.
fn wave(graph: &Graph, plan: &Plan, start: usize) -> Range<usize> {
    let ready = |id: &NodeId| !is_open(graph, *id) && graph.deps(*id).all(|dep| plan.decision(dep).is_some());
    let more = plan.nodes[start + 1..].iter().take_while(|id| ready(id)).count();
    start..start + 1 + more
}

fn decide_all(
    world: &World<'_>,
    graph: &Graph,
    plan: &Plan,
    ids: &[NodeId],
    lost: &HashSet<NodeId>,
) -> Vec<Result<Decision, PlanError>> {
    let decide = |id: &NodeId| decide(world, graph, *id, plan, lost.contains(id));
    if ids.len() < PARALLEL {
        return ids.iter().map(decide).collect();
    }
    // A source tree is walked by all threads. It is walked here, lest each of them begin to; should that fail, it
    // fails again where it is told.
    for action in ids.iter().filter_map(|&id| graph.node(id).action()) {
        for (_, input) in &action.inputs {
            if let Input::Source { name, made_by: None } = input {
                let _ = world.source(name);
            }
        }
    }
    ids.par_iter().map(decide).collect()
}

/// Whether all that the plan takes to be in the cache still is: what nodes that run read, and what is put in place.
pub fn is_all_there(world: &World<'_>, graph: &Graph, plan: &Plan) -> Result<bool, PlanError> {
    for &id in &plan.nodes {
        if let Verdict::Cached(known, _) = plan.verdict(id)
            && !world.all_there(&known.outputs)?
        {
            return Ok(false);
        }
    }
    Ok(lost_blobs(world, graph, plan)?.is_empty())
}

/// Nodes that are known, and of whose outputs one that may be read is not in the cache.
fn lost_blobs(world: &World<'_>, graph: &Graph, plan: &Plan) -> Result<HashSet<NodeId>, PlanError> {
    let mut lost = HashSet::new();
    for &id in plan.nodes.iter().filter(|&&id| plan.verdict(id).may_run()) {
        for dep in graph.deps(id) {
            // What a remote has is fetched when it is read.
            if let Verdict::Fresh(known) | Verdict::Cached(known, _) = plan.verdict(dep)
                && !world.all_there(&known.outputs)?
            {
                lost.insert(dep);
            }
        }
    }
    Ok(lost)
}

impl Decision {
    /// An expansion point that has become its nodes.
    pub fn expanded() -> Self {
        Self {
            verdict: Verdict::Fresh(Known { outcome: Outcome::Pass, outputs: Arc::from([]), run: None }),
            keys: None,
            basis: None,
        }
    }
}
