//! Entries of `actions`: their rules, their values, and cycles among them.

use std::collections::{HashMap, HashSet};

use super::Checker;
use super::cycle::{Edge, cycles, describe};
use crate::spec::declared::{ActionEntry, Input, Rule};
use crate::spec::diagnostic::{Diagnostic, Span};
use crate::spec::model::{ParamType, ParamValue};

impl<'s> Checker<'s, '_> {
    pub(super) fn actions(&mut self) {
        let spec = self.spec;
        let mut told = HashSet::new();
        for (name, action) in &spec.project.actions {
            let entry = &action.value;
            let Some(rule) = spec.rules.get(&entry.rule.value) else {
                self.dangling("rule", &entry.rule.value, entry.rule.span, "rules", spec.rules.keys());
                continue;
            };
            if rule.value.per.is_some() {
                let message = format!("the rule `{}` has axes: the matrix makes its nodes", entry.rule.value);
                let diagnostic =
                    Diagnostic::error("rule-has-axes", message).label(entry.rule.span, "not for actions");
                let diagnostic = diagnostic.label(rule.span, "this rule has `per`");
                self.push(diagnostic.help(format!("take out `{name}`, or `per` of the rule")));
                continue;
            }
            self.action_params(&entry.rule.value, &rule.value, &entry.params, action.span);
            self.outputs_of_nodes(&rule.value, entry, &mut told);
        }
        self.action_cycles();
    }

    /// Outputs that the rule takes of the nodes it is given.
    fn outputs_of_nodes(&mut self, rule: &Rule, entry: &ActionEntry, told: &mut HashSet<(Span, &'s str)>) {
        for input in rule.inputs.values() {
            let Input::Output(reference) = &input.value else { continue };
            let Some(output) = reference.output.value.literal() else { continue };
            let Some((node, span)) = reference
                .rule
                .value
                .sole_placeholder()
                .and_then(|placeholder| node_given(rule, entry, placeholder))
            else {
                continue;
            };
            // A node that does not exist is reported as such.
            let action = node.split_once(':').and_then(|(_, name)| self.spec.project.actions.get(name));
            let target = action.and_then(|action| self.spec.rules.get_key_value(&action.value.rule.value));
            if let Some((target, declared)) = target
                && !declared.value.outputs.contains_key(output)
                && !self.broken.contains(output)
                && told.insert((reference.output.span, target))
            {
                let message = format!("the rule `{target}` has no output `{output}`");
                let diagnostic = Diagnostic::error("dangling-reference", message)
                    .label(span, "this node does not have it")
                    .label(reference.output.span, "needed here");
                let known = declared.value.outputs.keys().map(String::as_str);
                self.push(diagnostic.help(crate::spec::suggest::help(output, "outputs", known)));
            }
        }
    }

    fn action_cycles(&mut self) {
        let spec = self.spec;
        // The edges that a rule adds to each of its actions are computed once for the rule.
        let mut of_rule: HashMap<&str, (Vec<&str>, Vec<Edge<'_>>)> = HashMap::new();
        for (name, rule) in &spec.rules {
            let params = rule.value.params.iter().filter(|(_, param)| param.value.ty == ParamType::Node);
            let inputs = rule.value.inputs.values().filter_map(|input| match &input.value {
                Input::Output(reference) => {
                    let (_, action) = reference.rule.value.literal()?.split_once(':')?;
                    Some((action, reference.rule.span))
                }
                _ => None,
            });
            of_rule.insert(name, (params.map(|(name, _)| name.as_str()).collect(), inputs.collect()));
        }
        let actions = &spec.project.actions;
        let found = cycles(actions.keys().map(String::as_str), |name| {
            let Some(action) = actions.get(name).map(|action| &action.value) else { return Vec::new() };
            let Some((params, fixed)) = of_rule.get(action.rule.value.as_str()) else { return Vec::new() };
            let Some(rule) = spec.rules.get(&action.rule.value) else { return Vec::new() };
            let given = params.iter().filter_map(|param| {
                let (node, span) = node_given(&rule.value, action, param)?;
                Some((node.split_once(':')?.1, span))
            });
            given.chain(fixed.iter().copied()).collect()
        });
        for cycle in found {
            self.push(describe("action-cycle", "actions need each other", &cycle));
        }
    }
}

/// The node that an action, or else the default, gives for a parameter.
fn node_given<'a>(rule: &'a Rule, entry: &'a ActionEntry, param: &str) -> Option<(&'a str, Span)> {
    let declared = rule.params.get(param).filter(|param| param.value.ty == ParamType::Node)?;
    let value = entry.params.get(param).or(declared.value.default.as_ref())?;
    match &value.value {
        ParamValue::Text(node) => Some((node, value.span)),
        _ => None,
    }
}
