//! The one decision function: what is to happen to a node, given the results of the nodes that it depends on.

use std::sync::Arc;

use super::cache_lookup::{expired, is_reusable, look_up_remotes};
use super::choose::{CacheLookup, Facts, LastResult, choose};
use super::compare::compare;
use super::context::BuildContext;
use super::error::PlanError;
use super::key_inputs::{Dependencies, key_inputs_of};
use super::manifest::{FieldKind, FieldValue};
use super::placement::misplaced;
use super::progress::{Progress, State, waits};
use super::reason::Reason;
use super::verdict::{ActionResult, Decision, KeyInputs, StrongKey, Verdict};
use super::{cache_lookup, progress};
use crate::graph::{Action, Graph, Input, NodeId, NodeKind, SourceNode};
use crate::host::ToolError;
use crate::remote::Hit;
use crate::store::{NodeRecord, NodeState, Outcome};

/// Decides a node. `lost`: a blob of its known result is missing, so that result is not fresh.
pub fn decide(
    context: &BuildContext<'_>,
    graph: &Graph,
    id: NodeId,
    progress: &impl Progress,
    lost: bool,
) -> Result<Decision, PlanError> {
    let node = graph.node(id);
    if let Some(mut verdict) = waits(graph.deps(id), progress) {
        // A missing requirement is reported now, and not after all dependencies have run.
        if let (Verdict::Unknown(_), Some(action)) = (&verdict, node.action())
            && let Some(missing) = missing_requirement(context, &node.name, action)
        {
            verdict = Verdict::MissingRequirement(missing);
        }
        return Ok(Decision::without_keys(verdict));
    }
    match &node.kind {
        NodeKind::Action(action) => {
            decide_action(context, &node.name, action, &progress::InGraph { graph, progress }, lost)
        }
        NodeKind::Source(source) => decide_source(context, &node.name, source),
        NodeKind::Expansion(_) => Ok(Decision::expanded()),
    }
}

/// What an action requires and does not find, whatever its inputs are.
fn missing_requirement(context: &BuildContext<'_>, name: &str, action: &Action) -> Option<String> {
    let emulator = action.machine.map(|machine| context.host.emulator(machine, name));
    match emulator {
        Some(Err(PlanError::MissingRequirement { message, .. })) => Some(message),
        _ => context.projection.missing_requirement(action),
    }
}

/// The values of an expansion point, or the decision that they are not known yet.
pub fn expansion_values(
    context: &BuildContext<'_>,
    graph: &Graph,
    id: NodeId,
    progress: &impl Progress,
) -> Result<Result<Vec<String>, Decision>, PlanError> {
    let NodeKind::Expansion(expansion) = &graph.node(id).kind else {
        unreachable!("only expansion points have values");
    };
    let from = expansion.from.node;
    Ok(match waits(std::iter::once(from), progress) {
        Some(verdict) => Err(Decision::without_keys(verdict)),
        None => {
            let State::Done(result) = progress.state(from) else {
                unreachable!("a node that is not waited for has a result");
            };
            let output = &expansion.from.output;
            Ok(context.artifacts().expansion_values(result, from, output, graph.name(id))?)
        }
    })
}

/// Decides an action that waits for nothing.
pub(super) fn decide_action(
    context: &BuildContext<'_>,
    name: &str,
    action: &Action,
    dependencies: &impl Dependencies,
    lost: bool,
) -> Result<Decision, PlanError> {
    let mut key_inputs = match key_inputs_of(context, name, action, dependencies) {
        // Only the nodes that run the program, and those that depend on them, are affected.
        Err(PlanError::Tool { source: missing @ ToolError::Missing { .. }, .. }) => {
            return Ok(Decision::without_keys(Verdict::MissingRequirement(missing.to_string())));
        }
        Err(PlanError::MissingRequirement { message, .. }) => {
            return Ok(Decision::without_keys(Verdict::MissingRequirement(message)));
        }
        key_inputs => key_inputs?,
    };
    let facts = NodeFacts { context, name, action, key_inputs: &key_inputs };
    let (verdict, strong) = choose(&facts, key_inputs.keys.strong, lost)?;
    key_inputs.keys.strong = strong;
    if matches!(verdict, Verdict::Stale(_)) {
        // Recorded with the run, for `kiln why`. Git is not asked for nodes that do not run: that costs too much.
        for (_, input) in &action.inputs {
            if let Input::Source { name, .. } = input
                && let Some(commit) = context.sources.commit(name)
            {
                key_inputs.manifest.add_detail(
                    FieldKind::Commit { source: name.to_string() },
                    FieldValue::Text(commit.to_owned()),
                );
            }
        }
    }
    let keys = Some(key_inputs.keys);
    // The manifests of fresh nodes are not used, and would take most of the memory of a large plan.
    let key_inputs = (!matches!(verdict, Verdict::Fresh(_))).then(|| Arc::new(key_inputs));
    Ok(Decision { verdict, keys, key_inputs })
}

