//! Parses the Kconfig files of a tree: the symbols, their dependencies, and why a symbol does not have a wanted value.
//!
//! The language is that of `Documentation/kbuild/kconfig-language.rst` and `kconfig-macro-language.rst`. Macros that run
//! programs are not executed: their values are unknown, and expressions with them use three-valued logic. Lines that can't be
//! parsed are skipped and counted, as newer kernels may have new keywords.

mod defined;
mod explain;
mod expr;
mod lines;
mod macros;
mod parse;
mod read;
#[cfg(test)]
mod tests;
mod tokens;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use defined::Defined;
pub use explain::Reason;
pub use expr::Expr;

use super::config::KConfig;

/// The parsed Kconfig files of a tree.
#[derive(Debug, Default)]
pub struct Kconfig {
    symbols: HashMap<String, Symbol>,
    /// Symbol -> the symbols that select it.
    selected_by: HashMap<String, Vec<Select>>,
    /// The members of each choice.
    choices: Vec<Vec<String>>,
    files: usize,
    skipped: Skipped,
}

/// A defined symbol.
#[derive(Debug, Default)]
pub struct Symbol {
    /// Its type; `None` if no definition has one.
    pub ty: Option<SymbolType>,
    /// Its definitions; most symbols have one.
    pub definitions: Vec<Definition>,
}

/// The type of a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SymbolType {
    /// `y` or `n`.
    Bool,
    /// `y`, `m` or `n`.
    Tristate,
    /// A string.
    Text,
    /// A decimal number.
    Int,
    /// A hexadecimal number.
    Hex,
}

/// One `config` or `menuconfig` entry.
#[derive(Debug)]
pub struct Definition {
    /// The file, relative to the tree.
    pub file: Arc<Path>,
    /// The line, counted from 1.
    pub line: usize,
    /// All dependencies: its own `depends on`, and those of the enclosing menus, ifs and choices.
    pub depends: Vec<Arc<Expr>>,
    /// The condition of its prompt; `None` if it has no prompt.
    pub prompt: Option<Vec<Arc<Expr>>>,
    /// Its defaults.
    pub defaults: Vec<DefaultValue>,
    /// Its ranges.
    ranges: Vec<Range>,
    /// The choice that it is a member of.
    choice: Option<usize>,
}

/// A `default` of an entry.
#[derive(Debug)]
pub struct DefaultValue {
    /// The value.
    pub value: Expr,
    /// Its condition.
    pub condition: Option<Arc<Expr>>,
}

#[derive(Debug)]
struct Range {
    low: Expr,
    high: Expr,
    condition: Option<Arc<Expr>>,
}

#[derive(Debug)]
struct Select {
    by: String,
    condition: Option<Arc<Expr>>,
}

/// The skipped lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Their number.
    pub lines: usize,
    /// The first of them: `FILE:LINE: what`.
    pub first: Vec<String>,
}

/// Why the Kconfig files can't be read.
#[derive(Debug, thiserror::Error)]
pub enum KconfigError {
    /// The top file can't be read.
    #[error("can't read {}: {source}", path.display())]
    Root {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Kconfig {
    /// Reads `Kconfig` of a tree and all files that it sources. `vars` are the environment variables that the files use: `SRCARCH`
    /// selects the architecture.
    pub fn read(tree: &Path, vars: &[(String, String)]) -> Result<Self, KconfigError> {
        read::read(tree, vars)
    }

    /// A symbol, by its name without `CONFIG_`.
    pub fn symbol(&self, name: &str) -> Option<&Symbol> {
        self.symbols.get(name)
    }

    /// All symbols.
    pub fn symbols(&self) -> impl Iterator<Item = (&str, &Symbol)> {
        self.symbols.iter().map(|(name, symbol)| (name.as_str(), symbol))
    }

    /// The number of files read.
    pub fn files(&self) -> usize {
        self.files
    }

    /// The skipped lines.
    pub fn skipped(&self) -> &Skipped {
        &self.skipped
    }

    /// Why a symbol is not `wanted` (written as in a `.config`, `n` for not set) in a final `.config`. `None` if the files do not
    /// forbid it.
    pub fn explain(&self, symbol: &str, wanted: &str, config: &KConfig<'_>) -> Option<Reason> {
        explain::Explainer::new(self, config).explain(symbol, wanted)
    }
}

/// The environment variables of Kconfig for kbuild's `ARCH=`, as in the top Makefile.
pub fn variables(arch: &str) -> Vec<(String, String)> {
    let directory = match arch {
        "i386" | "x86_64" => "x86",
        "sparc32" | "sparc64" => "sparc",
        "parisc64" => "parisc",
        other => other,
    };
    let pairs = [("ARCH", arch), ("SRCARCH", directory), ("srctree", ".")];
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}
