//! Rules: axes, references to one another, pools, cycles.

use std::collections::BTreeSet;

use super::Checker;
use super::cycle::{cycles, describe};
use crate::spec::declared::{Input, OutputSelector, OutputShape, Rule};
use crate::spec::diagnostic::{Diagnostic, Span, Spanned};
use crate::spec::model::{Axis, HostRef, Kind, ParamType, ROOTFS};
use crate::spec::placeholders::{self, Placeholders};
use crate::spec::suggest;

/// Directories that a sandbox has for itself.
const NOT_SHOWN: [&str; 4] = ["/proc", "/sys", "/dev", "/kiln"];

impl Checker<'_, '_> {
    pub(super) fn rules(&mut self) {
        let spec = self.spec;
        for (name, rule) in &spec.rules {
            let rule_span = rule.span;
            let rule = &rule.value;
            self.axes(name, rule, rule_span);
            self.reserved_names(rule);
            self.steps_of_kind(name, rule, rule_span);
            self.checked_config(name, rule, rule_span);
            self.lava_rule(name, rule, rule_span);
            self.root_rule(name, rule, rule_span);
            self.pools(name, rule);
            let placeholders = Placeholders::of(&spec.project, rule);
            self.templates(rule, &placeholders);
            for input in rule.inputs.values() {
                if let Input::Output(reference) = &input.value {
                    self.output_reference(name, rule, reference);
                }
            }
            if let Some(expand) = &rule.expand {
                self.output_reference(name, rule, &expand.value);
            }
            self.output_paths(rule);
            self.discovered_inputs(rule);
            rule.host.iter().for_each(|declared| self.host_ref(declared));
            for (param, declared) in &rule.params {
                if let Some(default) = &declared.value.default {
                    self.param_value(name, param, &declared.value, default);
                }
            }
        }
        self.attribute_names();
        self.rule_cycles();
    }

    fn host_ref(&mut self, declared: &Spanned<HostRef>) {
        let diagnostic = match &declared.value {
            HostRef::Path(path) if !path.is_absolute() => {
                let message = format!("`{}` is not a path of the host", path.display());
                Diagnostic::error("bad-path", message)
                    .label(declared.span, "expected an absolute path")
                    .help("a file of the project is an input: `File(\"path\")`")
            }
            HostRef::Path(path)
                if NOT_SHOWN.iter().any(|place| path.starts_with(place)) || path.parent().is_none() =>
            {
                let message = format!("`{}` can't be shown to a step", path.display());
                Diagnostic::error("bad-path", message)
                    .label(declared.span, "a sandbox has its own here")
                    .help("name files of the host, or directories of data")
            }
            HostRef::Library(name) if name.is_empty() || name.contains(['/', ' ']) => {
                let message = format!("`{name}` is not the name of a library");
                Diagnostic::error("bad-library", message)
                    .label(declared.span, "expected a name as `-l` takes it")
                    .help("for libelf.so, say `Library(\"elf\")`")
            }
            HostRef::Path(_) | HostRef::Library(_) => return,
        };
        self.push(diagnostic);
    }

    fn axes(&mut self, name: &str, rule: &Rule, span: Span) {
        let mut seen = BTreeSet::new();
        for axis in rule.per.iter().flatten() {
            if !seen.insert(axis.value) {
                let message = format!("the axis `{}` is given twice", axis.value.name());
                self.push(Diagnostic::error("duplicate-name", message).label(axis.span, "given again here"));
            }
        }
        let place =
            |wanted: Axis| rule.per.iter().flatten().find(|axis| axis.value == wanted).map(|axis| axis.span);
        let (board, test) = (place(Axis::Board), place(Axis::Test));
        if let (Some(span), None) = (board, &rule.expand) {
            let message = format!("the rule `{name}` has the axis `board` and no `expand`");
            let diagnostic =
                Diagnostic::error("missing-field", message).label(span, "where do its values come from?");
            self.push(diagnostic.help("add `expand: (rule: \"match\", output: \"boards\")`"));
        }
        if let (None, Some(expand)) = (board, &rule.expand) {
            let message = format!("the rule `{name}` has `expand` and no axis `board`");
            let diagnostic =
                Diagnostic::error("bad-axes", message).label(expand.span, "this expands nothing");
            self.push(diagnostic.help("add `\"board\"` to `per`"));
        }
        if let (None, Some(span)) = (board, test) {
            let message = format!("the rule `{name}` has the axis `test` without `board`");
            let diagnostic = Diagnostic::error("bad-axes", message).label(span, "tests come from boards");
            self.push(diagnostic.help("add `\"board\"` to `per`"));
        }
        if rule.per.as_ref().is_some_and(Vec::is_empty) {
            let diagnostic = Diagnostic::error("empty-list", format!("`per` of rule `{name}` is empty"));
            self.push(
                diagnostic.label(span, "in this rule").help("leave it out: the rule is then for `actions`"),
            );
        }
    }

