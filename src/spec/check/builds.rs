//! The matrix: empty axes, builds given twice, arches without a compiler.

use std::collections::{BTreeMap, BTreeSet};

use super::Checker;
use crate::spec::diagnostic::{Diagnostic, Span};
use crate::spec::matrix::points;
use crate::spec::suggest;

impl Checker<'_, '_> {
    pub(super) fn builds(&mut self) {
        let mut found = Vec::new();
        let mut first: BTreeMap<_, Span> = BTreeMap::new();
        for (span, part) in &self.flat {
            let axes = [
                ("sources", part.sources.is_empty()),
                ("archs", part.archs.is_empty()),
                ("defconfigs", part.defconfigs.is_empty()),
                ("toolchains", part.toolchains.is_empty()),
            ];
            let empty: Vec<_> = axes.into_iter().filter(|(_, empty)| *empty).map(|(name, _)| name).collect();
            // One that only includes has no need of axes.
            if !empty.is_empty() && (part.include.is_empty() || empty.len() < axes.len()) {
                let names = suggest::list(empty);
                let message = format!("this build has no {names}: the product is empty");
                found.push(
                    Diagnostic::error("empty-axis", message)
                        .label(*span, format!("expected {names} in here")),
                );
            }
            let points = points(part);
            if points.is_empty() && axes.into_iter().all(|(_, empty)| !empty) {
                let message = "this build excludes all of its combinations";
                found.push(Diagnostic::error("empty-build", message).label(*span, "nothing is left"));
            }
            let mut pairs = BTreeSet::new();
            for point in points {
                let [_, arch, _, toolchain] = point;
                pairs.insert((arch, toolchain));
                if let Some(first) = first.insert(point, *span) {
                    let message = format!("the build `{}` is given twice", point.join("/"));
                    let diagnostic =
                        Diagnostic::error("duplicate-build", message).label(*span, "given again here");
                    let diagnostic = diagnostic.label(first, "first given here");
                    found.push(diagnostic.help("exclude it here, or make them one entry"));
                }
            }
            for (arch, toolchain) in pairs {
                let Some(declared) = self.spec.project.toolchains.get(toolchain) else { continue };
                let targets = &declared.value.targets;
                if targets.contains_key(arch) || !self.spec.project.archs.contains_key(arch) {
                    continue;
                }
                let named = |list: &[crate::spec::diagnostic::Spanned<String>], name: &str| {
                    list.iter().find(|item| item.value == name).map_or(*span, |item| item.span)
                };
                let message = format!("the toolchain `{toolchain}` has no target for the arch `{arch}`");
                let diagnostic = Diagnostic::error("no-target", message)
                    .label(named(&part.archs, arch), "this arch")
                    .label(
                        declared.span,
                        format!("targets: {}", suggest::list(targets.keys().map(String::as_str))),
                    );
                let help =
                    format!("add `\"{arch}\": \"PREFIX-\"` to its targets, or exclude the combination");
                found.push(diagnostic.help(help));
            }
        }
        self.diagnostics.extend(found);
        self.build_params();
    }
}
