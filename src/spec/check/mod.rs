//! Checks across files: references, cycles, types, and lints.

mod actions;
mod boards;
mod builds;
mod configs;
mod cycle;
mod discover;
mod files;
mod labs;
mod lints;
mod outputs;
mod params;
mod references;
mod remotes;
mod roots;
mod rules;
mod templates;

use std::collections::BTreeSet;

use super::declared::{BuildPart, Spec};
use super::diagnostic::{Diagnostic, Severity, Span};
use super::matrix;
use super::model::Build;
use super::suggest;

/// Adds to `diagnostics` what is wrong with the spec. `broken` are names whose values could not be decoded: a
/// reference to one of them is not dangling.
pub(super) fn check(spec: &Spec, broken: &BTreeSet<String>, diagnostics: &mut Vec<Diagnostic>) {
    let flat =
        spec.project.builds.iter().map(|entry| (entry.span, matrix::flatten(&spec.project, &entry.value)));
    let flat = flat.collect();
    let mut checker = Checker { spec, broken, flat, builds: matrix::builds(&spec.project), diagnostics };
    checker.references();
    checker.configs();
    checker.builds();
    checker.rules();
    checker.actions();
    checker.files();
    checker.remotes();
    checker.labs();
    checker.roots();
    checker.exports();
    // A typo makes its target seem unused: lints are for specs that are right otherwise.
    if !checker.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
        checker.boards();
        checker.lints();
        checker.lab_lints();
    }
}

struct Checker<'s, 'd> {
    spec: &'s Spec,
    broken: &'d BTreeSet<String>,
    /// The entries of `builds` with what they extend, and where each stands.
    flat: Vec<(Span, BuildPart)>,
    builds: Vec<Build>,
    diagnostics: &'d mut Vec<Diagnostic>,
}

impl Checker<'_, '_> {
    fn push(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Reports a name that nothing has.
    fn dangling<'a>(
        &mut self,
        what: &str,
        name: &str,
        span: Span,
        plural: &str,
        known: impl IntoIterator<Item = &'a String>,
    ) {
        if self.broken.contains(name) {
            return;
        }
        let known: Vec<_> = known.into_iter().map(String::as_str).collect();
        let help = suggest::help(name, plural, known);
        let diagnostic = Diagnostic::error("dangling-reference", format!("there is no {what} `{name}`"));
        self.push(diagnostic.label(span, "not declared").help(help));
    }
}

#[cfg(test)]
mod tests;
