//! The effects of a change on the nodes of a graph.

use super::effect::{Affected, Cause, Effect, UnknownReason};
use super::reached::Reached;
use crate::graph::{Action, Graph, Input, NodeId, NodeKind};
use crate::plan::cache_lookup::is_reusable;
use crate::plan::context::BuildContext;
use crate::plan::error::PlanError;
use crate::plan::reach::Reach;
use crate::plan::verdict::ActionResult;
use crate::source::patch::Touched;
use crate::store::{NodeState, Outcome};

/// The effect of a change of the source `source` on every node. Expansion points are expanded to their last recorded
/// values.
pub fn affected(
    context: &BuildContext<'_>,
    graph: &mut Graph,
    source: &str,
    change: &[Touched],
) -> Result<Affected, PlanError> {
    expand_as_recorded(context, graph)?;
    let reach = Reach::new(context.store.entries()?.into());
    let mut reached = Reached::new(context.store, &reach, change);
    let mut effects: Vec<Effect> = Vec::with_capacity(graph.len());
    let mut newest: Option<(&NodeState, &str)> = None;
    for id in graph.ids() {
        let effect = match &graph.node(id).kind {
            NodeKind::Source(made) if *made.source == *source => reached.by_all(Cause::Source),
            NodeKind::Source(_) => Effect::Untouched,
            NodeKind::Expansion(expansion) if graph.expansion(id).is_some() => {
                match effects[expansion.from.node.index()] {
                    // It is expanded; its values change only if the list does.
                    Effect::Touched { .. } | Effect::MayFollow { .. } => {
                        Effect::MayFollow { through: expansion.from.node }
                    }
                    _ => Effect::Untouched,
                }
            }
            NodeKind::Expansion(_) => follows(graph, id, &effects),
            NodeKind::Action(action) => match context.previous.get(&**graph.name(id)) {
                None => Effect::Unknown(UnknownReason::NeverRan),
                Some(state) => {
                    let inputs = inputs(action, source);
                    if let Some(input) = inputs.first()
                        && newest.is_none_or(|(newest, _)| newest.run < state.run)
                    {
                        newest = Some((state, input));
                    }
                    let least = context.least_provenance(&action.rule.decl);
                    match (reached.effect(state, &inputs, least)?, follows(graph, id, &effects)) {
                        (touched @ Effect::Touched { .. }, _) => touched,
                        (_, follows @ Effect::MayFollow { .. }) => follows,
                        _ if !is_reusable(action, state.outcome) => {
                            Effect::Unknown(UnknownReason::LastRun(state.outcome))
                        }
                        (_, follows) => follows,
                    }
                }
            },
        };
        effects.push(effect);
    }
    let tree = newest.and_then(|(state, input)| {
        state.record()?.trees.into_iter().find(|(name, _)| name == input).map(|(_, digest)| digest)
    });
    let fits = tree.and_then(|tree| reached.fits(&tree));
    Ok(Affected { nodes: graph.ids().zip(effects).collect(), fits })
}

/// Expands expansion points to their last recorded values. One whose output is no longer stored stays unexpanded.
fn expand_as_recorded(context: &BuildContext<'_>, graph: &mut Graph) -> Result<(), PlanError> {
    for id in graph.ids() {
        let NodeKind::Expansion(expansion) = &graph.node(id).kind else { continue };
        let from = expansion.from.node;
        let Some(state) = context.previous.get(&**graph.name(from)) else { continue };
        let Some(record) = state.record().filter(|_| state.outcome == Outcome::Pass) else { continue };
        let result =
            ActionResult { outcome: state.outcome, outputs: record.outputs.into(), run: Some(state.run) };
        match context.artifacts().expansion_values(&result, from, &expansion.from.output, graph.name(id)) {
            Ok(values) => {
                graph.expand(id, &values)?;
            }
            Err(PlanError::Store(error)) => return Err(error.into()),
            Err(_) => {}
        }
    }
    Ok(())
}

/// The inputs of an action that are this source.
fn inputs<'a>(action: &'a Action, source: &str) -> Vec<&'a str> {
    let is = |input: &Input| matches!(input, Input::Source { name, .. } if **name == *source);
    action.inputs.iter().filter(|(_, input)| is(input)).map(|(name, _)| &**name).collect()
}

/// The effect of a node's dependencies on it. Source nodes are left out: the reads of the tree decide.
fn follows(graph: &Graph, id: NodeId, effects: &[Effect]) -> Effect {
    let mut deps: Vec<NodeId> = graph.deps(id).collect();
    deps.sort_unstable();
    deps.retain(|&dep| !matches!(graph.node(dep).kind, NodeKind::Source(_)));
    let first = |wanted: fn(&Effect) -> bool| deps.iter().copied().find(|dep| wanted(&effects[dep.index()]));
    let touched = first(|effect| matches!(effect, Effect::Touched { .. }));
    if let Some(through) = touched.or_else(|| first(|effect| matches!(effect, Effect::MayFollow { .. }))) {
        return Effect::MayFollow { through };
    }
    match first(|effect| matches!(effect, Effect::Unknown(_))) {
        Some(needs) => Effect::Unknown(UnknownReason::Needs(needs)),
        None => Effect::Untouched,
    }
}
