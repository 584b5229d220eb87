//! The result table: one row for each build, and below it one for each of its boots.

use std::collections::BTreeMap;

use super::collect_status::{build_id, is_boot, is_of_build};
use super::style::Style;
use super::table::{Cell, columns};
use crate::graph::{Graph, NodeId};
use crate::store::Outcome;

/// A build in the table.
pub(super) struct BuildRow {
    /// Its id.
    pub build: String,
    /// Its result.
    pub word: Cell,
    /// Remarks. A build with remarks has a row of its own.
    pub remarks: Vec<String>,
    /// Its boots.
    pub boots: Vec<BootRow>,
}

/// A boot in the table.
pub(super) struct BootRow {
    /// The board.
    pub board: String,
    /// The test.
    pub test: String,
    /// Its result.
    pub word: Cell,
    /// Remarks, one per line.
    pub remarks: Vec<String>,
}

/// The outcomes of nodes as a table of builds and boots; empty if there are none.
pub(super) fn results(graph: &Graph, nodes: &[(NodeId, Outcome, Option<String>)], style: Style) -> String {
    let mut builds: BTreeMap<String, (Outcome, Vec<BootRow>)> = BTreeMap::new();
    for (id, outcome, message) in nodes {
        let Some(action) = graph.node(*id).action().filter(|action| is_of_build(action)) else { continue };
        let (worst, boots) = builds.entry(build_id(action)).or_insert((Outcome::Pass, Vec::new()));
        if is_boot(action) {
            // The other lines were printed when the boot ended.
            let message = message.as_deref().and_then(|message| message.lines().next());
            boots.push(BootRow {
                board: action.bindings.text_of("board"),
                test: action.bindings.text_of("test"),
                word: word(*outcome, style),
                remarks: message.map(str::to_owned).into_iter().collect(),
            });
        } else if rank(*outcome) > rank(*worst) {
            *worst = *outcome;
        }
    }
    let rows = builds.into_iter().map(|(build, (outcome, boots))| BuildRow {
        build,
        word: word(outcome, style),
        remarks: Vec::new(),
        boots,
    });
    table(rows)
}

/// The table of builds and boots; empty if there are none.
pub(super) fn table(builds: impl IntoIterator<Item = BuildRow>) -> String {
    let head = ["BUILD", "RESULT", "BOARD", "TEST", "RESULT", ""].map(Cell::text);
    let mut rows = vec![Vec::from(head)];
    for BuildRow { build, word, remarks, boots } in builds {
        let mut first = vec![Cell::text(build), word];
        if !remarks.is_empty() || boots.is_empty() {
            let mut remarks = remarks.into_iter();
            let mut row = std::mem::take(&mut first);
            row.push(Cell::text("-"));
            row.extend(
                remarks
                    .next()
                    .into_iter()
                    .flat_map(|remark| [Cell::text(""), Cell::text(""), Cell::text(remark)]),
            );
            rows.push(row);
            rows.extend(remarks.map(remark_row));
        }
        for BootRow { board, test, word, remarks } in boots {
            let mut remarks = remarks.into_iter();
            let mut row = std::mem::take(&mut first);
            row.resize_with(2, || Cell::text(""));
            row.extend([Cell::text(board), Cell::text(test), word]);
            row.push(Cell::text(remarks.next().unwrap_or_default()));
            rows.push(row);
            rows.extend(remarks.map(remark_row));
        }
    }
    if rows.len() == 1 { String::new() } else { columns(&rows) }
}

/// A row with only the last column.
fn remark_row(remark: String) -> Vec<Cell> {
    let mut row: Vec<Cell> = std::iter::repeat_with(|| Cell::text("")).take(5).collect();
    row.push(Cell::text(remark));
    row
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

/// The order of outcomes: the highest among a build's nodes is the outcome of the build.
const fn rank(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Pass => 0,
        Outcome::Skipped => 1,
        Outcome::Cancelled => 2,
        Outcome::Infra => 3,
        Outcome::Fail => 4,
    }
}
