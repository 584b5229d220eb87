//! The answer of `kiln why` as JSON. The schema is in `docs/plan-json.md`.

use serde_json::{Value, json};

use super::plan_json::{PLAN_VERSION, plan_json};
use super::timestamp::local_time;
use crate::graph::{Graph, NodeId};
use crate::plan::{BuildContext, Plan, PlanError, Verdict, commits, estimate};

/// A node of the plan, the commits behind its changes, and its last run.
pub fn why_json(
    context: &BuildContext<'_>,
    graph: &Graph,
    plan: &Plan,
    id: NodeId,
) -> Result<Value, PlanError> {
    let estimate = estimate(graph, plan, 1, |_| None);
    let whole = plan_json(context, graph, plan, &estimate, 1, None);
    let name = graph.name(id);
    let node = whole["nodes"].as_array().and_then(|nodes| nodes.iter().find(|node| node["name"] == **name));
    let between = match plan.verdict(id) {
        Verdict::Stale(reasons) => commits(context, name, reasons)?,
        _ => Vec::new(),
    };
    let last = context.newest_run(name)?.map(|run| {
        json!({
            "outcome": run.outcome,
            "continued": run.continued,
            "started": local_time(&run),
            "seconds": run.duration.as_secs_f64(),
            "reasons": serde_json::from_str::<Value>(&run.reasons).unwrap_or_default(),
        })
    });
    Ok(json!({ "version": PLAN_VERSION, "node": node, "commits": between, "last-run": last }))
}
