//! Placeholders: do they exist, may they stand there, is a list where a text must be.

use super::Checker;
use crate::spec::declared::{Input, Rule};
use crate::spec::diagnostic::{Diagnostic, Spanned};
use crate::spec::model::Template;
use crate::spec::placeholders::{PlaceholderType, Placeholders};
use crate::spec::suggest;

/// The place of a template in a rule.
#[derive(Clone, Copy)]
struct Place {
    /// Whether it is filled in when the action runs: only then `in.NAME` and `out` are known.
    run: bool,
    /// Whether a placeholder alone may be a list.
    list: bool,
}

const ARGUMENT: Place = Place { run: true, list: true };
const RUN_TEXT: Place = Place { run: true, list: false };
const TEXT: Place = Place { run: false, list: false };
const LIST: Place = Place { run: false, list: true };

impl Checker<'_, '_> {
    pub(super) fn templates(&mut self, rule: &Rule, placeholders: &Placeholders) {
        for argument in rule.steps.iter().flat_map(|step| &step.value) {
            self.template(argument, ARGUMENT, placeholders);
        }
        for value in rule.env.values() {
            self.template(value, RUN_TEXT, placeholders);
        }
        for tool in &rule.tools {
            let program = Spanned { value: tool.value.program.clone(), span: tool.span };
            self.template(&program, LIST, placeholders);
        }
        for input in rule.inputs.values() {
            match &input.value {
                Input::Source(source) => {
                    self.template(source, TEXT, placeholders);
                    self.source_name(source);
                }
                Input::Root(name) => {
                    self.template(name, TEXT, placeholders);
                    self.root_input(name);
                }
                Input::File(path) => self.template(path, TEXT, placeholders),
                Input::ModuleKey(name) => {
                    self.template(name, TEXT, placeholders);
                    self.module_key(name);
                }
                Input::Output(reference) => self.template(&reference.output, TEXT, placeholders),
                Input::Concat { files, lines } => {
                    for list in files.iter().chain(lines) {
                        self.template(list, LIST, placeholders);
                    }
                }
            }
        }
        for output in rule.outputs.values() {
            self.template(output.value.shape.path(), TEXT, placeholders);
            if let Some(name) = &output.value.name {
                self.template(name, TEXT, placeholders);
            }
        }
        if let Some(export) = &rule.export {
            self.template(export, TEXT, placeholders);
        }
        if let Some(expand) = &rule.expand {
            self.template(&expand.value.output, TEXT, placeholders);
        }
    }

    fn source_name(&mut self, source: &Spanned<Template>) {
        let sources = &self.spec.project.sources;
        if let Some(name) = source.value.literal()
            && !sources.contains_key(name)
        {
            self.dangling("source", name, source.span, "sources", sources.keys());
        }
    }

    fn module_key(&mut self, name: &Spanned<Template>) {
        let keys = &self.spec.project.module_keys;
        if let Some(key) = name.value.literal()
            && !key.is_empty()
            && !keys.contains_key(key)
        {
            self.dangling("key of modules", key, name.span, "module_keys", keys.keys());
        }
    }

    fn template(&mut self, template: &Spanned<Template>, place: Place, placeholders: &Placeholders) {
        let whole = template.value.sole_placeholder().is_some();
        for placeholder in template.value.placeholders() {
            if let Some(kind) = placeholders.fixed.get(placeholder) {
                if *kind == PlaceholderType::List && !(place.list && whole) {
                    let message = format!("`{{{placeholder}}}` is a list, and can't be part of a text");
                    let label = if whole { "a text is needed here" } else { "a list can't be joined" };
                    let help = if place.list {
                        "make it an item of its own: its texts are then put in one by one"
                    } else {
                        "lists may stand in steps, in tools and in `Concat`"
                    };
                    self.push(
                        Diagnostic::error("list-in-text", message).label(template.span, label).help(help),
                    );
                }
            } else if placeholders.run.contains_key(placeholder) && !place.run {
                let message = format!("`{{{placeholder}}}` is known only when the action runs");
                let diagnostic =
                    Diagnostic::error("too-early", message).label(template.span, "needed before that");
                self.push(diagnostic.help("it may stand in `steps` and `env`"));
            } else if !placeholders.run.contains_key(placeholder) {
                self.unknown_placeholder(placeholder, template, place, placeholders);
            }
        }
    }

    fn unknown_placeholder(
        &mut self,
        placeholder: &str,
        template: &Spanned<Template>,
        place: Place,
        placeholders: &Placeholders,
    ) {
        let bare = placeholder.strip_prefix("in.").unwrap_or(placeholder);
        let (axis, attribute) = placeholder.split_once('.').unwrap_or((placeholder, placeholder));
        if [bare, axis, attribute].into_iter().any(|name| self.broken.contains(name)) {
            return;
        }
        let run = placeholders.run.keys().filter(|_| place.run);
        let known = placeholders.fixed.keys().chain(run).map(String::as_str);
        let help = match placeholders.partial.get(placeholder) {
            Some(why) => why.clone(),
            None => suggest::help(placeholder, "placeholders", known),
        };
        let message = format!("there is no placeholder `{{{placeholder}}}`");
        let diagnostic = Diagnostic::error("unknown-placeholder", message);
        self.push(diagnostic.label(template.span, "not known in this rule").help(help));
    }
}
