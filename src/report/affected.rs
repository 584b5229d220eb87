//! The effects of a change, as text and as JSON. The schema is in `docs/affected-json.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde::Serialize;
use serde_json::{Value, json};

use super::style::Style;
use super::table::{Cell, columns};
use crate::graph::{Graph, NodeId};
use crate::plan::{Affected, Effect, TouchReason, UnknownReason};
use crate::spec::model::Axis;

/// The version of the schema. It is raised when a field is removed or changes its meaning, not when one is added.
pub const AFFECTED_VERSION: u32 = 1;

/// The number of entries that a row names.
const NAMED: usize = 2;

/// The effects as text. Untouched nodes are left out unless `all`.
pub fn affected_text(graph: &Graph, affected: &Affected, all: bool, style: Style) -> String {
    let mut rows = vec![Vec::from(["NODE", "EFFECT", "WHY"].map(Cell::text))];
    for (id, effect) in shown(graph, affected) {
        let shown = match effect {
            Effect::Touched { .. } => style.warn("touched"),
            Effect::MayFollow { .. } => style.warn("may follow"),
            Effect::Unknown(_) => style.dim("unknown"),
            Effect::Untouched if !all => continue,
            Effect::Untouched => style.good("untouched"),
        };
        let word = effect.word().replace('-', " ");
        rows.push(vec![
            Cell::text(&**graph.name(id)),
            Cell::styled(&word, shown),
            Cell::text(why(graph, id, effect)),
        ]);
    }
    let mut out = if rows.len() > 1 { columns(&rows) + "\n" } else { String::new() };
    let totals = totals(graph, affected);
    let count = |word: &str| totals.get(word).copied().unwrap_or(0);
    let nodes: usize = totals.values().sum();
    let nothing = count("touched") + count("may-follow") + count("unknown") == 0;
    if nothing {
        let _ = writeln!(out, "{} ({nodes} nodes)", style.good("nothing is touched"));
        return out;
    }
    let parts =
        ["touched", "may-follow", "unknown", "untouched"].map(|word| (count(word), word.replace('-', " ")));
    let parts: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    let _ = writeln!(out, "{nodes} nodes: {}", parts.join(", "));
    let boards: BTreeSet<String> = shown(graph, affected)
        .filter(|(_, effect)| matches!(effect, Effect::Touched { .. } | Effect::MayFollow { .. }))
        .filter_map(|(id, _)| axis(graph, id, Axis::Board))
        .collect();
    if !boards.is_empty() {
        let _ = writeln!(out, "boards: {}", boards.into_iter().collect::<Vec<_>>().join(", "));
    }
    out
}

/// The effects as JSON. `paths` is the number of paths in the change.
pub fn affected_json(graph: &Graph, affected: &Affected, source: &str, paths: usize) -> Value {
    let totals = totals(graph, affected);
    let count = |word: &str| totals.get(word).copied().unwrap_or(0);
    let nodes: Vec<Node<'_>> = shown(graph, affected).map(|(id, effect)| node(graph, id, effect)).collect();
    json!({
        "version": AFFECTED_VERSION,
        "source": source,
        "paths": paths,
        "totals": {
            "touched": count("touched"),
            "may-follow": count("may-follow"),
            "unknown": count("unknown"),
            "untouched": count("untouched"),
        },
        "nodes": nodes,
    })
}

#[derive(Serialize)]
struct Node<'a> {
    name: &'a str,
    kind: &'a str,
    effect: &'static str,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<Vec<Described<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    through: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    board: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    test: Option<String>,
}

/// A reason with its sentence.
#[derive(Serialize)]
struct Described<'a> {
    text: String,
    #[serde(flatten)]
    because: &'a TouchReason,
}

fn node<'a>(graph: &'a Graph, id: NodeId, effect: &'a Effect) -> Node<'a> {
    let mut node = Node {
        name: graph.name(id),
        kind: graph.node(id).rule_name(),
        effect: effect.word(),
        text: why(graph, id, effect),
        because: None,
        more: None,
        through: None,
        unknown: None,
        outcome: None,
        board: axis(graph, id, Axis::Board),
        test: axis(graph, id, Axis::Test),
    };
    match effect {
        Effect::Touched { because, more } => {
            node.because = Some(
                because.iter().map(|because| Described { text: because.to_string(), because }).collect(),
            );
            node.more = Some(*more);
        }
        Effect::MayFollow { through } => node.through = Some(graph.name(*through)),
        Effect::Unknown(UnknownReason::NeverRan) => node.unknown = Some("never-ran"),
        Effect::Unknown(UnknownReason::LastRun(outcome)) => {
            node.unknown = Some("last-run");
            node.outcome = Some(outcome.as_str());
        }
        Effect::Unknown(UnknownReason::Needs(needs)) => {
            node.unknown = Some("needs");
            node.through = Some(graph.name(*needs));
        }
        Effect::Untouched => {}
    }
    node
}

/// The reason of an effect in one line.
fn why(graph: &Graph, id: NodeId, effect: &Effect) -> String {
    match effect {
        Effect::Touched { because, more } => {
            let mut text = because.iter().take(NAMED).map(ToString::to_string).collect::<Vec<_>>().join("; ");
            let more = more + because.len().saturating_sub(NAMED);
            if more > 0 {
                let _ = write!(text, "; and {more} more");
            }
            text
        }
        Effect::MayFollow { through } if graph.expansion(id).is_some() => {
            format!("other boards, if {} comes out different", graph.name(*through))
        }
        Effect::MayFollow { through } => format!("if {} comes out different", graph.name(*through)),
        Effect::Unknown(UnknownReason::NeverRan) => "never ran".to_owned(),
        Effect::Unknown(UnknownReason::LastRun(outcome)) => {
            format!("its last run ended as {outcome}: it runs anyway")
        }
        Effect::Unknown(UnknownReason::Needs(needs)) => format!("needs {}", graph.name(*needs)),
        Effect::Untouched => String::new(),
    }
}

/// The nodes that are shown. An expanded expansion point is shown only if its values may change.
fn shown<'a>(graph: &'a Graph, affected: &'a Affected) -> impl Iterator<Item = (NodeId, &'a Effect)> {
    let told = |(id, effect): &(NodeId, &Effect)| {
        graph.expansion(*id).is_none() || matches!(effect, Effect::MayFollow { .. })
    };
    affected.nodes.iter().map(|(id, effect)| (*id, effect)).filter(told)
}

fn totals(graph: &Graph, affected: &Affected) -> BTreeMap<&'static str, usize> {
    let mut totals = BTreeMap::new();
    for (_, effect) in shown(graph, affected) {
        *totals.entry(effect.word()).or_default() += 1;
    }
    totals
}

/// The value of a node on an axis of its rule.
fn axis(graph: &Graph, id: NodeId, axis: Axis) -> Option<String> {
    let action = graph.node(id).action()?;
    let has = action.rule.decl.per.iter().flatten().any(|own| *own == axis);
    has.then(|| action.bindings.text_of(if axis == Axis::Board { "board" } else { "test" }))
}
