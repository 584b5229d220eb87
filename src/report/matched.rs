//! Which boards can boot a `.config`, as text and as JSON. The schema is `docs/match-json.md`.

use std::fmt::Write;

use serde_json::{Value, json};

use super::style::Style;
use super::table::{Cell, columns};

/// The version of the schema. It is raised when a field is removed or changes its meaning, not when one is added.
pub const MATCH_VERSION: u32 = 1;

/// A `.config` and the boards that it was matched with.
#[derive(Debug)]
pub struct Matched<'a> {
    /// The file, as on the command line.
    pub file: String,
    /// The number of symbols that it sets.
    pub symbols: usize,
    /// Lines that Kconfig does not write, numbered from 1, and the problem with each.
    pub problems: Vec<(usize, String)>,
    /// For each board: whether it can boot the kernel, or the part of its predicate that fails.
    pub boards: Vec<(&'a str, Result<(), String>)>,
    /// The source trees whose Kconfig files were searched.
    pub trees: Vec<String>,
    /// The symbols that boards name and none of these trees define.
    pub undefined: Vec<UndefinedSymbol<'a>>,
}

/// A symbol that no Kconfig file defines.
#[derive(Debug)]
pub struct UndefinedSymbol<'a> {
    /// Its name, without `CONFIG_`.
    pub symbol: &'a str,
    /// The boards that name it.
    pub boards: Vec<&'a str>,
    /// The symbol that was probably meant.
    pub nearest: Option<String>,
}

impl UndefinedSymbol<'_> {
    /// A sentence without a full stop. `trees`: the trees that were searched.
    pub fn sentence(&self, trees: &[String]) -> String {
        let Self { symbol, boards, nearest } = self;
        let nearest = nearest.as_ref().map(|nearest| format!(": {nearest}?")).unwrap_or_default();
        let boards = format!("{} {}", if boards.len() == 1 { "board" } else { "boards" }, boards.join(", "));
        format!("no Kconfig file of {} defines {symbol}{nearest} ({boards})", trees.join(", "))
    }
}

/// The boards as a table, then the total, then the problems of their predicates.
pub fn match_text(matched: &Matched<'_>, style: Style) -> String {
    let mut rows = vec![Vec::from(["BOARD", "BOOTS", "WHY NOT"].map(Cell::text))];
    for (board, verdict) in &matched.boards {
        let (word, shown, why) = match verdict {
            Ok(()) => ("yes", style.good("yes"), ""),
            Err(why) => ("no", style.warn("no"), why.as_str()),
        };
        rows.push(vec![Cell::text(*board), Cell::styled(word, shown), Cell::text(why)]);
    }
    let mut out = columns(&rows);
    let (boot, all) = (boots(matched), matched.boards.len());
    let _ = writeln!(out, "\n{boot} of {all} {} can boot it", if all == 1 { "board" } else { "boards" });
    for undefined in &matched.undefined {
        let _ = writeln!(out, "{} {}", style.warn("note:"), undefined.sentence(&matched.trees));
    }
    out
}

/// The same as JSON.
pub fn match_json(matched: &Matched<'_>) -> Value {
    let boards = matched.boards.iter().map(|(board, verdict)| {
        json!({ "name": board, "boots": verdict.is_ok(), "failing": verdict.as_ref().err() })
    });
    let undefined = matched.undefined.iter().map(|undefined| {
        json!({
            "symbol": undefined.symbol,
            "boards": undefined.boards,
            "nearest": undefined.nearest,
            "text": undefined.sentence(&matched.trees),
        })
    });
    let problems = matched.problems.iter().map(|(line, text)| json!({ "line": line, "text": text }));
    json!({
        "version": MATCH_VERSION,
        "file": matched.file,
        "symbols": matched.symbols,
        "totals": { "boards": matched.boards.len(), "boot": boots(matched) },
        "boards": boards.collect::<Vec<_>>(),
        "problems": problems.collect::<Vec<_>>(),
        "trees": matched.trees,
        "undefined": undefined.collect::<Vec<_>>(),
    })
}

fn boots(matched: &Matched<'_>) -> usize {
    matched.boards.iter().filter(|(_, verdict)| verdict.is_ok()).count()
}
