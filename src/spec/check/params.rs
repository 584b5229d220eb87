//! Values of parameters: missing, unknown, of the wrong type, or naming nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use super::Checker;
use crate::spec::declared::{Input, Param, Rule};
use crate::spec::diagnostic::{Diagnostic, Span, Spanned};
use crate::spec::model::{ParamType, ParamValue};
use crate::spec::suggest;

/// Whether a path stays where it starts.
pub(super) fn stays_inside(path: &str) -> bool {
    Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

impl Checker<'_, '_> {
    /// The name of a key of modules, where a rule takes the parameter for one.
    fn module_key_param(&mut self, rule: &str, name: &str, value: &Spanned<ParamValue>) {
        let inputs = &self.spec.rules[rule].value.inputs;
        let named = inputs.values().any(
            |input| matches!(&input.value, Input::ModuleKey(key) if key.value.sole_placeholder() == Some(name)),
        );
        let keys = &self.spec.project.module_keys;
        if let (true, ParamValue::Text(key)) = (named, &value.value)
            && !key.is_empty()
            && !keys.contains_key(key)
        {
            self.dangling("key of modules", key, value.span, "module_keys", keys.keys());
        }
    }

    /// The values that builds give. They go to the rules with all four axes of a build: for any other rule, builds
    /// that share a node could disagree.
    pub(super) fn build_params(&mut self) {
        let spec = self.spec;
        let declared = |name: &str| {
            let rules = spec.rules.iter().filter(|(_, rule)| rule.value.is_per_build());
            rules.filter_map(|(rule, value)| Some((rule, value.value.params.get(name)?))).collect::<Vec<_>>()
        };
        let project = &spec.project;
        for part in project.presets.values().chain(&project.builds) {
            for (name, value) in &part.value.params {
                let takers = declared(name);
                for (rule, param) in &takers {
                    self.param_value(rule, name, &param.value, value);
                    self.module_key_param(rule, name, value);
                }
                if takers.is_empty() {
                    self.unknown_build_param(name, value.span);
                }
            }
        }
        let mut missing = Vec::new();
        for (rule, value) in spec.rules.iter().filter(|(_, rule)| rule.value.is_per_build()) {
            for (name, param) in value.value.params.iter().filter(|(_, param)| param.value.default.is_none())
            {
                let lacking = self.flat.iter().filter(|(_, part)| !part.params.contains_key(name));
                let spans: Vec<_> = lacking.map(|(span, _)| *span).collect();
                missing.extend(lacking_param(rule, name, param, &spans));
            }
        }
        for (rule, value) in spec.rules.iter().filter(|(_, rule)| rule.value.per.is_some()) {
            if value.value.is_per_build() {
                continue;
            }
            for (name, param) in value.value.params.iter().filter(|(_, param)| param.value.default.is_none())
            {
                let message = format!("the parameter `{name}` of rule `{rule}` can't be given a value");
                let help = "give it a default: builds give values only to rules with all four axes \
                            `source`, `arch`, `defconfig` and `toolchain`";
                missing.push(
                    Diagnostic::error("missing-param", message).label(param.span, "no default").help(help),
                );
            }
        }
        self.diagnostics.extend(missing);
    }

    fn unknown_build_param(&mut self, name: &str, span: Span) {
        if self.broken.contains(name) || self.spec.rules.keys().any(|rule| self.broken.contains(rule)) {
            return;
        }
        let rules = self.spec.rules.values().filter(|rule| rule.value.is_per_build());
        let known: BTreeSet<_> =
            rules.flat_map(|rule| rule.value.params.keys().map(String::as_str)).collect();
        let help = suggest::help(name, "parameters", known);
        let message = format!("no rule of the matrix has a parameter `{name}`");
        self.push(
            Diagnostic::error("unknown-param", message)
                .label(span, "value of an unknown parameter")
                .help(help),
        );
    }

    /// The values that an action gives to its rule.
    pub(super) fn action_params(
        &mut self,
        rule: &str,
        declared: &Rule,
        given: &BTreeMap<String, Spanned<ParamValue>>,
        span: Span,
    ) {
        for (name, value) in given {
            if let Some(param) = declared.params.get(name) {
                self.param_value(rule, name, &param.value, value);
            } else if !self.broken.contains(name) {
                let help = suggest::help(name, "parameters", declared.params.keys().map(String::as_str));
                let message = format!("the rule `{rule}` has no parameter `{name}`");
                let label = "value of an unknown parameter";
                self.push(Diagnostic::error("unknown-param", message).label(value.span, label).help(help));
            }
        }
        let params = declared.params.iter();
        for (name, param) in
            params.filter(|(name, param)| param.value.default.is_none() && !given.contains_key(*name))
        {
            self.diagnostics.extend(lacking_param(rule, name, param, &[span]));
        }
    }

    /// One value against its declaration.
    pub(super) fn param_value(&mut self, rule: &str, name: &str, param: &Param, value: &Spanned<ParamValue>) {
        let ty = param.ty;
        if !ty.admits(&value.value) {
            let message = format!(
                "the parameter `{name}` of rule `{rule}` is of type `{}`, and this is {}",
                ty.name(),
                value.value.describe()
            );
            let label = format!("expected {}", ty.expects());
            self.push(Diagnostic::error("param-type", message).label(value.span, label));
            return;
        }
        match (ty, &value.value) {
            (ParamType::Path, ParamValue::Text(path)) => self.path_inside(path, value.span),
            (ParamType::Paths, ParamValue::List(paths)) => {
                for path in paths {
                    self.path_inside(path, value.span);
                }
            }
            (ParamType::Node, ParamValue::Text(node)) => self.node_reference(node, value.span),
            _ => {}
        }
    }

    /// A path that must stay inside the project.
    pub(super) fn path_inside(&mut self, path: &str, span: Span) {
        if !stays_inside(path) {
            let message = format!("the path `{path}` is not inside the project");
            let label = "expected a path relative to the project, without `..`";
            self.push(Diagnostic::error("bad-path", message).label(span, label));
        }
    }

    /// A text that must be `RULE:NAME` of an action.
    pub(super) fn node_reference(&mut self, node: &str, span: Span) {
        let actions = &self.spec.project.actions;
        let name = node.split_once(':').map_or(node, |(_, name)| name);
        let action = actions.get(name);
        let whole =
            |name: &str| actions.get(name).map(|action| format!("{}:{name}", action.value.rule.value));
        if action.is_some() && whole(name).as_deref() == Some(node) || self.broken.contains(name) {
            return;
        }
        // Typos are in the name or in the rule: comparing with 100,000 whole names would build them all.
        let near = whole(name).or_else(|| whole(suggest::nearest(name, actions.keys().map(String::as_str))?));
        let help = near.map_or_else(
            || "nodes are named `RULE:NAME`, after an entry of `actions`".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        let diagnostic = Diagnostic::error("dangling-reference", format!("there is no action `{node}`"));
        self.push(diagnostic.label(span, "not declared").help(help));
    }
}

/// A parameter without a default that some builds, or an action, give no value to.
fn lacking_param(rule: &str, name: &str, param: &Spanned<Param>, spans: &[Span]) -> Option<Diagnostic> {
    // More labels than this are noise.
    const LABELS: usize = 8;
    if spans.is_empty() {
        return None;
    }
    let message = format!("the parameter `{name}` of rule `{rule}` is not given a value");
    let mut diagnostic = Diagnostic::error("missing-param", message);
    for span in spans.iter().take(LABELS) {
        diagnostic = diagnostic.label(*span, format!("expected `params: {{\"{name}\": ..}}` in here"));
    }
    Some(diagnostic.label(param.span, format!("{}, without a default", param.value.ty.expects())))
}
