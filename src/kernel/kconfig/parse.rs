//! Parses statements: entries, enclosing blocks, and attributes.

use std::path::Path;
use std::sync::Arc;

use super::expr::Expr;
use super::macros::Macros;
use super::read::Sourcing;
use super::tokens::{Token, tokens};
use super::{DefaultValue, Definition, Kconfig, Range, Select, SymbolType};

/// The number of skipped lines that are kept.
const MAX_SKIPPED: usize = 20;

/// The parser for the lines of all files.
pub(super) struct Parser {
    kconfig: Kconfig,
    macros: Macros,
    file: Arc<Path>,
    blocks: Vec<Block>,
    current: Current,
}

/// `if`, `menu` or `choice`.
#[derive(Debug)]
struct Block {
    end: &'static str,
    depends: Vec<Arc<Expr>>,
    /// The additional condition of prompts inside it.
    visible: Vec<Arc<Expr>>,
    choice: Option<usize>,
}

/// The owner of attributes.
#[derive(Debug)]
enum Current {
    Nothing,
    /// The last definition of a symbol.
    Entry(String),
    /// The innermost block.
    Block,
    /// A comment, which is ignored.
    Comment,
}

/// The state at the start of a file.
pub(super) struct Around {
    file: Arc<Path>,
    blocks: usize,
}

impl Parser {
    pub(super) fn new(macros: Macros) -> Self {
        let file = Arc::from(Path::new(""));
        Self { kconfig: Kconfig::default(), macros, file, blocks: Vec::new(), current: Current::Nothing }
    }

    pub(super) fn files(&self) -> usize {
        self.kconfig.files
    }

    pub(super) fn enter(&mut self, file: &Path) -> Around {
        self.kconfig.files += 1;
        self.current = Current::Nothing;
        Around { file: std::mem::replace(&mut self.file, Arc::from(file)), blocks: self.blocks.len() }
    }

    /// Closes blocks that a file left open.
    pub(super) fn leave(&mut self, around: Around) {
        self.blocks.truncate(around.blocks);
        self.file = around.file;
        self.current = Current::Nothing;
    }

    pub(super) fn finish(self) -> Kconfig {
        self.kconfig
    }

    pub(super) fn skip(&mut self, number: usize, line: &str) {
        let skipped = &mut self.kconfig.skipped;
        skipped.lines += 1;
        if skipped.first.len() < MAX_SKIPPED {
            skipped.first.push(format!("{}:{number}: {line}", self.file.display()));
        }
    }

    /// Parses a line, and returns the file that it sources.
    pub(super) fn line(&mut self, number: usize, line: &str) -> Option<(String, Sourcing)> {
        // A macro on its own line has only side effects.
        if line.starts_with("$(") || self.macros.assign(line) {
            return None;
        }
        let tokens = tokens(line, &self.macros).unwrap_or_default();
        let Some((Token::Word(keyword), rest)) = tokens.split_first() else {
            self.skip(number, line);
            return None;
        };
        if let Some(sourcing) = sourcing(keyword) {
            if let [Token::Text(path) | Token::Word(path)] = rest {
                return Some((path.clone(), sourcing));
            }
            self.skip(number, line);
        } else if self.statement(number, keyword, rest).is_none() {
            self.skip(number, line);
        }
        None
    }

    /// `None` if the line can't be parsed.
    fn statement(&mut self, number: usize, keyword: &str, rest: &[Token]) -> Option<()> {
        match keyword {
            "config" | "menuconfig" => self.entry(number, rest),
            "if" => self.block("endif", vec![Arc::new(Expr::parse(rest)?)]),
            "menu" => self.block("endmenu", Vec::new()),
            "choice" => {
                self.block("endchoice", Vec::new())?;
                self.kconfig.choices.push(Vec::new());
                self.blocks.last_mut()?.choice = Some(self.kconfig.choices.len() - 1);
                Some(())
            }
            "endif" | "endmenu" | "endchoice" => {
                self.current = Current::Nothing;
                self.blocks.pop_if(|block| block.end == keyword).map(|_| ())
            }
            "comment" => {
                self.current = Current::Comment;
                Some(())
            }
            "mainmenu" => Some(()),
            _ => self.attribute(keyword, rest),
        }
    }

    fn entry(&mut self, number: usize, rest: &[Token]) -> Option<()> {
        let [Token::Word(name)] = rest else { return None };
        let depends = self.blocks.iter().flat_map(|block| block.depends.iter().cloned()).collect();
        let choice = self.blocks.last().and_then(|block| block.choice);
        if let Some(choice) = choice {
            self.kconfig.choices[choice].push(name.clone());
        }
        let definition = Definition {
            file: Arc::clone(&self.file),
            line: number,
            depends,
            prompt: None,
            defaults: Vec::new(),
            ranges: Vec::new(),
            choice,
        };
        self.kconfig.symbols.entry(name.clone()).or_default().definitions.push(definition);
        self.current = Current::Entry(name.clone());
        Some(())
    }

