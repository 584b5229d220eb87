//! Nodes to values. Every mistake becomes a diagnostic, and what can be decoded is, so that one run reports all.

mod collections;
mod fields;
mod keys;
mod labs;
mod project;
mod record;
mod remotes;
mod roots;
mod rule;
mod scalars;

use std::collections::BTreeSet;

pub(super) use fields::Fields;
pub(super) use project::{CacheDecl, Document};
pub(super) use scalars::fixup_symbol;
pub use scalars::{parse_size, show_size};

use super::diagnostic::{Diagnostic, Span, Spanned};
use super::suggest;
use super::syntax::{Node, SyntaxKind};

/// The version of `graph.ron` and of rule files that this kiln reads.
pub const VERSION: i64 = 1;

/// What decoding collects besides the values.
#[derive(Default)]
pub(super) struct Context {
    /// Mistakes, in the order they were met.
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Names that are given but whose value is wrong. A reference to one is not dangling: the mistake is elsewhere.
    pub(super) broken: BTreeSet<String>,
}

impl Context {
    /// Reports a mistake; returns `None` so that decoders can end with it.
    pub(super) fn report<T>(&mut self, diagnostic: Diagnostic) -> Option<T> {
        self.diagnostics.push(diagnostic);
        None
    }

    /// "expected a list of texts, found a number"
    pub(super) fn wrong_type<T>(&mut self, node: &Node<'_>, expected: &str) -> Option<T> {
        if node.kind == SyntaxKind::Bad {
            return None;
        }
        let message = format!("expected {expected}, found {}", node.describe());
        self.report(
            Diagnostic::error("wrong-type", message).label(node.head(), format!("expected {expected}")),
        )
    }

    /// A variant that does not exist.
    pub(super) fn unknown_variant<T>(&mut self, span: Span, found: &str, known: &[&str]) -> Option<T> {
        let message = format!("`{found}` is not known here");
        let expected = format!("expected one of {}", suggest::list(known.iter().copied()));
        let near =
            suggest::nearest(found, known.iter().copied()).map(|name| format!("did you mean `{name}`?"));
        self.report(Diagnostic::error("unknown-variant", message).label(span, expected).maybe_help(near))
    }
}

/// A value of the spec.
pub(super) trait Decode: Sized {
    /// Its name in "expected ..".
    const EXPECTED: &'static str;
    /// Its plural in "expected a list of ..".
    const PLURAL: &'static str;

    /// Decodes a node; `None` after reporting what is wrong with it.
    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self>;
}

/// The span is the literal itself, or the head of what may span many lines.
impl<T: Decode> Decode for Spanned<T> {
    const EXPECTED: &'static str = T::EXPECTED;
    const PLURAL: &'static str = T::PLURAL;

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let span = node.unwrapped().head();
        T::decode(node, context).map(|value| Self { value, span })
    }
}

/// Maps a range of bytes in a text onto its literal, for carets; the whole literal where escapes moved things.
pub(super) fn inside(literal: Span, text: &str, source_len: usize, start: usize, end: usize) -> Span {
    // `"text"`: two quotes and nothing else means that byte n of the text is byte n + 1 of the literal.
    if source_len != text.len() + 2 || start > end || end > text.len() {
        return literal;
    }
    let offset = |n: usize| literal.start + 1 + u32::try_from(n).unwrap_or(0);
    // A caret needs something to point at: past the end it is the closing quote.
    let end = end.max(start + 1);
    Span { start: offset(start), end: offset(end), ..literal }
}

#[cfg(test)]
mod tests;
