//! The status of builds and boots, for people.

use super::results::{BootRow, BuildRow, table};
use super::status::{Boot, Build, CaseResult, Counts, Node, State, Status};
use super::style::{Style, duration};
use super::table::Cell;
use crate::lab::record::Record;
use crate::text::one_line_marked;

/// The number of skipped cases that are named per boot.
const NAMED: usize = 5;

/// The table of builds and boots, and one line for each other node that did not pass.
pub fn status_text(status: &Status, style: Style) -> String {
    let rows = status.builds.iter().map(|(id, build)| BuildRow {
        build: id.clone(),
        word: word(build.state(), style),
        remarks: build_remarks(build),
        boots: build.boots.iter().map(|boot| boot_row(boot, style)).collect(),
    });
    let mut text = table(rows);
    let others = status.others.iter().filter(|node| node.state != State::Pass);
    for (index, Node { name, state, message, .. }) in others.enumerate() {
        if index == 0 && !text.is_empty() {
            text.push('\n');
        }
        let message = message.as_ref().map_or_else(String::new, |message| format!(": {message}"));
        text.push_str(&format!("{} {name}{message}\n", painted(*state, style)));
    }
    text
}

/// The number of builds and boots by state: `2 builds: 1 pass, 1 fail; 3 boots: 2 pass, 1 stale`.
pub fn status_counts(status: &Status) -> String {
    let builds: Vec<State> = status.builds.values().map(Build::state).collect();
    let boots: Vec<State> = status.boots().map(|boot| boot.node.state).collect();
    let count = |states: &[State], one: &str| {
        let order = [State::Pass, State::Fail, State::Infra, State::Stale, State::Unknown, State::Skipped];
        let parts = order.map(|state| (states.iter().filter(|own| **own == state).count(), state));
        let parts = parts.iter().filter(|(count, _)| *count > 0);
        let parts: Vec<String> = parts.map(|(count, state)| format!("{count} {}", state.as_str())).collect();
        let several = if states.len() == 1 { "" } else { "s" };
        let colon = if parts.is_empty() { "" } else { ": " };
        format!("{} {one}{several}{colon}{}", states.len(), parts.join(", "))
    };
    format!("{}; {}", count(&builds, "build"), count(&boots, "boot"))
}

fn build_remarks(build: &Build) -> Vec<String> {
    let mut remarks = Vec::new();
    let speaker = build.speaker().filter(|node| node.state != State::Pass);
    if let Some(node) = speaker {
        let message = node.message.as_ref().map_or_else(String::new, |message| format!(": {message}"));
        remarks.push(format!("{}{message}", node.name));
    }
    let mut figures = Vec::new();
    if build.state().is_known() {
        figures.extend(build.duration().map(|time| format!("in {}", duration(time))));
        let messages = build.messages().unwrap_or_default();
        figures.extend(counted(messages.errors, "error"));
        figures.extend(counted(messages.warnings, "warning"));
        let log = speaker.and_then(|node| node.log.as_ref());
        figures.extend(log.map(|log| format!("log: out/{}", log.display())));
    }
    remarks.extend((!figures.is_empty()).then(|| figures.join(", ")));
    remarks.extend(build.open.as_ref().map(|open| format!("boots: {open}")));
    remarks
}

fn counted(count: u64, what: &str) -> Option<String> {
    match count {
        0 => None,
        1 => Some(format!("1 {what}")),
        _ => Some(format!("{count} {what}s")),
    }
}

fn boot_row(boot: &Boot, style: Style) -> BootRow {
    let state = boot.node.state;
    let mut remarks = Vec::new();
    let mut figures = counts(boot.counts());
    if state == State::Pass {
        figures.extend(boot.duration().map(|time| format!("in {}", duration(time))));
    }
    remarks.extend((!figures.is_empty()).then(|| figures.join(", ")));
    if state != State::Pass || boot.results.is_none() {
        remarks.extend(boot.node.message.clone());
    }
    remarks.extend(skipped(boot));
    if let Some(record) = &boot.results {
        remarks.extend(tries(record));
        remarks.extend(Some(one_line_marked(&record.page)).filter(|page| !page.is_empty()));
    }
    BootRow { board: boot.board.clone(), test: boot.test.clone(), word: word(state, style), remarks }
}

fn counts(counts: Counts) -> Vec<String> {
    let Counts { passed, failed, skipped, unknown } = counts;
    let all = [(passed, "passed"), (failed, "failed"), (skipped, "skipped"), (unknown, "unknown")];
    all.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect()
}

/// The skipped cases with their reasons.
fn skipped(boot: &Boot) -> Vec<String> {
    let cases = boot.suites().flat_map(|suite| suite.cases.iter().map(move |case| (suite, case)));
    let lines = cases.filter_map(|(suite, case)| match CaseResult::of(case) {
        CaseResult::Skipped(reason) => {
            Some(one_line_marked(&format!("skipped {}/{}: {reason}", suite.name, case.name)))
        }
        CaseResult::Passed | CaseResult::Failed | CaseResult::Unknown => None,
    });
    let mut lines: Vec<String> = lines.collect();
    let more = lines.len().saturating_sub(NAMED);
    lines.truncate(NAMED);
    lines.extend((more > 0).then(|| format!("and {more} more")));
    lines
}

/// The results of the attempts before the last.
fn tries(record: &Record) -> Option<String> {
    if record.attempts.is_empty() {
        return None;
    }
    let outcome = if record.outcome == "pass" { "passed" } else { "failed" };
    let mut text = format!("{outcome} at try {}", record.attempts.len() + 1);
    for (index, attempt) in record.attempts.iter().enumerate() {
        let when = if index == 0 { "first" } else { "then" };
        let place = attempt.device.as_ref().unwrap_or(&attempt.lab);
        text.push_str(&format!("; {when}: {place}: {}", attempt.message));
    }
    Some(one_line_marked(&text))
}

fn word(state: State, style: Style) -> Cell {
    Cell::styled(state.as_str(), painted(state, style))
}

fn painted(state: State, style: Style) -> String {
    let text = state.as_str();
    match state {
        State::Pass => style.good(text),
        State::Fail | State::Infra => style.bad(text),
        State::Stale | State::Unknown | State::Skipped => style.warn(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::every_outcome;

    #[test]
    fn every_outcome_shows() {
        insta::assert_snapshot!(status_text(&every_outcome(), Style::Plain));
        assert_eq!(
            status_counts(&every_outcome()),
            "5 builds: 1 pass, 1 fail, 1 infra, 1 stale, 1 unknown; \
             8 boots: 2 pass, 2 fail, 1 infra, 1 stale, 1 unknown, 1 skipped"
        );
    }

    /// Names and messages come from labs.
    #[test]
    fn nothing_of_a_lab_reaches_the_terminal_as_an_escape() {
        let text = status_text(&every_outcome(), Style::Plain);
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
    }
}
