//! Spec -> graph: instantiates every rule over its axes, and goes on when an expansion point's value is known.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use petgraph::graph::DiGraph;

use super::{
    Action, BindError, Bindings, Body, BoundRule, Expansion, Graph, Input, Node, NodeId, Root, SourceNode,
    Tool,
};
use crate::digest::{Domain, Hasher};
use crate::spec::diagnostic::Spanned;
use crate::spec::model::{
    self, Axis, Kind, OutputRef, OutputShape, Param, ParamValue, Part, ROOTFS, Rule, SandboxRoot, Spec,
    SystemCalls, Template,
};
use crate::spec::roots::{InRoot, in_root};
use crate::spec::{self, Build};

/// The placeholders with variables that a toolchain or an arch gives to make.
const MAKE: &str = "toolchain.make";
const ARCH_MAKE: &str = "arch.make";

/// What expansion needs when it goes on later.
#[derive(Debug)]
pub(super) struct Seed {
    spec: Arc<Spec>,
    rules: Rules,
    builds: Vec<Build>,
}

/// Every rule of the spec, bound once.
type Rules = BTreeMap<String, Arc<BoundRule>>;

/// A graph that can't be made. The spec's checks find nearly all of these with a place in the file; what is left
/// is what only shows once everything is bound.
#[derive(Debug, thiserror::Error)]
pub enum ExpandError {
    /// A template can't be filled in.
    #[error("{node}: {source}")]
    Bind {
        /// The node.
        node: String,
        /// Why.
        source: BindError,
    },
    /// A parameter has no value.
    #[error("{node}: rule {rule} needs a value for parameter {param}; give it in `params`")]
    MissingParam {
        /// The node.
        node: String,
        /// Its rule.
        rule: String,
        /// The parameter.
        param: String,
    },
    /// An input names a node that does not exist.
    #[error("{node}: input {input} names {missing}, which is no node of this graph")]
    NoSuchNode {
        /// The node.
        node: String,
        /// Its input.
        input: String,
        /// The name.
        missing: String,
    },
    /// An input names an output that the node does not have.
    #[error("{node}: input {input} wants output {output} of {from}, which has only: {known}")]
    NoSuchOutput {
        /// The node.
        node: String,
        /// Its input.
        input: String,
        /// The other node.
        from: String,
        /// The output.
        output: String,
        /// What there is.
        known: String,
    },
    /// Two nodes have one name.
    #[error("two nodes are named {0}")]
    SameName(String),
    /// Two nodes put their outputs at one place.
    #[error("{first} and {second} both put an output at out/{}", path.display())]
    SamePlace {
        /// One node.
        first: String,
        /// The other.
        second: String,
        /// The place below `out/`.
        path: PathBuf,
    },
    /// A circle.
    #[error("the graph has a cycle: {}", .0.join(" -> "))]
    Cycle(Vec<String>),
    /// An expansion point's value names something the spec does not have.
    #[error("{point}: {value:?} is no board of this spec")]
    NoSuchBoard {
        /// The expansion point.
        point: String,
        /// The value.
        value: String,
    },
}

/// A node whose references are still names.
struct Draft {
    name: Arc<str>,
    body: DraftBody,
}

enum DraftBody {
    Action { action: Box<Action>, refs: Vec<(Arc<str>, DraftRef)> },
    Expansion { rule: Arc<BoundRule>, from: String, output: Arc<str>, build: usize },
    Source(SourceNode),
}

/// An input that names nodes.
enum DraftRef {
    /// One output.
    Output(Named),
    /// The images of a root.
    Root { name: Arc<str>, layers: Vec<Named> },
}

/// An output of a node, by name.
struct Named {
    node: String,
    output: Arc<str>,
}

impl DraftRef {
    /// All that is named.
    fn named(&self) -> &[Named] {
        match self {
            Self::Output(named) => std::slice::from_ref(named),
            Self::Root { layers, .. } => layers,
        }
    }
}