/// The key inputs of a node, for explanations. `None` if its inputs are not known, or if it has no key.
pub fn key_inputs(
    context: &BuildContext<'_>,
    graph: &Graph,
    id: NodeId,
    progress: &impl Progress,
) -> Result<Option<KeyInputs>, PlanError> {
    let node = graph.node(id);
    match node.action() {
        Some(action) if waits(graph.deps(id), progress).is_none() => {
            let dependencies = progress::InGraph { graph, progress };
            key_inputs_of(context, &node.name, action, &dependencies).map(Some)
        }
        _ => Ok(None),
    }
}

/// The facts of one action, from the build context.
struct NodeFacts<'a, 'w> {
    context: &'a BuildContext<'w>,
    name: &'a str,
    action: &'a Action,
    key_inputs: &'a KeyInputs,
}

impl Facts for NodeFacts<'_, '_> {
    fn is_forced(&self) -> bool {
        self.context.forced.contains(self.name)
    }

    fn last_result(&self) -> Result<Option<LastResult>, PlanError> {
        let Self { context, name, action, key_inputs } = *self;
        let Some(state) = context.previous.get(name) else { return Ok(None) };
        if state.action_key != key_inputs.keys.action || !is_reusable(action, state.outcome) {
            return Ok(None);
        }
        let Some(record) = state.record() else { return Ok(None) };
        let Some(strong) = self.valid_strong_key(state, &record)? else { return Ok(None) };
        let misplaced = misplaced(context, action, &record);
        let expired = expired(context, action, Some(state.run))?;
        let outputs = record.outputs.into();
        let result = ActionResult { outcome: state.outcome, outputs, run: Some(state.run) };
        Ok(Some(LastResult { strong, result, misplaced, expired }))
    }

    fn look_up(&self, known: Option<StrongKey>) -> Result<CacheLookup, PlanError> {
        cache_lookup::look_up(self.context, self.action, self.key_inputs, known)
    }

    fn look_up_remotes(&self, known: Option<StrongKey>) -> Result<Option<(StrongKey, Hit)>, PlanError> {
        look_up_remotes(self.context, self.action, self.key_inputs, known)
    }

    fn changes(&self) -> Result<Vec<Reason>, PlanError> {
        let Self { context, name, key_inputs: KeyInputs { manifest, .. }, .. } = *self;
        let Some(last) = context.last_run(name, manifest.least())? else {
            // A run without an outcome leaves no state, but it did run.
            let newest = context.newest_run(name)?;
            return Ok(vec![newest.map_or(Reason::NeverRan, |run| Reason::LastRun { outcome: run.outcome })]);
        };
        let mut reasons = compare(&last, manifest, &context.sources);
        if last.has_low_provenance {
            reasons.insert(0, Reason::RecordsAlone);
        }
        if last.outcome != Outcome::Pass || reasons.is_empty() {
            reasons.insert(0, Reason::LastRun { outcome: last.outcome });
        }
        Ok(reasons)
    }
}

impl NodeFacts<'_, '_> {
    /// The strong key of the node's last state, if its present inputs have the same.
    fn valid_strong_key(
        &self,
        state: &NodeState,
        record: &NodeRecord,
    ) -> Result<Option<StrongKey>, PlanError> {
        let KeyInputs { keys, manifest } = self.key_inputs;
        let Some((key, path_set)) = state.strong_key.zip(state.path_set) else { return Ok(None) };
        let strong = StrongKey { key, path_set };
        if let Some(declared) = keys.strong {
            return Ok((declared == strong).then_some(strong));
        }
        // If no tree has changed at all, nothing needs to be looked up.
        let trees = manifest.trees();
        let same = record.trees.len() == trees.len()
            && record.trees.iter().zip(trees).all(|(then, now)| then.0 == now.input && then.1 == now.digest);
        if same {
            return Ok(Some(strong));
        }
        let now = self.context.strong_key(&keys.action, manifest, &path_set)?;
        Ok((now == Some(key)).then_some(strong))
    }
}

fn decide_source(context: &BuildContext<'_>, name: &str, source: &SourceNode) -> Result<Decision, PlanError> {
    let mut reasons = context.sources.unpack_reasons(&source.source)?;
    if reasons.is_empty() && context.forced.contains(name) {
        reasons.push(Reason::Forced);
    }
    Ok(Decision::without_keys(if reasons.is_empty() {
        Verdict::Fresh(ActionResult::empty())
    } else {
        Verdict::Stale(reasons)
    }))
}
