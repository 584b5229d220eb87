//! A plan as a diagram: Graphviz dot, or mermaid.

use std::fmt::Write;

use crate::graph::{Graph, NodeId};
use crate::plan::{Plan, Verdict};

/// A plan for Graphviz.
pub fn dot(graph: &Graph, plan: &Plan) -> String {
    let mut out =
        String::from("digraph kiln {\n  rankdir=LR;\n  node [shape=box, style=filled, fontname=\"sans\"];\n");
    for &id in plan.nodes() {
        let (name, color) = (escape(graph.name(id)), color(plan.verdict(id)));
        let _ = writeln!(out, "  \"{name}\" [fillcolor=\"{color}\"];");
    }
    for (from, to) in edges(graph, plan) {
        let _ = writeln!(out, "  \"{}\" -> \"{}\";", escape(graph.name(from)), escape(graph.name(to)));
    }
    out + "}\n"
}

/// A plan for mermaid, as forges render it in Markdown.
pub fn mermaid(graph: &Graph, plan: &Plan) -> String {
    let mut out = String::from("flowchart LR\n");
    for &id in plan.nodes() {
        let name = graph.name(id).replace('"', "#quot;");
        let _ = writeln!(out, "  n{}[\"{name}\"]:::{}", id.index(), plan.verdict(id).word());
    }
    for (from, to) in edges(graph, plan) {
        let _ = writeln!(out, "  n{} --> n{}", from.index(), to.index());
    }
    for verdict in ["fresh", "cached", "remote", "stale", "unknown", "blocked"] {
        let _ = writeln!(out, "  classDef {verdict} fill:{},color:#000", color_of(verdict));
    }
    out
}

fn edges(graph: &Graph, plan: &Plan) -> Vec<(NodeId, NodeId)> {
    let mut edges: Vec<(NodeId, NodeId)> = plan
        .nodes()
        .iter()
        .flat_map(|&id| graph.deps(id).map(move |dep| (dep, id)))
        .filter(|(dep, _)| plan.decision(*dep).is_some())
        .collect();
    edges.sort_unstable();
    edges
}

fn color(verdict: &Verdict) -> &'static str {
    color_of(verdict.word())
}

fn color_of(verdict: &str) -> &'static str {
    match verdict {
        "fresh" => "#b7e1b7",
        "cached" | "remote" => "#cfe8ff",
        "stale" => "#ffd59e",
        "blocked" => "#f4b6b6",
        _ => "#e4e4e4",
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
