//! Claims: what a running process uses of the cache, so that no collection removes it; and what the present graph needs.

use std::collections::HashSet;

use super::error::SessionError;
use crate::digest::Digest;
use crate::graph::{Graph, NodeId, NodeKind};
use crate::plan::manifest::{FieldKind, FieldValue, Manifest};
use crate::plan::{BuildContext, Plan, Verdict, has_all_blobs};
use crate::store::Artifact;

/// Claims everything that a plan relies on, unless the plan does nothing. `false`: a part of it was removed meanwhile, and a
/// new plan is needed.
pub(super) fn claim_plan(
    context: &BuildContext<'_>,
    graph: &Graph,
    plan: &Plan,
) -> Result<bool, SessionError> {
    if plan.is_fresh() { Ok(true) } else { claim_all(context, graph, plan) }
}

/// The same for a plan of which fresh results are read, too.
pub(super) fn claim_all(
    context: &BuildContext<'_>,
    graph: &Graph,
    plan: &Plan,
) -> Result<bool, SessionError> {
    let mut digests = needed(context, graph, plan)?;
    for &id in plan.nodes() {
        // A node that is not decided yet may turn out to have its last result.
        digests.extend(last_key(context, graph, id));
        let decision = plan.decision(id);
        let known = decision.and_then(|decision| decision.verdict.known());
        let artifacts = known.iter().flat_map(|known| known.outputs.iter()).map(|(_, artifact)| artifact);
        digests.extend(artifacts.filter_map(Artifact::digest));
        let key_inputs = decision.and_then(|decision| decision.key_inputs.as_ref());
        digests.extend(key_inputs.iter().flat_map(|inputs| inputs.manifest.trees()).map(|tree| tree.digest));
    }
    context.store.hold(&Vec::from_iter(digests))?;
    Ok(has_all_blobs(context, graph, plan)?)
}

/// The strong keys and unpacked sources that the present graph needs. Remotes are not asked: nodes that remotes may decide
/// count with their last result.
pub(super) fn needed_by_graph(
    context: &BuildContext<'_>,
    graph: &Graph,
    plan: &Plan,
) -> Result<HashSet<Digest>, SessionError> {
    let mut digests = needed(context, graph, plan)?;
    if !context.spec.project.remotes.is_empty() {
        let unknown = plan.nodes().iter().filter(|&&id| matches!(plan.verdict(id), Verdict::Unknown(_)));
        digests.extend(unknown.filter_map(|&id| last_key(context, graph, id)));
    }
    Ok(digests)
}

/// The strong key of a node's last result.
fn last_key(context: &BuildContext<'_>, graph: &Graph, id: NodeId) -> Option<Digest> {
    context.previous.get(&**graph.name(id))?.strong_key
}

/// The strong keys of known results, and the names of unpacked sources.
fn needed(context: &BuildContext<'_>, graph: &Graph, plan: &Plan) -> Result<HashSet<Digest>, SessionError> {
    let mut digests = HashSet::new();
    for &id in plan.nodes() {
        if plan.decision(id).is_some_and(|decision| decision.verdict.known().is_some()) {
            digests.extend(plan.strong_key(id));
        }
        if let NodeKind::Source(source) = &graph.node(id).kind {
            let unpacked = context.sources.tree(&source.source)?.unpacked.as_ref();
            digests.extend(unpacked.map(|unpacked| unpacked.name));
        }
    }
    Ok(digests)
}

/// The digests of trees in a recorded manifest.
pub(super) fn recorded_trees(manifest: &[u8]) -> Vec<Digest> {
    let fields = Manifest::decode(manifest).unwrap_or_default().into_iter();
    let trees = fields.filter_map(|field| match (field.kind, field.value) {
        (FieldKind::Source { .. } | FieldKind::Output { .. }, FieldValue::Digest(digest)) => Some(digest),
        _ => None,
    });
    trees.collect()
}
