//! Lists and maps. What is wrong in them is reported and left out.

use std::collections::BTreeMap;

use super::{Context, Decode};
use crate::spec::declared::Named;
use crate::spec::diagnostic::{Diagnostic, Spanned};
use crate::spec::syntax::{Node, SyntaxKind};

impl<T: Decode> Decode for Vec<T> {
    const EXPECTED: &'static str = "a list";
    const PLURAL: &'static str = "lists";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let node = node.unwrapped();
        let SyntaxKind::List(items) = &node.kind else {
            return context.wrong_type(node, &format!("a list of {}", T::PLURAL));
        };
        Some(items.iter().filter_map(|item| T::decode(item, context)).collect())
    }
}

/// A map whose keys are names of its own; see [`named`] for those that others refer to.
impl<T: Decode> Decode for BTreeMap<String, T> {
    const EXPECTED: &'static str = "a map";
    const PLURAL: &'static str = "maps";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let entries = entries::<T>(node, context)?;
        let mut map = Self::new();
        for (key, value) in entries {
            let Some(name) = String::decode(key, context) else { continue };
            if let Some(value) = T::decode(value, context) {
                // The reader has reported duplicates; the first one counts.
                map.entry(name).or_insert(value);
            }
        }
        Some(map)
    }
}

fn entries<'n, 's, T: Decode>(
    node: &'n Node<'s>,
    context: &mut Context,
) -> Option<impl Iterator<Item = &'n (Node<'s>, Node<'s>)> + use<'n, 's, T>> {
    let node = node.unwrapped();
    match &node.kind {
        SyntaxKind::Map(entries) => Some(entries.iter()),
        SyntaxKind::Struct { name: None, .. } => {
            let message = format!("expected a map of names to {}, found a struct", T::PLURAL);
            let diagnostic = Diagnostic::error("wrong-type", message).label(node.head(), "expected `{`");
            context.report(diagnostic.help("names of your own go in braces and quotes: `{\"name\": ..}`"))
        }
        _ => context.wrong_type(node, &format!("a map of names to {}", T::PLURAL)),
    }
}

/// The rule for names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum NameRule {
    /// One part of a path or node name.
    Plain,
    /// Parts joined by `/`.
    Path,
}

/// A map whose keys others refer to. The span of each value is its key.
pub(super) fn named<T: Decode>(node: &Node<'_>, rule: NameRule, context: &mut Context) -> Named<T> {
    let mut map = Named::new();
    let Some(entries) = entries::<T>(node, context) else { return map };
    for (key, value) in entries {
        let key = key.unwrapped();
        let Some(name) = String::decode(key, context) else { continue };
        check_name(&name, rule, key, context);
        match T::decode(value, context) {
            Some(value) => {
                map.entry(name).or_insert(Spanned { value, span: key.span });
            }
            None => {
                context.broken.insert(name);
            }
        }
    }
    map
}

fn check_name(name: &str, rule: NameRule, key: &Node<'_>, context: &mut Context) {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '-', '@'])
            && !part.contains(|c: char| c.is_whitespace() || c.is_control() || "/:*?[]{},\"'\\".contains(c))
    };
    let good = match rule {
        NameRule::Plain => part(name),
        NameRule::Path => name.split('/').all(part),
    };
    if good {
        return;
    }
    let help = "names become parts of paths and of node names: letters, digits and `_`, `-`, `.`, `+` are fine, \
                but not first a `.`, `-` or `@`";
    let message = format!("`{name}` can't be a name");
    context.diagnostics.push(Diagnostic::error("bad-name", message).label(key.span, "not a name").help(help));
}
