//! Estimates: how long a plan takes, from the recorded runs of its nodes.

use std::collections::HashMap;
use std::time::Duration;

use super::decisions::Plan;
use crate::graph::{Graph, NodeId};

/// The expected duration of a plan. Nodes that never ran count as zero, and are counted.
#[derive(Debug, Default)]
pub struct Estimate {
    /// By node, for nodes that may run and have run before.
    pub durations: HashMap<NodeId, Duration>,
    /// For every node that may run: the time from its start to the end of all nodes that wait for it.
    pub tails: HashMap<NodeId, Duration>,
    /// The longest chain of nodes that wait for each other.
    pub critical_path: Vec<NodeId>,
    /// The duration of that chain.
    pub critical: Duration,
    /// The expected wall time.
    pub wall: Duration,
    /// The number of nodes that may run and never ran.
    pub unmeasured: usize,
}

/// Estimates a plan on `jobs` cores, from the wall times of past runs.
///
/// The wall time is the larger of two bounds: the critical path, and all work spread over the cores. A build that
/// shares the jobserver was measured with all cores to itself, so two of them at once take the sum of both.
pub fn estimate(
    graph: &Graph,
    plan: &Plan,
    jobs: usize,
    past: impl Fn(&str) -> Option<Duration>,
) -> Estimate {
    let mut estimate = Estimate::default();
    let (mut shared, mut single) = (Duration::ZERO, Duration::ZERO);
    let mut next: HashMap<NodeId, NodeId> = HashMap::new();
    let runs = |id: NodeId| plan.decision(id).is_some_and(|decision| decision.verdict.may_run());
    for &id in plan.nodes().iter().rev().filter(|&&id| runs(id)) {
        let past = past(graph.name(id));
        match past {
            Some(past) => {
                estimate.durations.insert(id, past);
                let jobserver =
                    graph.node(id).action().is_some_and(|action| action.rule.decl.resources.jobserver);
                *if jobserver { &mut shared } else { &mut single } += past;
            }
            None if graph.node(id).action().is_some() => estimate.unmeasured += 1,
            None => {}
        }
        let longest =
            graph.rdeps(id).filter_map(|reader| Some((*estimate.tails.get(&reader)?, reader))).max();
        let mut tail = past.unwrap_or_default();
        if let Some((rest, reader)) = longest {
            tail += rest;
            next.insert(id, reader);
        }
        estimate.tails.insert(id, tail);
    }
    let start = estimate.tails.iter().max_by_key(|(id, tail)| (**tail, std::cmp::Reverse(**id)));
    if let Some((&start, &critical)) = start {
        estimate.critical = critical;
        estimate.critical_path = std::iter::successors(Some(start), |id| next.get(id).copied()).collect();
    }
    let cores = u32::try_from(jobs.max(1)).unwrap_or(u32::MAX);
    estimate.wall = estimate.critical.max(shared + single / cores);
    estimate
}
