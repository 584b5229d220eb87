//! Targets: the nodes that a user names.

use std::collections::HashSet;

use super::error::SessionError;
use crate::graph::{Graph, NodeId, NodeName, Selection, UnknownTarget};
use crate::plan::BuildContext;
use crate::store::Outcome;

/// The value of `--rerun` that means all boots that failed.
const FAILED: &str = "failed";

/// The nodes that targets mean. No targets mean every node.
pub fn select(targets: &[String], graph: &Graph) -> Result<Selection, SessionError> {
    Selection::parse(targets, graph).map_err(|unknown| {
        let help = unknown.iter().find_map(|error| match error {
            UnknownTarget::NoMatch { similar, .. } if !similar.is_empty() => {
                Some(format!("did you mean {}?", similar.join(", ")))
            }
            _ => None,
        });
        let message = unknown.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        SessionError::request(message)
            .help(help.unwrap_or_else(|| "`kiln query nodes` lists all names".to_owned()))
    })
}

/// The single node that a target means.
pub fn select_one(target: &str, graph: &Graph) -> Result<NodeId, SessionError> {
    if let Some(id) = graph.find(target) {
        return Ok(id);
    }
    let selection = select(&[target.to_owned()], graph)?;
    // An expanded expansion point is never the node that is meant.
    let wanted = |&id: &NodeId| selection.wants(graph, id) && graph.expansion(id).is_none();
    let selected: Vec<NodeId> = graph.ids().filter(wanted).collect();
    match selected.as_slice() {
        [id] => Ok(*id),
        several => {
            let names: Vec<&str> = several.iter().take(5).map(|&id| &**graph.name(id)).collect();
            let message = format!("{target:?} is {} nodes; one is wanted", several.len());
            Err(SessionError::request(message).help(format!("such as {}", names.join(", "))))
        }
    }
}

/// The nodes that run even if they are up to date.
#[derive(Clone, Copy, Debug, Default)]
pub struct Forced<'a> {
    /// Targets of any kind (`--force`).
    pub nodes: &'a [String],
    /// Targets that are boots, or `failed` (`--rerun`).
    pub boots: &'a [String],
}

impl Forced<'_> {
    /// The names of these nodes.
    pub(super) fn names(
        &self,
        graph: &Graph,
        context: &BuildContext<'_>,
    ) -> Result<HashSet<String>, SessionError> {
        let mut names = selected_names(self.nodes, graph, context)?;
        let is_boot = |name: &str| {
            let rule = NodeName::parse(name).and_then(|name| context.spec.rules.get(name.rule()));
            rule.is_some_and(|rule| rule.kind.boots().is_some())
        };
        let targets: Vec<String> = self.boots.iter().filter(|target| *target != FAILED).cloned().collect();
        names.extend(selected_names(&targets, graph, context)?.into_iter().filter(|name| is_boot(name)));
        if self.boots.iter().any(|target| target == FAILED) {
            let states = context.previous.iter();
            let failed = states.filter(|(name, state)| state.outcome == Outcome::Fail && is_boot(name));
            names.extend(failed.map(|(name, _)| name.clone()));
        }
        Ok(names)
    }
}

fn selected_names(
    targets: &[String],
    graph: &Graph,
    context: &BuildContext<'_>,
) -> Result<HashSet<String>, SessionError> {
    if targets.is_empty() {
        return Ok(HashSet::new());
    }
    let selection = select(targets, graph)?;
    let in_graph = graph.ids().filter(|&id| selection.wants(graph, id)).map(|id| graph.name(id).to_string());
    let mut names: HashSet<String> = in_graph.collect();
    // Recorded boots, which the graph has only after it is expanded.
    names.extend(context.previous.keys().filter(|name| selection.wants_name(name)).cloned());
    Ok(names)
}
