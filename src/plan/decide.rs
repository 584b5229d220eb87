//! The one decision function: what is to happen to a node, given what its dependencies have come to.

use std::path::Path;
use std::sync::Arc;

use super::age::too_old;
use super::lookup::whole_key;
use super::manifest::{Manifest, Tree, Val, What};
use super::reason::{Reason, compare};
use super::verdict::{Basis, Decision, Keys, Known, Strong, Verdict};
use super::world::{Inputs, PlanError, World};
use crate::digest::Digest;
use crate::graph::{Action, Graph, Input, NodeId, NodeKind, OutputRef, SourceNode};
use crate::host::ToolError;
use crate::remote::Hit;
use crate::source::PathSet;
use crate::store::{Artifact, NodeRecord, NodeState, Outcome, StoredResult};

/// What other nodes have come to so far: in a plan, or in a run.
pub trait Progress {
    /// A node that this one depends on.
    fn state(&self, id: NodeId) -> State<'_>;
}

/// What a node has come to.
#[derive(Debug)]
pub enum State<'a> {
    /// It has a result.
    Known(&'a Known),
    /// It has not run yet.
    Pending,
    /// It never will have a result.
    Failed,
}

/// What an action that can be decided reads: each has a result.
pub(super) trait Dependencies {
    /// A node's result.
    fn known(&self, id: NodeId) -> Option<&Known>;

    /// What it is called.
    fn name(&self, id: NodeId) -> &str;
}

/// Those of a graph of which some nodes have come to something.
struct InGraph<'a, P> {
    graph: &'a Graph,
    progress: &'a P,
}

impl<P: Progress> Dependencies for InGraph<'_, P> {
    fn known(&self, id: NodeId) -> Option<&Known> {
        match self.progress.state(id) {
            State::Known(known) => Some(known),
            State::Pending | State::Failed => None,
        }
    }

    fn name(&self, id: NodeId) -> &str {
        self.graph.name(id)
    }
}

/// Decides a node. `lost`: a blob of its known result is gone, so that result does not count.
pub fn decide(
    world: &World<'_>,
    graph: &Graph,
    id: NodeId,
    progress: &impl Progress,
    lost: bool,
) -> Result<Decision, PlanError> {
    let node = graph.node(id);
    if let Some(mut verdict) = waits(graph, id, progress) {
        // What it lacks anyway is told now, and not when all that it waits for has run.
        if let (Verdict::Unknown(_), Some(action)) = (&verdict, node.action())
            && let Some(lacks) = lacks(world, &node.name, action)
        {
            verdict = Verdict::Lacking(lacks);
        }
        return Ok(Decision { verdict, keys: None, basis: None });
    }
    match &node.kind {
        NodeKind::Action(action) => {
            decide_action(world, &node.name, action, &InGraph { graph, progress }, lost)
        }
        NodeKind::Source(source) => decide_source(world, &node.name, source),
        NodeKind::Expansion(_) => Ok(Decision::expanded()),
    }
}

/// What an action lacks, whatever its inputs turn out to be.
fn lacks(world: &World<'_>, name: &str, action: &Action) -> Option<String> {
    let emulator = action.machine.map(|machine| world.emulator(machine, name));
    match emulator {
        Some(Err(PlanError::Lacking { message, .. })) => Some(message),
        _ => world.projection.lacks(action),
    }
}

/// The values an expansion point stands for, or the decision that they can't be known yet.
pub fn boards(
    world: &World<'_>,
    graph: &Graph,
    id: NodeId,
    progress: &impl Progress,
) -> Result<Result<Vec<String>, Decision>, PlanError> {
    let NodeKind::Expansion(expansion) = &graph.node(id).kind else {
        unreachable!("only asked of expansion points");
    };
    let from = expansion.from.node;
    Ok(match progress.state(from) {
        State::Pending => Err(Decision { verdict: Verdict::Unknown(vec![from]), keys: None, basis: None }),
        State::Failed => Err(Decision { verdict: Verdict::Blocked(from), keys: None, basis: None }),
        State::Known(known) if known.outcome != Outcome::Pass => {
            Err(Decision { verdict: Verdict::Blocked(from), keys: None, basis: None })
        }
        State::Known(known) => {
            Ok(world.expansion_values(known, from, &expansion.from.output, graph.name(id))?)
        }
    })
}