/// Makes the graph of a spec.
pub fn expand(spec: Arc<Spec>) -> Result<Graph, ExpandError> {
    let builds = spec::builds(&spec);
    let rules: Rules =
        spec.rules.iter().map(|(name, rule)| (name.clone(), bound(name, &rule.value))).collect();
    let mut drafts = Vec::with_capacity(builds.len() * rules.len() + spec.project.actions.len());
    for (name, source) in &spec.project.sources {
        if made_by_node(&source.value) {
            drafts.push(source_draft(name));
        }
    }
    for rule in rules.values() {
        if rule.rule.has_axis(Axis::Root) {
            root_drafts(&spec, &rules, rule, &mut drafts)?;
        } else {
            matrix_drafts(&spec, &builds, &rules, rule, &mut drafts)?;
        }
    }
    for (name, entry) in &spec.project.actions {
        let rule = &rules[entry.value.rule.value.as_str()];
        let name = format!("{}:{name}", rule.name);
        let mut bindings = Bindings::default();
        bind_params(&name, rule, &mut bindings, |param| {
            entry.value.params.get(param).map(|value| &value.value)
        })?;
        drafts.push(action_draft(&rules, rule, name, bindings, Where::default(), &BTreeMap::new())?);
    }
    leave_out_unused_roots(&mut drafts);
    let mut graph = Graph {
        graph: DiGraph::with_capacity(drafts.len(), drafts.len()),
        by_name: HashMap::with_capacity(drafts.len()),
        seed: Seed { spec, rules, builds },
        expanded: BTreeMap::new(),
        places: Places::default(),
    };
    for draft in in_order(drafts)? {
        add(&mut graph, draft)?;
    }
    for id in graph.ids() {
        claim_places(&mut graph, id)?;
    }
    Ok(graph)
}

impl Graph {
    /// Replaces an expansion point by the nodes of these boards, which depend on all that it depended on.
    pub fn expand(&mut self, point: NodeId, boards: &[String]) -> Result<Vec<NodeId>, ExpandError> {
        let Body::Expansion(expansion) = &self.node(point).body else {
            unreachable!("only expansion points are expanded");
        };
        let (rule, from) = (Arc::clone(&expansion.rule), expansion.from);
        let spec = Arc::clone(&self.seed.spec);
        let rules = &self.seed.rules;
        let mut drafts = Vec::new();
        let mut names = HashSet::new();
        {
            let build = &self.seed.builds[expansion.build];
            for board in boards {
                let Some(declared) = spec.project.boards.get(board) else {
                    return Err(ExpandError::NoSuchBoard {
                        point: self.name(point).to_string(),
                        value: board.clone(),
                    });
                };
                // One list is for all rules: a board under QEMU is none of a rule for LAVA labs, nor the other way.
                let lab = spec.project.lab_kind(&declared.value);
                if rule.rule.kind.boots().is_some_and(|boots| Some(boots) != lab) {
                    continue;
                }
                for test in &declared.value.tests {
                    let axes = axes_of(build, Some(board), Some(&test.value));
                    let name = node_name(&rule, &axes);
                    // A list may name a board twice, and a rule need not tell a board's tests apart.
                    if !names.insert(name.clone()) {
                        continue;
                    }
                    let mut bindings = Bindings(spec::bindings(&spec, build, Some(board), Some(&test.value)));
                    bind_params(&name, &rule, &mut bindings, |param| build.params.get(param))?;
                    let place = Where::of(&spec, build, &rule);
                    drafts.push(action_draft(rules, &rule, name, bindings, place, &axes)?);
                }
            }
        }
        let mut added = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let id = add(self, draft)?;
            self.graph.update_edge(from.petgraph(), id.petgraph(), ());
            claim_places(self, id)?;
            added.push(id);
        }
        self.expanded.insert(point, added.clone());
        Ok(added)
    }
}

/// Adds the nodes of one rule: one for each combination of its axes that some build has.
fn matrix_drafts(
    spec: &Spec,
    builds: &[Build],
    rules: &Rules,
    rule: &Arc<BoundRule>,
    drafts: &mut Vec<Draft>,
) -> Result<(), ExpandError> {
    let Some(per) = &rule.rule.per else { return Ok(()) };
    // A project without LAVA labs may well have the rule for them.
    let boards = || spec.project.boards.values().map(|board| spec.project.lab_kind(&board.value));
    if rule.rule.kind.boots().is_some_and(|kind| !boards().any(|lab| lab == Some(kind))) {
        return Ok(());
    }
    let per: BTreeSet<Axis> = per.iter().map(|axis| axis.value).collect();
    let mut seen: HashSet<String> = HashSet::new();
    for (index, build) in builds.iter().enumerate() {
        let mut axes = axes_of(build, None, None);
        axes.retain(|axis, _| per.contains(axis));
        let name = if rule.rule.expand.is_some() {
            format!("{}/*", node_name(rule, &axes))
        } else {
            node_name(rule, &axes)
        };
        if !seen.insert(name.clone()) {
            continue;
        }
        if let Some(expand) = &rule.rule.expand {
            let bindings = Bindings(spec::bindings(spec, build, None, None));
            let (from, output) = reference(&name, rules, &bindings, &axes, &expand.value)?;
            drafts.push(Draft {
                name: name.into(),
                body: DraftBody::Expansion { rule: Arc::clone(rule), from, output, build: index },
            });
            continue;
        }
        let mut bindings = Bindings(spec::bindings(spec, build, None, None));
        bindings.0.retain(|hole, _| belongs(hole, &per));
        // Builds that share a node could disagree: only a node of exactly one build takes that build's values.
        let given = |param: &str| build.params.get(param).filter(|_| rule.rule.is_per_build());
        bind_params(&name, rule, &mut bindings, given)?;
        // As for those: a node without the axis must not look into the directories of whichever toolchain comes first.
        let place =
            if per.contains(&Axis::Toolchain) { Where::of(spec, build, rule) } else { Where::default() };
        drafts.push(action_draft(rules, rule, name, bindings, place, &axes)?);
    }
    Ok(())
}

