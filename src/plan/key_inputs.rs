//! The key inputs of an action: its manifest, with values as they are now, and the keys that follow from it.

use std::path::Path;

use super::context::{BuildContext, InputName};
use super::error::PlanError;
use super::manifest::{FieldKind, FieldValue, Manifest, TreeInput};
use super::projection::Inputs;
use super::strong_key::whole_key;
use super::verdict::{ActionResult, KeyInputs, Keys, StrongKey};
use crate::graph::{Action, Input, NodeId, OutputRef};
use crate::store::Artifact;

/// The dependencies of an action that can be decided: each has a result.
pub(super) trait Dependencies {
    /// A node's result.
    fn result(&self, id: NodeId) -> Option<&ActionResult>;

    /// A node's name.
    fn name(&self, id: NodeId) -> &str;
}

/// The key inputs of an action. The strong key is known unless reads are discovered.
pub(super) fn key_inputs_of(
    context: &BuildContext<'_>,
    name: &str,
    action: &Action,
    dependencies: &impl Dependencies,
) -> Result<KeyInputs, PlanError> {
    let manifest = manifest(context, name, action, dependencies)?;
    Ok(KeyInputs { keys: keys(&manifest), manifest })
}

/// The keys of an action with this manifest.
fn keys(manifest: &Manifest) -> Keys {
    let action = manifest.action_key();
    let whole = manifest.whole();
    let exact_key = whole_key(&action, &whole, manifest.trees().iter().map(|tree| tree.digest));
    let strong = (!manifest.is_discovered()).then(|| StrongKey { key: exact_key, path_set: whole.digest() });
    Keys { action, exact_key, strong }
}

/// The manifest of an action. The order of the fields is part of the key.
fn manifest(
    context: &BuildContext<'_>,
    name: &str,
    action: &Action,
    dependencies: &impl Dependencies,
) -> Result<Manifest, PlanError> {
    let least = context.least_provenance(&action.rule.decl);
    let mut manifest = Manifest::new(context.rule_parts(&action.rule), least);
    for placeholder in &action.rule.placeholders {
        let value = action.bindings.get(placeholder).map_or(FieldValue::Absent, FieldValue::from);
        manifest.add(FieldKind::Binding(placeholder.clone()), value);
    }
    for part in context.host.parts(action, name)? {
        manifest.add_host(part.kind, part.found);
    }
    if let Some(root) = &action.root {
        let mode = FieldValue::Text(root.mode.name().to_owned());
        manifest.add(FieldKind::Binding("toolchain.mode".to_owned()), mode);
    }
    if let Some(machine) = action.machine {
        let emulator = context.host.emulator(machine, name)?;
        let digest = context.host.path(&emulator, name)?.digest();
        manifest.add(FieldKind::Host(emulator), FieldValue::Digest(digest));
    }
    let output = |node: NodeId, output: &str| dependencies.result(node)?.output(output).copied();
    let inputs = NodeOutputs { context, name, action, output: &output };
    let projected = context.projection.project(action, &inputs)?;
    for (name, value) in projected.fields {
        manifest.add(FieldKind::Projected(name), FieldValue::Text(value));
    }
    let discovered = |input: &str| action.rule.decl.discovers(input);
    for (input, declared) in &action.inputs {
        if projected.inputs.contains(&**input) {
            continue;
        }
        let input = input.to_string();
        match declared {
            Input::Source { name: source, .. } => {
                let digest = context.sources.snapshot(source)?.digest();
                let kind = FieldKind::Source { input: input.clone(), source: source.to_string() };
                manifest.add_tree(TreeInput { discovered: discovered(&input), input, kind, digest });
            }
            Input::File(path) => {
                let found = context.project_files.get(path, name)?;
                let value = FieldValue::file(found.digest, found.executable);
                manifest.add(FieldKind::File { input, path: path.clone() }, value);
            }
            // Only the public part: it decides what is signed, and it exists where the private part does not.
            Input::ModuleKey(key) => {
                if let Some(key) = key {
                    let path = context.project_files.certificate(key, name)?.to_owned();
                    let digest = context.project_files.get(&path, name)?.digest;
                    manifest.add(FieldKind::File { input, path }, FieldValue::Digest(digest));
                }
            }
            Input::Concat { files, lines } => {
                for path in files {
                    let digest = context.project_files.get(path, name)?.digest;
                    let kind = FieldKind::File { input: input.clone(), path: path.clone() };
                    manifest.add(kind, FieldValue::Digest(digest));
                }
                manifest.add(FieldKind::Lines { input }, FieldValue::List(lines.clone()));
            }
            Input::Layers(layers) => {
                for OutputRef { node, output: wanted } in layers {
                    let value = output(*node, wanted);
                    let value = value.map_or(FieldValue::Absent, |found| FieldValue::from(&found));
                    let (input, node) = (input.clone(), dependencies.name(*node).to_owned());
                    manifest.add(FieldKind::Output { input, node, output: wanted.to_string() }, value);
                }
            }
            Input::Output(OutputRef { node, output: wanted }) => {
                let artifact = output(*node, wanted);
                let node = dependencies.name(*node).to_owned();
                let kind = FieldKind::Output { input: input.clone(), node, output: wanted.to_string() };
                match artifact {
                    Some(Artifact::Tree { digest, .. }) if discovered(&input) => {
                        manifest.add_tree(TreeInput { discovered: true, input, kind, digest });
                    }
                    found => {
                        manifest
                            .add(kind, found.map_or(FieldValue::Absent, |found| FieldValue::from(&found)));
                    }
                }
            }
        }
    }
    Ok(manifest)
}

/// The inputs of an action that are outputs of other nodes.
struct NodeOutputs<'a, 'w> {
    context: &'a BuildContext<'w>,
    name: &'a str,
    action: &'a Action,
    /// The output of a node, if it has made it.
    output: &'a dyn Fn(NodeId, &str) -> Option<Artifact>,
}

impl NodeOutputs<'_, '_> {
    /// The node that makes an input, and the artifact.
    fn artifact(&self, input: &str) -> Result<(NodeId, Option<Artifact>), PlanError> {
        let Some(OutputRef { node: from, output: wanted }) = self.action.output_read(input) else {
            let message = format!("{input} is no output of another node");
            return Err(PlanError::Unusable { node: self.name.to_owned(), message });
        };
        Ok((*from, (self.output)(*from, wanted)))
    }
}

impl Inputs for NodeOutputs<'_, '_> {
    fn read(&self, input: &str) -> Result<Vec<u8>, PlanError> {
        let (from, artifact) = self.artifact(input)?;
        let of = InputName { from, input, node: self.name };
        self.context.artifacts().read(artifact.as_ref(), of)
    }

    fn file_in(&self, input: &str, path: &Path) -> Result<Option<Artifact>, PlanError> {
        let (from, artifact) = self.artifact(input)?;
        let of = InputName { from, input, node: self.name };
        self.context.artifacts().file_in(artifact.as_ref(), path, of)
    }
}