/// The verdict of a node that can't be looked at yet.
pub(super) fn waits(graph: &Graph, id: NodeId, progress: &impl Progress) -> Option<Verdict> {
    let mut pending = Vec::new();
    for dep in graph.deps(id) {
        match progress.state(dep) {
            State::Known(known) if known.outcome == Outcome::Pass => {}
            State::Known(_) | State::Failed => return Some(Verdict::Blocked(dep)),
            State::Pending => pending.push(dep),
        }
    }
    pending.sort_unstable();
    (!pending.is_empty()).then_some(Verdict::Unknown(pending))
}

/// Decides an action that waits for nothing.
pub(super) fn decide_action(
    world: &World<'_>,
    name: &str,
    action: &Action,
    inputs: &impl Dependencies,
    lost: bool,
) -> Result<Decision, PlanError> {
    let mut basis = match basis_of(world, name, action, inputs) {
        // Of all nodes only those that run it, and what depends on them, have to do without.
        Err(PlanError::Tool { source: lacks @ ToolError::Missing { .. }, .. }) => {
            return Ok(Decision { verdict: Verdict::Lacking(lacks.to_string()), keys: None, basis: None });
        }
        Err(PlanError::Lacking { message, .. }) => {
            return Ok(Decision { verdict: Verdict::Lacking(message), keys: None, basis: None });
        }
        basis => basis?,
    };
    let verdict = verdict(world, name, action, &mut basis, lost)?;
    if matches!(verdict, Verdict::Stale(_)) {
        // Of what runs it is recorded, for `kiln why`. Asking git costs too much where nothing does.
        for (_, input) in &action.inputs {
            if let Input::Source { name, .. } = input
                && let Some(commit) = world.commit(name)
            {
                basis
                    .manifest
                    .add_detail(What::Commit { source: name.to_string() }, Val::Text(commit.to_owned()));
            }
        }
    }
    let keys = Some(basis.keys);
    // Of a graph that is all fresh, the manifests would be most of the memory, and nobody would look at them.
    let basis = (!matches!(verdict, Verdict::Fresh(_))).then(|| Arc::new(basis));
    Ok(Decision { verdict, keys, basis })
}

/// What a node's key is made of, for explanations. `None` while its inputs are not known, and for what has no key.
pub fn basis(
    world: &World<'_>,
    graph: &Graph,
    id: NodeId,
    progress: &impl Progress,
) -> Result<Option<Basis>, PlanError> {
    let node = graph.node(id);
    match node.action() {
        Some(action) if waits(graph, id, progress).is_none() => {
            basis_of(world, &node.name, action, &InGraph { graph, progress }).map(Some)
        }
        _ => Ok(None),
    }
}

fn basis_of(
    world: &World<'_>,
    name: &str,
    action: &Action,
    inputs: &impl Dependencies,
) -> Result<Basis, PlanError> {
    let manifest = manifest(world, name, action, inputs)?;
    let action = manifest.action_key();
    let whole = manifest.whole();
    let given = given(&action, &manifest, &whole);
    let strong = (!manifest.is_discovered()).then(|| Strong { key: given, path_set: whole.digest() });
    Ok(Basis { keys: Keys { action, given, strong }, manifest })
}

/// A verdict. The strong key that leads to a known result is added to the basis.
fn verdict(
    world: &World<'_>,
    name: &str,
    action: &Action,
    basis: &mut Basis,
    lost: bool,
) -> Result<Verdict, PlanError> {
    if world.forced.contains(name) {
        return Ok(Verdict::Stale(vec![Reason::Forced]));
    }
    let mut place_again = vec![Reason::SeenBefore];
    let mut unfit = Vec::new();
    if let Some(state) = world.previous.get(name)
        && state.action_key == basis.keys.action
        && counts(action, state.outcome)
        && let Some(record) = state.record()
        && let Some(strong) = stands(world, state, &record, basis)?
    {
        basis.keys.strong = Some(strong);
        let misplaced = misplaced(world, action, &record);
        unfit.extend(too_old(world, action, Some(state.run))?);
        if misplaced.is_empty() && unfit.is_empty() && !lost {
            let outputs = record.outputs.into();
            return Ok(Verdict::Fresh(Known { outcome: state.outcome, outputs, run: Some(state.run) }));
        }
        if !misplaced.is_empty() || lost {
            place_again = misplaced;
        }
    }
    match find(world, action, basis)? {
        Found::Result(strong, result) => {
            basis.keys.strong = Some(strong);
            let known =
                Known { outcome: result.outcome, outputs: result.outputs.into(), run: Some(result.run) };
            Ok(Verdict::Cached(known, place_again))
        }
        found => {
            if let Some((strong, hit)) = find_elsewhere(world, action, basis)? {
                basis.keys.strong = Some(strong);
                let outputs =
                    hit.entry.outputs.iter().map(|(name, output)| (name.clone(), output.artifact()));
                let known = Known { outcome: hit.entry.outcome, outputs: outputs.collect(), run: None };
                return Ok(Verdict::Remote(known, Arc::new(hit)));
            }
            if let Found::Unfit(reasons) = found {
                return Ok(Verdict::Stale(reasons));
            }
            if !unfit.is_empty() {
                return Ok(Verdict::Stale(unfit));
            }
            Ok(Verdict::Stale(why_stale(world, name, &basis.manifest)?))
        }
    }
}