/// Adds the nodes of a rule that has one for each root.
fn root_drafts(
    spec: &Spec,
    rules: &Rules,
    rule: &Arc<BoundRule>,
    drafts: &mut Vec<Draft>,
) -> Result<(), ExpandError> {
    for (root, declared) in &spec.project.roots {
        let axes = BTreeMap::from([(Axis::Root, root.clone())]);
        let name = node_name(rule, &axes);
        let mut bindings = Bindings(spec::root_bindings(spec, root));
        bind_params(&name, rule, &mut bindings, |_| None)?;
        let stage3 = &declared.value.stage3.value;
        // Of the kinds that make roots, one has programs of theirs run.
        let runs = rule.rule.kind == Kind::Binpkg && !stage3.is_native();
        let place = Where { machine: runs.then(|| stage3.machine()), ..Where::default() };
        drafts.push(action_draft(rules, rule, name, bindings, place, &axes)?);
    }
    Ok(())
}

/// Leaves out roots that nothing runs in or reads: a table of roots may be shared, and each costs a download.
fn leave_out_unused_roots(drafts: &mut Vec<Draft>) {
    loop {
        let read: HashSet<String> = drafts.iter().flat_map(Draft::names).map(|(_, name)| name).collect();
        let before = drafts.len();
        drafts.retain(|draft| !draft.makes_a_root() || read.contains(&*draft.name));
        if drafts.len() == before {
            return;
        }
    }
}

/// Where an action's programs are.
#[derive(Default)]
struct Where<'a> {
    /// Directories in which they are looked for first.
    path: Arc<[PathBuf]>,
    /// The root.
    root: Option<InRoot<'a>>,
    /// This machine's compiler that stands for the root's.
    compiler: Option<String>,
    /// The machine that qemu-user has to be for them.
    machine: Option<&'static str>,
}

impl<'a> Where<'a> {
    /// For a rule with the axis `toolchain`.
    fn of(spec: &'a Spec, build: &Build, rule: &BoundRule) -> Self {
        let Some(toolchain) = spec.project.toolchains.get(&build.toolchain) else { return Self::default() };
        let path = toolchain.value.path.iter().map(|dir| spec.root.join(&dir.value)).collect();
        let root = match rule.rule.sandbox.root {
            SandboxRoot::Host => None,
            SandboxRoot::Toolchain => in_root(&spec.project, &build.arch, &toolchain.value),
        };
        let stage3 = root.map(|root| &root.root.stage3.value).filter(|stage3| !stage3.is_native());
        let compiler = root.and_then(|root| root.compiler(&spec.project, &build.arch));
        Self { path, root, compiler, machine: stage3.map(crate::gentoo::names::Stage3::machine) }
    }
}

/// Whether a binding of a whole build is one of these axes, or an attribute of one.
fn belongs(hole: &str, per: &BTreeSet<Axis>) -> bool {
    let axis = match hole.split('.').next().unwrap_or(hole) {
        "source" => Axis::Source,
        "arch" => Axis::Arch,
        "defconfig" => Axis::Defconfig,
        "toolchain" => Axis::Toolchain,
        "board" => Axis::Board,
        "test" => Axis::Test,
        "root" => Axis::Root,
        // Fixups are a build's own: only a node of exactly one build has them.
        _ => {
            return [Axis::Source, Axis::Arch, Axis::Defconfig, Axis::Toolchain]
                .iter()
                .all(|axis| per.contains(axis));
        }
    };
    per.contains(&axis)
}

