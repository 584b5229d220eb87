//! Spec to graph: a node for each instance of each rule. Expansion points are replaced once their values are known.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use petgraph::graph::{DiGraph, NodeIndex};

use super::error::ExpandError;
use super::export::{ExportPaths, Taken};
use super::instantiate::{Draft, DraftKind, EXPAND, Instantiate, Reference, Rules};
use super::order::{Dependencies, order};
use super::{BoundRule, Expansion, Graph, Input, Node, NodeId, NodeKind, NodeName, OutputRef};
use crate::spec::instance::{NamedOutput, node_name};
use crate::spec::model::{self, Axis, Spec};

/// What the expansion of a point needs after the rest of the graph is made.
#[derive(Debug)]
pub(super) struct ExpansionState {
    spec: Arc<Spec>,
    rules: Rules,
}

/// Makes the graph of a spec.
///
/// # Errors
/// See [`ExpandError`].
pub fn expand(spec: Arc<Spec>) -> Result<Graph, ExpandError> {
    let rules: Rules =
        spec.rules.iter().map(|(name, rule)| (name.clone(), Arc::new(BoundRule::new(name, rule)))).collect();
    let mut drafts = drafts(&spec, &rules)?;
    leave_out_unread(&mut drafts);
    let mut graph = Graph {
        nodes: DiGraph::with_capacity(drafts.len(), drafts.len()),
        by_name: HashMap::with_capacity(drafts.len()),
        expansion_state: ExpansionState { spec, rules },
        expanded: BTreeMap::new(),
        exports: ExportPaths::default(),
    };
    for draft in in_order(drafts)? {
        resolve(&mut graph, draft)?;
    }
    for id in graph.ids() {
        take_export_paths(&mut graph, id)?;
    }
    Ok(graph)
}

impl Graph {
    /// Replaces an expansion point by the nodes for these values, which depend on all that the point depends on.
    ///
    /// # Errors
    /// See [`ExpandError`].
    ///
    /// # Panics
    /// If the node is not an expansion point.
    pub fn expand(&mut self, point: NodeId, values: &[String]) -> Result<Vec<NodeId>, ExpandError> {
        let NodeKind::Expansion(expansion) = &self.node(point).kind else {
            unreachable!("only expansion points are expanded");
        };
        let from = expansion.from.node;
        let rule = Arc::clone(&expansion.rule);
        let ExpansionState { spec, rules } = &self.expansion_state;
        let instances = spec
            .expanded(&rule.name, &rule.decl, expansion.build, values)
            .map_err(|source| ExpandError::UnknownValue { point: self.name(point).clone(), source })?;
        let instantiate = Instantiate { spec, rules };
        let drafts = instances.into_iter().map(|instance| instantiate.action(&rule, instance));
        let drafts: Vec<Draft> = drafts.collect::<Result<_, _>>()?;
        let mut added = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let id = resolve(self, draft)?;
            self.nodes.update_edge(from.petgraph(), id.petgraph(), ());
            take_export_paths(self, id)?;
            added.push(id);
        }
        self.expanded.insert(point, added.clone());
        Ok(added)
    }
}

/// The nodes of a spec: sources, then instances of rules with axes, then actions.
fn drafts(spec: &Spec, rules: &Rules) -> Result<Vec<Draft>, ExpandError> {
    let instantiate = Instantiate { spec, rules };
    let unpacked = spec.project.sources.iter().filter(|(_, source)| source.is_unpacked());
    let mut drafts: Vec<Draft> = unpacked.map(|(name, _)| Draft::of_source(name)).collect();
    for rule in rules.values() {
        for (build, instance) in spec.instances(&rule.name, &rule.decl) {
            drafts.push(instantiate.draft(rule, build, instance)?);
        }
    }
    for (name, entry) in &spec.project.actions {
        drafts.push(instantiate.action(&rules[entry.rule.as_str()], spec.action(name, entry))?);
    }
    Ok(drafts)
}

/// Leaves out nodes that are made on demand and that nothing reads.
fn leave_out_unread(drafts: &mut Vec<Draft>) {
    loop {
        let read: HashSet<NodeName> =
            drafts.iter().flat_map(Draft::dependencies).map(|(_, name)| name.clone()).collect();
        let before = drafts.len();
        drafts.retain(|draft| !draft.is_on_demand() || read.contains(&draft.name));
        if drafts.len() == before {
            return;
        }
    }
}

