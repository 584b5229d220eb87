//! Expressions over symbols, in Kconfig's three-valued logic with an additional value: unknown.

use std::cmp::Ordering;
use std::fmt;

use super::tokens::Token;

/// The largest nesting depth of parentheses.
const MAX_DEPTH: usize = 100;

/// A dependency, a condition or a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// A symbol, or one of the constants `y`, `m` and `n`, or a number.
    Symbol(String),
    /// A quoted string.
    Text(String),
    /// Text that only Kconfig can evaluate.
    Unknown(String),
    /// `!A`
    Not(Box<Expr>),
    /// `A && B && ..`
    All(Vec<Expr>),
    /// `A || B || ..`
    Any(Vec<Expr>),
    /// A comparison such as `A=B`; each side is one word.
    Compare(&'static str, Box<Expr>, Box<Expr>),
}

/// A value in Kconfig's logic. `&&` is the minimum, `||` the maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tristate {
    No,
    Module,
    Yes,
}

impl Tristate {
    pub(super) fn read(text: &str) -> Self {
        match text {
            "y" => Self::Yes,
            "m" => Self::Module,
            _ => Self::No,
        }
    }

    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::No => "n",
            Self::Module => "m",
            Self::Yes => "y",
        }
    }

    const fn not(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Module => Self::Module,
            Self::Yes => Self::No,
        }
    }
}

/// The values of symbols.
pub(super) trait Values {
    /// The value of a symbol or a constant, without quotes.
    fn value(&self, word: &str) -> String;
}

impl Expr {
    /// Parses a whole list of tokens.
    pub(super) fn parse(tokens: &[Token]) -> Option<Self> {
        let mut parser = Parser { tokens, depth: MAX_DEPTH };
        let expr = parser.any()?;
        parser.tokens.is_empty().then_some(expr)
    }

    /// Its value; `None` if it depends on something unknown.
    pub(super) fn eval(&self, values: &dyn Values) -> Option<Tristate> {
        match self {
            Self::Symbol(word) => Some(Tristate::read(&values.value(word))),
            Self::Text(text) => Some(Tristate::read(text)),
            Self::Unknown(_) => None,
            Self::Not(inner) => inner.eval(values).map(Tristate::not),
            Self::All(items) => decide(items, values, Tristate::No, Iterator::min),
            Self::Any(items) => decide(items, values, Tristate::Yes, Iterator::max),
            Self::Compare(op, left, right) => {
                let (left, right) = (left.word(values)?, right.word(values)?);
                let order = match (number(&left), number(&right)) {
                    (Some(left), Some(right)) => left.cmp(&right),
                    _ => left.cmp(&right),
                };
                let holds = match *op {
                    "=" => order == Ordering::Equal,
                    "!=" => order != Ordering::Equal,
                    "<" => order == Ordering::Less,
                    "<=" => order != Ordering::Greater,
                    ">" => order == Ordering::Greater,
                    _ => order != Ordering::Less,
                };
                Some(if holds { Tristate::Yes } else { Tristate::No })
            }
        }
    }

    /// The value of a word as text.
    pub(super) fn word(&self, values: &dyn Values) -> Option<String> {
        match self {
            Self::Symbol(word) => Some(values.value(word)),
            Self::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    /// Calls `visit` with each symbol, constant and number.
    pub fn each_symbol<'a>(&'a self, visit: &mut dyn FnMut(&'a str)) {
        match self {
            Self::Symbol(word) => visit(word),
            Self::Text(_) | Self::Unknown(_) => {}
            Self::Not(inner) => inner.each_symbol(visit),
            Self::All(items) | Self::Any(items) => items.iter().for_each(|item| item.each_symbol(visit)),
            Self::Compare(_, left, right) => {
                left.each_symbol(visit);
                right.each_symbol(visit);
            }
        }
    }
}

/// The minimum or maximum of all. A value equal to `end` decides, whatever the unknown ones are.
fn decide(
    items: &[Expr],
    values: &dyn Values,
    end: Tristate,
    pick: fn(std::vec::IntoIter<Tristate>) -> Option<Tristate>,
) -> Option<Tristate> {
    let known: Vec<Tristate> = items.iter().filter_map(|item| item.eval(values)).collect();
    let all = known.len() == items.len();
    pick(known.into_iter()).filter(|value| all || *value == end)
}

/// Parses a decimal or hexadecimal number like Kconfig.
pub(super) fn number(text: &str) -> Option<i128> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => i128::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

struct Parser<'a> {
    tokens: &'a [Token],
    depth: usize,
}

impl Parser<'_> {
    fn any(&mut self) -> Option<Expr> {
        self.joined(&Token::Or, Self::all, Expr::Any)
    }

    fn all(&mut self) -> Option<Expr> {
        self.joined(&Token::And, Self::term, Expr::All)
    }

    fn joined(
        &mut self,
        by: &Token,
        next: fn(&mut Self) -> Option<Expr>,
        join: fn(Vec<Expr>) -> Expr,
    ) -> Option<Expr> {
        let mut items = vec![next(self)?];
        while self.tokens.first() == Some(by) {
            self.tokens = &self.tokens[1..];
            items.push(next(self)?);
        }
        if items.len() == 1 { items.pop() } else { Some(join(items)) }
    }

    fn term(&mut self) -> Option<Expr> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        match first {
            Token::Not => self.deeper(Self::term).map(|inner| Expr::Not(Box::new(inner))),
            Token::Open => {
                let inner = self.deeper(Self::any)?;
                let (close, rest) = self.tokens.split_first()?;
                self.tokens = rest;
                (*close == Token::Close).then_some(inner)
            }
            _ => {
                let left = operand(first)?;
                let [Token::Compare(op), right, rest @ ..] = self.tokens else { return Some(left) };
                self.tokens = rest;
                Some(Expr::Compare(op, Box::new(left), Box::new(operand(right)?)))
            }
        }
    }

    fn deeper(&mut self, parse: fn(&mut Self) -> Option<Expr>) -> Option<Expr> {
        self.depth = self.depth.checked_sub(1)?;
        let expr = parse(self);
        self.depth += 1;
        expr
    }
}

fn operand(token: &Token) -> Option<Expr> {
    match token {
        Token::Word(word) => Some(Expr::Symbol(word.clone())),
        Token::Text(text) => Some(Expr::Text(text.clone())),
        Token::Unknown(text) => Some(Expr::Unknown(text.clone())),
        _ => None,
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |f: &mut fmt::Formatter<'_>, items: &[Self], by: &str| {
            for (index, item) in items.iter().enumerate() {
                f.write_str(if index == 0 { "" } else { by })?;
                match item {
                    Self::All(_) | Self::Any(_) => write!(f, "({item})")?,
                    _ => item.fmt(f)?,
                }
            }
            Ok(())
        };
        match self {
            Self::Symbol(text) | Self::Unknown(text) => f.write_str(text),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Not(inner) => match &**inner {
                Self::Symbol(_) | Self::Unknown(_) | Self::Text(_) => write!(f, "!{inner}"),
                _ => write!(f, "!({inner})"),
            },
            Self::All(items) => joined(f, items, " && "),
            Self::Any(items) => joined(f, items, " || "),
            Self::Compare(op, left, right) => write!(f, "{left}{op}{right}"),
        }
    }
}