fn bind_params<'a>(
    node: &str,
    rule: &'a BoundRule,
    bindings: &mut Bindings,
    given: impl Fn(&str) -> Option<&'a ParamValue>,
) -> Result<(), ExpandError> {
    for (param, Param { default, .. }) in rule.rule.params.iter().map(|(name, param)| (name, &param.value)) {
        let value = given(param).or(default.as_ref().map(|default| &default.value)).ok_or_else(|| {
            ExpandError::MissingParam {
                node: node.to_owned(),
                rule: rule.name.to_string(),
                param: param.clone(),
            }
        })?;
        bindings.bind(param, value);
    }
    Ok(())
}

fn action_draft(
    rules: &Rules,
    rule: &Arc<BoundRule>,
    name: String,
    bindings: Bindings,
    place: Where<'_>,
    axes: &BTreeMap<Axis, String>,
) -> Result<Draft, ExpandError> {
    let fail = |source| ExpandError::Bind { node: name.clone(), source };
    let mut inputs = Vec::with_capacity(rule.rule.inputs.len());
    let mut refs = Vec::new();
    for (input, declared) in &rule.rule.inputs {
        let input: Arc<str> = input.as_str().into();
        let bound = match &declared.value {
            model::Input::Source(template) => {
                let source = bindings.text(&template.value).map_err(fail)?;
                Input::Source { name: source.into(), made_by: None }
            }
            model::Input::File(template) => {
                Input::File(PathBuf::from(bindings.text(&template.value).map_err(fail)?))
            }
            model::Input::ModuleKey(template) => {
                let key = bindings.text(&template.value).map_err(fail)?;
                Input::ModuleKey((!key.is_empty()).then(|| key.into()))
            }
            model::Input::Concat { files, lines } => {
                let list = |template: &Option<crate::spec::diagnostic::Spanned<Template>>| {
                    template.as_ref().map_or(Ok(Vec::new()), |template| bindings.list(&template.value))
                };
                Input::Concat {
                    files: list(files).map_err(fail)?.into_iter().map(PathBuf::from).collect(),
                    lines: list(lines).map_err(fail)?,
                }
            }
            model::Input::Output(output) => {
                let (node, output) = reference(&name, rules, &bindings, axes, output)?;
                refs.push((input, DraftRef::Output(Named { node, output })));
                continue;
            }
            model::Input::Root(template) => {
                let root = bindings.text(&template.value).map_err(fail)?;
                refs.push((input, root_ref(rules, &root)));
                continue;
            }
        };
        inputs.push((input, bound));
    }
    let export = rule.rule.export.as_ref().map(|template| bindings.text(&template.value)).transpose();
    let mut tools = Vec::new();
    for tool in &rule.rule.tools {
        for program in bindings.list(&tool.value.program).map_err(fail)? {
            add_tool(&mut tools, program, tool.value.optional);
        }
    }
    for variables in [MAKE, ARCH_MAKE] {
        if rule.key_holes.iter().any(|hole| hole == variables) && place.root.is_none() {
            let variables = bindings.get(variables);
            if let Some(super::Value::List(variables)) = variables {
                for program in super::variables::programs(variables) {
                    add_tool(&mut tools, program, false);
                }
            }
        }
    }
    if let Some(compiler) = &place.compiler {
        // Whether the rule says so or not: it is what makes the code.
        add_tool(&mut tools, compiler.clone(), false);
    }
    // Where there is none the step fails, and says so; should it come to be there, that is a change.
    for program in programs_of_steps(&rule.rule, &bindings) {
        if tools.iter().all(|tool| tool.program != program) {
            tools.push(Tool { program, optional: true });
        }
    }
    let host = rule.rule.host.iter().map(|path| path.value.clone()).collect();
    let root = place.root.map(|root| Root {
        name: root.name.into(),
        mode: root.mode.clone(),
        compiler: place.compiler.clone(),
        user: root.root.user.id,
    });
    if let Some(root) = &root {
        refs.push((Root::FILES.into(), root_ref(rules, &root.name)));
        let about = of_root(rules, Kind::Binpkg, &root.name, "about").filter(|_| !root.is_whole());
        refs.extend(about.map(|about| (Root::ABOUT.into(), DraftRef::Output(about))));
    }
    // In a root there is nothing of this machine.
    let whole = root.as_ref().is_some_and(Root::is_whole);
    let (tools, host) = if whole { Default::default() } else { (tools, host) };
    let action = Action {
        rule: Arc::clone(rule),
        inputs,
        export: export.map_err(fail)?.map(PathBuf::from),
        tools,
        tool_path: place.path,
        host,
        root,
        machine: place.machine,
        bindings,
    };
    Ok(Draft { name: name.into(), body: DraftBody::Action { action: Box::new(action), refs } })
}

