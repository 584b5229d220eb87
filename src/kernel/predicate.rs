//! Predicates over CONFIG symbols: the conditions of a board on a kernel's final `.config`.
//!
//! ```text
//! X86_64 && SERIAL_8250_CONSOLE && (VIRTIO_BLK || SATA_AHCI=m) && !(NR_CPUS<2) && LOCALVERSION="-ci"
//! ```
//!
//! | text | holds if the symbol is |
//! | --- | --- |
//! | `A`, `A=y` | built in; a module does not count, as it can't be loaded before the root is mounted |
//! | `A=m` | a module |
//! | `A=n` | not set |
//! | `A=5`, `A=0x10` | that number, in any notation |
//! | `A="text"` | that string |
//! | `A!=...` | anything else, unset included |
//! | `A<5`, `<=`, `>`, `>=` | a number in that relation; unset is in none |
//!
//! `!`, `&&` and `||` bind in this order; parentheses group. A prefix `CONFIG_` is ignored.

mod blame;
mod parse;
mod possible;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub use parse::PredicateError;

/// A parsed predicate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predicate {
    root: Expr,
}

/// Values of CONFIG symbols.
pub trait Lookup {
    /// The value as a `.config` writes it (`y`, `m`, `42`, `0x10`, `"text"` with its quotes and escapes).
    /// `None` and `n` both mean that it is not set.
    fn value(&self, symbol: &str) -> Option<Cow<'_, str>>;
}

impl Lookup for BTreeMap<String, String> {
    fn value(&self, symbol: &str) -> Option<Cow<'_, str>> {
        self.get(symbol).map(|value| Cow::Borrowed(value.as_str()))
    }
}

/// Normalised: no `All` directly in `All`, no `Any` directly in `Any`, and at least two items in each.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Expr {
    Not(Box<Expr>),
    All(Vec<Expr>),
    Any(Vec<Expr>),
    Test(Test),
}

/// A comparison of one symbol with one constant.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Test {
    symbol: String,
    op: Op,
    constant: Constant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Constant {
    Yes,
    Module,
    Unset,
    Number(Number),
    Text(String),
}

/// Wide enough for every `int` (64 bits, signed) and `hex` (64 bits, unsigned) of Kconfig.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Number {
    value: i128,
    /// Only affects printing.
    hex: bool,
}

impl Predicate {
    /// Parses a predicate.
    pub fn parse(text: &str) -> Result<Self, PredicateError> {
        parse::parse(text).map(|root| Self { root })
    }

    /// The symbols it names, without `CONFIG_`.
    pub fn symbols(&self) -> BTreeSet<&str> {
        let mut symbols = BTreeSet::new();
        self.root.each_test(&mut |test| {
            symbols.insert(test.symbol.as_str());
        });
        symbols
    }

    /// Whether a configuration satisfies it.
    pub fn eval(&self, config: &dyn Lookup) -> bool {
        self.root.eval(config)
    }

    /// The failing part, each comparison with the symbol's value, as in
    /// `SERIAL_8250_CONSOLE=y (is m) && (VIRTIO_BLK=y (is not set) || SATA_AHCI=y (is m))`.
    /// `None` if the predicate is satisfied.
    pub fn failing(&self, config: &dyn Lookup) -> Option<String> {
        blame::failing(&self.root, config)
    }

    /// The smallest number of comparisons that must change to satisfy it; 0 if it is satisfied.
    pub fn lacking(&self, config: &dyn Lookup) -> usize {
        blame::lacking(&self.root, config)
    }

    /// Whether it can be satisfied by some values of the symbols for which `known` returns `None`. `known` returns values as in a
    /// `.config`, `n` for not set.
    ///
    /// `false` is proven. `true` may also mean that the search was too long.
    pub fn possible(&self, known: &dyn Fn(&str) -> Option<String>) -> bool {
        possible::possible(&self.root, known)
    }
}

impl Expr {
    fn each_test<'a>(&'a self, visit: &mut dyn FnMut(&'a Test)) {
        match self {
            Self::Not(inner) => inner.each_test(visit),
            Self::All(items) | Self::Any(items) => items.iter().for_each(|item| item.each_test(visit)),
            Self::Test(test) => visit(test),
        }
    }

