//! The grammar: bytes to nodes in one pass. After a mistake, reading continues at the next comma or closing delimiter.

use std::collections::HashMap;

use super::cursor::{Reader, to_u32};
use super::{Field, MAX_DEPTH, Name, Node, SyntaxKind, UNCLOSED};
use crate::spec::diagnostic::{Diagnostic, Span};

/// Extensions of RON that change nothing for us: `Some(x)` and `x` are both read as `x` anyway.
const EXTENSIONS: [&str; 4] =
    ["implicit_some", "unwrap_newtypes", "unwrap_variant_newtypes", "explicit_struct_names"];

/// Up to this number of fields, pairwise comparison is faster than a hash table.
const FEW: usize = 16;

/// What follows an item of a list, map or struct.
enum Next {
    Item,
    End,
}

impl<'s> Reader<'s> {
    pub(super) fn read(mut self) -> (Option<Node<'s>>, Vec<Diagnostic>) {
        self.attributes();
        if self.peek().is_none() {
            self.error("syntax", "the file is empty", self.span(self.at), "expected `( .. )` here");
            return (None, self.diagnostics);
        }
        let node = self.value();
        if self.peek().is_some() && !self.ended {
            let span = self.one_char();
            self.error(
                "syntax",
                "there is text after the end of the value",
                span,
                "expected the end of the file",
            );
        }
        (Some(node), self.diagnostics)
    }

    /// `#![enable(implicit_some)]` and the like.
    fn attributes(&mut self) {
        while self.peek() == Some(b'#') {
            let start = self.at;
            if !self.attribute() {
                let line = self.text[start..].find('\n').map_or(self.text.len(), |n| start + n);
                self.at = line;
                self.error(
                    "syntax",
                    "this attribute is not one kiln reads",
                    self.span(start),
                    format!("expected `#![enable({})]`", EXTENSIONS[0]),
                );
            }
        }
    }

    fn attribute(&mut self) -> bool {
        for part in ["#", "!", "[", "enable", "("] {
            self.trivia();
            if !self.text[self.at..].starts_with(part) {
                return false;
            }
            self.at += part.len();
        }
        loop {
            self.trivia();
            if !EXTENSIONS.contains(&self.word()) {
                return false;
            }
            self.trivia();
            if self.byte() == Some(b',') {
                self.at += 1;
            }
            if self.peek() == Some(b')') {
                self.at += 1;
                break;
            }
        }
        let closed = self.peek() == Some(b']');
        self.at += usize::from(closed);
        closed
    }