/// The images of a root.
fn root_ref(rules: &Rules, root: &str) -> DraftRef {
    let image = |kind| of_root(rules, kind, root, "image");
    let layers = [Kind::Stage3, Kind::Binpkg].into_iter().filter_map(image).collect();
    DraftRef::Root { name: root.into(), layers }
}

/// An output of a root's node. Which rule makes it, its kind tells: the spec has one of each.
fn of_root(rules: &Rules, kind: Kind, root: &str, output: &str) -> Option<Named> {
    let rule = rules.values().find(|rule| rule.rule.kind == kind)?;
    let node = node_name(rule, &BTreeMap::from([(Axis::Root, root.to_owned())]));
    Some(Named { node, output: output.into() })
}

/// Adds a program, unless it is among them. One that anything can't do without is not optional.
fn add_tool(tools: &mut Vec<Tool>, program: String, optional: bool) {
    match tools.iter_mut().find(|tool| tool.program == program) {
        Some(tool) => tool.optional &= optional,
        None => tools.push(Tool { program, optional }),
    }
}

/// The programs of the host that steps start with. A program that is an input, or was made by an earlier step, has no
/// value here; one with a relative path is found in the output directory.
fn programs_of_steps(rule: &Rule, bindings: &Bindings) -> Vec<String> {
    let mut programs = Vec::new();
    for program in rule.steps.iter().filter_map(|step| step.value.first()) {
        let Some(program) = bindings.list(&program.value).ok().and_then(|list| list.into_iter().next())
        else {
            continue;
        };
        let of_host = !program.contains('/') || program.starts_with('/');
        if of_host {
            programs.push(program);
        }
    }
    programs
}

/// The node and output that a reference means, for a node with these axes.
fn reference(
    node: &str,
    rules: &Rules,
    bindings: &Bindings,
    axes: &BTreeMap<Axis, String>,
    reference: &OutputRef,
) -> Result<(String, Arc<str>), ExpandError> {
    let fail = |source| ExpandError::Bind { node: node.to_owned(), source };
    let rule = bindings.text(&reference.rule.value).map_err(fail)?;
    let output = bindings.text(&reference.output.value).map_err(fail)?;
    let name = match rules.get(rule.as_str()) {
        Some(other) => {
            let per = other.rule.per.iter().flatten().map(|axis| axis.value);
            let axes = per.filter_map(|axis| Some((axis, axes.get(&axis)?.clone()))).collect();
            node_name(other, &axes)
        }
        None => rule,
    };
    Ok((name, output.into()))
}

fn source_draft(name: &str) -> Draft {
    Draft { name: source_node_name(name).into(), body: DraftBody::Source(SourceNode { source: name.into() }) }
}

fn source_node_name(source: &str) -> String {
    format!("source:{source}")
}

/// Whether a source has to be made before it can be read.
fn made_by_node(source: &model::Source) -> bool {
    match source {
        model::Source::Dir { .. } | model::Source::Git { rev: None, .. } => false,
        model::Source::Git { rev: Some(_), .. } | model::Source::Tarball { .. } => true,
    }
}

fn axes_of(build: &Build, board: Option<&str>, test: Option<&str>) -> BTreeMap<Axis, String> {
    let mut axes = BTreeMap::from([
        (Axis::Source, build.source.clone()),
        (Axis::Arch, build.arch.clone()),
        (Axis::Defconfig, build.defconfig.clone()),
        (Axis::Toolchain, build.toolchain.clone()),
    ]);
    axes.extend(board.map(|board| (Axis::Board, board.to_owned())));
    axes.extend(test.map(|test| (Axis::Test, test.to_owned())));
    axes
}

/// `RULE:` and the values of the rule's axes, in the rule's order; a rule without axes has the one node `RULE:all`.
fn node_name(rule: &BoundRule, axes: &BTreeMap<Axis, String>) -> String {
    let values: Vec<&str> =
        rule.rule.per.iter().flatten().filter_map(|axis| axes.get(&axis.value).map(String::as_str)).collect();
    if values.is_empty() {
        format!("{}:all", rule.name)
    } else {
        format!("{}:{}", rule.name, values.join("/"))
    }
}