    /// A parameter with the name of a placeholder would hide it.
    fn reserved_names(&mut self, rule: &Rule) {
        for (name, param) in &rule.params {
            let taken = Axis::ALL.into_iter().any(|axis| axis.name() == name)
                || matches!(name.as_str(), "in" | "out" | "fixups")
                || name.contains('.');
            let spelt = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
            if taken || !spelt {
                let message = format!("`{name}` can't be the name of a parameter");
                let diagnostic = Diagnostic::error("bad-name", message);
                let label =
                    if taken { "this placeholder means something already" } else { "not a placeholder" };
                self.push(diagnostic.label(param.span, label).help("choose another name"));
            }
        }
    }

    /// An attribute with the name of a placeholder would be hidden by it.
    fn attribute_names(&mut self) {
        let project = &self.spec.project;
        let archs = project.archs.values().map(|arch| (Axis::Arch, arch.span, &arch.value.attrs));
        let boards = project.boards.values().map(|board| (Axis::Board, board.span, &board.value.attrs));
        for (axis, span, attrs) in archs.chain(boards) {
            for name in attrs.keys() {
                let placeholder = format!("{}.{name}", axis.name());
                if placeholders::of_axis(axis).iter().any(|(own, _)| *own == placeholder) {
                    let message = format!("`{{{placeholder}}}` means something already");
                    let diagnostic = Diagnostic::error("bad-name", message);
                    let label = format!("this has an attribute `{name}`");
                    self.push(diagnostic.label(span, label).help("choose another name for the attribute"));
                }
            }
        }
    }

    fn steps_of_kind(&mut self, name: &str, rule: &Rule, span: Span) {
        if let Some(step) = rule.steps.iter().find(|step| step.value.is_empty()) {
            let diagnostic = Diagnostic::error("empty-list", "this step runs nothing");
            self.push(diagnostic.label(step.span, "expected a program and its arguments"));
        }
        match (rule.kind, rule.steps.first()) {
            (Kind::Command | Kind::Config, None) if !self.broken.contains("steps") => {
                let diagnostic = Diagnostic::error("bad-steps", format!("the rule `{name}` has no steps"));
                let diagnostic = diagnostic.label(span, "expected `steps: [[..]]` in here");
                self.push(diagnostic.help("a rule of kind `Command` or `Config` runs programs"));
            }
            (Kind::Match | Kind::Job | Kind::Lava | Kind::Stage3 | Kind::Binpkg, Some(step)) => {
                let diagnostic =
                    Diagnostic::error("bad-steps", format!("the rule `{name}` can't have steps"));
                let diagnostic = diagnostic.label(step.span, "nothing would run this");
                self.push(
                    diagnostic.help("only rules of kind `Command` and `Config` run programs of their own"),
                );
            }
            _ => {}
        }
    }

    /// A rule of kind `Config` must have the output `config` and be one for each build.
    fn checked_config(&mut self, name: &str, rule: &Rule, span: Span) {
        if rule.kind != Kind::Config {
            return;
        }
        if !rule.is_per_build() && !self.broken.contains("per") {
            let message = format!("the rule `{name}` of kind `Config` is not one for each build");
            let diagnostic = Diagnostic::error("bad-axes", message).label(span, "fixups are a build's");
            self.push(diagnostic.help("`per: [\"source\", \"arch\", \"defconfig\", \"toolchain\"]`"));
        }
        let output = rule.outputs.get("config").map(|output| &output.value);
        let file =
            output.is_some_and(|output| matches!(output.shape, OutputShape::File(_)) && !output.optional);
        if !file && !self.broken.contains("outputs") && !self.broken.contains("config") {
            let message = format!("the rule `{name}` of kind `Config` makes no file `config`");
            let diagnostic = Diagnostic::error("missing-field", message).label(span, "in this rule");
            self.push(diagnostic.help("`outputs: {\"config\": File(\".config\")}`"));
        }
    }

    fn pools(&mut self, name: &str, rule: &Rule) {
        let pools = &self.spec.project.pools;
        for (pool, slots) in &rule.resources.pools {
            match pools.get(pool) {
                None => self.dangling("pool", pool, slots.span, "pools", pools.keys()),
                Some(bound) if slots.value > bound.value => {
                    let message =
                        format!("the rule `{name}` could never run: `{pool}` has {} slots", bound.value);
                    let diagnostic = Diagnostic::error("pool-too-small", message);
                    self.push(
                        diagnostic.label(slots.span, "more than there are").label(bound.span, "this many"),
                    );
                }
                Some(_) => {}
            }
        }
    }

    fn output_reference(&mut self, name: &str, rule: &Rule, reference: &OutputSelector) {
        let spec = self.spec;
        if reference.rule.value.sole_placeholder() == Some(ROOTFS) && rule.has_axis(Axis::Board) {
            return self.rootfs_of_boards(name, rule, reference);
        }
        let Some(target) = reference.rule.value.literal() else {
            return self.node_placeholder(rule, reference);
        };
        if let Some((target, _)) = target.split_once(':') {
            self.node_reference(&reference.rule.value.to_string(), reference.rule.span);
            if let Some(declared) = spec.rules.get(target) {
                self.output_name(target, &declared.value, reference);
            }
            return;
        }
        let Some(declared) = spec.rules.get(target) else {
            return self.dangling("rule", target, reference.rule.span, "rules", spec.rules.keys());
        };
        self.output_name(target, &declared.value, reference);
        self.axes_in_common(name, rule, reference.rule.span, target, declared);
    }

