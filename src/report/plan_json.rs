//! A plan as JSON. The schema is in `docs/plan-json.md`.

use serde::Serialize;
use serde_json::{Value, json};

use super::unmet::Unmet;
use crate::graph::{Action, Graph, NodeKind};
use crate::plan::{BuildContext, Estimate, Plan, Reason, Verdict};
use crate::spec::model::Discoverer;

/// The version of the schema. It is raised when a field is removed or changes its meaning, not when one is added.
pub const PLAN_VERSION: u32 = 1;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Node<'a> {
    name: &'a str,
    kind: &'a str,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasons: Option<Vec<Described>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    until: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocked_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lacks: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strong_key: Option<String>,
    /// Whether its result was built by continuing and is not verified.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unverified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    discovered_by: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<InRoot<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_seconds: Option<f64>,
    deps: Vec<&'a str>,
}

/// The root of a node's steps, or of their compiler.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct InRoot<'a> {
    name: &'a str,
    mode: &'static str,
    /// The machine that qemu-user emulates.
    #[serde(skip_serializing_if = "Option::is_none")]
    emulated: Option<&'static str>,
}

impl<'a> InRoot<'a> {
    fn of(action: &'a Action) -> Option<Self> {
        let root = action.root.as_ref()?;
        Some(Self { name: &root.name, mode: root.mode.name(), emulated: action.machine })
    }
}

/// A reason with its sentence.
#[derive(Serialize)]
struct Described {
    text: String,
    #[serde(flatten)]
    reason: Reason,
}

/// A plan as JSON.
pub fn plan_json(
    context: &BuildContext<'_>,
    graph: &Graph,
    plan: &Plan,
    estimate: &Estimate,
    jobs: usize,
    unmet: Option<&Unmet>,
) -> Value {
    // A read error is reported where the results are used.
    let unverified = context.store.unverified().unwrap_or_default();
    let nodes: Vec<Node<'_>> = plan
        .nodes()
        .iter()
        .map(|&id| {
            let decision = plan.decision(id).expect("a plan decides all its nodes");
            let verdict = &decision.verdict;
            let name = |id| &**graph.name(id);
            let elsewhere = verdict.remote_reason();
            let (reasons, until, blocked_by) = match verdict {
                Verdict::Stale(reasons) | Verdict::Cached(_, reasons) => {
                    (Some(describe(reasons)), Vec::new(), None)
                }
                Verdict::Remote(..) => (Some(describe(elsewhere.as_slice())), Vec::new(), None),
                Verdict::Unknown(until) => (None, until.iter().map(|&id| name(id)).collect(), None),
                Verdict::Blocked(by) => (None, Vec::new(), Some(name(*by))),
                Verdict::Fresh(_) | Verdict::MissingRequirement(_) => (None, Vec::new(), None),
            };
            let lacks =
                if let Verdict::MissingRequirement(what) = verdict { Some(what.as_str()) } else { None };
            let mut deps: Vec<&str> = graph.deps(id).map(name).collect();
            deps.sort_unstable();
            Node {
                name: name(id),
                kind: graph.node(id).rule_name(),
                verdict: verdict.word(),
                reasons,
                until,
                blocked_by,
                lacks,
                outcome: verdict.known().map(|known| known.outcome.as_str()),
                action_key: decision.keys.map(|keys| keys.action.to_string()),
                strong_key: decision.keys.and_then(|keys| keys.strong).map(|strong| strong.key.to_string()),
                unverified: plan.strong_key(id).is_some_and(|key| unverified.contains_key(&key)),
                discovered_by: graph.node(id).action().and_then(|action| discovered_by(context, action)),
                root: graph.node(id).action().and_then(InRoot::of),
                expected_seconds: estimate.durations.get(&id).map(|time| seconds(*time)),
                deps,
            }
        })
        .collect();
    let points = |id: &&crate::graph::NodeId| matches!(graph.node(**id).kind, NodeKind::Expansion(_));
    let count = |word: &str| {
        let of_word = plan.nodes().iter().filter(|id| plan.verdict(**id).word() == word);
        // An expanded expansion point is no work.
        if word == "fresh" { of_word.filter(|id| !points(id)).count() } else { of_word.count() }
    };
    json!({
        "version": PLAN_VERSION,
        "jobs": jobs,
        "totals": {
            "fresh": count("fresh"),
            "cached": count("cached"),
            "remote": count("remote"),
            "stale": count("stale"),
            "unknown": count("unknown"),
            "blocked": count("blocked"),
            "unmeasured": estimate.unmeasured,
            "expected-seconds": seconds(estimate.wall),
            "critical-path-seconds": seconds(estimate.critical),
        },
        "critical-path": estimate.critical_path.iter().map(|&id| &**graph.name(id)).collect::<Vec<_>>(),
        "unmet": unmet,
        "nodes": nodes,
    })
}

/// Who tells what an action reads; `None` where its rule does not ask.
fn discovered_by(context: &BuildContext<'_>, action: &Action) -> Option<&'static str> {
    let rule = &action.rule.decl;
    rule.discover.as_ref()?;
    Some(context.discoverer(rule).map_or("nobody", Discoverer::name))
}

fn describe(reasons: &[Reason]) -> Vec<Described> {
    reasons.iter().map(|reason| Described { text: reason.to_string(), reason: reason.clone() }).collect()
}

fn seconds(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}
