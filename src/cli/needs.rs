//! What a plan goes by: what running kilns say that they use, and what no collection may take from the graph at hand.

use std::collections::HashSet;

use super::exit::Failure;
use super::project::{Project, select};
use crate::digest::Digest;
use crate::graph::{Body, Graph, NodeId};
use crate::kinds::AllKinds;
use crate::plan::manifest::{Manifest, Val, What};
use crate::plan::{Plan, World, is_all_there, plan};
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
        let before = world.previous.get(&**graph.name(id)).and_then(|state| state.strong_key);
        digests.extend(before);
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

/// What the whole graph goes by as it is now.
pub(super) fn of_graph(project: &Project) -> Result<HashSet<Digest>, Failure> {
    let kinds = AllKinds::new(&project.spec);
    let (mut graph, world) = project.look(&kinds)?;
    let selection = select(&[], &graph)?;
    let plan = plan(&world, &mut graph, &selection)?;
    world.save();
    needed(&world, &graph, &plan)
}

/// Strong keys of what is known, and the names of unpacked sources.
fn needed(world: &World<'_>, graph: &Graph, plan: &Plan) -> Result<HashSet<Digest>, Failure> {
    let mut digests = HashSet::new();
    for &id in plan.nodes() {
        digests.extend(strong_key(plan, id));
        if let Body::Source(source) = &graph.node(id).body {
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
