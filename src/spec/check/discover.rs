//! `discover`: what can be discovered, and by whom.

use super::Checker;
use crate::spec::declared::{Input, Rule};
use crate::spec::diagnostic::{Diagnostic, Span};
use crate::spec::model::{Discoverer, Kind, Part, Template};

/// The directory of inputs inside the sandbox.
const INPUTS: &str = "/kiln/in/";

impl Checker<'_, '_> {
    /// A discovered input must be a tree.
    pub(super) fn discovered_inputs(&mut self, rule: &Rule) {
        let Some(discover) = &rule.discover else { return };
        for name in &discover.inputs {
            let Some(input) = rule.inputs.get(&name.value) else {
                self.dangling("input", &name.value, name.span, "inputs", rule.inputs.keys());
                continue;
            };
            if let Input::File(_) | Input::Concat { .. } | Input::Root(_) | Input::ModuleKey(_) = &input.value
            {
                let message = format!("the input `{}` always counts whole", name.value);
                let diagnostic = Diagnostic::error("bad-reference", message).label(name.span, "this one");
                self.push(
                    diagnostic.help("name source trees, and outputs of other rules that are directories"),
                );
            }
        }
        for glob in &discover.unsearched {
            if let Err(error) = globset::Glob::new(&glob.value) {
                let diagnostic = Diagnostic::error("bad-glob", format!("not a glob: {}", error.kind()));
                self.push(diagnostic.label(glob.span, "expected a pattern of file names such as `*.c`"));
            }
        }
        self.discovered_by_kbuild(rule);
    }

    /// kbuild's records tell what kbuild itself read, for the targets that it built. A rule that reads a source tree by
    /// other means, or that configures, has reads of which there is no record.
    fn discovered_by_kbuild(&mut self, rule: &Rule) {
        let Some(discover) = &rule.discover else { return };
        let Some(by) = discover.by.iter().find(|by| by.value == Discoverer::Kbuild) else { return };
        if rule.kind != Kind::Command {
            return self.no_records(by.span, "a rule of this kind leaves no records of kbuild's", by.span);
        }
        for (name, input) in &rule.inputs {
            let is_discovered = discover.inputs.iter().any(|discovered| discovered.value == *name);
            if is_discovered
                && matches!(input.value, Input::Source(_))
                && let Some((at, why)) = unrecorded(rule, name, input.span)
            {
                self.no_records(by.span, why, at);
            }
        }
    }

    fn no_records(&mut self, by: Span, why: &str, at: Span) {
        let diagnostic =
            Diagnostic::error("bad-discoverer", "kbuild's records don't cover what this rule reads");
        let diagnostic = if by == at {
            diagnostic.label(by, why)
        } else {
            diagnostic.label(by, "named here").label(at, why)
        };
        self.push(diagnostic.help(
            "take `Kbuild` out: where opens can't be traced, all of the tree counts then. `Kbuild` is for rules whose \
             only use of the tree is `make -C {in.source} O={out} ..` and that build, but do not configure",
        ));
    }
}

/// The first thing in a rule of which kbuild leaves no record, and why: of how it reads the source tree that is this input.
fn unrecorded(rule: &Rule, name: &str, input: Span) -> Option<(Span, &'static str)> {
    let elsewhere = "what is read here is in no record of kbuild's";
    let tree = format!("{{in.{name}}}");
    let mut builds = false;
    for step in &rule.steps {
        let arguments: Vec<String> = step.value.iter().map(|argument| argument.value.to_string()).collect();
        let names_tree = |at: usize| at > 0 && arguments[at - 1] == "-C" && arguments[at] == tree;
        let is_make = (0..arguments.len()).any(names_tree) && arguments.iter().any(|word| word == "O={out}");
        builds |= is_make;
        for (at, argument) in step.value.iter().enumerate() {
            if mentions(&argument.value, name) && !(is_make && names_tree(at)) {
                return Some((argument.span, elsewhere));
            }
            if is_make && configures(&argument.value) {
                return Some((argument.span, "kbuild records nothing of what configuring reads"));
            }
        }
    }
    let of_env = rule.env.values().find(|value| mentions(&value.value, name));
    let of_env = of_env.map(|value| (value.span, elsewhere));
    of_env.or((!builds).then_some((input, "no step builds it: `make -C {in.NAME} O={out} ..`")))
}

/// Whether a template leads to an input: by its placeholder, or by a path.
fn mentions(template: &Template, input: &str) -> bool {
    template.parts.iter().any(|part| match part {
        Part::Placeholder(placeholder) => placeholder.strip_prefix("in.") == Some(input),
        Part::Text(text) => text.contains(INPUTS),
    })
}

/// Whether an argument of make is a target that configures, or may be one.
fn configures(argument: &Template) -> bool {
    let is_option = matches!(argument.parts.first(), Some(Part::Text(text)) if text.contains('='));
    let last = argument.parts.last();
    !is_option
        && match last {
            Some(Part::Placeholder(placeholder)) => placeholder == "defconfig.base",
            Some(Part::Text(text)) => text.ends_with("config"),
            None => false,
        }
}