/// Sorts drafts so that each comes after those it reads.
fn in_order(drafts: Vec<Draft>) -> Result<Vec<Draft>, ExpandError> {
    let mut dependencies = Dependencies::with_capacity(drafts.len(), drafts.len());
    let mut by_name: HashMap<&NodeName, NodeIndex> = HashMap::with_capacity(drafts.len());
    for draft in &drafts {
        if by_name.insert(&draft.name, dependencies.add_node(())).is_some() {
            return Err(ExpandError::SameName(draft.name.clone()));
        }
    }
    for (index, draft) in drafts.iter().enumerate() {
        for (input, name) in draft.dependencies() {
            let &dependency = by_name.get(name).ok_or_else(|| ExpandError::NoSuchNode {
                node: draft.name.clone(),
                input: input.to_owned(),
                missing: name.to_string(),
            })?;
            dependencies.add_edge(dependency, NodeIndex::new(index), ());
        }
    }
    let order = order(&dependencies).map_err(|cycle| {
        ExpandError::Cycle(cycle.into_iter().map(|index| drafts[index].name.clone()).collect())
    })?;
    let mut drafts: Vec<Option<Draft>> = drafts.into_iter().map(Some).collect();
    Ok(order.into_iter().map(|index| drafts[index].take().expect("an order has each node once")).collect())
}

/// Adds the node of a draft, whose dependencies are in the graph.
fn resolve(graph: &mut Graph, draft: Draft) -> Result<NodeId, ExpandError> {
    let Draft { name, kind } = draft;
    let mut deps = Vec::new();
    let kind = match kind {
        DraftKind::Source(source) => NodeKind::Source(source),
        DraftKind::Expansion { rule, from, build } => {
            let from = output_ref(graph, &name, EXPAND, &from)?;
            deps.push(from.node);
            let expansion = Expansion { rule, from, build };
            // The point waits for all that its nodes read, so that they come after that.
            deps.extend(read_by_expanded(graph, &expansion));
            NodeKind::Expansion(expansion)
        }
        DraftKind::Action { mut action, references } => {
            for (input, reference) in references {
                let mut resolve = |output| {
                    let output = output_ref(graph, &name, &input, output)?;
                    deps.push(output.node);
                    Ok(output)
                };
                let resolved = match &reference {
                    Reference::Output(output) => Input::Output(resolve(output)?),
                    Reference::Layers(layers) => {
                        Input::Layers(layers.iter().map(resolve).collect::<Result<_, ExpandError>>()?)
                    }
                };
                action.inputs.push((input, resolved));
            }
            for (_, input) in &mut action.inputs {
                if let Input::Source { name, made_by } = input {
                    *made_by = graph.find(&NodeName::of_source(name));
                    deps.extend(*made_by);
                }
            }
            action.inputs.sort_by(|a, b| a.0.cmp(&b.0));
            NodeKind::Action(Arc::new(*action))
        }
    };
    Ok(graph.add(Node { name, kind }, deps))
}

/// An output that an input of `reader` names.
fn output_ref(
    graph: &Graph,
    reader: &NodeName,
    input: &str,
    NamedOutput { node, output }: &NamedOutput,
) -> Result<OutputRef, ExpandError> {
    let id = graph.find(node).ok_or_else(|| ExpandError::NoSuchNode {
        node: reader.clone(),
        input: input.to_owned(),
        missing: node.to_string(),
    })?;
    let known = graph.node(id).action().map(|action| &action.rule.decl.outputs);
    if known.is_some_and(|known| known.contains_key(&**output)) {
        return Ok(OutputRef { node: id, output: Arc::clone(output) });
    }
    let known: Vec<&str> = known.into_iter().flat_map(|known| known.keys()).map(String::as_str).collect();
    Err(ExpandError::NoSuchOutput {
        node: reader.clone(),
        input: input.to_owned(),
        from: node.clone(),
        output: output.to_string(),
        known: known.join(", "),
    })
}

/// The nodes that those of an expansion point may read.
fn read_by_expanded(graph: &Graph, expansion: &Expansion) -> Vec<NodeId> {
    let ExpansionState { spec, rules } = &graph.expansion_state;
    let build = &spec.builds[expansion.build];
    let axes: BTreeMap<Axis, String> =
        Axis::BUILD.into_iter().filter_map(|axis| Some((axis, build.axis(axis)?.to_owned()))).collect();
    let decl = &expansion.rule.decl;
    let references = decl.inputs.values().filter_map(|input| match input {
        model::Input::Output(reference) => Some(reference),
        _ => None,
    });
    let read: BTreeSet<&str> =
        references.flat_map(|reference| spec.rules_referenced(decl, reference)).collect();
    let read = read.into_iter().filter_map(|rule| rules.get(rule));
    read.filter_map(|rule| graph.find(&node_name(&rule.name, &rule.decl, &axes))).collect()
}

/// Takes the export paths of a node, which no other node may have.
fn take_export_paths(graph: &mut Graph, id: NodeId) -> Result<(), ExpandError> {
    let Some(action) = graph.node(id).action() else { return Ok(()) };
    for path in action.export_paths() {
        graph.exports.take(path, id).map_err(|Taken { by, path }| ExpandError::SamePath {
            first: graph.name(by).clone(),
            second: graph.name(id).clone(),
            path,
        })?;
    }
    Ok(())
}
