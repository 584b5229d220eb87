//! The result of a build, for people.

use super::results::results;
use super::style::{Style, duration};
use crate::exec::event::Summary;
use crate::graph::{Graph, NodeId};
use crate::store::Outcome;

/// The table of builds and boots, and the figures in one line.
pub fn build_text(
    graph: &Graph,
    nodes: &[(NodeId, Outcome, Option<String>)],
    summary: &Summary,
    style: Style,
) -> String {
    let table = results(graph, nodes, style);
    let gap = if table.is_empty() { "" } else { "\n" };
    format!("{table}{gap}{}\n", figures(summary, style))
}

fn figures(summary: &Summary, style: Style) -> String {
    let time = duration(summary.duration);
    let worked = summary.ran + summary.restored + summary.skipped + summary.infra + summary.failed;
    if worked == 0 && !summary.interrupted {
        return format!("{} ({} nodes, {time})", style.good("everything is up to date"), summary.fresh);
    }
    let counts = [
        (summary.unchanged, "of these unchanged"),
        (summary.restored, "from the cache"),
        (summary.remote_only, "left where they are"),
        (summary.fresh, "fresh"),
        (summary.failed, "failed"),
        (summary.infra, "infra"),
        (summary.skipped, "skipped"),
    ];
    let mut parts = vec![format!("{} ran", summary.ran)];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    parts.extend(counts.map(|(count, what)| format!("{count} {what}")));
    let interrupted = if summary.interrupted { ", interrupted" } else { "" };
    format!("{}{interrupted} in {time}", parts.join(", "))
}