    /// Whether the axes of a rule determine one node of another rule.
    pub(super) fn axes_in_common(
        &mut self,
        name: &str,
        rule: &Rule,
        span: Span,
        target: &str,
        declared: &Spanned<Rule>,
    ) {
        if declared.value.per.is_none() {
            let message =
                format!("the rule `{target}` has no axes: `{name}` can't tell which of its nodes is meant");
            let diagnostic = Diagnostic::error("bad-axes", message).label(span, "which action?");
            self.push(
                diagnostic.help(format!("name one, `{target}:NAME`, or take a parameter of type `Node`")),
            );
            return;
        }
        let missing: Vec<_> =
            declared.value.axes().filter(|axis| !rule.has_axis(*axis)).map(Axis::name).collect();
        // A typo in `per` is reported where it is.
        let missing: Vec<_> = missing.into_iter().filter(|axis| !self.broken.contains(*axis)).collect();
        if !missing.is_empty() {
            let names = suggest::list(missing);
            let message = format!("the rule `{target}` has more axes than `{name}`: {names}");
            let diagnostic = Diagnostic::error("bad-axes", message).label(span, "which of its nodes?");
            self.push(
                diagnostic
                    .label(declared.span, "this rule")
                    .help(format!("add {names} to `per` of `{name}`")),
            );
        }
    }

    fn node_placeholder(&mut self, rule: &Rule, reference: &OutputSelector) {
        let placeholder = reference.rule.value.sole_placeholder();
        let param = placeholder.and_then(|placeholder| rule.params.get(placeholder));
        if param.is_some_and(|param| param.value.ty == ParamType::Node) {
            return;
        }
        if placeholder.is_some_and(|placeholder| self.broken.contains(placeholder)) {
            return;
        }
        let diagnostic = Diagnostic::error("bad-reference", "this does not name a rule");
        let label = "expected the name of a rule, or one `{parameter}` of type `Node`";
        let nodes = rule.params.iter().filter(|(_, param)| param.value.ty == ParamType::Node);
        let help = placeholder.map(|placeholder| {
            suggest::help(placeholder, "parameters of type `Node`", nodes.map(|(name, _)| name.as_str()))
        });
        self.push(diagnostic.label(reference.rule.span, label).maybe_help(help));
    }

    fn output_name(&mut self, target: &str, declared: &Rule, reference: &OutputSelector) {
        let outputs = &declared.outputs;
        if let Some(output) = reference.output.value.literal() {
            match outputs.get(output) {
                None => {
                    let what = format!("output of rule `{target}` called");
                    self.dangling(&what, output, reference.output.span, "outputs", outputs.keys());
                }
                Some(report) if !report.value.shape.is_made() => {
                    let message =
                        format!("`{output}` of rule `{target}` is a report on a run, and can't be an input");
                    let diagnostic = Diagnostic::error("bad-reference", message);
                    let help = "reports differ from run to run: a node that reads one would always run again";
                    self.push(
                        diagnostic
                            .label(reference.output.span, "taken here")
                            .label(report.span, "declared here")
                            .help(help),
                    );
                }
                Some(_) => {}
            }
            return;
        }
        if reference.output.value.sole_placeholder() != Some("board.image") {
            return;
        }
        for (name, board) in &self.spec.project.boards {
            let image = &board.value.image;
            if !outputs.contains_key(&image.value) && !self.broken.contains(&image.value) {
                let message = format!(
                    "the board `{name}` boots `{}`, which rule `{target}` does not make",
                    image.value
                );
                let help = suggest::help(&image.value, "outputs", outputs.keys().map(String::as_str));
                let diagnostic =
                    Diagnostic::error("dangling-reference", message).label(image.span, "no such output");
                self.diagnostics.push(diagnostic.label(reference.output.span, "taken here").help(help));
            }
        }
    }

    fn rule_cycles(&mut self) {
        let rules = &self.spec.rules;
        let found = cycles(rules.keys().map(String::as_str), |name| {
            let Some(rule) = rules.get(name).map(|rule| &rule.value) else { return Vec::new() };
            let inputs = rule.inputs.values().filter_map(|input| match &input.value {
                Input::Output(reference) => Some(reference),
                _ => None,
            });
            let references = inputs.chain(rule.expand.as_ref().map(|expand| &expand.value));
            let edge = |reference: &'_ OutputSelector| reference.rule.span;
            references
                .filter_map(|reference| Some((reference.rule.value.literal()?, edge(reference))))
                .collect()
        });
        for cycle in found {
            self.push(describe("rule-cycle", "rules need each other", &cycle));
        }
    }
}
