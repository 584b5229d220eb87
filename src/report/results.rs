//! The result table: a row for each build, and below it one for each of its boots.

use std::collections::BTreeMap;

use super::style::Style;
use super::table::{Cell, columns};
use crate::graph::{Graph, NodeId};
use crate::spec::model::Axis;
use crate::store::Outcome;

/// What nodes have come to, as a table of builds and boots. Empty where the graph has neither.
pub fn results(graph: &Graph, nodes: &[(NodeId, Outcome, Option<String>)], style: Style) -> String {
    let mut builds: BTreeMap<String, Outcome> = BTreeMap::new();
    let mut boots: BTreeMap<String, Vec<(String, String, Outcome, String)>> = BTreeMap::new();
    for (id, outcome, message) in nodes {
        let Some(action) = graph.node(*id).action() else { continue };
        let axis = |axis: &str| action.bindings.text_of(axis);
        let per: Vec<Axis> = action.rule.rule.per.iter().flatten().map(|axis| axis.value).collect();
        let of_a_build = [Axis::Source, Axis::Arch, Axis::Defconfig, Axis::Toolchain]
            .iter()
            .all(|axis| per.contains(axis));
        if !of_a_build {
            continue;
        }
        let build = ["source", "arch", "defconfig", "toolchain"].map(axis).join("/");
        if action.rule.rule.kind.boots().is_some() {
            // What comes after the first line has been told when it happened.
            let message = message.as_deref().and_then(|message| message.lines().next()).unwrap_or_default();
            let row = (axis("board"), axis("test"), *outcome, message.to_owned());
            boots.entry(build.clone()).or_default().push(row);
            builds.entry(build).or_insert(Outcome::Pass);
        } else {
            let worst = builds.entry(build).or_insert(Outcome::Pass);
            if rank(*outcome) > rank(*worst) {
                *worst = *outcome;
            }
        }
    }
    if builds.is_empty() {
        return String::new();
    }
    let head = |text: &str| Cell::text(text);
    let mut rows =
        vec![vec![head("BUILD"), head("RESULT"), head("BOARD"), head("TEST"), head("RESULT"), head("")]];
    for (build, outcome) in &builds {
        let mut first = vec![Cell::text(build.clone()), word(*outcome, style)];
        let none = Vec::new();
        let boots = boots.get(build).unwrap_or(&none);
        if boots.is_empty() {
            first.push(Cell::text("-"));
            rows.push(first);
            continue;
        }
        for (index, (board, test, outcome, message)) in boots.iter().enumerate() {
            let mut row =
                if index == 0 { std::mem::take(&mut first) } else { vec![Cell::text(""), Cell::text("")] };
            row.extend([
                Cell::text(board.clone()),
                Cell::text(test.clone()),
                word(*outcome, style),
                Cell::text(message.clone()),
            ]);
            rows.push(row);
        }
    }
    columns(&rows)
}

fn word(outcome: Outcome, style: Style) -> Cell {
    let text = outcome.as_str();
    let shown = match outcome {
        Outcome::Pass => style.good(text),
        Outcome::Fail | Outcome::Infra => style.bad(text),
        Outcome::Skipped | Outcome::Cancelled => style.warn(text),
    };
    Cell::styled(text, shown)
}

/// Which outcome of a build's nodes speaks for the build.
const fn rank(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Pass => 0,
        Outcome::Skipped => 1,
        Outcome::Cancelled => 2,
        Outcome::Infra => 3,
        Outcome::Fail => 4,
    }
}
