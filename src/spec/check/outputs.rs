//! Outputs: where they may lie, and that no two are exported to one path.

use std::collections::{BTreeSet, HashMap};

use super::Checker;
use super::params::stays_inside;
use crate::spec::declared::{Output, OutputShape, Rule};
use crate::spec::diagnostic::{Diagnostic, Span, Spanned};
use crate::spec::model::{Axis, Build, Part, Template};

impl Output {
    /// Its name under the export directory, where that is known without a node.
    fn exported_name<'a>(&'a self, key: &'a str) -> Option<&'a str> {
        match (&self.name, &self.shape) {
            (Some(name), _) => name.value.literal(),
            (None, OutputShape::File(path) | OutputShape::Report(_, path)) => {
                path.value.literal()?.rsplit('/').next()
            }
            (None, _) => Some(key),
        }
    }
}

impl Checker<'_, '_> {
    pub(super) fn output_paths(&mut self, rule: &Rule) {
        for output in rule.outputs.values() {
            let output = &output.value;
            self.stays(output.shape.path(), "{out}");
            if let Some(name) = &output.name {
                self.stays(name, "the export directory");
            }
        }
        if let Some(export) = &rule.export {
            self.stays(export, "out/");
        }
        let mut names: HashMap<&str, Span> = HashMap::new();
        for (key, output) in &rule.outputs {
            let Some(name) = output.value.exported_name(key).filter(|_| rule.export.is_some()) else {
                continue;
            };
            if let Some(first) = names.insert(name, output.span) {
                let message = format!("two outputs are both exported as `{name}`");
                let diagnostic =
                    Diagnostic::error("duplicate-output", message).label(output.span, "this one");
                let help = "give one of them a `name`";
                self.push(diagnostic.label(first, "and this one").help(help));
            }
        }
    }

    /// A path must stay below its directory for any value of its placeholders.
    fn stays(&mut self, path: &Spanned<Template>, base: &str) {
        let filled: String = path
            .value
            .parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.as_str(),
                Part::Placeholder(_) => "x",
            })
            .collect();
        if filled.is_empty() || !stays_inside(&filled) {
            let message = format!("the path `{}` is not below {base}", path.value);
            let label = "expected a relative path without `..`";
            self.push(Diagnostic::error("bad-path", message).label(path.span, label));
        }
    }

    /// Two nodes that export to one path, where the axes alone decide that.
    pub(super) fn exports(&mut self) {
        let mut paths: HashMap<String, (&str, String, Span)> = HashMap::new();
        let mut told = BTreeSet::new();
        let mut found = Vec::new();
        for (rule, value) in &self.spec.rules {
            let Some(export) = &value.value.export else { continue };
            let names: Vec<_> = value
                .value
                .outputs
                .iter()
                .filter_map(|(key, output)| output.value.exported_name(key))
                .collect();
            for (node, directory) in self.nodes(rule, &value.value, &export.value) {
                for name in &names {
                    let path = format!("{directory}/{name}");
                    let Some((other, first, span)) = paths.get(&path) else {
                        paths.insert(path, (rule, node.clone(), export.span));
                        continue;
                    };
                    // Outputs of one node are compared where the rule is.
                    if *first == node || !told.insert((*other, rule.as_str())) {
                        continue;
                    }
                    let message = format!("`{first}` and `{node}` both export to `{path}`");
                    let mut diagnostic =
                        Diagnostic::error("export-collision", message).label(export.span, "exported here");
                    if *span != export.span {
                        diagnostic = diagnostic.label(*span, "and here");
                    }
                    found.push(
                        diagnostic.help("put every axis of the rule, or the rule's name, into `export`"),
                    );
                }
            }
        }
        self.diagnostics.extend(found);
    }

    /// The nodes of a rule and where they export to; none where more than the axes of a build decides.
    fn nodes(&self, rule: &str, declared: &Rule, export: &Template) -> Vec<(String, String)> {
        if declared.per.is_none() {
            let Some(directory) = export.literal() else { return Vec::new() };
            let actions =
                self.spec.project.actions.iter().filter(|(_, action)| action.value.rule.value == rule);
            // Two are enough to collide.
            return actions
                .take(2)
                .map(|(name, _)| (format!("{rule}:{name}"), directory.to_owned()))
                .collect();
        }
        let nodes = self.builds.iter().filter_map(|build| {
            let axes: Option<Vec<_>> = declared.axes().map(|axis| build.axis(axis)).collect();
            Some((format!("{rule}:{}", axes?.join("/")), fill(export, build)?))
        });
        nodes.collect::<BTreeSet<_>>().into_iter().collect()
    }
}

fn fill(template: &Template, build: &Build) -> Option<String> {
    let parts = template.parts.iter().map(|part| match part {
        Part::Text(text) => Some(text.as_str()),
        Part::Placeholder(name) => {
            Axis::BUILD.into_iter().find(|axis| axis.name() == name).and_then(|axis| build.axis(axis))
        }
    });
    parts.collect()
}