    /// A value. Always moves on or leaves a closing delimiter, a comma or the end of the file to the caller.
    fn value(&mut self) -> Node<'s> {
        let Some(byte) = self.peek() else {
            return self.unexpected_end();
        };
        let start = self.at;
        match byte {
            b'(' => self.parenthesis(start, None),
            b'[' => self.list(),
            b'{' => self.map(),
            b'"' => self.text_literal(),
            b'r' if matches!(self.text.as_bytes().get(start + 1), Some(b'"' | b'#')) => self.raw_text(),
            b'0'..=b'9' | b'+' | b'-' | b'.' => self.number(),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => self.word_or_variant(),
            b',' | b')' | b']' | b'}' | b':' => {
                let span = self.one_char();
                self.error("syntax", "a value is missing", span, "expected a value before this");
                if byte == b':' {
                    self.at += 1;
                }
                self.node(start, SyntaxKind::Bad)
            }
            b'\'' => self.single_quotes(),
            _ => {
                let span = self.one_char();
                self.at = span.end as usize;
                self.error("syntax", "this character has no meaning here", span, "expected a value");
                self.node(start, SyntaxKind::Bad)
            }
        }
    }

    fn word_or_variant(&mut self) -> Node<'s> {
        let start = self.at;
        let text = self.word();
        let kind = match text {
            "true" => SyntaxKind::Bool(true),
            "false" => SyntaxKind::Bool(false),
            "inf" => SyntaxKind::Float(f64::INFINITY),
            "NaN" => SyntaxKind::Float(f64::NAN),
            _ => {
                let name = Name { text, span: self.span(start) };
                if self.peek() == Some(b'(') {
                    return self.parenthesis(start, Some(name));
                }
                self.some_holds_one(Some(name), 0);
                // Trivia was skipped to look for the parenthesis: the node ends with the word.
                return Node { span: name.span, kind: SyntaxKind::Ident(text) };
            }
        };
        self.node(start, kind)
    }

    /// `( .. )`: a struct if the first item is `name:`, otherwise a tuple.
    fn parenthesis(&mut self, start: usize, name: Option<Name<'s>>) -> Node<'s> {
        let Some(()) = self.enter(b')') else { return self.too_deep(start) };
        if self.at_field() || matches!(self.peek(), Some(b')')) {
            let mut fields: Vec<Field<'s>> = Vec::new();
            while let Next::Item = self.next(fields.is_empty()) {
                if let Some(field) = self.field() {
                    fields.push(field);
                }
            }
            self.duplicate_fields(&fields);
            self.some_holds_one(name, 0);
            return self.node(start, SyntaxKind::Struct { name, fields });
        }
        let mut items = Vec::new();
        while let Next::Item = self.next(items.is_empty()) {
            items.push(self.value());
        }
        self.some_holds_one(name, items.len());
        let kind = if items.is_empty() { SyntaxKind::Bad } else { SyntaxKind::Tuple { name, items } };
        self.node(start, kind)
    }

    /// `Some` is RON's own, and not a variant like any other.
    fn some_holds_one(&mut self, name: Option<Name<'s>>, items: usize) {
        if let Some(name) = name.filter(|name| name.text == "Some" && items != 1) {
            self.error("syntax", "`Some` holds one value", name.span, "expected `Some(value)`");
        }
    }

    /// Whether `word :` follows.
    fn at_field(&mut self) -> bool {
        if !self.peek().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_') {
            return false;
        }
        let (start, mistakes) = (self.at, self.diagnostics.len());
        self.word();
        let colon = self.peek() == Some(b':');
        self.at = start;
        self.diagnostics.truncate(mistakes);
        colon
    }

    fn field(&mut self) -> Option<Field<'s>> {
        let start = self.at;
        let word = self.word();
        if word.is_empty() {
            let span = self.one_char();
            let help = "fields are written `name: value`";
            self.error("syntax", "a field name is missing", span, "expected `name: value`");
            self.help(help);
            // Read what is there, so that mistakes in it are reported as well.
            self.value();
            if self.peek() == Some(b':') {
                self.at += 1;
                self.value();
            }
            return None;
        }
        let name = Name { text: word, span: self.span(start) };
        if !self.colon(name.span, "this field has no value") {
            return None;
        }
        Some(Field { name, value: self.value() })
    }

    fn list(&mut self) -> Node<'s> {
        let start = self.at;
        let Some(()) = self.enter(b']') else { return self.too_deep(start) };
        let mut items = Vec::new();
        while let Next::Item = self.next(items.is_empty()) {
            items.push(self.value());
        }
        self.node(start, SyntaxKind::List(items))
    }

    fn map(&mut self) -> Node<'s> {
        let start = self.at;
        let Some(()) = self.enter(b'}') else { return self.too_deep(start) };
        let mut entries = Vec::new();
        let mut first = true;
        while let Next::Item = self.next(first) {
            first = false;
            let key = self.value();
            if self.colon(key.head(), "this key has no value") {
                let value = self.value();
                entries.push((key, value));
            }
        }
        self.duplicate_keys(&entries);
        self.node(start, SyntaxKind::Map(entries))
    }

    fn colon(&mut self, after: Span, what: &'static str) -> bool {
        let found = self.peek();
        if found == Some(b':') {
            self.at += 1;
            return true;
        }
        if found == Some(b'=') {
            let span = self.one_char();
            self.at += 1;
            self.error("syntax", "`=` has no meaning here", span, "expected `:`");
            return true;
        }
        if !self.ended {
            self.error("syntax", what, after, "expected `:` and a value after this");
        }
        // Most often the colon was forgotten; then what follows is the value.
        found.is_some_and(begins_value)
    }

    /// Takes the opening delimiter; `None` where that is too deep.
    fn enter(&mut self, close: u8) -> Option<()> {
        if self.open.len() >= MAX_DEPTH as usize {
            return None;
        }
        self.open.push((close, self.at));
        self.at += 1;
        Some(())
    }

    /// Nothing in there is looked at; the caller gets the end of the file.
    fn too_deep(&mut self, start: usize) -> Node<'s> {
        let span = self.one_char();
        self.error(UNCLOSED, "values nest too deep", span, format!("this is the {}th level", MAX_DEPTH + 1));
        self.ended = true;
        self.at = self.text.len();
        self.node(start, SyntaxKind::Bad)
    }

    /// Moves over the comma to the next item, or over the closing delimiter.
    fn next(&mut self, first: bool) -> Next {
        let &(close, opened) = self.open.last().expect("`enter` was called");
        let mut comma = first;
        loop {
            let Some(byte) = self.peek() else {
                self.open.pop();
                self.unclosed(opened, close);
                return Next::End;
            };
            if byte == close {
                self.at += 1;
                self.open.pop();
                return Next::End;
            }
            match byte {
                b',' if !comma => {
                    comma = true;
                    self.at += 1;
                }
                b',' => {
                    let span = self.one_char();
                    self.at += 1;
                    self.error("syntax", "there is nothing before this comma", span, "expected a value");
                }
                b')' | b']' | b'}' if self.open.iter().any(|(other, _)| *other == byte) => {
                    // It closes something further out, so ours was forgotten.
                    let span = self.one_char();
                    let (open, close) = delimiters(close);
                    self.error(
                        UNCLOSED,
                        format!("`{open}` is not closed"),
                        span,
                        format!("expected `{close}` here"),
                    );
                    let start = Span { end: to_u32(opened + 1), ..self.span(opened) };
                    self.label(start, "opened here");
                    self.open.pop();
                    return Next::End;
                }
                b')' | b']' | b'}' => {
                    // It closes nothing at all, so it was meant for ours.
                    let span = self.one_char();
                    self.at += 1;
                    let (open, close) = delimiters(close);
                    let message = format!("`{open}` is closed by `{}`", byte as char);
                    self.error("syntax", message, span, format!("expected `{close}`"));
                    let start = Span { end: to_u32(opened + 1), ..self.span(opened) };
                    self.label(start, "opened here");
                    self.open.pop();
                    return Next::End;
                }
                _ if comma => return Next::Item,
                _ if begins_value(byte) => {
                    // Most often the comma was forgotten; then this is the next item.
                    let span = self.span_before();
                    self.error("syntax", "a comma is missing", span, "expected `,` after this");
                    return Next::Item;
                }
                _ => {
                    let span = self.one_char();
                    self.error("syntax", "this character has no meaning here", span, "expected `,`");
                    self.at = span.end as usize;
                    self.skip_junk();
                    comma = true;
                }
            }
        }
    }

    /// Moves to the next comma, delimiter or value.
    fn skip_junk(&mut self) {
        while let Some(byte) = self.peek() {
            if begins_value(byte) || matches!(byte, b',' | b')' | b']' | b'}') {
                break;
            }
            self.at = self.one_char().end as usize;
        }
    }

    fn unclosed(&mut self, opened: usize, close: u8) {
        if self.ended {
            return;
        }
        self.ended = true;
        let (open, close) = delimiters(close);
        let start = Span { end: to_u32(opened + 1), ..self.span(opened) };
        self.error(UNCLOSED, format!("`{open}` is not closed"), start, "opened here");
        self.help(format!("add `{close}` where it ends"));
    }

    fn unexpected_end(&mut self) -> Node<'s> {
        if !self.ended {
            if let Some(&(close, opened)) = self.open.last() {
                self.unclosed(opened, close);
            } else {
                self.error("syntax", "the file ends too early", self.span(self.at), "expected a value");
            }
        }
        self.node(self.at, SyntaxKind::Bad)
    }

    fn duplicate_fields(&mut self, fields: &[Field<'s>]) {
        let names = fields.iter().map(|field| field.name);
        self.duplicates("duplicate-field", "field", names);
    }

    fn duplicate_keys(&mut self, entries: &[(Node<'s>, Node<'s>)]) {
        let text = self.text;
        let keys = entries.iter().filter_map(|(key, _)| {
            let text = match &key.kind {
                SyntaxKind::Str(std::borrow::Cow::Borrowed(text)) => text,
                SyntaxKind::Bad => return None,
                // Rare: compared by how it is written.
                _ => &text[key.span.start as usize..key.span.end as usize],
            };
            Some(Name { text, span: key.span })
        });
        let keys: Vec<_> = keys.collect();
        self.duplicates("duplicate-name", "name", keys.into_iter());
    }

    fn duplicates(
        &mut self,
        code: &'static str,
        what: &str,
        names: impl ExactSizeIterator<Item = Name<'s>> + Clone,
    ) {
        let mut complain = |first: Name<'s>, again: Name<'s>| {
            let message = format!("the {what} `{}` is given twice", again.text);
            let diagnostic = Diagnostic::error(code, message).label(again.span, "given again here");
            self.diagnostics.push(diagnostic.label(first.span, "first given here"));
        };
        if names.len() <= FEW {
            for (n, again) in names.clone().enumerate() {
                if let Some(first) = names.clone().take(n).find(|first| first.text == again.text) {
                    complain(first, again);
                }
            }
            return;
        }
        let mut seen = HashMap::with_capacity(names.len());
        for name in names {
            match seen.entry(name.text) {
                std::collections::hash_map::Entry::Occupied(first) => complain(*first.get(), name),
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(name);
                }
            }
        }
    }
}

const fn delimiters(close: u8) -> (char, char) {
    match close {
        b')' => ('(', ')'),
        b']' => ('[', ']'),
        _ => ('{', '}'),
    }
}

const fn begins_value(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'(' | b'[' | b'{' | b'"' | b'_' | b'+' | b'-' | b'.')
}
