//! Instances: for which values a rule has a node, and what the spec binds for each.
//!
//! The graph makes a node of each instance and knows nothing of what the axes mean. Boards, labs, roots and toolchains
//! are resolved here.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::bindings::{Value, bindings, root_bindings};
use super::model::{
    ActionEntry, Axis, Board, Build, Kind, OutputSelector, ParamValue, ROOTFS, RootSpec, Rule, SandboxRoot,
    Spec,
};
use super::name::{BuildId, NodeName};
use super::root::{Root, in_root};
use crate::kernel::make_variables;

/// Placeholders with make variables, whose values may name programs.
const MAKE_VARIABLES: [&str; 2] = ["toolchain.make", "arch.make"];

/// A node of a rule, as far as the spec decides it.
#[derive(Debug)]
pub struct Instance {
    /// The name of the node.
    pub name: NodeName,
    /// Its value on each axis that it has.
    pub axes: BTreeMap<Axis, String>,
    /// The build whose values it has; `None` where builds share it, or it belongs to none.
    pub build: Option<BuildId>,
    /// Values of placeholders, without those of parameters.
    pub bindings: BTreeMap<String, Value>,
    /// Values of parameters that the spec gives.
    pub params: BTreeMap<String, ParamValue>,
    /// Where its programs are.
    pub environment: Environment,
    /// Host programs that values name, by placeholder. The node runs them if it uses the placeholder.
    pub programs: Vec<(&'static str, Vec<String>)>,
}

/// Where the programs of an instance are.
#[derive(Debug, Default)]
pub struct Environment {
    /// Directories that are searched first.
    pub path: Arc<[PathBuf]>,
    /// The root, where the programs are in one.
    pub root: Option<Root>,
    /// The machine whose programs run, as qemu-user names it; `None` where the processor runs them.
    pub machine: Option<&'static str>,
}

/// An expansion value that the spec does not know.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no board of this spec")]
pub struct UnknownValue(pub String);

/// An output of a node that is not in a graph yet.
#[derive(Debug, Clone)]
pub struct NamedOutput {
    /// The node.
    pub node: NodeName,
    /// The output's name.
    pub output: Arc<str>,
}

impl Spec {
    /// The instances of a rule with axes, each with the index of the first build that it is made of. Instances of a rule
    /// that expands stand for those that [`Spec::expanded`] returns.
    pub fn instances(&self, name: &str, rule: &Rule) -> Vec<(usize, Instance)> {
        let Some(per) = &rule.per else { return Vec::new() };
        if rule.has_axis(Axis::Root) {
            let roots = self.project.roots.iter();
            return roots.map(|(root, declared)| (0, self.of_root(name, rule, root, declared))).collect();
        }
        if rule.kind.boots().is_some() && !self.project.boards.values().any(|board| self.boots(rule, board)) {
            return Vec::new();
        }
        let per: BTreeSet<Axis> = per.iter().copied().collect();
        let mut seen = HashSet::new();
        let mut instances = Vec::new();
        for (index, build) in self.builds.iter().enumerate() {
            let mut axes = axes_of(build, None);
            axes.retain(|axis, _| per.contains(axis));
            let name = node_name(name, rule, &axes);
            if seen.insert(name.clone()) {
                instances.push((index, self.of_builds(name, rule, &per, build, axes)));
            }
        }
        instances
    }

    /// An instance of a rule for a build, or for all builds with these values on its axes.
    fn of_builds(
        &self,
        name: NodeName,
        rule: &Rule,
        per: &BTreeSet<Axis>,
        build: &Build,
        axes: BTreeMap<Axis, String>,
    ) -> Instance {
        let mut bindings = bindings(self, build, None, None);
        if rule.expand.is_none() {
            bindings.retain(|placeholder, _| is_shared(placeholder, per));
        }
        // Builds that share a node could disagree: only a node of exactly one build takes the build's values.
        let is_per_build = rule.is_per_build();
        let params = if is_per_build { build.params.clone() } else { BTreeMap::new() };
        // The same goes for the directories of whichever toolchain comes first.
        let environment = if per.contains(&Axis::Toolchain) {
            self.environment(rule, build)
        } else {
            Environment::default()
        };
        let build = is_per_build.then(|| build.id.clone());
        let programs = programs(&bindings, &environment);
        Instance { name, axes, build, bindings, params, environment, programs }
    }

    fn of_root(&self, rule_name: &str, rule: &Rule, root: &str, declared: &RootSpec) -> Instance {
        let axes = BTreeMap::from([(Axis::Root, root.to_owned())]);
        let bindings = root_bindings(self, root);
        let stage3 = &declared.stage3;
        // Of the kinds that make roots, this one runs programs of theirs.
        let emulated = rule.kind == Kind::Binpkg && !stage3.is_native();
        let environment =
            Environment { machine: emulated.then(|| stage3.machine()), ..Environment::default() };
        Instance {
            name: node_name(rule_name, rule, &axes),
            axes,
            build: None,
            params: BTreeMap::new(),
            programs: Vec::new(),
            environment,
            bindings,
        }
    }

    /// The instance that an entry of `actions` is.
    pub fn action(&self, name: &str, entry: &ActionEntry) -> Instance {
        Instance {
            name: NodeName::of_action(&entry.rule, name),
            axes: BTreeMap::new(),
            build: None,
            bindings: BTreeMap::new(),
            params: entry.params.clone(),
            environment: Environment::default(),
            programs: Vec::new(),
        }
    }

