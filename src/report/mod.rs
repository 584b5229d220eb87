//! What people and programs are shown: plans as text, JSON, dot and mermaid; events as progress, lines and JSON;
//! results as a table.

mod affected;
mod bars;
mod cache;
mod diagram;
mod difference;
mod events;
mod fetching;
mod lines;
mod matched;
mod place;
mod plan_json;
mod plan_text;
mod restore;
mod results;
mod style;
mod table;
mod unmet;
mod verified;

pub use affected::{AFFECTED_VERSION, affected_json, affected_text};
pub use bars::Bars;
pub use cache::{FIGURES_VERSION, bytes, collected_text, figures_json, figures_text, keepers_text};
pub use diagram::{dot, mermaid};
pub use difference::{Difference, Differences, difference};
pub use events::JsonLines;
pub use fetching::fetching;
pub use lines::Lines;
pub use matched::{MATCH_VERSION, Matched, UndefinedSymbol, match_json, match_text};
pub use plan_json::{PLAN_VERSION, plan_json};
pub use plan_text::plan_text;
pub use restore::restore_text;
pub use results::results;
pub use style::{Style, duration};
pub use table::{Cell, columns};
pub use unmet::{Unmet, UnmetBoard, unmet_text};
pub use verified::{Comparison, VerifiedNode, VerifiedOutput, verified_counts, verified_json, verified_text};
