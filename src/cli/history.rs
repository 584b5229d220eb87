//! `kiln history`.

use serde_json::{Value, json};

use super::exit::{Exit, Failure};
use super::format::Format;
use super::project::{Project, recorded};
use super::terminal::{Terminal, out, outln};
use super::why::stamp;
use crate::plan::Reason;
use crate::report::{Cell, PLAN_VERSION, Style, columns, duration};
use crate::store::{Outcome, Run};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The node: a name, or a glob that means one.
    node: String,
    /// Show so many runs at most.
    #[arg(short = 'n', long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// How to print the runs.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = Project::open(terminal)?;
    let name = recorded(&project, &args.node)?;
    let id = project.store.project(&project.spec.root)?;
    let runs: Vec<Run> = project.store.runs(id, &name, args.limit)?.into_iter().map(|(_, run)| run).collect();
    match args.format {
        Format::Text => out!("{}", table(&runs, terminal.out)),
        Format::Json => {
            let runs: Vec<Value> = runs.iter().map(value).collect();
            outln!("{:#}", json!({ "version": PLAN_VERSION, "node": name, "runs": runs }));
        }
    }
    Ok(Exit::Done)
}

/// A row for each run.
fn table(runs: &[Run], style: Style) -> String {
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
            Cell::text(stamp(run)),
            Cell::styled(&outcome, shown),
            Cell::text(duration(run.duration)).right(),
            Cell::text(run.action_key.short()),
            Cell::text(run.strong_key.map_or_else(|| "-".to_owned(), |key| key.short())),
            Cell::text(why(&run.reasons)),
        ]
    }));
    columns(&rows)
}

/// What triggered a run: the first reason, and how many more there were.
fn why(reasons: &str) -> String {
    let Ok(reasons) = serde_json::from_str::<Vec<Reason>>(reasons) else {
        return "for reasons that this kiln does not know".to_owned();
    };
    match reasons.as_slice() {
        [] => String::new(),
        [only] => only.to_string(),
        [first, rest @ ..] => format!("{first}; and {} more", rest.len()),
    }
}

fn value(run: &Run) -> Value {
    json!({
        "started": stamp(run),
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
    fn the_first_reason_is_said_and_the_rest_are_counted() {
        assert_eq!(why("[]"), "");
        assert_eq!(why(r#"[{"reason":"never-ran"}]"#), "never ran");
        let three = r#"[{"reason":"forced"},{"reason":"never-ran"},{"reason":"seen-before"}]"#;
        assert_eq!(why(three), "forced; and 2 more");
        assert_eq!(why(r#"[{"reason":"of-another-time"}]"#), "for reasons that this kiln does not know");
    }
}
