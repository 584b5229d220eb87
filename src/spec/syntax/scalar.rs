//! Texts and numbers.

use std::borrow::Cow;

use super::cursor::Reader;
use super::{Node, SyntaxKind, UNCLOSED};
use crate::spec::diagnostic::Span;

impl<'s> Reader<'s> {
    /// `"text"`
    pub(super) fn text_literal(&mut self) -> Node<'s> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        self.at += 1;
        let mut run = self.at;
        let mut owned: Option<String> = None;
        loop {
            match bytes.get(self.at) {
                Some(b'"') => {
                    let last = &self.text[run..self.at];
                    self.at += 1;
                    let text = match owned {
                        Some(mut text) => {
                            text.push_str(last);
                            Cow::Owned(text)
                        }
                        None => Cow::Borrowed(last),
                    };
                    return self.node(start, SyntaxKind::Str(text));
                }
                Some(b'\\') => {
                    let text = owned.get_or_insert_default();
                    text.push_str(&self.text[run..self.at]);
                    if let Some(char) = self.escape() {
                        text.push(char);
                    }
                    run = self.at;
                }
                Some(_) => self.at += 1,
                None => return self.unclosed_text(start, "\""),
            }
        }
    }

    /// `\n`, `\x41`, `\u{1F600}`; `None` after a complaint.
    fn escape(&mut self) -> Option<char> {
        let start = self.at;
        self.at += 1;
        let char = self.text[self.at..].chars().next();
        self.at += char.map_or(0, char::len_utf8);
        let digits = |digits: &str| {
            let hex = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
            u32::from_str_radix(digits, 16).ok().filter(|_| hex).and_then(char::from_u32)
        };
        let value = match char? {
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            '0' => Some('\0'),
            c @ ('\\' | '"' | '\'') => Some(c),
            'x' => {
                let value = self.text.get(self.at..self.at + 2).and_then(digits).filter(char::is_ascii);
                self.at += if value.is_some() { 2 } else { 0 };
                value
            }
            'u' => {
                let rest = &self.text[self.at..];
                let inner =
                    rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map(|(inner, _)| inner);
                let value = inner.filter(|inner| inner.len() <= 6).and_then(digits);
                self.at += inner.filter(|_| value.is_some()).map_or(0, |inner| inner.len() + 2);
                value
            }
            _ => None,
        };
        if value.is_none() {
            self.error("syntax", "this escape is unknown", self.span(start), "not an escape");
            self.help(r#"write `\\` for a backslash, or a raw text: r"..""#);
        }
        value
    }

    /// `r"text"`, `r#"text"#`
    pub(super) fn raw_text(&mut self) -> Node<'s> {
        let start = self.at;
        let rest = &self.text[start + 1..];
        let hashes = rest.bytes().take_while(|b| *b == b'#').count();
        if rest.as_bytes().get(hashes) != Some(&b'"') {
            self.at += 1 + hashes;
            self.error("syntax", "this is not a raw text", self.span(start), "expected `\"` after this");
            return self.node(start, SyntaxKind::Bad);
        }
        let end = format!("\"{}", "#".repeat(hashes));
        let body = start + 1 + hashes + 1;
        let Some(len) = self.text[body..].find(&end) else {
            return self.unclosed_text(start, &end);
        };
        self.at = body + len + end.len();
        let text = &self.text[body..body + len];
        self.node(start, SyntaxKind::Str(Cow::Borrowed(text)))
    }

    /// A text that never ends swallows the rest of the file, and a comma or quote in there means nothing any more.
    /// Its first line alone is taken as the text, so that what follows is looked at.
    fn unclosed_text(&mut self, start: usize, end: &str) -> Node<'s> {
        let line = self.text[start..].find('\n').map_or(self.text.len(), |n| start + n);
        self.at = line;
        let span = Span { end: self.one_after(start), ..self.span(start) };
        self.error(UNCLOSED, "this text is not closed", span, "opened here");
        self.help(format!("add `{end}` where it ends"));
        self.node(start, SyntaxKind::Bad)
    }

    fn one_after(&self, start: usize) -> u32 {
        let here = self.span(start);
        here.end.min(here.start + 1)
    }

    /// People who come from Python or shell write 'text'.
    pub(super) fn single_quotes(&mut self) -> Node<'s> {
        let start = self.at;
        let line = self.text[start + 1..].lines().next().unwrap_or_default();
        self.at += 1 + line.find('\'').map_or(0, |n| n + 1);
        self.error("syntax", "texts are written in double quotes", self.span(start), "expected `\"`");
        self.node(start, SyntaxKind::Bad)
    }

    /// `12`, `-1`, `0x1F`, `1_000`, `0.5`, `1e3`
    pub(super) fn number(&mut self) -> Node<'s> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            let sign = matches!(byte, b'+' | b'-')
                && (self.at == start
                    || matches!(bytes[self.at - 1], b'e' | b'E') && !hex(&bytes[start..self.at]));
            if !(sign || byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.')) {
                break;
            }
            self.at += 1;
        }
        let literal = &self.text[start..self.at];
        if let Some(kind) = integer(literal).or_else(|| float(literal)) {
            return self.node(start, kind);
        }
        let digits = literal.trim_start_matches(['+', '-']);
        let large = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let what = if large { "this number is too large" } else { "this is not a number" };
        self.error(
            "syntax",
            what,
            self.span(start),
            if large { "more than 64 bits" } else { "not a number" },
        );
        if !large {
            self.help("texts are written in double quotes");
        }
        self.node(start, SyntaxKind::Bad)
    }
}

fn hex(literal: &[u8]) -> bool {
    let digits = literal.strip_prefix(b"-").or(literal.strip_prefix(b"+")).unwrap_or(literal);
    digits.starts_with(b"0x")
}

fn integer<'s>(literal: &str) -> Option<SyntaxKind<'s>> {
    let (sign, digits) = match literal.as_bytes().first()? {
        b'-' => ("-", &literal[1..]),
        b'+' => ("", &literal[1..]),
        _ => ("", literal),
    };
    let (radix, digits) = match digits.get(..2) {
        Some("0x") => (16, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        _ => (10, digits),
    };
    let first = digits.as_bytes().first()?;
    if !first.is_ascii_alphanumeric() {
        return None;
    }
    let value = i64::from_str_radix(&format!("{sign}{}", digits.replace('_', "")), radix).ok()?;
    Some(SyntaxKind::Int(value))
}

fn float<'s>(literal: &str) -> Option<SyntaxKind<'s>> {
    let plain = literal.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    let fraction = literal.bytes().any(|b| matches!(b, b'.' | b'e' | b'E'));
    if !plain || !fraction || !literal.bytes().any(|b| b.is_ascii_digit()) {
        return None;
    }
    literal.parse().ok().map(SyntaxKind::Float)
}
