//! The failing part of a predicate: satisfied terms are left out, `!` is pushed down to the comparisons, and each comparison
//! is followed by the actual value.

use super::{Expr, Lookup, Test};

enum Blame {
    Leaf(String),
    /// All of these must change.
    Each(Vec<Blame>),
    /// One of these must change.
    OneOf(Vec<Blame>),
}

pub(super) fn failing(root: &Expr, config: &dyn Lookup) -> Option<String> {
    blame(root, true, config).map(|blame| blame.text(false))
}

pub(super) fn lacking(root: &Expr, config: &dyn Lookup) -> usize {
    blame(root, true, config).map_or(0, |blame| blame.count())
}

/// Why `expr` is not `wanted`; `None` if it is.
fn blame(expr: &Expr, wanted: bool, config: &dyn Lookup) -> Option<Blame> {
    match (expr, wanted) {
        (Expr::Not(inner), _) => blame(inner, !wanted, config),
        (Expr::All(items), true) | (Expr::Any(items), false) => {
            let failed: Vec<_> = items.iter().filter_map(|item| blame(item, wanted, config)).collect();
            if failed.is_empty() { None } else { Some(Blame::Each(failed)) }
        }
        (Expr::Any(items), true) | (Expr::All(items), false) => {
            let failed: Option<Vec<_>> = items.iter().map(|item| blame(item, wanted, config)).collect();
            failed.map(Blame::OneOf)
        }
        (Expr::Test(test), _) => {
            let value = config.value(&test.symbol);
            let value = value.as_deref().filter(|value| *value != "n");
            (test.holds(value) != wanted).then(|| Blame::Leaf(leaf(test, wanted, value)))
        }
    }
}

fn leaf(test: &Test, wanted: bool, value: Option<&str>) -> String {
    let is = value.unwrap_or("not set");
    match (wanted, test.is_bare()) {
        (true, _) => format!("{test:#} (is {is})"),
        (false, true) => format!("!{test} (is {is})"),
        (false, false) => format!("!({test:#}) (is {is})"),
    }
}

impl Blame {
    /// The smallest number of comparisons that must change.
    fn count(&self) -> usize {
        match self {
            Self::Leaf(_) => 1,
            Self::Each(items) => items.iter().map(Self::count).sum(),
            Self::OneOf(items) => items.iter().map(Self::count).min().unwrap_or(0),
        }
    }

    fn text(&self, inside_each: bool) -> String {
        match self {
            Self::Leaf(text) => text.clone(),
            Self::Each(items) | Self::OneOf(items) if items.len() == 1 => items[0].text(inside_each),
            Self::Each(items) => items.iter().map(|item| item.text(true)).collect::<Vec<_>>().join(" && "),
            Self::OneOf(items) => {
                let text = items.iter().map(|item| item.text(false)).collect::<Vec<_>>().join(" || ");
                if inside_each { format!("({text})") } else { text }
            }
        }
    }
}
