//! A plan as text: one row per node, then the totals.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::style::{Style, duration};
use super::table::{Cell, columns};
use crate::graph::{Graph, NodeId, NodeKind};
use crate::plan::{BuildContext, Estimate, Plan, Verdict};

/// The number of reasons that a row names.
const REASONS: usize = 2;

/// A plan as text. Fresh nodes are left out unless `all`.
pub fn plan_text(
    context: &BuildContext<'_>,
    graph: &Graph,
    plan: &Plan,
    estimate: &Estimate,
    jobs: usize,
    all: bool,
    style: Style,
) -> String {
    let mut rows =
        vec![["NODE", "VERDICT", "EXPECTED", "WHY"].map(Cell::text).into_iter().collect::<Vec<_>>()];
    for &id in plan.nodes() {
        let verdict = plan.verdict(id);
        let fresh = matches!(verdict, Verdict::Fresh(_));
        if fresh && !all {
            continue;
        }
        let word = verdict.word();
        let shown = match verdict {
            Verdict::Fresh(_) | Verdict::Cached(..) | Verdict::Remote(..) => style.good(word),
            Verdict::Stale(_) => style.warn(word),
            Verdict::Unknown(_) => style.dim(word),
            Verdict::Blocked(_) | Verdict::MissingRequirement(_) => style.bad(word),
        };
        let expected = estimate.durations.get(&id).map(|&time| duration(time)).unwrap_or_default();
        rows.push(vec![
            Cell::text(&**graph.name(id)),
            Cell::styled(word, shown),
            Cell::text(expected).right(),
            Cell::text(why(graph, verdict)),
        ]);
    }
    let mut out = if rows.len() > 1 { columns(&rows) + "\n" } else { String::new() };
    out.push_str(&totals(graph, plan, estimate, jobs, style));
    out.push_str(&second_best(context, graph, plan, style));
    out.push_str(&super::emulated::cost(graph, plan, style));
    out
}

/// The reasons of a verdict in one line.
pub(super) fn why(graph: &Graph, verdict: &Verdict) -> String {
    match verdict {
        Verdict::Fresh(known) if known.outcome == crate::store::Outcome::Fail => {
            "failed, as recorded".to_owned()
        }
        Verdict::Fresh(_) => String::new(),
        Verdict::Cached(_, reasons) | Verdict::Stale(reasons) => {
            let mut text =
                reasons.iter().take(REASONS).map(ToString::to_string).collect::<Vec<_>>().join("; ");
            if reasons.len() > REASONS {
                let _ = write!(text, "; and {} more", reasons.len() - REASONS);
            }
            text
        }
        Verdict::Remote(..) => verdict.remote_reason().map(|reason| reason.to_string()).unwrap_or_default(),
        Verdict::Unknown(until) => format!("until {}", names(graph, until)),
        Verdict::Blocked(by) => format!("{} failed or can't run", graph.name(*by)),
        Verdict::MissingRequirement(what) => what.clone(),
    }
}

fn names(graph: &Graph, ids: &[NodeId]) -> String {
    let mut text = ids.iter().take(REASONS).map(|&id| &**graph.name(id)).collect::<Vec<_>>().join(", ");
    if ids.len() > REASONS {
        let _ = write!(text, " and {} more", ids.len() - REASONS);
    }
    format!("{text} {} run", if ids.len() == 1 { "has" } else { "have" })
}

/// A note for each rule whose reads are discovered here in another way than the rule prefers.
fn second_best(context: &BuildContext<'_>, graph: &Graph, plan: &Plan, style: Style) -> String {
    let mut told = BTreeMap::new();
    for &id in plan.nodes().iter().filter(|&&id| plan.verdict(id).may_run()) {
        let Some(rule) = graph.node(id).action().map(|action| &action.rule) else { continue };
        let best = rule.decl.discover.as_ref().and_then(|discover| discover.by.first());
        let Some(best) = best.copied() else { continue };
        let by = context.discoverer(&rule.decl);
        if by != Some(best) {
            told.insert(&*rule.name, by);
        }
    }
    let mut out = String::new();
    for (rule, by) in told {
        let instead = match by {
            Some(by) => format!("are told by {}", by.name()),
            None => "are not known, so that all of its source tree counts".to_owned(),
        };
        let why = context.tracing.as_ref().err().map(|why| format!(": {why}")).unwrap_or_default();
        let _ = writeln!(
            out,
            "{} what {rule} reads can't be traced{why}; its reads {instead}",
            style.warn("note:")
        );
    }
    out
}

fn totals(graph: &Graph, plan: &Plan, estimate: &Estimate, jobs: usize, style: Style) -> String {
    let (mut fresh, mut cached, mut remote) = (0, 0, 0);
    let (mut stale, mut unknown, mut blocked) = (0, 0, 0);
    for &id in plan.nodes() {
        match plan.verdict(id) {
            Verdict::Fresh(_) if matches!(graph.node(id).kind, NodeKind::Expansion(_)) => {}
            Verdict::Fresh(_) => fresh += 1,
            Verdict::Cached(..) => cached += 1,
            Verdict::Remote(..) => remote += 1,
            Verdict::Stale(_) => stale += 1,
            Verdict::Unknown(_) => unknown += 1,
            Verdict::Blocked(_) | Verdict::MissingRequirement(_) => blocked += 1,
        }
    }
    let total = fresh + cached + remote + stale + unknown + blocked;
    if total == fresh {
        return format!("{} ({total} nodes)\n", style.good("nothing to do: everything is up to date"));
    }
    let mut parts = vec![format!("{fresh} fresh")];
    let counts = [
        (cached, "cached"),
        (remote, "remote"),
        (stale, "stale"),
        (unknown, "unknown"),
        (blocked, "blocked"),
    ];
    for (count, word) in counts {
        if count > 0 {
            parts.push(format!("{count} {word}"));
        }
    }
    let mut out = format!("{total} nodes: {}\n", parts.join(", "));
    if stale + unknown == 0 {
        return out;
    }
    if !estimate.durations.is_empty() {
        let path: Vec<&str> = estimate.critical_path.iter().map(|&id| graph.node(id).rule_name()).collect();
        let _ = writeln!(
            out,
            "expected: {} on {jobs} {}; critical path {}: {}",
            style.bold(duration(estimate.wall)),
            if jobs == 1 { "core" } else { "cores" },
            duration(estimate.critical),
            path.join(" -> ")
        );
    }
    if estimate.unmeasured > 0 {
        let _ = writeln!(out, "{} of these never ran, and are not part of any estimate", estimate.unmeasured);
    }
    out
}
