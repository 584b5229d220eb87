//! Boards and builds of a plan without a match, as notes under the plan and in its JSON (`docs/plan-json.md`).

use std::fmt::Write;

use serde::Serialize;

use super::style::Style;

/// The number of notes; a matrix can have hundreds of builds without a board.
const NOTES: usize = 10;

/// Boards and builds without a match.
#[derive(Debug, Serialize)]
pub struct Unmet {
    /// Boards that can boot no build; `None` if not all matches are known.
    pub boards: Option<Vec<UnmetBoard>>,
    /// Builds that no board can boot.
    pub builds: Vec<String>,
    /// The number of builds whose matches are not known.
    pub open: usize,
}

/// A board that can boot no build.
#[derive(Debug, Serialize)]
pub struct UnmetBoard {
    /// The board.
    pub board: String,
    /// The build that is closest to a match.
    pub nearest: Option<String>,
    /// The part of the board's predicate that fails there.
    pub failing: Option<String>,
}

/// The notes.
pub fn unmet_text(unmet: &Unmet, style: Style) -> String {
    let boards = unmet.boards.iter().flatten().map(|UnmetBoard { board, nearest, failing }| {
        let why = nearest.as_ref().zip(failing.as_ref());
        let why = why.map(|(build, failing)| format!(": {failing} (nearest: {build})")).unwrap_or_default();
        format!("board {board}: no build of this graph can boot it{why}")
    });
    let builds = unmet.builds.iter().map(|build| format!("{build}: no board can boot it"));
    let mut out = String::new();
    for (notes, what) in [(boards.collect::<Vec<_>>(), "boards"), (builds.collect(), "builds")] {
        for note in notes.iter().take(NOTES) {
            let _ = writeln!(out, "{} {note}", style.warn("note:"));
        }
        if let more @ 1.. = notes.len().saturating_sub(NOTES) {
            let _ = writeln!(out, "{} {more} more such {what}: see --format json", style.warn("note:"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_notes_are_cut_short_and_counted() {
        let builds = (0..300).map(|index| format!("linux/x86_64/random{index}/gcc")).collect();
        let text = unmet_text(&Unmet { boards: None, builds, open: 1 }, Style::Plain);
        assert_eq!(text.lines().count(), NOTES + 1);
        assert!(text.ends_with("note: 290 more such builds: see --format json\n"), "{text}");
    }

    #[test]
    fn a_board_without_a_nearest_build_is_told_without_a_reason() {
        let board = UnmetBoard { board: "pc".to_owned(), nearest: None, failing: None };
        let unmet = Unmet { boards: Some(vec![board]), builds: Vec::new(), open: 0 };
        assert_eq!(unmet_text(&unmet, Style::Plain), "note: board pc: no build of this graph can boot it\n");
    }
}
