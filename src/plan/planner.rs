//! Planning: decides all wanted nodes, in the order of the graph.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use rayon::prelude::*;

use super::context::BuildContext;
use super::decide::{decide, expansion_values};
use super::decisions::Plan;
use super::error::PlanError;
use super::verdict::{Decision, Verdict};
use crate::graph::{Graph, Input, NodeId, NodeKind, Selection};
use crate::remote::Remotes;
use crate::store::PATH_SETS_PER_KEY;

/// The number of nodes from which several threads decide faster than one.
const PARALLEL: usize = 256;

/// Decides every wanted node. Expansion points whose values are known are expanded in the graph.
pub fn plan(context: &BuildContext<'_>, graph: &mut Graph, selection: &Selection) -> Result<Plan, PlanError> {
    // Nodes of which a blob that others read is missing.
    let mut lost = HashSet::new();
    // A blob that a decision reads may be missing at each remote, under each key that the remote may have.
    let mut attempts: HashMap<NodeId, usize> = HashMap::new();
    let remotes = context.remotes.map_or(0, Remotes::len);
    let most = 1 + remotes * (PATH_SETS_PER_KEY as usize + 1);
    loop {
        let plan = match decide_wanted(context, graph, selection, &lost) {
            Ok(plan) => plan,
            Err(error) => {
                let Some(node) = error.lost() else { return Err(error) };
                let attempts = attempts.entry(node).or_insert(0);
                *attempts += 1;
                if *attempts > most {
                    return Err(error);
                }
                lost.insert(node);
                continue;
            }
        };
        let found = lost_blobs(context, graph, &plan)?;
        if found.is_subset(&lost) {
            return Ok(plan);
        }
        lost.extend(found);
    }
}

fn decide_wanted(
    context: &BuildContext<'_>,
    graph: &mut Graph,
    selection: &Selection,
    lost: &HashSet<NodeId>,
) -> Result<Plan, PlanError> {
    let mut plan = Plan::new(selection.nodes(graph), graph.len());
    let mut next = 0;
    while let Some(&id) = plan.nodes().get(next) {
        if is_unexpanded(graph, id) {
            next += 1;
            let decision = match expansion_values(context, graph, id, &plan)? {
                Ok(values) => {
                    let new = graph.expand(id, &values)?;
                    let wanted = new.into_iter().filter(|&new| selection.wants(graph, new));
                    let known: HashSet<NodeId> = plan.nodes().iter().copied().collect();
                    plan.add_nodes(graph.closure_until(wanted, |id| known.contains(&id)));
                    Decision::expanded()
                }
                Err(decision) => decision,
            };
            plan.set(id, decision);
        } else {
            let wave = next_wave(graph, &plan, next);
            next = wave.end;
            let ids = plan.nodes()[wave].to_vec();
            for (id, decision) in ids.iter().zip(decide_all(context, graph, &plan, &ids, lost)) {
                plan.set(*id, decision?);
            }
        }
    }
    Ok(plan)
}

/// Whether a node is an expansion point that has not been expanded.
fn is_unexpanded(graph: &Graph, id: NodeId) -> bool {
    matches!(graph.node(id).kind, NodeKind::Expansion(_)) && graph.expansion(id).is_none()
}

/// The next nodes of which none depends on another, so that they can be decided in parallel. At least one.
fn next_wave(graph: &Graph, plan: &Plan, start: usize) -> Range<usize> {
    let ready =
        |id: &NodeId| !is_unexpanded(graph, *id) && graph.deps(*id).all(|dep| plan.decision(dep).is_some());
    let more = plan.nodes()[start + 1..].iter().take_while(|id| ready(id)).count();
    start..start + 1 + more
}

fn decide_all(
    context: &BuildContext<'_>,
    graph: &Graph,
    plan: &Plan,
    ids: &[NodeId],
    lost: &HashSet<NodeId>,
) -> Vec<Result<Decision, PlanError>> {
    let decide = |id: &NodeId| decide(context, graph, *id, plan, lost.contains(id));
    if ids.len() < PARALLEL {
        return ids.iter().map(decide).collect();
    }
    // All threads walk a source tree together. It is walked here, before each of them starts to; an error occurs again,
    // and is reported, in the decision.
    for action in ids.iter().filter_map(|&id| graph.node(id).action()) {
        for (_, input) in &action.inputs {
            if let Input::Source { name, made_by: None } = input {
                let _ = context.sources.snapshot(name);
            }
        }
    }
    ids.par_iter().map(decide).collect()
}

/// Whether every blob that the plan relies on is in the cache: outputs that are put in place, and inputs of what runs.
pub fn has_all_blobs(context: &BuildContext<'_>, graph: &Graph, plan: &Plan) -> Result<bool, PlanError> {
    for &id in plan.nodes() {
        if let Verdict::Cached(result, _) = plan.verdict(id)
            && !context.artifacts().has_all(&result.outputs)?
        {
            return Ok(false);
        }
    }
    Ok(lost_blobs(context, graph, plan)?.is_empty())
}

/// The nodes with a known result of which a blob is missing, and which a node that may run depends on.
fn lost_blobs(context: &BuildContext<'_>, graph: &Graph, plan: &Plan) -> Result<HashSet<NodeId>, PlanError> {
    let mut lost = HashSet::new();
    for &id in plan.nodes().iter().filter(|&&id| plan.verdict(id).may_run()) {
        for dep in graph.deps(id) {
            // A remote's result is fetched when it is read.
            if let Verdict::Fresh(result) | Verdict::Cached(result, _) = plan.verdict(dep)
                && !context.artifacts().has_all(&result.outputs)?
            {
                lost.insert(dep);
            }
        }
    }
    Ok(lost)
}
