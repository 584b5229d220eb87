//! Instances to drafts: nodes whose references to other nodes are still names.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::error::ExpandError;
use super::{Action, BindError, Bindings, BoundRule, Input, NodeName, SourceName, SourceNode, Tool};
use crate::spec::instance::{Instance, NamedOutput, node_name};
use crate::spec::model::{self, Axis, OutputSelector, ParamValue, Spec};
use crate::spec::root::Root;

/// The name of an expansion point's reference in errors.
pub(super) const EXPAND: &str = "expand";

/// The rules of the spec by name.
pub(super) type Rules = BTreeMap<String, Arc<BoundRule>>;

/// A node whose references are still names.
pub(super) struct Draft {
    pub name: NodeName,
    pub kind: DraftKind,
}

pub(super) enum DraftKind {
    Action { action: Box<Action>, references: Vec<(Arc<str>, Reference)> },
    Expansion { rule: Arc<BoundRule>, from: NamedOutput, build: usize },
    Source(SourceNode),
}

/// An input that names nodes.
pub(super) enum Reference {
    Output(NamedOutput),
    Layers(Vec<NamedOutput>),
}

impl Reference {
    fn outputs(&self) -> &[NamedOutput] {
        match self {
            Self::Output(output) => std::slice::from_ref(output),
            Self::Layers(layers) => layers,
        }
    }
}

impl Draft {
    /// The node that unpacks a source tree.
    pub fn of_source(name: &str) -> Self {
        let source = SourceName::from(name);
        Self { name: NodeName::of_source(&source), kind: DraftKind::Source(SourceNode { source }) }
    }

    /// The nodes it reads, each with the input that reads it.
    pub fn dependencies(&self) -> Vec<(&str, &NodeName)> {
        match &self.kind {
            DraftKind::Action { references, .. } => {
                let read = references.iter().flat_map(|(input, reference)| {
                    reference.outputs().iter().map(move |output| (&**input, &output.node))
                });
                read.collect()
            }
            DraftKind::Expansion { from, .. } => vec![(EXPAND, &from.node)],
            DraftKind::Source(_) => Vec::new(),
        }
    }

    /// Whether it is left out while nothing reads it.
    pub fn is_on_demand(&self) -> bool {
        matches!(&self.kind, DraftKind::Action { action, .. } if action.rule.decl.kind.is_on_demand())
    }
}

/// Makes drafts of the instances of a spec.
pub(super) struct Instantiate<'a> {
    pub spec: &'a Spec,
    pub rules: &'a Rules,
}

impl Instantiate<'_> {
    /// The node of an instance, or the expansion point that stands for its nodes. `build` is the index that came with the
    /// instance.
    pub fn draft(
        &self,
        rule: &Arc<BoundRule>,
        build: usize,
        instance: Instance,
    ) -> Result<Draft, ExpandError> {
        let Some(expand) = &rule.decl.expand else { return self.action(rule, instance) };
        let name = instance.name.expansion_point();
        let bindings = Bindings(instance.bindings);
        let from = self.reference(&name, EXPAND, &bindings, &instance.axes, expand)?;
        Ok(Draft { name, kind: DraftKind::Expansion { rule: Arc::clone(rule), from, build } })
    }

    /// The node of an instance.
    pub fn action(&self, rule: &Arc<BoundRule>, instance: Instance) -> Result<Draft, ExpandError> {
        let Instance { name, axes, build, bindings, params, environment, programs } = instance;
        let mut bindings = Bindings(bindings);
        bind_params(&name, rule, &mut bindings, &params)?;
        let fail = |source| ExpandError::Bind { node: name.clone(), source };
        let decl = &rule.decl;
        let mut inputs = Vec::with_capacity(decl.inputs.len());
        let mut references = Vec::new();
        for (input, declared) in &decl.inputs {
            let input: Arc<str> = input.as_str().into();
            match declared {
                model::Input::Output(output) => {
                    let output = self.reference(&name, &input, &bindings, &axes, output)?;
                    references.push((input, Reference::Output(output)));
                }
                model::Input::Root(root) => {
                    let layers = self.spec.layers_of_root(&bindings.text(root).map_err(fail)?);
                    references.push((input, Reference::Layers(layers)));
                }
                declared => inputs.push((input, direct_input(declared, &bindings).map_err(fail)?)),
            }
        }
        if let Some(root) = &environment.root {
            references.push((Root::FILES.into(), Reference::Layers(self.spec.layers_of_root(&root.name))));
            let about = self.spec.description_of_root(&root.name).filter(|_| !root.is_whole());
            references.extend(about.map(|about| (Root::ABOUT.into(), Reference::Output(about))));
        }
        // Nothing of this machine is visible in a whole root.
        let is_on_host = environment.root.as_ref().is_none_or(|root| !root.is_whole());
        let compiler = environment.root.as_ref().and_then(|root| root.compiler.as_deref());
        let tools = tools(rule, &bindings, programs, compiler).map_err(fail)?;
        let action = Action {
            rule: Arc::clone(rule),
            build,
            inputs,
            export: decl
                .export
                .as_ref()
                .map(|path| bindings.text(path))
                .transpose()
                .map_err(fail)?
                .map(PathBuf::from),
            tools: if is_on_host { tools } else { Vec::new() },
            tool_path: environment.path,
            host: if is_on_host { decl.host.clone() } else { Vec::new() },
            root: environment.root,
            machine: environment.machine,
            bindings,
        };
        Ok(Draft { name, kind: DraftKind::Action { action: Box::new(action), references } })
    }

    /// The output that a reference means, for a node with these axes: that of the node with the same values on the axes
    /// that both have.
    fn reference(
        &self,
        node: &NodeName,
        input: &str,
        bindings: &Bindings,
        axes: &BTreeMap<Axis, String>,
        reference: &OutputSelector,
    ) -> Result<NamedOutput, ExpandError> {
        let fail = |source| ExpandError::Bind { node: node.clone(), source };
        let rule = bindings.text(&reference.rule).map_err(fail)?;
        let output = bindings.text(&reference.output).map_err(fail)?;
        let name = match self.rules.get(rule.as_str()) {
            Some(other) => node_name(&other.name, &other.decl, axes),
            None => NodeName::parse(&rule).ok_or_else(|| ExpandError::NoSuchNode {
                node: node.clone(),
                input: input.to_owned(),
                missing: rule,
            })?,
        };
        Ok(NamedOutput { node: name, output: output.into() })
    }
}

