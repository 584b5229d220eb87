//! The recorded runs of a node.

use serde_json::{Value, json};

use super::plan_json::PLAN_VERSION;
use super::style::{Style, duration};
use super::table::{Cell, columns};
use super::timestamp::local_time;
use crate::plan::Reason;
use crate::store::{Outcome, Run};

/// A row for each run, newest first.
pub fn history_text(runs: &[Run], style: Style) -> String {
    let head = ["STARTED", "OUTCOME", "TOOK", "ACTION KEY", "STRONG KEY", "WHY"].map(Cell::text);
    let mut rows = vec![Vec::from(head)];
    rows.extend(runs.iter().map(|run| {
        let how = if run.continued { ", continued" } else { "" };
        let outcome = format!("{}{how}", run.outcome);
        let shown = match run.outcome {
            Outcome::Pass => style.good(&outcome),
            Outcome::Fail | Outcome::Infra => style.bad(&outcome),
            Outcome::Skipped | Outcome::Cancelled => style.warn(&outcome),
        };
        vec![
            Cell::text(local_time(run)),
            Cell::styled(&outcome, shown),
            Cell::text(duration(run.duration)).right(),
            Cell::text(run.action_key.short()),
            Cell::text(run.strong_key.map_or_else(|| "-".to_owned(), |key| key.short())),
            Cell::text(why(&run.reasons)),
        ]
    }));
    columns(&rows)
}

/// The first reason of a run, and the number of the others.
fn why(reasons: &str) -> String {
    let Ok(reasons) = serde_json::from_str::<Vec<Reason>>(reasons) else {
        return "for reasons that this version does not know".to_owned();
    };
    match reasons.as_slice() {
        [] => String::new(),
        [only] => only.to_string(),
        [first, rest @ ..] => format!("{first}; and {} more", rest.len()),
    }
}

/// The runs of a node as JSON. The schema is in `docs/plan-json.md`.
pub fn history_json(node: &str, runs: &[Run]) -> Value {
    let runs: Vec<Value> = runs.iter().map(value).collect();
    json!({ "version": PLAN_VERSION, "node": node, "runs": runs })
}

fn value(run: &Run) -> Value {
    json!({
        "started": local_time(run),
        "outcome": run.outcome,
        "continued": run.continued,
        "seconds": run.duration.as_secs_f64(),
        "cpu-seconds": run.cpu.as_secs_f64(),
        "max-rss": run.max_rss,
        "action-key": run.action_key,
        "strong-key": run.strong_key,
        "reasons": serde_json::from_str::<Value>(&run.reasons).unwrap_or_default(),
        "log": run.log.map(|log| log.digest),
    })
}

#[cfg(test)]
mod tests {
    use super::why;

    #[test]
    fn the_first_reason_is_shown_and_the_others_are_counted() {
        assert_eq!(why("[]"), "");
        assert_eq!(why(r#"[{"reason":"never-ran"}]"#), "never ran");
        let three = r#"[{"reason":"forced"},{"reason":"never-ran"},{"reason":"seen-before"}]"#;
        assert_eq!(why(three), "forced; and 2 more");
        assert_eq!(why(r#"[{"reason":"of-another-time"}]"#), "for reasons that this version does not know");
    }
}
