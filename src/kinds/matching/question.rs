//! One `.config` held against boards, for those who ask.

use std::collections::BTreeMap;

use super::named;
use crate::kernel::config::KConfig;
use crate::kernel::matching::match_boards;
use crate::kernel::predicate::Predicate;
use crate::spec::model::Spec;

/// What a `.config` comes to.
#[derive(Debug)]
pub struct Answer<'a> {
    /// How many symbols it names, set or not. None at all: it is no `.config`.
    pub symbols: usize,
    /// What of it Kconfig would not write: the line, counted from 1, and what is wrong.
    pub problems: Vec<(usize, String)>,
    /// For each board whether it can boot it, or the part of what it requires that fails.
    pub boards: Vec<(&'a str, Result<(), String>)>,
    /// The symbols that these boards name and the file does not, with the boards that name them.
    pub unmentioned: BTreeMap<&'a str, Vec<&'a str>>,
}

/// Holds a `.config` against boards: those of these names, or all where none is named.
pub fn ask<'a>(spec: &'a Spec, only: &[String], config: &[u8]) -> Answer<'a> {
    let (config, problems) = KConfig::parse(config);
    let boards: Vec<(&str, &Predicate)> =
        named(spec).filter(|(name, _)| only.is_empty() || only.iter().any(|only| only == name)).collect();
    let mut unmentioned: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (board, requires) in &boards {
        for symbol in requires.symbols().into_iter().filter(|symbol| config.raw(symbol).is_none()) {
            unmentioned.entry(symbol).or_default().push(board);
        }
    }
    Answer {
        symbols: config.len(),
        problems: problems.into_iter().map(|problem| (problem.line, problem.kind.to_string())).collect(),
        boards: match_boards(&config, &boards),
        unmentioned,
    }
}
