//! Kind `Match`: which boards can boot a `.config`.

mod coverage;
mod match_config;
mod symbols;

use crate::exec::Compute;
use crate::graph::Action;
use crate::kernel::config::KConfig;
use crate::kernel::matching::boots;
use crate::kernel::predicate::Predicate;
use crate::spec::model::Spec;

pub use coverage::{MatchCoverage, UnmatchedBoard, match_coverage};
pub use match_config::{ConfigMatches, match_config};
pub use symbols::{Lookup, Undefined, look_up, symbols};

/// The input with the final `.config`.
pub(super) const CONFIG: &str = "config";

/// The output: a JSON list of board names.
const BOARDS: &str = "boards";

/// The boards of a spec.
pub(super) struct Matching<'a> {
    boards: Vec<(&'a str, &'a Predicate)>,
}

impl<'a> Matching<'a> {
    pub(super) fn new(spec: &'a Spec) -> Self {
        Self { boards: named(spec).collect() }
    }

    /// The key projection of a match: the predicates of the boards and the symbols that they name. Other changes of the
    /// `.config` leave the key as it is.
    pub(super) fn projection(&self, config: &[u8]) -> Vec<(String, String)> {
        let (config, _) = KConfig::parse(config);
        let symbols = self.boards.iter().flat_map(|(_, requires)| requires.symbols());
        let values =
            config.projection(symbols).into_iter().map(|(symbol, value)| (format!("CONFIG_{symbol}"), value));
        let requires =
            self.boards.iter().map(|(board, requires)| (format!("board {board}"), requires.to_string()));
        values.chain(requires).collect()
    }
}

/// The boards of a spec with their predicates.
fn named(spec: &Spec) -> impl Iterator<Item = (&str, &Predicate)> {
    spec.project.boards.iter().map(|(name, board)| (name.as_str(), &board.requires))
}

impl Compute for Matching<'_> {
    fn compute(
        &self,
        _action: &Action,
        read: &dyn Fn(&str) -> Result<Vec<u8>, String>,
    ) -> Result<Vec<(String, Vec<u8>)>, String> {
        let bytes = read(CONFIG)?;
        let (config, _) = KConfig::parse(&bytes);
        let matched: Vec<&str> = boots(&config, &self.boards).collect();
        let json = serde_json::to_vec(&matched).map_err(|error| error.to_string())?;
        Ok(vec![(BOARDS.to_owned(), json)])
    }
}