    /// The instances that an expansion point becomes, for the values that were listed for it. `build` is the index that
    /// came with the point.
    ///
    /// # Errors
    /// If a value is not known.
    pub fn expanded(
        &self,
        name: &str,
        rule: &Rule,
        build: usize,
        values: &[String],
    ) -> Result<Vec<Instance>, UnknownValue> {
        let build = &self.builds[build];
        let mut names = HashSet::new();
        let mut instances = Vec::new();
        for value in values {
            let board = self.project.boards.get(value).ok_or_else(|| UnknownValue(value.clone()))?;
            // One list is for all rules: the boards of other labs are of no concern to this one.
            if !self.boots(rule, board) {
                continue;
            }
            for test in &board.tests {
                let axes = axes_of(build, Some((value.as_str(), test.as_str())));
                let name = node_name(name, rule, &axes);
                // A list may name a board twice, and a rule need not distinguish the tests of a board.
                if !names.insert(name.clone()) {
                    continue;
                }
                let bindings = bindings(self, build, Some(value), Some(test));
                let environment = self.environment(rule, build);
                instances.push(Instance {
                    name,
                    axes,
                    build: Some(build.id.clone()),
                    params: build.params.clone(),
                    programs: programs(&bindings, &environment),
                    environment,
                    bindings,
                });
            }
        }
        Ok(instances)
    }

    /// Whether a rule is for the labs of a board.
    fn boots(&self, rule: &Rule, board: &Board) -> bool {
        rule.kind.boots().is_none_or(|kind| self.project.lab_kind(board) == Some(kind))
    }

    /// The rules that a reference in an expanded rule may mean: one by its name, or that of each board.
    pub fn rules_referenced<'s>(&'s self, rule: &Rule, reference: &'s OutputSelector) -> Vec<&'s str> {
        if reference.rule.sole_placeholder() != Some(ROOTFS) {
            return reference.rule.literal().into_iter().collect();
        }
        let boards = self.project.boards.values().filter(|board| self.boots(rule, board));
        boards.map(|board| board.rootfs.as_str()).collect()
    }

    /// The images that make up a root, the lowest first.
    pub fn layers_of_root(&self, root: &str) -> Vec<NamedOutput> {
        let image = |kind| self.output_of_root(kind, root, "image");
        [Kind::Stage3, Kind::Binpkg].into_iter().filter_map(image).collect()
    }

    /// The output that describes a root.
    pub fn description_of_root(&self, root: &str) -> Option<NamedOutput> {
        self.output_of_root(Kind::Binpkg, root, "about")
    }

    /// An output of the node that makes a root. The checks see to it that one rule has the kind.
    fn output_of_root(&self, kind: Kind, root: &str, output: &str) -> Option<NamedOutput> {
        let (name, rule) = self.rules.iter().find(|(_, rule)| rule.kind == kind)?;
        let axes = BTreeMap::from([(Axis::Root, root.to_owned())]);
        Some(NamedOutput { node: node_name(name, rule, &axes), output: output.into() })
    }

    /// Where the programs of a rule with the axis `toolchain` are, for a build.
    fn environment(&self, rule: &Rule, build: &Build) -> Environment {
        let project = &self.project;
        let Some(toolchain) = project.toolchains.get(&build.id.toolchain) else {
            return Environment::default();
        };
        let root = match rule.sandbox.root {
            SandboxRoot::Host => None,
            SandboxRoot::Toolchain => in_root(project, &build.id.arch, toolchain),
        };
        let stage3 = root.map(|root| &root.root.stage3).filter(|stage3| !stage3.is_native());
        Environment {
            path: toolchain.path.iter().map(|dir| self.root.join(dir)).collect(),
            machine: stage3.map(crate::gentoo::names::Stage3::machine),
            root: root.map(|root| Root::of(&root, project, &build.id.arch)),
        }
    }
}

/// The name of the node of a rule for these values.
pub fn node_name(name: &str, rule: &Rule, axes: &BTreeMap<Axis, String>) -> NodeName {
    NodeName::of_instance(name, rule.axes().filter_map(|axis| axes.get(&axis).map(String::as_str)))
}

/// Programs that make variables name. In a root there are none of the host.
fn programs(
    bindings: &BTreeMap<String, Value>,
    environment: &Environment,
) -> Vec<(&'static str, Vec<String>)> {
    if environment.root.is_some() {
        return Vec::new();
    }
    let named = MAKE_VARIABLES.into_iter().filter_map(|placeholder| match bindings.get(placeholder) {
        Some(Value::List(variables)) => Some((placeholder, make_variables::programs(variables))),
        _ => None,
    });
    named.collect()
}

/// Whether the value of a placeholder is the same for all builds that share these axes.
fn is_shared(placeholder: &str, per: &BTreeSet<Axis>) -> bool {
    let axis = placeholder.split('.').next().unwrap_or(placeholder);
    match Axis::ALL.into_iter().find(|known| known.name() == axis) {
        Some(axis) => per.contains(&axis),
        // Fixups belong to one build.
        None => Axis::BUILD.iter().all(|axis| per.contains(axis)),
    }
}

fn axes_of(build: &Build, board_and_test: Option<(&str, &str)>) -> BTreeMap<Axis, String> {
    let of_build = Axis::BUILD.into_iter().filter_map(|axis| Some((axis, build.axis(axis)?)));
    let of_board =
        board_and_test.into_iter().flat_map(|(board, test)| [(Axis::Board, board), (Axis::Test, test)]);
    of_build.chain(of_board).map(|(axis, value)| (axis, value.to_owned())).collect()
}
