//! Whether a predicate can be satisfied, given some of the values.
//!
//! Comparisons only distinguish finitely many classes of values: each constant that the predicate compares a symbol with,
//! the intervals between numbers, any other string, and unset. Testing one value of each class is exact. Three-valued
//! evaluation cuts a branch as soon as the unknown symbols can't change the result.

use std::collections::BTreeMap;

use super::{Constant, Expr, Number, Test, quote};

/// The number of evaluated comparisons before giving up: a few milliseconds.
const BUDGET: usize = 200_000;

/// `None` for a symbol that is not decided yet.
type Assignment<'a> = BTreeMap<&'a str, Option<String>>;

pub(super) fn possible(root: &Expr, known: &dyn Fn(&str) -> Option<String>) -> bool {
    let mut classes: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut assignment = Assignment::new();
    root.each_test(&mut |test| {
        let value = assignment.entry(&test.symbol).or_insert_with(|| known(&test.symbol));
        if value.is_none() {
            represent(test, classes.entry(&test.symbol).or_default());
        }
    });
    for values in classes.values_mut() {
        // Try the predicate's own constants first, in order: most likely they satisfy it.
        let mut seen = std::collections::BTreeSet::new();
        values.retain(|value| seen.insert(value.clone()));
        let other_text = values.iter().map(String::len).max().unwrap_or(0);
        for other in ["n", "y", "m"].map(str::to_owned).into_iter().chain([quote(&"x".repeat(other_text))]) {
            if seen.insert(other.clone()) {
                values.push(other);
            }
        }
    }
    let open: Vec<_> = classes.into_iter().collect();
    Search { root, budget: BUDGET }.satisfiable(&open, &mut assignment)
}

/// Adds a value for every class that this comparison distinguishes.
fn represent(test: &Test, values: &mut Vec<String>) {
    match &test.constant {
        Constant::Yes => values.push("y".to_owned()),
        Constant::Module => values.push("m".to_owned()),
        Constant::Unset => values.push("n".to_owned()),
        Constant::Number(Number { value, .. }) => {
            values.extend([*value, value - 1, value + 1].map(|number| number.to_string()));
        }
        Constant::Text(wanted) => values.push(quote(wanted)),
    }
}

struct Search<'a> {
    root: &'a Expr,
    budget: usize,
}

impl<'a> Search<'a> {
    fn satisfiable(&mut self, open: &[(&'a str, Vec<String>)], assignment: &mut Assignment<'a>) -> bool {
        let verdict = self.eval(self.root, assignment);
        if self.budget == 0 {
            return true;
        }
        if let Some(verdict) = verdict {
            return verdict;
        }
        let Some(((symbol, values), rest)) = open.split_first() else {
            // Not reached, as evaluation is decided without open symbols; `true` is always safe.
            return true;
        };
        for value in values {
            assignment.insert(symbol, Some(value.clone()));
            if self.satisfiable(rest, assignment) {
                return true;
            }
        }
        assignment.insert(symbol, None);
        false
    }

    fn eval(&mut self, expr: &Expr, assignment: &Assignment<'a>) -> Option<bool> {
        match expr {
            Expr::Not(inner) => self.eval(inner, assignment).map(|value| !value),
            Expr::All(items) => self.fold(items, false, assignment),
            Expr::Any(items) => self.fold(items, true, assignment),
            Expr::Test(test) => {
                self.budget = self.budget.saturating_sub(1);
                let value = assignment.get(test.symbol.as_str())?.as_deref()?;
                Some(test.holds(Some(value)))
            }
        }
    }

    /// `decisive` if one item is, its opposite if all are, else unknown.
    fn fold(&mut self, items: &[Expr], decisive: bool, assignment: &Assignment<'a>) -> Option<bool> {
        let mut verdict = Some(!decisive);
        for item in items {
            match self.eval(item, assignment) {
                Some(value) if value == decisive => return Some(decisive),
                Some(_) => {}
                None => verdict = None,
            }
        }
        verdict
    }
}
