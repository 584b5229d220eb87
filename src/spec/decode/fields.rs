//! The fields of a struct, taken one by one.

use super::{Context, Decode};
use crate::spec::diagnostic::{Diagnostic, Span};
use crate::spec::suggest;
use crate::spec::syntax::{Field, Name, Node, SyntaxKind};

/// A value that could not be read, and that was reported.
pub(in crate::spec) struct Unreadable;

/// A struct being decoded. Take each field by name, then call [`Fields::finish`].
pub(in crate::spec) struct Fields<'n, 's> {
    fields: Vec<Option<&'n Field<'s>>>,
    known: Vec<&'static str>,
    head: Span,
}

impl<'n, 's> Fields<'n, 's> {
    /// The fields of `( .. )` without a name. A tuple is a struct whose field names were forgotten.
    pub(in crate::spec) fn of(node: &'n Node<'s>, what: &str, context: &mut Context) -> Option<Self> {
        let node = node.unwrapped();
        match &node.kind {
            SyntaxKind::Struct { name: None, .. } => Some(Self::of_variant(node)),
            SyntaxKind::Struct { name: Some(name), .. } => {
                let message = format!("expected {what}, found `{}(..)`", name.text);
                let label = "expected `(` without a name";
                context.report(Diagnostic::error("wrong-type", message).label(name.span, label))
            }
            _ => context.wrong_type(node, what),
        }
    }

    /// The fields of a struct whose name was looked at already.
    pub(in crate::spec) fn of_variant(node: &'n Node<'s>) -> Self {
        let fields = match &node.kind {
            SyntaxKind::Struct { fields, .. } => fields.iter().map(Some).collect(),
            _ => Vec::new(),
        };
        Self { fields, known: Vec::new(), head: node.head() }
    }

    /// The start of the struct: the place to blame for a missing field.
    pub(in crate::spec) const fn head(&self) -> Span {
        self.head
    }

    /// Takes a field as it stands. A duplicate was reported when it was read, so it is taken and forgotten.
    pub(in crate::spec) fn take(&mut self, name: &'static str) -> Option<&'n Field<'s>> {
        self.known.push(name);
        let mut found = None;
        for field in &mut self.fields {
            if field.is_some_and(|field| field.name.text == name) {
                let field = field.take();
                found = found.or(field);
            }
        }
        let present = |field: &&Field<'_>| field.value.kind != SyntaxKind::Ident("None");
        found.filter(present)
    }

    /// A field that may be left out.
    pub(in crate::spec) fn optional<T: Decode>(
        &mut self,
        name: &'static str,
        context: &mut Context,
    ) -> Option<T> {
        self.take(name).and_then(|field| T::decode(&field.value, context))
    }

    /// A field that may be left out, but must be readable where it is given.
    ///
    /// # Errors
    /// If it is not readable, which was reported.
    pub(in crate::spec) fn readable<T: Decode>(
        &mut self,
        name: &'static str,
        context: &mut Context,
    ) -> Result<Option<T>, Unreadable> {
        self.take(name).map(|field| T::decode(&field.value, context).ok_or(Unreadable)).transpose()
    }

    /// A field that may be left out, for its default.
    pub(in crate::spec) fn or_default<T: Decode + Default>(
        &mut self,
        name: &'static str,
        context: &mut Context,
    ) -> T {
        self.optional(name, context).unwrap_or_default()
    }

    /// A field that must be there.
    pub(in crate::spec) fn required<T: Decode>(
        &mut self,
        name: &'static str,
        context: &mut Context,
    ) -> Option<T> {
        let Some(field) = self.take(name) else {
            let message = format!("the field `{name}` is missing");
            let label = format!("expected `{name}: ..` in here: {}", T::EXPECTED);
            return context.report(Diagnostic::error("missing-field", message).label(self.head, label));
        };
        T::decode(&field.value, context)
    }

    /// Reports the fields that were not taken.
    pub(in crate::spec) fn finish(self, context: &mut Context) {
        let known = || self.known.iter().copied();
        for field in self.fields.iter().flatten() {
            let Name { text, span } = field.name;
            let help = match suggest::nearest(text, known()) {
                Some(name) => format!("did you mean `{name}`? fields: {}", suggest::list(known())),
                None => format!("fields: {}", suggest::list(known())),
            };
            let message = format!("the field `{text}` is unknown");
            context
                .diagnostics
                .push(Diagnostic::error("unknown-field", message).label(span, "not known here").help(help));
            // Its entries were meant for the field that it is a typo of.
            if let SyntaxKind::Map(entries) = &field.value.kind {
                context.broken.extend(entries.iter().filter_map(|(key, _)| key.as_str()).map(str::to_owned));
            }
        }
    }
}
