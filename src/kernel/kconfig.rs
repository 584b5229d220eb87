//! Reads the Kconfig files of a tree: which symbols there are, on what each depends, and why one is not as asked.
//!
//! The language is that of `Documentation/kbuild/kconfig-language.rst` and `kconfig-macro-language.rst`. Nothing is
//! run: what a macro asks of a compiler is unknown here, and expressions with it have three values. What is not
//! understood is left out and counted, as a new kernel may have words that this reader does not know.

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

/// What the Kconfig files of a tree say.
#[derive(Debug, Default)]
pub struct Kconfig {
    symbols: HashMap<String, Symbol>,
    /// Of each symbol, those that select it.
    selected_by: HashMap<String, Vec<Select>>,
    /// The members of each choice.
    choices: Vec<Vec<String>>,
    files: usize,
    skipped: Skipped,
}

/// A symbol that some Kconfig file defines.
#[derive(Debug, Default)]
pub struct Symbol {
    /// Its type; `None` where no definition gives one.
    pub ty: Option<SymbolType>,
    /// All places that define it; most symbols have one.
    pub definitions: Vec<Definition>,
}

/// The type of a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SymbolType {
    /// `y` or `n`.
    Bool,
    /// `y`, `m` or `n`.
    Tristate,
    /// A text.
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
    /// All that must hold: the entry's own `depends on`, and those of the menus, ifs and choices around it.
    pub depends: Vec<Arc<Expr>>,
    /// What must hold besides for the user to be asked; `None` where the user never is.
    pub prompt: Option<Vec<Arc<Expr>>>,
    /// What it is where the user does not say.
    pub defaults: Vec<DefaultValue>,
    /// Its limits, and when they hold.
    ranges: Vec<Range>,
    /// The choice it is a member of.
    choice: Option<usize>,
}

/// A `default` of an entry.
#[derive(Debug)]
pub struct DefaultValue {
    /// The value.
    pub value: Expr,
    /// When it holds.
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

/// What of the files was left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// How many lines.
    pub lines: usize,
    /// The first of them: `FILE:LINE: what`.
    pub first: Vec<String>,
}

/// Why Kconfig files can't be read.
#[derive(Debug, thiserror::Error)]
pub enum KconfigError {
    /// The file that all begins with.
    #[error("can't read {}: {source}", path.display())]
    Root {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Kconfig {
    /// Reads `Kconfig` of a tree and all that it sources. `vars` are environment variables that the files use:
    /// `SRCARCH` decides which architecture's are read.
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

    /// How many files were read.
    pub fn files(&self) -> usize {
        self.files
    }

    /// What was left out.
    pub fn skipped(&self) -> &Skipped {
        &self.skipped
    }

    /// Why a symbol is not `wanted` (written as in a `.config`, `n` for not set) in a final `.config`. `None` where
    /// nothing in the files forbids it.
    pub fn explain(&self, symbol: &str, wanted: &str, config: &KConfig<'_>) -> Option<Reason> {
        explain::Explainer::new(self, config).explain(symbol, wanted)
    }
}

/// The environment variables that decide what Kconfig files say, for kbuild's `ARCH=` (as the top Makefile has it).
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
