//! Symbols that boards name and no kernel tree defines.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::named;
use crate::kernel::kconfig::Defined;
use crate::spec::model::Spec;

/// The result of a symbol look-up in Kconfig files.
#[derive(Debug, Default)]
pub struct Lookup<'a> {
    /// The searched trees.
    pub trees: Vec<String>,
    /// Symbols that none of them defines.
    pub undefined: Vec<Undefined<'a>>,
}

/// A symbol that no tree defines.
#[derive(Debug)]
pub struct Undefined<'a> {
    /// Its name, without `CONFIG_`.
    pub symbol: &'a str,
    /// The boards that name it.
    pub boards: Vec<&'a str>,
    /// The most similar defined symbol.
    pub nearest: Option<String>,
}

/// The symbols that boards name, with the boards that name each.
pub fn symbols(spec: &Spec) -> BTreeMap<&str, Vec<&str>> {
    let mut symbols: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (board, requires) in named(spec) {
        for symbol in requires.symbols() {
            symbols.entry(symbol).or_default().push(board);
        }
    }
    symbols
}

/// Looks symbols up in trees, given by name and root. Unreadable trees are left out. A symbol is undefined if no tree
/// defines it.
pub fn look_up<'a>(symbols: BTreeMap<&'a str, Vec<&'a str>>, trees: Vec<(String, PathBuf)>) -> Lookup<'a> {
    if symbols.is_empty() {
        return Lookup::default();
    }
    let searched: Vec<(String, Defined)> =
        trees.into_iter().filter_map(|(name, root)| Some((name, Defined::scan(&root).ok()?))).collect();
    if searched.is_empty() {
        return Lookup::default();
    }
    let unknown =
        symbols.into_iter().filter(|(symbol, _)| !searched.iter().any(|(_, tree)| tree.has(symbol)));
    let undefined = unknown.map(|(symbol, boards)| {
        let nearest = searched.iter().find_map(|(_, tree)| tree.nearest(symbol)).map(str::to_owned);
        Undefined { symbol, boards, nearest }
    });
    Lookup { undefined: undefined.collect(), trees: searched.into_iter().map(|(name, _)| name).collect() }
}
