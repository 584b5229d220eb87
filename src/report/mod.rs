//! What people and programs are shown: plans as text, JSON, dot and mermaid; events as progress, lines and JSON;
//! results as a table; where builds and boots stand as a table, JUnit XML and KCIDB's JSON.

mod affected;
mod bars;
mod cache;
mod diagram;
mod difference;
mod events;
mod gather;
mod junit;
mod kcidb;
mod lines;
mod matched;
mod place;
mod plan_json;
mod plan_text;
mod restore;
mod results;
#[cfg(test)]
mod samples;
mod standing;
mod standing_text;
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
pub use gather::standing;
pub use junit::junit;
pub use kcidb::{BadOrigin, Origin, kcidb};
pub use lines::Lines;
pub use matched::{MATCH_VERSION, Matched, UndefinedSymbol, match_json, match_text};
pub use plan_json::{PLAN_VERSION, plan_json};
pub use plan_text::plan_text;
pub use restore::restore_text;
pub use results::results;
pub use standing::{Boot, Build, Messages, Node, STANDING_VERSION, Standing, State, Tree, standing_json};
pub use standing_text::{standing_counts, standing_text};
pub use style::{Style, duration};
pub use table::{Cell, columns};
pub use unmet::{Unmet, UnmetBoard, unmet_text};
pub use verified::{Comparison, VerifiedNode, VerifiedOutput, verified_counts, verified_json, verified_text};
