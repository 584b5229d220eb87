//! RON with spans: text in, a tree of [`Node`]s out.
//!
//! The reader accepts a subset of RON (no chars, no byte strings, no raw identifiers), and what it accepts means the
//! same as to the `ron` crate; a property test holds it to that. It is our own because every mistake of a file must
//! be reported, each with its place, and the `ron` crate stops at the first.

mod cursor;
mod reader;
mod scalar;

use std::borrow::Cow;

use super::diagnostic::{Diagnostic, FileId, Span};

/// The maximum nesting depth of lists, maps and structs.
pub const MAX_DEPTH: u32 = 128;

/// The code of mistakes after which the nesting of the rest of the file is a guess.
pub const UNCLOSED: &str = "unclosed";

/// A value and where it stands. Texts are borrowed from the source wherever they have no escapes.
#[derive(Clone, Debug, PartialEq)]
pub struct Node<'s> {
    /// All of it, from the first byte to the last.
    pub span: Span,
    /// What it is.
    pub kind: SyntaxKind<'s>,
}

/// What a [`Node`] is.
#[derive(Clone, Debug, PartialEq)]
pub enum SyntaxKind<'s> {
    /// `(a: 1)` or `Name(a: 1)`; also `()` and `Name()`.
    Struct {
        /// The name before the parenthesis.
        name: Option<Name<'s>>,
        /// The fields as written.
        fields: Vec<Field<'s>>,
    },
    /// `(1, 2)` or `Name("x")`. Never empty.
    Tuple {
        /// The name before the parenthesis.
        name: Option<Name<'s>>,
        /// The items.
        items: Vec<Node<'s>>,
    },
    /// `{"key": value}`
    Map(Vec<(Node<'s>, Node<'s>)>),
    /// `[1, 2]`
    List(Vec<Node<'s>>),
    /// A bare word: `Command`, `None`.
    Ident(&'s str),
    /// `"text"`, `r"text"` or `r#"text"#`.
    Str(Cow<'s, str>),
    /// A whole number.
    Int(i64),
    /// A number with a fraction or exponent.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// A value that could not be read, and that was reported.
    Bad,
}

/// A word and where it stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Name<'s> {
    /// The word.
    pub text: &'s str,
    /// Its place.
    pub span: Span,
}

/// A field of a struct.
#[derive(Clone, Debug, PartialEq)]
pub struct Field<'s> {
    /// Its name.
    pub name: Name<'s>,
    /// Its value.
    pub value: Node<'s>,
}

impl Node<'_> {
    /// `x` for `Some(x)`: both are written, and both mean a value that is there.
    #[must_use]
    pub fn unwrapped(&self) -> &Self {
        match &self.kind {
            SyntaxKind::Tuple { name: Some(name), items } if name.text == "Some" && items.len() == 1 => {
                items[0].unwrapped()
            }
            _ => self,
        }
    }

    /// A short range to point at: the name or the opening delimiter of what may span many lines.
    #[must_use]
    pub fn head(&self) -> Span {
        match &self.kind {
            SyntaxKind::Struct { name: Some(name), .. } | SyntaxKind::Tuple { name: Some(name), .. } => {
                name.span
            }
            SyntaxKind::Struct { .. }
            | SyntaxKind::Tuple { .. }
            | SyntaxKind::Map(_)
            | SyntaxKind::List(_) => Span { end: self.span.end.min(self.span.start + 1), ..self.span },
            _ => self.span,
        }
    }

    /// A description for messages: "a list", "the word `x`".
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.kind {
            SyntaxKind::Struct { name: Some(name), .. } | SyntaxKind::Tuple { name: Some(name), .. } => {
                format!("`{}(..)`", name.text)
            }
            SyntaxKind::Struct { name: None, .. } => "a struct".into(),
            SyntaxKind::Tuple { name: None, .. } => "a tuple".into(),
            SyntaxKind::Map(_) => "a map".into(),
            SyntaxKind::List(_) => "a list".into(),
            SyntaxKind::Ident(word) => format!("the word `{word}`"),
            SyntaxKind::Str(_) => "a text".into(),
            SyntaxKind::Int(_) => "a number".into(),
            SyntaxKind::Float(_) => "a number with a fraction".into(),
            SyntaxKind::Bool(_) => "a yes or no".into(),
            SyntaxKind::Bad => "something unreadable".into(),
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            SyntaxKind::Str(text) => Some(text),
            _ => None,
        }
    }
}

/// Reads a file. The node is there even when the file has mistakes: whatever could be made out, the rest
/// [`SyntaxKind::Bad`]. `None`: the file holds no value at all.
///
/// # Panics
/// If the text is longer than 4 GiB, which no offset can express. The loader checks that.
#[must_use]
pub fn parse(file: FileId, text: &str) -> (Option<Node<'_>>, Vec<Diagnostic>) {
    cursor::Reader::new(file, text).read()
}

#[cfg(test)]
mod tests;