/// Orders drafts so that each comes after those it names.
fn in_order(drafts: Vec<Draft>) -> Result<Vec<Draft>, ExpandError> {
    let mut places: HashMap<Arc<str>, usize> = HashMap::with_capacity(drafts.len());
    for (place, draft) in drafts.iter().enumerate() {
        if places.insert(Arc::clone(&draft.name), place).is_some() {
            return Err(ExpandError::SameName(draft.name.to_string()));
        }
    }
    let mut waits_for = vec![0_usize; drafts.len()];
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); drafts.len()];
    for (place, draft) in drafts.iter().enumerate() {
        for (input, name) in draft.names() {
            let Some(&dep) = places.get(name.as_str()) else {
                return Err(ExpandError::NoSuchNode {
                    node: draft.name.to_string(),
                    input: input.to_owned(),
                    missing: name,
                });
            };
            waits_for[place] += 1;
            readers[dep].push(place);
        }
    }
    let mut ready: VecDeque<usize> = (0..drafts.len()).filter(|&place| waits_for[place] == 0).collect();
    let mut order = Vec::with_capacity(drafts.len());
    while let Some(place) = ready.pop_front() {
        order.push(place);
        for &reader in &readers[place] {
            waits_for[reader] -= 1;
            if waits_for[reader] == 0 {
                ready.push_back(reader);
            }
        }
    }
    if order.len() < drafts.len() {
        return Err(ExpandError::Cycle(cycle(&drafts, &places, &waits_for)));
    }
    let mut drafts: Vec<Option<Draft>> = drafts.into_iter().map(Some).collect();
    Ok(order.into_iter().map(|place| drafts[place].take().expect("each place once")).collect())
}

/// A whole cycle among the drafts that still wait: every one of them waits for another that does.
fn cycle(drafts: &[Draft], places: &HashMap<Arc<str>, usize>, waits_for: &[usize]) -> Vec<String> {
    let mut at = waits_for.iter().position(|&count| count > 0).expect("some draft waits");
    let mut walked: Vec<usize> = Vec::new();
    while !walked.contains(&at) {
        walked.push(at);
        let mut next = drafts[at].names().into_iter().map(|(_, name)| places[name.as_str()]);
        at = next.find(|&dep| waits_for[dep] > 0).expect("it waits for one that waits");
    }
    let start = walked.iter().position(|&place| place == at).expect("the walk came back to it");
    let circle = walked[start..].iter().chain([&at]);
    circle.map(|&place| drafts[place].name.to_string()).collect()
}

impl Draft {
    /// Whether it is a node that makes a root, or a part of one.
    fn makes_a_root(&self) -> bool {
        let kind = match &self.body {
            DraftBody::Action { action, .. } => action.rule.rule.kind,
            DraftBody::Expansion { .. } | DraftBody::Source(_) => return false,
        };
        matches!(kind, Kind::Stage3 | Kind::Binpkg)
    }

    /// The names of the nodes it reads, each with the input that does.
    fn names(&self) -> Vec<(&str, String)> {
        match &self.body {
            DraftBody::Action { refs, .. } => {
                let named = refs.iter().flat_map(|(input, reference)| {
                    reference.named().iter().map(move |named| (&**input, named.node.clone()))
                });
                named.collect()
            }
            DraftBody::Expansion { from, .. } => vec![("expand", from.clone())],
            DraftBody::Source(_) => Vec::new(),
        }
    }
}

fn add(graph: &mut Graph, draft: Draft) -> Result<NodeId, ExpandError> {
    let Draft { name, body } = draft;
    let mut deps = Vec::new();
    let mut output_of = |graph: &Graph, input: &str, node: &str, output: &Arc<str>| {
        let id = graph.find(node).ok_or_else(|| ExpandError::NoSuchNode {
            node: name.to_string(),
            input: input.to_owned(),
            missing: node.to_owned(),
        })?;
        let action = graph.node(id).action();
        let has = action.is_some_and(|action| action.rule.rule.outputs.contains_key(&**output));
        if !has {
            let known = action.map(|action| action.rule.rule.outputs.keys().cloned().collect::<Vec<_>>());
            return Err(ExpandError::NoSuchOutput {
                node: name.to_string(),
                input: input.to_owned(),
                from: node.to_owned(),
                output: output.to_string(),
                known: known.unwrap_or_default().join(", "),
            });
        }
        deps.push(id);
        Ok(id)
    };
    let body = match body {
        DraftBody::Source(source) => Body::Source(source),
        DraftBody::Expansion { rule, from, output, build } => {
            let from = output_of(graph, "expand", &from, &output)?;
            Body::Expansion(Expansion { rule, from, output, build })
        }
        DraftBody::Action { mut action, refs } => {
            for (input, reference) in refs {
                let mut ids = Vec::new();
                for Named { node, output } in reference.named() {
                    ids.push((output_of(graph, &input, node, output)?, Arc::clone(output)));
                }
                let bound = match (reference, ids.as_slice()) {
                    (DraftRef::Output(_), [(node, output)]) => {
                        Input::Output { node: *node, output: Arc::clone(output) }
                    }
                    (DraftRef::Root { name, .. }, _) => Input::Root { name, layers: ids },
                    (DraftRef::Output(_), _) => unreachable!("it names one output"),
                };
                action.inputs.push((input, bound));
            }
            for (_, input) in &mut action.inputs {
                if let Input::Source { name, made_by } = input {
                    *made_by = graph.find(&source_node_name(name));
                    deps.extend(*made_by);
                }
            }
            action.inputs.sort_by(|a, b| a.0.cmp(&b.0));
            Body::Action(Arc::new(*action))
        }
    };
    // An expansion point waits for all that the nodes it stands for read, so that they are placed after those.
    if let Body::Expansion(expansion) = &body {
        let build = &graph.seed.builds[expansion.build];
        let axes = axes_of(build, None, None);
        let spec = &graph.seed.spec;
        let read: BTreeSet<&str> = expansion
            .rule
            .rule
            .inputs
            .values()
            .filter_map(|input| match &input.value {
                model::Input::Output(reference) => Some(&reference.rule.value),
                _ => None,
            })
            .flat_map(|rule| rules_meant(spec, &expansion.rule, rule))
            .collect();
        for rule in read {
            if let Some(other) = graph.seed.rules.get(rule) {
                deps.extend(graph.find(&node_name(other, &axes)));
            }
        }
    }
    Ok(graph.add(Node { name, body }, deps))
}

