//! What a plan goes by: what running kilns say that they use, and what no collection may take from the graph at hand.

use std::collections::HashSet;

use super::exit::Failure;
use super::project::{Project, select};
use crate::digest::Digest;
use crate::graph::{Graph, NodeId, NodeKind};
use crate::kinds::AllKinds;
use crate::plan::manifest::{Manifest, Val, What};
use crate::plan::{Plan, Verdict, World, is_all_there, plan};
use crate::store::Artifact;

/// Says that this kiln uses what the plan goes by, where the plan does anything at all. `false`: something of it has been
/// taken away meanwhile, and the plan is to be made anew.
pub(super) fn hold(world: &World<'_>, graph: &Graph, plan: &Plan) -> Result<bool, Failure> {
    if plan.is_fresh() { Ok(true) } else { hold_all(world, graph, plan) }
}

/// The same for who reads also what is fresh.
pub(super) fn hold_all(world: &World<'_>, graph: &Graph, plan: &Plan) -> Result<bool, Failure> {
    let mut digests = needed(world, graph, plan)?;
    for &id in plan.nodes() {
        // What is not known yet may turn out to be what it was.
        digests.extend(last_key(world, graph, id));
        let decision = plan.decision(id);
        let known = decision.and_then(|decision| decision.verdict.known());
        digests.extend(known.iter().flat_map(|known| known.outputs.iter()).filter_map(|(_, artifact)| {
            match artifact {
                Artifact::File { digest, .. } | Artifact::Tree { digest, .. } => Some(*digest),
                Artifact::Absent => None,
            }
        }));
        let basis = decision.and_then(|decision| decision.basis.as_ref());
        digests.extend(basis.iter().flat_map(|basis| basis.manifest.trees()).map(|tree| tree.digest));
    }
    world.store.hold(&Vec::from_iter(digests))?;
    Ok(is_all_there(world, graph, plan)?)
}

/// What the whole graph goes by as it is now. Nobody elsewhere is asked: of what is made from things that may be there, and
/// are not here, the last result counts.
pub(super) fn of_graph(project: &Project) -> Result<HashSet<Digest>, Failure> {
    let kinds = AllKinds::new(&project.spec);
    let (mut graph, world) = project.look(&kinds)?;
    let selection = select(&[], &graph)?;
    let plan = plan(&world, &mut graph, &selection)?;
    world.save();
    let mut digests = needed(&world, &graph, &plan)?;
    if !project.spec.project.remotes.is_empty() {
        let unknown = plan.nodes().iter().filter(|&&id| matches!(plan.verdict(id), Verdict::Unknown(_)));
        digests.extend(unknown.filter_map(|&id| last_key(&world, &graph, id)));
    }
    Ok(digests)
}

/// The strong key that a node's last result has.
fn last_key(world: &World<'_>, graph: &Graph, id: NodeId) -> Option<Digest> {
    world.previous.get(&**graph.name(id))?.strong_key
}

/// Strong keys of what is known, and the names of unpacked sources.
fn needed(world: &World<'_>, graph: &Graph, plan: &Plan) -> Result<HashSet<Digest>, Failure> {
    let mut digests = HashSet::new();
    for &id in plan.nodes() {
        digests.extend(strong_key(plan, id));
        if let NodeKind::Source(source) = &graph.node(id).kind {
            let root = &world.source_tree(&source.source)?.root;
            digests.extend(root.file_name().and_then(|name| name.to_str()?.parse::<Digest>().ok()));
        }
    }
    Ok(digests)
}

fn strong_key(plan: &Plan, id: NodeId) -> Option<Digest> {
    let decision = plan.decision(id)?;
    decision.verdict.known()?;
    Some(decision.keys?.strong?.key)
}

/// The digests of trees in a recorded manifest.
pub(super) fn trees_of(manifest: &[u8]) -> Vec<Digest> {
    let fields = Manifest::decode(manifest).unwrap_or_default().into_iter();
    let trees = fields.filter_map(|field| match (field.what, field.value) {
        (What::Source { .. } | What::Output { .. }, Val::Digest(digest)) => Some(digest),
        _ => None,
    });
    trees.collect()
}
