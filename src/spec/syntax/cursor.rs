//! The position in a text: blanks, comments and words are skipped or taken here, and mistakes are collected.

use super::{Node, SyntaxKind, UNCLOSED};
use crate::spec::diagnostic::{Diagnostic, FileId, Span};

pub(super) struct Reader<'s> {
    pub(super) file: FileId,
    pub(super) text: &'s str,
    pub(super) at: usize,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Delimiters that are open: the byte that closes each, and its offset.
    pub(super) open: Vec<(u8, usize)>,
    /// Whether an unexpected end of the file was reported. Each level on the way out would report it again.
    pub(super) ended: bool,
}

impl<'s> Reader<'s> {
    pub(super) fn new(file: FileId, text: &'s str) -> Self {
        assert!(u32::try_from(text.len()).is_ok(), "offsets are u32");
        Self { file, text, at: 0, diagnostics: Vec::new(), open: Vec::new(), ended: false }
    }

    /// Skips blanks and comments, and looks at what follows.
    pub(super) fn peek(&mut self) -> Option<u8> {
        self.trivia();
        self.byte()
    }

    pub(super) fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    pub(super) fn trivia(&mut self) {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c) => self.at += 1,
                Some(b'/') if bytes.get(self.at + 1) == Some(&b'/') => {
                    self.at = self.text[self.at..].find('\n').map_or(self.text.len(), |n| self.at + n + 1);
                }
                Some(b'/') if bytes.get(self.at + 1) == Some(&b'*') => self.block_comment(),
                _ => return,
            }
        }
    }

    /// Block comments nest, as in Rust.
    fn block_comment(&mut self) {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut depth = 0u32;
        loop {
            match (bytes.get(self.at), bytes.get(self.at + 1)) {
                (Some(b'/'), Some(b'*')) => {
                    depth += 1;
                    self.at += 2;
                }
                (Some(b'*'), Some(b'/')) => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return;
                    }
                }
                (Some(_), _) => self.at += 1,
                (None, _) => {
                    let span = Span { end: to_u32(start + 2), ..self.span(start) };
                    self.error(UNCLOSED, "this comment is not closed", span, "opened here");
                    self.help("add `*/` where it ends");
                    self.ended = true;
                    return;
                }
            }
        }
    }

    /// Takes an identifier; an empty one where there is none.
    pub(super) fn word(&mut self) -> &'s str {
        let rest = &self.text[self.at..];
        let starts = rest.as_bytes().first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_');
        let len = if starts {
            rest.bytes().position(|b| !(b.is_ascii_alphanumeric() || b == b'_')).unwrap_or(rest.len())
        } else {
            0
        };
        self.at += len;
        &rest[..len]
    }

    /// From `start` to where the reader is.
    pub(super) fn span(&self, start: usize) -> Span {
        Span { file: self.file, start: to_u32(start), end: to_u32(self.at) }
    }

    /// The next character.
    pub(super) fn one_char(&self) -> Span {
        let len = self.text[self.at..].chars().next().map_or(0, char::len_utf8);
        Span { file: self.file, start: to_u32(self.at), end: to_u32(self.at + len) }
    }

    /// The last character that is neither blank nor comment, or near enough.
    pub(super) fn span_before(&self) -> Span {
        let before = self.text[..self.at].trim_end();
        let start = before.char_indices().next_back().map_or(0, |(n, _)| n);
        Span { file: self.file, start: to_u32(start), end: to_u32(before.len()) }
    }

    pub(super) fn node(&self, start: usize, kind: SyntaxKind<'s>) -> Node<'s> {
        Node { span: self.span(start), kind }
    }

    pub(super) fn error(
        &mut self,
        code: &'static str,
        message: impl Into<String>,
        span: Span,
        label: impl Into<String>,
    ) {
        self.diagnostics.push(Diagnostic::error(code, message).label(span, label));
    }

    /// Adds a label to the last error.
    pub(super) fn label(&mut self, span: Span, label: &str) {
        if let Some(last) = self.diagnostics.last_mut() {
            last.labels.push((span, label.into()));
        }
    }

    /// Adds help to the last error.
    pub(super) fn help(&mut self, help: impl Into<String>) {
        if let Some(last) = self.diagnostics.last_mut() {
            last.help = Some(help.into());
        }
    }
}

/// Sound because `Reader::new` has checked the length of the text.
#[expect(clippy::cast_possible_truncation, reason = "the length is checked")]
pub(super) const fn to_u32(offset: usize) -> u32 {
    offset as u32
}
