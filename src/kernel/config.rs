//! Parses `.config` files.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

use super::predicate::{Lookup, unquote};

/// The number of problems that are kept: a file of garbage has one for each line.
const MAX_PROBLEMS: usize = 100;

/// The length of a quoted line or value in a problem.
const MAX_QUOTE: usize = 60;

/// A parsed `.config`, borrowed from its bytes.
#[derive(Clone, Debug, Default)]
pub struct KConfig<'a> {
    symbols: HashMap<&'a [u8], Setting<'a>, BuildHasherDefault<SymbolHasher>>,
}

#[derive(Clone, Copy, Debug)]
struct Setting<'a> {
    /// As written, `n` for `is not set`.
    raw: &'a [u8],
    line: usize,
}

/// The value of a symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Not set, or set to `n`, or not a value at all.
    Unset,
    /// `y`: built in.
    Yes,
    /// `m`: a module.
    Module,
    /// A decimal number.
    Int(i64),
    /// A hexadecimal number.
    Hex(u64),
    /// A text, without its quotes.
    Text(Cow<'a, str>),
}

/// A line of a `.config` that Kconfig would not write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The line, counted from 1.
    pub line: usize,
    /// The problem.
    pub kind: ConfigProblemKind,
}

/// The problem with a line of a `.config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigProblemKind {
    /// The symbol was set before; this line counts.
    Duplicate {
        /// The symbol.
        symbol: String,
        /// The earlier line.
        before: usize,
    },
    /// Neither a setting, nor a comment, nor blank.
    Garbage {
        /// The beginning of the line.
        text: String,
    },
    /// Neither `y`, `m`, `n`, a number of 64 bits, nor a text in quotes.
    BadValue {
        /// The symbol.
        symbol: String,
        /// The beginning of the value.
        value: String,
    },
    /// More problems than are kept, from this line on.
    More {
        /// Their number.
        count: usize,
    },
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.kind)
    }
}

impl fmt::Display for ConfigProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate { symbol, before } => {
                write!(f, "{symbol} was set in line {before} already; this line counts")
            }
            Self::Garbage { text } => write!(f, "not a line of a .config: {text:?}"),
            Self::BadValue { symbol, value } => write!(f, "{symbol} has no value of any type: {value:?}"),
            Self::More { count } => write!(f, "{count} more problems from here on"),
        }
    }
}

impl<'a> KConfig<'a> {
    /// Parses a `.config`. Lines that can't be parsed are reported as problems.
    pub fn parse(bytes: &'a [u8]) -> (Self, Vec<ConfigProblem>) {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut config = Self::default();
        // Kconfig writes some 30 bytes a line.
        config.symbols.reserve(bytes.len() / 32);
        let mut problems = Problems::default();
        let ends = memchr::memchr_iter(b'\n', bytes).chain([bytes.len()]);
        let mut start = 0;
        for (index, end) in ends.enumerate() {
            let (line, text) = (index + 1, &bytes[start..end]);
            start = end + 1;
            match Line::read(text) {
                Line::Nothing => {}
                Line::Garbage => problems.add(line, || ConfigProblemKind::Garbage { text: excerpt(text) }),
                Line::Setting { symbol, raw } => {
                    if read_value(raw).is_none() {
                        problems.add(line, || ConfigProblemKind::BadValue {
                            symbol: excerpt(symbol),
                            value: excerpt(raw),
                        });
                    }
                    if let Some(Setting { line: before, .. }) =
                        config.symbols.insert(symbol, Setting { raw, line })
                    {
                        problems
                            .add(line, || ConfigProblemKind::Duplicate { symbol: excerpt(symbol), before });
                    }
                }
            }
        }
        (config, problems.list)
    }

    /// The value of a symbol (without `CONFIG_`).
    pub fn get(&self, symbol: &str) -> Value<'a> {
        self.raw(symbol).and_then(read_value).unwrap_or(Value::Unset)
    }

    /// A symbol's value as the file writes it: `n` for `is not set`, `None` if the symbol is absent.
    pub fn raw(&self, symbol: &str) -> Option<&'a [u8]> {
        self.symbols.get(symbol.as_bytes()).map(|setting| setting.raw)
    }

    /// The number of symbols in the file, set or not.
    pub fn len(&self) -> usize {
        self.symbols.len()
    }

    /// Whether the file has no symbols.
    pub fn is_empty(&self) -> bool {
        self.symbols.is_empty()
    }

    /// The set ones of these symbols, with their values as written: all that a predicate over them depends on.
    pub fn projection<'s>(&self, symbols: impl IntoIterator<Item = &'s str>) -> BTreeMap<String, String> {
        let set = |symbol: &&str| self.raw(symbol).is_some_and(|raw| raw != b"n");
        let pair = |symbol: &str| Some((symbol.to_owned(), self.value(symbol)?.into_owned()));
        symbols.into_iter().filter(set).filter_map(pair).collect()
    }
}

