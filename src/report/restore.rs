//! The plan of a restore, for people.

use std::fmt::Write;

use super::plan_text::why;
use super::style::Style;
use super::table::{Cell, columns};
use crate::graph::{Graph, NodeId};
use crate::plan::{Plan, Verdict};
use crate::spec::show_size;

/// One row for each node that is not fresh, then the totals. `bytes`: the number of bytes that would be fetched; `None` for
/// results that nothing needs here.
pub fn restore_text(
    graph: &Graph,
    plan: &Plan,
    bytes: &dyn Fn(NodeId) -> Option<u64>,
    style: Style,
) -> String {
    let mut rows = vec![["NODE", "RESTORE", "BYTES", "WHY"].map(Cell::text).into_iter().collect::<Vec<_>>()];
    let (mut total, mut fetched, mut missed) = (0_u64, 0, 0);
    for &id in plan.nodes() {
        let verdict = plan.verdict(id);
        let (word, size) = match verdict {
            Verdict::Fresh(_) => continue,
            Verdict::Cached(..) => ("here", None),
            Verdict::Remote(..) => (if bytes(id).is_some() { "fetch" } else { "leave" }, bytes(id)),
            Verdict::Stale(_) => ("miss", None),
            Verdict::Unknown(_) => ("unknown", None),
            Verdict::Blocked(_) | Verdict::MissingRequirement(_) => ("blocked", None),
        };
        total = total.saturating_add(size.unwrap_or(0));
        fetched += usize::from(size.is_some());
        missed += usize::from(verdict.may_run());
        let shown = match word {
            "here" | "fetch" | "leave" => style.good(word),
            "blocked" => style.bad(word),
            _ => style.warn(word),
        };
        rows.push(vec![
            Cell::text(&**graph.name(id)),
            Cell::styled(word, shown),
            Cell::text(size.map(show_size).unwrap_or_default()).right(),
            Cell::text(why(graph, verdict)),
        ]);
    }
    if rows.len() == 1 {
        return format!("{}\n", style.good("nothing to restore: everything is up to date"));
    }
    let mut out = columns(&rows);
    let _ = writeln!(
        out,
        "\nwould fetch {fetched} of them, at most {}; {missed} would still have to run, or may",
        show_size(total)
    );
    out
}
