//! Matches one `.config` file against boards, for `kiln match`.

use std::collections::BTreeMap;

use super::named;
use crate::kernel::config::KConfig;
use crate::kernel::matching::match_boards;
use crate::kernel::predicate::Predicate;
use crate::spec::model::Spec;

/// The match of one `.config`.
#[derive(Debug)]
pub struct ConfigMatches<'a> {
    /// The number of symbols that the file names, set or not. 0: the file is no `.config`.
    pub symbols: usize,
    /// Lines that Kconfig would not write: the line, counted from 1, and the problem.
    pub problems: Vec<(usize, String)>,
    /// For each board `Ok`, or the failing part of its predicate.
    pub boards: Vec<(&'a str, Result<(), String>)>,
    /// Symbols that these boards name and the file does not, with the boards.
    pub unmentioned: BTreeMap<&'a str, Vec<&'a str>>,
}

/// Matches a `.config` against the named boards, or all boards where none is named.
pub fn match_config<'a>(spec: &'a Spec, only: &[String], config: &[u8]) -> ConfigMatches<'a> {
    let (config, problems) = KConfig::parse(config);
    let boards: Vec<(&str, &Predicate)> =
        named(spec).filter(|(name, _)| only.is_empty() || only.iter().any(|only| only == name)).collect();
    let mut unmentioned: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (board, requires) in &boards {
        for symbol in requires.symbols().into_iter().filter(|symbol| config.raw(symbol).is_none()) {
            unmentioned.entry(symbol).or_default().push(board);
        }
    }
    ConfigMatches {
        symbols: config.len(),
        problems: problems.into_iter().map(|problem| (problem.line, problem.kind.to_string())).collect(),
        boards: match_boards(&config, &boards),
        unmentioned,
    }
}
