//! Specs of texts, for unit tests of other phases. They are not checked, and nothing is read from disk.

use std::path::PathBuf;

use jiff::civil::Date;

use super::decode::{Context, Decode, Document};
use super::diagnostic::{FileId, Spanned};
use super::model::Spec;
use super::{declared, lower, syntax};

/// The spec of a `graph.ron` and of rules by name.
pub(crate) fn spec(graph: &str, rules: &[(&str, &str)]) -> Spec {
    let document: Spanned<Document> = decode(graph);
    let rules = rules.iter().map(|(name, text)| ((*name).to_owned(), decode(text)));
    let today = Date::constant(2026, 12, 1);
    let project = document.value.project;
    lower::lower(declared::Spec { root: PathBuf::from("/project"), project, rules: rules.collect(), today })
}

fn decode<T: Decode>(text: &str) -> T {
    let (node, mistakes) = syntax::parse(FileId(0), text);
    assert!(mistakes.is_empty(), "{mistakes:?}");
    let mut context = Context::default();
    let value = node.and_then(|node| T::decode(&node, &mut context));
    assert!(context.diagnostics.is_empty(), "{:?}", context.diagnostics);
    value.expect("a value that is free of mistakes")
}
