//! Parses a predicate by recursive descent over bytes, with the location of each error.

use super::{Constant, Expr, Number, Op, Test};

/// The largest nesting depth of parentheses and `!`. It bounds the stack of all recursive functions on predicates.
const MAX_DEPTH: usize = 64;

/// A parse error with its location.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PredicateError {
    /// The problem, in one sentence without a full stop.
    pub message: String,
    /// The offset of the first wrong byte.
    pub start: usize,
    /// The offset after the last wrong byte; equal to `start` if something is missing.
    pub end: usize,
    /// How to fix it.
    pub help: Option<String>,
}

pub(super) fn parse(text: &str) -> Result<Expr, PredicateError> {
    let mut parser = Parser { text, at: 0, depth: 0 };
    let root = parser.any()?;
    parser.blanks();
    match parser.peek() {
        None => Ok(root),
        Some(b')') => Err(parser.error_here(1, "this `)` closes nothing", Some("remove it"))),
        Some(_) => Err(parser.not_an_operator()),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn any(&mut self) -> Result<Expr, PredicateError> {
        let mut items = Vec::new();
        loop {
            match self.all()? {
                Expr::Any(inner) => items.extend(inner),
                item => items.push(item),
            }
            if !self.take("||") {
                return Ok(if items.len() == 1 { items.swap_remove(0) } else { Expr::Any(items) });
            }
        }
    }

    fn all(&mut self) -> Result<Expr, PredicateError> {
        let mut items = Vec::new();
        loop {
            match self.term()? {
                Expr::All(inner) => items.extend(inner),
                item => items.push(item),
            }
            if !self.take("&&") {
                return Ok(if items.len() == 1 { items.swap_remove(0) } else { Expr::All(items) });
            }
        }
    }

    fn term(&mut self) -> Result<Expr, PredicateError> {
        self.blanks();
        let start = self.at;
        match self.peek() {
            Some(b'!') => {
                self.deeper()?;
                self.at += 1;
                self.blanks();
                let inner = if matches!(self.peek(), Some(b'!' | b'(')) {
                    self.term()?
                } else {
                    self.negated(start)?
                };
                self.depth -= 1;
                Ok(Expr::Not(Box::new(inner)))
            }
            Some(b'(') => {
                self.deeper()?;
                self.at += 1;
                let inner = self.any()?;
                self.blanks();
                if self.peek() != Some(b')') {
                    if self.peek().is_some() {
                        return Err(self.not_an_operator());
                    }
                    let message = "this `(` is never closed".to_owned();
                    let help = Some("add `)`".to_owned());
                    return Err(PredicateError { message, start, end: start + 1, help });
                }
                self.at += 1;
                self.depth -= 1;
                Ok(inner)
            }
            _ => Ok(Expr::Test(self.test()?.0)),
        }
    }

    /// Parses the bare symbol after a `!`, which is at `start`.
    fn negated(&mut self, start: usize) -> Result<Expr, PredicateError> {
        let (test, bare) = self.test()?;
        if !bare {
            let message = "`!` before a comparison can be read in two ways".to_owned();
            let help = Some(format!("write `!({test:#})`"));
            return Err(PredicateError { message, start, end: self.at, help });
        }
        Ok(Expr::Test(test))
    }

    /// Parses a comparison. Also returns whether it is a bare symbol.
    fn test(&mut self) -> Result<(Test, bool), PredicateError> {
        let start = self.at;
        let word = self.word();
        let symbol = word.trim_start_matches("CONFIG_");
        match symbol {
            "" if !word.is_empty() => return Err(self.error_from(start, "`CONFIG_` without a symbol", None)),
            "" => return Err(self.no_symbol()),
            "y" | "m" | "n" => {
                return Err(self.error_from(
                    start,
                    format!("`{symbol}` is a value, not a CONFIG symbol"),
                    Some("compare a symbol with it: `SYMBOL=y`"),
                ));
            }
            _ if symbol.bytes().all(|byte| byte.is_ascii_digit()) => {
                return Err(self.error_from(
                    start,
                    format!("`{symbol}` is a number, not a CONFIG symbol"),
                    Some("the symbol comes first: `NR_CPUS>=2`"),
                ));
            }
            _ => {}
        }
        if let Some(operator) = word_for_operator(symbol) {
            let help = format!("write `{operator}`");
            return Err(self.error_from(
                start,
                format!("expected a CONFIG symbol, found `{symbol}`"),
                Some(&help),
            ));
        }
        let symbol = symbol.to_owned();
        self.blanks();
        let op_at = self.at;
        let Some(op) = self.op() else {
            return Ok((Test { symbol, op: Op::Eq, constant: Constant::Yes }, true));
        };
        if self.peek() == Some(b'=') {
            self.at = op_at;
            return Err(self.error_here(2, "`==` is no operator here", Some("write `=`")));
        }
        self.blanks();
        let constant_at = self.at;
        let constant = self.constant(&symbol, op)?;
        if !matches!(op, Op::Eq | Op::Ne) && !matches!(constant, Constant::Number(_)) {
            let message = format!("`{}` compares numbers", op.text());
            return Err(self.error_from(constant_at, message, Some("write a number, or use `=` or `!=`")));
        }
        Ok((Test { symbol, op, constant }, false))
    }

    fn op(&mut self) -> Option<Op> {
        // Longer operators first: `<=` is not `<` followed by `=`.
        [Op::Ne, Op::Le, Op::Ge, Op::Eq, Op::Lt, Op::Gt].into_iter().find(|op| self.take(op.text()))
    }

    fn constant(&mut self, symbol: &str, op: Op) -> Result<Constant, PredicateError> {
        let start = self.at;
        if self.peek() == Some(b'"') {
            return self.quoted();
        }
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let word = self.word();
        if word.is_empty() {
            let what = format!("expected a value after `{symbol}{}`", op.text());
            return Err(self.error_here(
                0,
                what,
                Some("`y`, `m`, `n`, a number, or a text in double quotes"),
            ));
        }
        let text = &self.text[start..self.at];
        match text {
            "y" => return Ok(Constant::Yes),
            "m" => return Ok(Constant::Module),
            "n" => return Ok(Constant::Unset),
            _ => {}
        }
        if let Some(number) = Number::read(text) {
            return Ok(Constant::Number(number));
        }
        let decimal = text.trim_start_matches('-');
        let hex = text.strip_prefix("0x").unwrap_or_default();
        let all =
            |digits: &str, ok: fn(&u8) -> bool| !digits.is_empty() && digits.bytes().all(|byte| ok(&byte));
        if all(decimal, u8::is_ascii_digit) || all(hex, u8::is_ascii_hexdigit) {
            return Err(self.error_from(start, "this number does not fit in 64 bits", None));
        }
        let help = match text {
            "Y" | "M" | "N" => format!("values are lower case: `{}`", text.to_lowercase()),
            _ => format!(
                "`y`, `m`, `n`, a number, or a text in double quotes: `{symbol}{}\"{text}\"`",
                op.text()
            ),
        };
        Err(self.error_from(start, format!("`{text}` is not a value"), Some(&help)))
    }

    fn quoted(&mut self) -> Result<Constant, PredicateError> {
        let start = self.at;
        let mut text = String::new();
        let mut chars = self.text[start + 1..].char_indices();
        while let Some((offset, char)) = chars.next() {
            match char {
                '"' => {
                    self.at = start + 1 + offset + 1;
                    return Ok(Constant::Text(text));
                }
                '\\' => match chars.next() {
                    Some((_, escaped)) => text.push(escaped),
                    None => break,
                },
                char => text.push(char),
            }
        }
        let message = "this text has no closing quote".to_owned();
        Err(PredicateError { message, start, end: self.text.len(), help: Some("add `\"`".to_owned()) })
    }

    fn no_symbol(&self) -> PredicateError {
        let rest = &self.text[self.at..];
        let help = if self.text.trim().is_empty() {
            "name what the `.config` must have, for example `SERIAL_8250_CONSOLE`"
        } else if rest.starts_with('"') || rest.starts_with('\'') {
            "a text is compared with a symbol: `SYMBOL=\"text\"`"
        } else {
            "a CONFIG symbol, `!` or `(`"
        };
        match rest.chars().next() {
            None => self.error_here(0, "expected a CONFIG symbol, found the end", Some(help)),
            Some(char) => {
                let found = format!("expected a CONFIG symbol, found `{}`", char.escape_debug());
                self.error_here(char.len_utf8(), found, Some(help))
            }
        }
    }

    /// The error for text in place of `&&`, `||` or the end.
    fn not_an_operator(&self) -> PredicateError {
        let rest = &self.text[self.at..];
        let word: String =
            rest.chars().take_while(|char| char.is_ascii_alphanumeric() || *char == '_').collect();
        let found = if word.is_empty() { rest.chars().take(1).collect() } else { word };
        let help = match found.as_str() {
            "&" | "|" => format!("write `{found}{found}`"),
            "," | ";" => "write `&&` where all are needed, `||` where one is enough".to_owned(),
            word => word_for_operator(word)
                .map_or_else(|| "join conditions with `&&` or `||`".to_owned(), |op| format!("write `{op}`")),
        };
        let message = format!("expected `&&`, `||` or the end, found `{}`", found.escape_debug());
        self.error_here(found.len(), message, Some(&help))
    }

    fn deeper(&mut self) -> Result<(), PredicateError> {
        if self.depth == MAX_DEPTH {
            let message = format!("more than {MAX_DEPTH} `(` and `!` inside one another");
            return Err(self.error_here(1, message, Some("write it flatter")));
        }
        self.depth += 1;
        Ok(())
    }

    fn word(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let length = rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
        self.at += length;
        &rest[..length]
    }

    fn blanks(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_ascii_start().len();
    }

    fn take(&mut self, token: &str) -> bool {
        self.blanks();
        let found = self.text[self.at..].starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// An error for the text since `start`.
    fn error_from(&self, start: usize, message: impl Into<String>, help: Option<&str>) -> PredicateError {
        PredicateError { message: message.into(), start, end: self.at, help: help.map(str::to_owned) }
    }

    /// An error for the next `length` bytes.
    fn error_here(&self, length: usize, message: impl Into<String>, help: Option<&str>) -> PredicateError {
        let end = self.at + length;
        PredicateError { message: message.into(), start: self.at, end, help: help.map(str::to_owned) }
    }
}

/// Operators of other languages.
fn word_for_operator(word: &str) -> Option<&'static str> {
    match word {
        "and" | "AND" => Some("&&"),
        "or" | "OR" => Some("||"),
        "not" | "NOT" => Some("!"),
        _ => None,
    }
}