impl Lookup for KConfig<'_> {
    fn value(&self, symbol: &str) -> Option<Cow<'_, str>> {
        self.raw(symbol).map(String::from_utf8_lossy)
    }
}

enum Line<'a> {
    Nothing,
    Garbage,
    Setting { symbol: &'a [u8], raw: &'a [u8] },
}

impl<'a> Line<'a> {
    fn read(text: &'a [u8]) -> Self {
        if let Some(setting) = text.strip_prefix(b"CONFIG_") {
            // Carriage returns and trailing blanks are an editor's, not the symbol's.
            let end = symbol_end(setting);
            return match &setting[end..] {
                [b'=', raw @ ..] if end > 0 => {
                    Self::Setting { symbol: &setting[..end], raw: raw.trim_ascii_end() }
                }
                _ => Self::Garbage,
            };
        }
        if let Some(comment) = text.strip_prefix(b"#") {
            let Some(unset) = comment.strip_prefix(b" CONFIG_") else { return Self::Nothing };
            let end = symbol_end(unset);
            return if end > 0 && unset[end..].trim_ascii_end() == b" is not set" {
                Self::Setting { symbol: &unset[..end], raw: b"n" }
            } else {
                Self::Nothing
            };
        }
        if text.trim_ascii().is_empty() { Self::Nothing } else { Self::Garbage }
    }
}

/// The bytes that symbols are made of.
const OF_SYMBOL: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric() || byte == b'_';
        byte += 1;
    }
    table
};

fn symbol_end(text: &[u8]) -> usize {
    text.iter().position(|byte| !OF_SYMBOL[usize::from(*byte)]).unwrap_or(text.len())
}

fn read_value(raw: &[u8]) -> Option<Value<'_>> {
    match raw {
        b"y" => Some(Value::Yes),
        b"m" => Some(Value::Module),
        b"n" => Some(Value::Unset),
        [b'"', .., b'"'] => Some(Value::Text(match std::str::from_utf8(raw) {
            Ok(text) => unquote(text)?,
            Err(_) => Cow::Owned(unquote(&String::from_utf8_lossy(raw))?.into_owned()),
        })),
        [b'0', b'x' | b'X', digits @ ..] if digits.iter().all(u8::is_ascii_hexdigit) => {
            u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok().map(Value::Hex)
        }
        [b'-' | b'0'..=b'9', ..] => std::str::from_utf8(raw).ok()?.parse().ok().map(Value::Int),
        _ => None,
    }
}

fn excerpt(text: &[u8]) -> String {
    let cut = &text[..text.len().min(MAX_QUOTE)];
    let mut quoted = String::from_utf8_lossy(cut.trim_ascii_end()).into_owned();
    if cut.len() < text.len() {
        quoted.push('…');
    }
    quoted
}

#[derive(Default)]
struct Problems {
    list: Vec<ConfigProblem>,
}

impl Problems {
    fn add(&mut self, line: usize, kind: impl FnOnce() -> ConfigProblemKind) {
        if self.list.len() < MAX_PROBLEMS {
            self.list.push(ConfigProblem { line, kind: kind() });
        } else if let Some(ConfigProblem { kind: ConfigProblemKind::More { count }, .. }) =
            self.list.last_mut()
        {
            *count += 1;
        } else {
            self.list.push(ConfigProblem { line, kind: ConfigProblemKind::More { count: 1 } });
        }
    }
}

/// A hasher for symbols that processes eight bytes a step: with the standard library's hasher, hashing would take most of the
/// parsing time. Crafted collisions would only slow down their author's own build.
#[derive(Clone, Copy, Default)]
struct SymbolHasher(u64);

impl SymbolHasher {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(26) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Hasher for SymbolHasher {
    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.mix(word.try_into().map_or(0, u64::from_le_bytes));
        }
        let rest = words.remainder();
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn write_usize(&mut self, length: usize) {
        self.mix(length as u64);
    }

    fn finish(&self) -> u64 {
        // The table uses bits from both ends; a multiplication leaves the low ones weak.
        self.0 ^ (self.0 >> 32)
    }
}