    fn eval(&self, config: &dyn Lookup) -> bool {
        match self {
            Self::Not(inner) => !inner.eval(config),
            Self::All(items) => items.iter().all(|item| item.eval(config)),
            Self::Any(items) => items.iter().any(|item| item.eval(config)),
            Self::Test(test) => test.holds(config.value(&test.symbol).as_deref()),
        }
    }
}

impl Test {
    /// Whether it holds for this value of the symbol.
    fn holds(&self, value: Option<&str>) -> bool {
        match self.op {
            Op::Eq => self.constant.equals(value),
            Op::Ne => !self.constant.equals(value),
            Op::Lt => self.compare(value).is_some_and(std::cmp::Ordering::is_lt),
            Op::Le => self.compare(value).is_some_and(std::cmp::Ordering::is_le),
            Op::Gt => self.compare(value).is_some_and(std::cmp::Ordering::is_gt),
            Op::Ge => self.compare(value).is_some_and(std::cmp::Ordering::is_ge),
        }
    }

    fn compare(&self, value: Option<&str>) -> Option<std::cmp::Ordering> {
        let Constant::Number(number) = self.constant else { return None };
        Some(Number::read(value?)?.value.cmp(&number.value))
    }
}

impl Constant {
    fn equals(&self, value: Option<&str>) -> bool {
        let value = value.unwrap_or("n");
        match self {
            Self::Yes => value == "y",
            Self::Module => value == "m",
            Self::Unset => value == "n",
            Self::Number(number) => Number::read(value).is_some_and(|read| read.value == number.value),
            Self::Text(text) => unquote(value).is_some_and(|value| value == *text),
        }
    }
}

impl Number {
    /// Parses a number like Kconfig: decimal with an optional minus sign, or hexadecimal after `0x`.
    fn read(text: &str) -> Option<Self> {
        let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
        let (digits, radix) = hex.map_or((text, 10), |digits| (digits, 16));
        let unsigned = if hex.is_some() { digits } else { digits.strip_prefix('-').unwrap_or(digits) };
        if unsigned.is_empty() || !unsigned.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let value = i128::from_str_radix(digits, radix).ok()?;
        let range = i128::from(i64::MIN)..=i128::from(u64::MAX);
        range.contains(&value).then_some(Self { value, hex: hex.is_some() })
    }
}

/// The text of a quoted value; `None` if it is not quoted.
pub(super) fn unquote(value: &str) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(char) = chars.next() {
        text.push(if char == '\\' { chars.next().unwrap_or(char) } else { char });
    }
    Some(Cow::Owned(text))
}

/// Quotes a string as in a `.config`.
fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

impl fmt::Display for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(f)
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Not(inner) => match &**inner {
                // `!A=m` could mean `(!A)=m`, so the parser refuses it as well.
                Self::Test(test) if !test.is_bare() => write!(f, "!({test})"),
                Self::All(_) | Self::Any(_) => write!(f, "!({inner})"),
                _ => write!(f, "!{inner}"),
            },
            Self::All(items) => {
                for (index, item) in items.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { " && " })?;
                    match item {
                        Self::Any(_) => write!(f, "({item})")?,
                        _ => item.fmt(f)?,
                    }
                }
                Ok(())
            }
            Self::Any(items) => {
                for (index, item) in items.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { " || " })?;
                    item.fmt(f)?;
                }
                Ok(())
            }
            Self::Test(test) => test.fmt(f),
        }
    }
}

impl Test {
    fn is_bare(&self) -> bool {
        self.op == Op::Eq && self.constant == Constant::Yes
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_bare() && !f.alternate() {
            return f.write_str(&self.symbol);
        }
        write!(f, "{}{}{}", self.symbol, self.op.text(), self.constant)
    }
}

impl Op {
    fn text(self) -> &'static str {
        match self {
            Self::Eq => "=",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
        }
    }
}

impl fmt::Display for Constant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => f.write_str("y"),
            Self::Module => f.write_str("m"),
            Self::Unset => f.write_str("n"),
            Self::Number(Number { value, hex: true }) => write!(f, "{value:#x}"),
            Self::Number(Number { value, hex: false }) => write!(f, "{value}"),
            Self::Text(text) => f.write_str(&quote(text)),
        }
    }
}