/// The rules that a reference of an expanded rule may come to: one by its name, or that of any board.
fn rules_meant<'s>(spec: &'s Spec, of: &BoundRule, reference: &'s Template) -> Vec<&'s str> {
    if reference.whole_hole() != Some(ROOTFS) {
        return reference.literal().into_iter().collect();
    }
    let boards = spec.project.boards.values().map(|board| &board.value);
    boards
        .filter(|board| of.rule.kind.boots().is_none_or(|kind| spec.project.lab_kind(board) == Some(kind)))
        .map(|board| board.rootfs.value.as_str())
        .collect()
}

/// Where below `out/` outputs are put.
#[derive(Debug, Default)]
pub(super) struct Places {
    taken: HashMap<PathBuf, NodeId>,
    /// Every directory above one of those, with a node that has an output in it. None is taken itself.
    above: HashMap<PathBuf, NodeId>,
}

/// Checks that no two outputs are put at one place below `out/`, or one inside the other.
fn claim_places(graph: &mut Graph, id: NodeId) -> Result<(), ExpandError> {
    let Some(action) = graph.node(id).action() else { return Ok(()) };
    for path in action.places() {
        if let Err((first, path)) = graph.places.claim(path, id) {
            return Err(ExpandError::SamePlace {
                first: graph.name(first).to_string(),
                second: graph.name(id).to_string(),
                path,
            });
        }
    }
    Ok(())
}

impl Places {
    fn claim(&mut self, path: PathBuf, id: NodeId) -> Result<(), (NodeId, PathBuf)> {
        if let Some(&first) = self.taken.get(&path).or_else(|| self.above.get(&path)) {
            return Err((first, path));
        }
        for dir in path.ancestors().skip(1) {
            if let Some(&first) = self.taken.get(dir) {
                return Err((first, dir.to_owned()));
            }
            // What is above it is above the other too, and was looked at then.
            if self.above.contains_key(dir) {
                break;
            }
            self.above.insert(dir.to_owned(), id);
        }
        self.taken.insert(path, id);
        Ok(())
    }
}

impl Action {
    /// Where its outputs appear below `out/`. Two that are one file, such as the image and the `vmlinux` of an arch that
    /// boots just that, appear once.
    fn places(&self) -> Vec<PathBuf> {
        let outputs = self.rule.rule.outputs.iter();
        let places = outputs.filter_map(|(name, declared)| {
            let made_at = self.bindings.text(&declared.value.shape.path().value).ok();
            Some((self.place_of(name)?, made_at))
        });
        places.collect::<BTreeSet<_>>().into_iter().map(|(place, _)| place).collect()
    }

    /// Where an output appears below `out/`; `None` where it does not.
    pub fn place_of(&self, output: &str) -> Option<PathBuf> {
        let declared = self.rule.rule.outputs.get(output).filter(|declared| declared.value.export)?;
        Some(self.export.as_ref()?.join(self.output_name(output, &declared.value)?))
    }

    /// Whether its steps do without an input that was not made.
    pub fn does_without(&self, input: &str) -> bool {
        let declared = self.rule.rule.inputs.get(input).map(|declared| &declared.value);
        matches!(declared, Some(model::Input::Output(reference)) if reference.optional)
    }