    #[expect(clippy::unnecessary_wraps, reason = "as the other statements")]
    fn block(&mut self, end: &'static str, depends: Vec<Arc<Expr>>) -> Option<()> {
        self.blocks.push(Block { end, depends, visible: Vec::new(), choice: None });
        self.current = Current::Block;
        Some(())
    }

    fn attribute(&mut self, keyword: &str, rest: &[Token]) -> Option<()> {
        let (value, condition) = conditional(rest)?;
        match (keyword, value) {
            ("bool" | "boolean", []) => self.typed(SymbolType::Bool),
            ("tristate", []) => self.typed(SymbolType::Tristate),
            ("string", []) => self.typed(SymbolType::Text),
            ("int", []) => self.typed(SymbolType::Int),
            ("hex", []) => self.typed(SymbolType::Hex),
            ("bool" | "boolean" | "tristate" | "string" | "int" | "hex", [_]) => {
                self.attribute(keyword, &[])?;
                self.prompt(condition)
            }
            ("prompt", [_]) => self.prompt(condition),
            ("def_bool" | "def_tristate", value) => {
                let ty = if keyword == "def_bool" { SymbolType::Bool } else { SymbolType::Tristate };
                self.typed(ty)?;
                self.default(Expr::parse(value)?, condition)
            }
            ("default", value) => self.default(Expr::parse(value)?, condition),
            ("depends", [Token::Word(on), needed @ ..]) if on == "on" => {
                let needed = Expr::parse(needed)?;
                // `depends on A if B` requires A only if B is set.
                let needed = match condition {
                    Some(condition) => Expr::Any(vec![Expr::Not(Box::new(Expr::clone(&condition))), needed]),
                    None => needed,
                };
                self.depends(Arc::new(needed))
            }
            ("visible", []) => {
                let Current::Block = self.current else { return None };
                self.blocks.last_mut()?.visible.push(condition?);
                Some(())
            }
            ("select", [Token::Word(selected)]) => {
                let Current::Entry(by) = &self.current else { return None };
                let select = Select { by: by.clone(), condition };
                self.kconfig.selected_by.entry(selected.clone()).or_default().push(select);
                Some(())
            }
            ("range", [low, high]) => {
                let (low, high) =
                    (Expr::parse(std::slice::from_ref(low))?, Expr::parse(std::slice::from_ref(high))?);
                self.definition()?.ranges.push(Range { low, high, condition });
                Some(())
            }
            // These attributes restrict nothing.
            ("imply" | "option" | "modules" | "optional" | "transitional", _) => Some(()),
            _ => None,
        }
    }

    fn definition(&mut self) -> Option<&mut Definition> {
        let Current::Entry(name) = &self.current else { return None };
        self.kconfig.symbols.get_mut(name)?.definitions.last_mut()
    }

    fn typed(&mut self, ty: SymbolType) -> Option<()> {
        match &self.current {
            Current::Entry(name) => {
                self.kconfig.symbols.get_mut(name)?.ty.get_or_insert(ty);
                Some(())
            }
            // The members of a choice declare their types themselves.
            Current::Block => Some(()),
            Current::Nothing | Current::Comment => None,
        }
    }

    fn prompt(&mut self, condition: Option<Arc<Expr>>) -> Option<()> {
        if let Current::Block = self.current {
            self.blocks.last_mut()?.visible.extend(condition);
            return Some(());
        }
        let around = self.blocks.iter().flat_map(|block| block.visible.iter().cloned());
        let needed = around.chain(condition).collect();
        self.definition()?.prompt = Some(needed);
        Some(())
    }

    fn default(&mut self, value: Expr, condition: Option<Arc<Expr>>) -> Option<()> {
        if let Current::Block = self.current {
            return Some(());
        }
        self.definition()?.defaults.push(DefaultValue { value, condition });
        Some(())
    }

    fn depends(&mut self, needed: Arc<Expr>) -> Option<()> {
        match self.current {
            Current::Nothing => return None,
            Current::Comment => {}
            Current::Block => self.blocks.last_mut()?.depends.push(needed),
            Current::Entry(_) => self.definition()?.depends.push(needed),
        }
        Some(())
    }
}

fn sourcing(keyword: &str) -> Option<Sourcing> {
    let (relative, optional) = match keyword {
        "source" => (false, false),
        "osource" => (false, true),
        "rsource" => (true, false),
        "orsource" => (true, true),
        _ => return None,
    };
    Some(Sourcing { relative, optional })
}

/// Splits `VALUE if CONDITION`.
fn conditional(tokens: &[Token]) -> Option<(&[Token], Option<Arc<Expr>>)> {
    match tokens.iter().position(|token| matches!(token, Token::Word(word) if word == "if")) {
        Some(at) => Some((&tokens[..at], Some(Arc::new(Expr::parse(&tokens[at + 1..])?)))),
        None => Some((tokens, None)),
    }
}