/// Both phases of the lookup, in the caches elsewhere.
fn find_elsewhere(
    world: &World<'_>,
    action: &Action,
    basis: &Basis,
) -> Result<Option<(Strong, Hit)>, PlanError> {
    let Some(remotes) = world.remotes else { return Ok(None) };
    // A remote does not tell when it was made.
    if too_old(world, action, None)?.is_some() {
        return Ok(None);
    }
    let Keys { action: action_key, strong, .. } = basis.keys;
    let look = |strong: Strong| -> Option<(Strong, Hit)> {
        let hit = remotes.result(&strong.key, |entry| {
            entry.action_key == action_key
                && entry.path_set_digest == strong.path_set
                && counts(action, entry.outcome)
        });
        hit.map(|hit| (strong, hit))
    };
    if let Some(strong) = strong
        && let Some(found) = look(strong)
    {
        return Ok(Some(found));
    }
    if basis.manifest.is_discovered() {
        for set in remotes.path_sets(&action_key, basis.manifest.least()) {
            let Some((key, paths)) =
                world.strong_key_elsewhere(&action_key, &basis.manifest, remotes, &set)?
            else {
                continue;
            };
            if let Some(found) = look(Strong { key, path_set: set.digest }) {
                if let Some(paths) = paths {
                    remotes.remember(set.digest, paths);
                }
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}

/// Whether an outcome is a result, so that the action need not run again.
pub fn counts(action: &Action, outcome: Outcome) -> bool {
    match outcome {
        Outcome::Pass => true,
        Outcome::Fail => action.rule.decl.outcome.cache_fail,
        Outcome::Infra | Outcome::Skipped | Outcome::Cancelled => false,
    }
}

/// The strong key of a node's last state, if what it read then is the same now.
fn stands(
    world: &World<'_>,
    state: &NodeState,
    record: &NodeRecord,
    basis: &Basis,
) -> Result<Option<Strong>, PlanError> {
    let Some((key, path_set)) = state.strong_key.zip(state.path_set) else { return Ok(None) };
    let strong = Strong { key, path_set };
    if let Some(declared) = basis.keys.strong {
        return Ok((declared == strong).then_some(strong));
    }
    // In the very trees of then nothing need be looked up.
    let trees = basis.manifest.trees();
    let same = record.trees.len() == trees.len()
        && record.trees.iter().zip(trees).all(|(then, now)| then.0 == now.input && then.1 == now.digest);
    if same {
        return Ok(Some(strong));
    }
    let now = world.strong_key(&basis.keys.action, &basis.manifest, &path_set)?;
    Ok((now == Some(key)).then_some(strong))
}

/// What the cache has for an action.
#[derive(Debug)]
pub enum Found {
    /// A result, of which all blobs are there.
    Result(Strong, StoredResult),
    /// A result that does not do, and why: blobs of it are gone, or it is too old.
    Unfit(Vec<Reason>),
    /// Nothing.
    Nothing,
}

/// Both phases of the lookup: the action key gives path sets, newest first, and each of these gives, with what its
/// paths hold now, the strong key of a result.
pub fn find(world: &World<'_>, action: &Action, basis: &Basis) -> Result<Found, PlanError> {
    let mut unfit = Found::Nothing;
    let mut look = |strong: Strong| -> Result<Option<Found>, PlanError> {
        let result = world.store.result(&strong.key)?.filter(|result| counts(action, result.outcome));
        let Some(result) = result else { return Ok(None) };
        let mut why = Vec::from_iter(too_old(world, action, Some(result.run))?);
        for (output, artifact) in &result.outputs {
            if !world.store.has_artifact(artifact)? {
                why.push(Reason::BlobMissing { output: output.clone() });
            }
        }
        if why.is_empty() {
            return Ok(Some(Found::Result(strong, result)));
        }
        unfit = Found::Unfit(why);
        Ok(None)
    };
    // A key that is known already was declared, or led to the node's last state, which is the likeliest of all.
    if let Some(strong) = basis.keys.strong
        && let Some(found) = look(strong)?
    {
        return Ok(found);
    }
    if basis.manifest.is_discovered() {
        for set in world.store.path_sets(&basis.keys.action)? {
            if let Some(key) = world.strong_key_of(&basis.keys.action, &basis.manifest, &set)?
                && let Some(found) = look(Strong { key, path_set: set.digest })?
            {
                return Ok(found);
            }
        }
    }
    Ok(unfit)
}

/// What differs from the last run.
fn why_stale(world: &World<'_>, name: &str, manifest: &Manifest) -> Result<Vec<Reason>, PlanError> {
    let Some(last) = world.last_run(name, manifest.least())? else {
        // One that came to nothing leaves no state, but it did run.
        let outcome = world.last_outcome(name)?;
        return Ok(vec![outcome.map_or(Reason::NeverRan, |outcome| Reason::LastRun { outcome })]);
    };
    let mut reasons = compare(&last, manifest, world);
    if last.is_known_less {
        reasons.insert(0, Reason::RecordsAlone);
    }
    if last.outcome != Outcome::Pass || reasons.is_empty() {
        reasons.insert(0, Reason::LastRun { outcome: last.outcome });
    }
    Ok(reasons)
}

/// What below `out/` is not as kiln left it. One `lstat` a file: content is looked at only where that differs.
fn misplaced(world: &World<'_>, action: &Action, record: &NodeRecord) -> Vec<Reason> {
    let now = |path: &Path| std::fs::symlink_metadata(world.out.join(path));
    let touched = record
        .placed
        .iter()
        .filter(|placed| !now(Path::new(&placed.path)).is_ok_and(|now| placed.is_untouched(&now)))
        .map(|placed| placed.path.clone().into());
    // Where outputs go is no part of a key. The rule may have put them elsewhere, or nowhere, when they were placed.
    let elsewhere = record.outputs.iter().filter_map(|(output, artifact)| {
        let place = action.export_path(output)?;
        let has_place = match artifact {
            Artifact::File { .. } => record.placed.iter().any(|placed| Path::new(&placed.path) == place),
            Artifact::Tree { .. } => {
                record.placed.iter().any(|placed| Path::new(&placed.path).starts_with(&place))
                    || now(&place).is_ok_and(|now| now.is_dir())
            }
            Artifact::Absent => true,
        };
        (!has_place).then_some(place)
    });
    touched.chain(elsewhere).map(|path| Reason::Misplaced { path }).collect()
}

/// All that is declared of an action, with values as they are now.
fn manifest(
    world: &World<'_>,
    name: &str,
    action: &Action,
    inputs: &impl Dependencies,
) -> Result<Manifest, PlanError> {
    let mut manifest =
        Manifest::new(world.rule_parts(&action.rule), world.least_provenance(&action.rule.decl));
    for placeholder in &action.rule.placeholders {
        let value = action.bindings.get(placeholder).map_or(Val::Absent, Val::from);
        manifest.add(What::Binding(placeholder.clone()), value);
    }
    for part in world.host_parts(action, name)? {
        manifest.add_host(part);
    }
    if let Some(root) = &action.root {
        manifest.add(What::Binding("toolchain.mode".to_owned()), Val::Text(root.mode.name().to_owned()));
    }
    if let Some(machine) = action.machine {
        let emulator = world.emulator(machine, name)?;
        let digest = world.host_path(&emulator, name)?.digest();
        manifest.add(What::Host(emulator), Val::Digest(digest));
    }
    let output = |node: NodeId, output: &str| {
        let known = inputs.known(node)?;
        known.outputs.iter().find(|(name, _)| name == output).map(|(_, artifact)| *artifact)
    };
    let projected = world.projection.project(action, &InputsOf { world, name, action, output: &output })?;
    for (name, value) in projected.fields {
        manifest.add(What::Projected(name), Val::Text(value));
    }
    let discovered = |input: &str| action.rule.decl.discovers(input);
    for (input, declared) in &action.inputs {
        if projected.inputs.contains(&**input) {
            continue;
        }
        let input = input.to_string();
        match declared {
            Input::Source { name: source, .. } => {
                let digest = world.source(source)?.digest();
                let what = What::Source { input: input.clone(), source: source.to_string() };
                manifest.add_tree(Tree { discovered: discovered(&input), input, what, digest });
            }
            Input::File(path) => {
                let found = world.project_path(path, name)?;
                let value = file_value(found.digest, found.executable);
                manifest.add(What::File { input, path: path.clone() }, value);
            }
            // The public part alone: it decides what is signed, and is there where the private one is not.
            Input::ModuleKey(key) => {
                if let Some(key) = key {
                    let path = world.certificate(key, name)?.to_owned();
                    let digest = world.project_path(&path, name)?.digest;
                    manifest.add(What::File { input, path }, Val::Digest(digest));
                }
            }
            Input::Concat { files, lines } => {
                for path in files {
                    let digest = world.project_path(path, name)?.digest;
                    let input = input.clone();
                    manifest.add(What::File { input, path: path.clone() }, Val::Digest(digest));
                }
                manifest.add(What::Lines { input }, Val::List(lines.clone()));
            }
            Input::Layers(layers) => {
                for OutputRef { node, output: wanted } in layers {
                    let value = output(*node, wanted).map_or(Val::Absent, |found| artifact_value(&found));
                    let (input, node) = (input.clone(), inputs.name(*node).to_owned());
                    manifest.add(What::Output { input, node, output: wanted.to_string() }, value);
                }
            }
            Input::Output(OutputRef { node, output: wanted }) => {
                let artifact = output(*node, wanted);
                let node = inputs.name(*node).to_owned();
                let what = What::Output { input: input.clone(), node, output: wanted.to_string() };
                match artifact {
                    Some(Artifact::Tree { digest, .. }) if discovered(&input) => {
                        manifest.add_tree(Tree { discovered: true, input, what, digest });
                    }
                    artifact => {
                        manifest.add(what, artifact.map_or(Val::Absent, |found| artifact_value(&found)));
                    }
                }
            }
        }
    }
    Ok(manifest)
}

/// The inputs of a node, with what made them.
struct InputsOf<'a, 'w> {
    world: &'a World<'w>,
    name: &'a str,
    action: &'a Action,
    /// The output of a node, where it has made it.
    output: &'a dyn Fn(NodeId, &str) -> Option<Artifact>,
}

impl InputsOf<'_, '_> {
    /// The node that makes an input, and what it made.
    fn made(&self, input: &str) -> Result<(NodeId, Option<Artifact>), PlanError> {
        let Some(OutputRef { node: from, output: wanted }) = self.action.output_read(input) else {
            let message = format!("{input} is no output of another node");
            return Err(PlanError::Unusable { node: self.name.to_owned(), message });
        };
        Ok((*from, (self.output)(*from, wanted)))
    }
}

impl Inputs for InputsOf<'_, '_> {
    fn read(&self, input: &str) -> Result<Vec<u8>, PlanError> {
        let (from, artifact) = self.made(input)?;
        self.world.read_artifact(artifact.as_ref(), from, input, self.name)
    }

    fn file_in(&self, input: &str, path: &Path) -> Result<Option<Artifact>, PlanError> {
        let (from, artifact) = self.made(input)?;
        self.world.file_in_artifact(artifact.as_ref(), from, input, self.name, path)
    }
}

/// An artifact as a field. Whether a file is executable is part of what a reader sees.
fn artifact_value(artifact: &Artifact) -> Val {
    match artifact {
        Artifact::File { digest, executable, .. } => file_value(*digest, *executable),
        Artifact::Tree { digest, .. } => Val::Digest(*digest),
        Artifact::Absent => Val::Absent,
    }
}

fn file_value(digest: Digest, executable: bool) -> Val {
    if executable { Val::Text(format!("executable {digest}")) } else { Val::Digest(digest) }
}

/// The key of all that an action is given.
fn given(action: &Digest, manifest: &Manifest, whole: &PathSet) -> Digest {
    let trees = manifest.trees();
    whole_key(action, whole, trees.iter().map(|tree| tree.digest))
}

fn decide_source(world: &World<'_>, name: &str, source: &SourceNode) -> Result<Decision, PlanError> {
    let mut reasons = world.lacks_of_source(&source.source)?;
    if reasons.is_empty() && world.forced.contains(name) {
        reasons.push(Reason::Forced);
    }
    let verdict = if reasons.is_empty() {
        Verdict::Fresh(Known { outcome: Outcome::Pass, outputs: Arc::from([]), run: None })
    } else {
        Verdict::Stale(reasons)
    };
    Ok(Decision { verdict, keys: None, basis: None })
}