    /// Whether an output is something that its steps make, rather than something told of them.
    pub fn makes(&self, output: &str) -> bool {
        self.rule.rule.outputs.get(output).is_none_or(|declared| declared.value.shape.is_made())
    }

    /// The name that an output has below `out/`.
    fn output_name(&self, output: &str, declared: &model::Output) -> Option<String> {
        if let Some(name) = &declared.name {
            return self.bindings.text(&name.value).ok();
        }
        match &declared.shape {
            OutputShape::File(path) | OutputShape::Report(_, path) => {
                let path = self.bindings.text(&path.value).ok()?;
                Some(path.rsplit('/').next().unwrap_or(&path).to_owned())
            }
            OutputShape::Tree(_) | OutputShape::Glob(_) => Some(output.to_owned()),
        }
    }
}

fn bound(name: &str, rule: &Rule) -> Arc<BoundRule> {
    let parts = rule_parts(rule);
    let mut hasher = Hasher::new(Domain::Rule);
    for (part, text) in &parts {
        hasher.text(part).text(text);
    }
    Arc::new(BoundRule {
        name: name.into(),
        rule: rule.clone(),
        digest: hasher.finish(),
        parts,
        key_holes: key_holes(rule),
    })
}

/// What of a rule decides what a run does. Limits, retries and resources do not: a build that was given more time
/// makes the same bits.
fn rule_parts(rule: &Rule) -> Vec<(&'static str, String)> {
    // JSON keeps apart what a join would run together: ["a b"] is not ["a", "b"].
    let json = |texts: Vec<String>| serde_json::to_string(&texts).expect("texts are JSON");
    let steps =
        rule.steps.iter().map(|step| json(step.value.iter().map(|arg| arg.value.to_string()).collect()));
    let env = rule.env.iter().map(|(name, value)| json(vec![name.clone(), value.value.to_string()]));
    let made = rule.outputs.iter().filter(|(_, output)| output.value.shape.is_made());
    let outputs = made.map(|(name, output)| {
        let (shape, path) = match &output.value.shape {
            OutputShape::File(path) => ("file", path),
            OutputShape::Tree(path) => ("tree", path),
            OutputShape::Glob(path) => ("glob", path),
            OutputShape::Report(..) => unreachable!("what is told of a run is no part of it"),
        };
        let optional = if output.value.optional { "optional" } else { "required" };
        json(vec![name.clone(), shape.to_owned(), path.value.to_string(), optional.to_owned()])
    });
    let network = if rule.sandbox.network { "yes" } else { "no" };
    // Claims on which earlier path sets rest: with others they no longer count.
    let texts = |list: &[Spanned<String>]| json(list.iter().map(|text| text.value.clone()).collect());
    let discover = rule
        .discover
        .as_ref()
        .map(|discover| json(vec![texts(&discover.inputs), texts(&discover.unsearched)]));
    let mut parts = vec![
        ("kind", format!("{:?}", rule.kind).to_lowercase()),
        ("steps", steps.collect::<Vec<_>>().join("\n")),
        ("env", env.collect::<Vec<_>>().join("\n")),
        ("outputs", outputs.collect::<Vec<_>>().join("\n")),
        ("network", network.to_owned()),
    ];
    if rule.sandbox.system_calls == SystemCalls::Unfiltered {
        parts.push(("system calls", "unfiltered".to_owned()));
    }
    parts.extend(discover.map(|discover| ("discover", discover)));
    parts
}

/// The placeholders whose values reach what a run does. A value that is bound but never used changes nothing.
fn key_holes(rule: &Rule) -> Vec<String> {
    let steps = rule.steps.iter().flat_map(|step| step.value.iter().map(|argument| &argument.value));
    let env = rule.env.values().map(|value| &value.value);
    let outputs = rule.outputs.values().map(|output| &output.value.shape);
    let outputs = outputs.filter(|shape| shape.is_made()).map(|shape| &shape.path().value);
    let mut holes: BTreeSet<&str> = steps
        .chain(env)
        .chain(outputs)
        .flat_map(|template| &template.parts)
        .filter_map(|part| match part {
            Part::Hole(hole) if hole != "out" && !hole.starts_with("in.") => Some(hole.as_str()),
            Part::Hole(_) | Part::Text(_) => None,
        })
        .collect();
    holes.extend(rule.kind.bindings());
    if rule.kind != Kind::Command {
        holes.extend(rule.params.keys().map(String::as_str));
    }
    holes.into_iter().map(str::to_owned).collect()
}
