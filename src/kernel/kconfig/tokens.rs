//! Splits a line into tokens.

use super::macros::{Macros, closing};

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A keyword, a symbol, a number or a constant.
    Word(String),
    /// A quoted string.
    Text(String),
    /// Text that only Kconfig can evaluate.
    Unknown(String),
    /// `(`
    Open,
    /// `)`
    Close,
    /// `!`
    Not,
    /// `&&`
    And,
    /// `||`
    Or,
    /// `=`, `!=`, `<`, `<=`, `>`, `>=`
    Compare(&'static str),
}

/// Longer operators first.
const OPERATORS: [(&str, Token); 11] = [
    ("&&", Token::And),
    ("||", Token::Or),
    ("!=", Token::Compare("!=")),
    ("<=", Token::Compare("<=")),
    (">=", Token::Compare(">=")),
    ("=", Token::Compare("=")),
    ("<", Token::Compare("<")),
    (">", Token::Compare(">")),
    ("!", Token::Not),
    ("(", Token::Open),
    (")", Token::Close),
];

/// Splits a line up to its comment. `None` if a character belongs to no token.
pub(super) fn tokens(line: &str, macros: &Macros) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first == '#' {
            break;
        } else if matches!(first, '"' | '\'') {
            let (text, length) = quoted(rest, first)?;
            tokens.push(match macros.expand(&text) {
                Some(text) => Token::Text(text),
                None => Token::Unknown(rest[..length].to_owned()),
            });
            length
        } else if let Some((operator, token)) = OPERATORS.iter().find(|(text, _)| rest.starts_with(text)) {
            tokens.push(token.clone());
            operator.len()
        } else {
            let length = word(rest)?;
            tokens.push(match macros.expand(&rest[..length]) {
                Some(word) => Token::Word(word),
                None => Token::Unknown(rest[..length].to_owned()),
            });
            length
        };
        rest = rest[length..].trim_start();
    }
    Some(tokens)
}

/// The text of a quoted string, and its length with the quotes.
fn quoted(rest: &str, quote: char) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, char)) = chars.next() {
        match char {
            '\\' => text.push(chars.next()?.1),
            char if char == quote => return Some((text, at + 1)),
            char => text.push(char),
        }
    }
    None
}

/// The length of the word at the start, including `$(..)`.
fn word(rest: &str) -> Option<usize> {
    let mut length = 0;
    while let Some(next) = rest[length..].chars().next() {
        if rest[length..].starts_with("$(") {
            length += closing(&rest[length..])? + 1;
        } else if next.is_ascii_alphanumeric() || matches!(next, '_' | '-' | '.' | '/') {
            length += 1;
        } else {
            break;
        }
    }
    (length > 0).then_some(length)
}