/// An input that names no node.
fn direct_input(declared: &model::Input, bindings: &Bindings) -> Result<Input, BindError> {
    Ok(match declared {
        model::Input::Source(name) => {
            Input::Source { name: SourceName::from(&*bindings.text(name)?), made_by: None }
        }
        model::Input::File(path) => Input::File(PathBuf::from(bindings.text(path)?)),
        model::Input::ModuleKey(name) => {
            let key = bindings.text(name)?;
            Input::ModuleKey((!key.is_empty()).then(|| key.into()))
        }
        model::Input::Concat { files, lines } => {
            let list = |template: &Option<model::Template>| {
                template.as_ref().map_or(Ok(Vec::new()), |template| bindings.list(template))
            };
            Input::Concat {
                files: list(files)?.into_iter().map(PathBuf::from).collect(),
                lines: list(lines)?,
            }
        }
        model::Input::Output(_) | model::Input::Root(_) => unreachable!("these name nodes"),
    })
}

fn bind_params(
    node: &NodeName,
    rule: &BoundRule,
    bindings: &mut Bindings,
    given: &BTreeMap<String, ParamValue>,
) -> Result<(), ExpandError> {
    for (name, param) in &rule.decl.params {
        let value = given.get(name).or(param.default.as_ref()).ok_or_else(|| ExpandError::MissingParam {
            node: node.clone(),
            rule: rule.name.to_string(),
            param: name.clone(),
        })?;
        bindings.bind(name, value);
    }
    Ok(())
}

/// The host programs that a node runs.
fn tools(
    rule: &BoundRule,
    bindings: &Bindings,
    programs: Vec<(&'static str, Vec<String>)>,
    compiler: Option<&str>,
) -> Result<Vec<Tool>, BindError> {
    let mut tools = Vec::new();
    for tool in &rule.decl.tools {
        for program in bindings.list(&tool.program)? {
            add_tool(&mut tools, program, tool.optional);
        }
    }
    let named = programs.into_iter().filter(|(placeholder, _)| rule.uses(placeholder));
    for program in named.flat_map(|(_, programs)| programs) {
        add_tool(&mut tools, program, false);
    }
    if let Some(compiler) = compiler {
        // Whether the rule names it or not: it makes the code.
        add_tool(&mut tools, compiler.to_owned(), false);
    }
    // Without one of these the step fails, and reports that. If it is installed later, that is a change.
    for program in programs_of_steps(rule, bindings) {
        if tools.iter().all(|tool| tool.program != program) {
            tools.push(Tool { program, optional: true });
        }
    }
    Ok(tools)
}

/// Adds a program once. It is optional only if all that name it can do without.
fn add_tool(tools: &mut Vec<Tool>, program: String, optional: bool) {
    match tools.iter_mut().find(|tool| tool.program == program) {
        Some(tool) => tool.optional &= optional,
        None => tools.push(Tool { program, optional }),
    }
}

/// The host programs that steps start with. A program that is an input, or that an earlier step makes, has no value
/// yet. One with a relative path is in the output directory.
fn programs_of_steps(rule: &BoundRule, bindings: &Bindings) -> Vec<String> {
    let first = rule.decl.steps.iter().filter_map(|step| step.first());
    let programs = first.filter_map(|program| bindings.list(program).ok()?.into_iter().next());
    programs.filter(|program| !program.contains('/') || program.starts_with('/')).collect()
}
