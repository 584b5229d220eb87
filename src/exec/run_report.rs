//! Reports about a run, in files beside its outputs: its log, the messages in it, and metadata with the commands that
//! repeat it.
//!
//! The metadata are JSON of version 1: see docs/run-json.md.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::Serialize;
use serde_json::{Value as Json, json};

use super::context::{RunContext, Task};
use super::messages::Messages;
use super::run_result::RunResult;
use super::sandbox_paths::sandbox_path;
use super::work_dir::WorkDir;
use crate::digest::Digest;
use crate::graph::{Action, BindError, Bindings, Input, Value};
use crate::plan::manifest::{FieldKind, FieldValue};
use crate::shell::quoted;
use crate::spec::model::{Axis, OutputShape, Part, RunReport, Template};
use crate::store::{Artifact, StoreError};

/// Raised when a field is removed or changes its meaning.
const METADATA_VERSION: u32 = 1;

/// Why a report can't be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReportError {
    #[error("can't read the log: {0}")]
    Log(io::Error),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Writes the reports that the rule declares. Gives the messages of the log too, where there are any reports.
pub(super) fn report_files(
    context: &RunContext<'_>,
    task: &Task<'_>,
    work: &WorkDir,
    result: &RunResult,
) -> Result<(Vec<(String, Artifact)>, Option<Messages>), ReportError> {
    let declared: Vec<(&String, RunReport)> = (task.action.rule.decl.outputs.iter())
        .filter_map(|(name, output)| match output.shape {
            OutputShape::Report(report, _) => Some((name, report)),
            _ => None,
        })
        .collect();
    if declared.is_empty() {
        return Ok((Vec::new(), None));
    }
    let trees: Vec<String> = (task.action.inputs.iter())
        .filter(|(_, input)| matches!(input, Input::Source { .. }))
        .map(|(name, _)| sandbox_path(name).display().to_string())
        .collect();
    let messages = context.kinds.logs().messages(&work.log(), &trees).map_err(ReportError::Log)?;
    let store = context.build.store;
    let mut files = Vec::with_capacity(declared.len());
    for (name, report) in declared {
        let blob = match report {
            RunReport::Log => match result.log {
                Some(log) => log,
                None => store.put_bytes(&[])?,
            },
            RunReport::Messages => store.put_bytes(&pretty(&messages.json))?,
            RunReport::Metadata => store.put_bytes(&pretty(&metadata(task, result, &messages)?))?,
        };
        files.push((name.clone(), Artifact::file(blob, false)));
    }
    Ok((files, Some(messages)))
}

fn pretty(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("it is JSON already");
    bytes.push(b'\n');
    bytes
}

fn metadata(task: &Task<'_>, result: &RunResult, messages: &Messages) -> Result<Json, BindError> {
    let action = task.action;
    let shell = ShellWords::new(action);
    let rule = &action.rule.decl;
    let mut environment = BTreeMap::new();
    for (name, value) in &rule.env {
        environment.insert(name, shell.argument(value)?);
    }
    let mut commands = Vec::new();
    for step in &rule.steps {
        let words: Result<Vec<String>, BindError> =
            step.iter().map(|argument| shell.argument(argument)).collect();
        // An empty list is no word.
        commands.push(words?.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" "));
    }
    // The build alone, for a user with a source tree and a directory that holds a `.config`.
    let make = commands.iter().rfind(|command| command.starts_with("make ")).map(|make| {
        let own = environment.iter().filter(|(_, value)| !value.contains("\"$"));
        let own: String = own.map(|(name, value)| format!("{name}={value} ")).collect();
        own + make
    });
    let outputs: BTreeMap<&str, Json> = result
        .outputs
        .iter()
        .map(|(name, artifact)| (name.as_str(), output(action, name, artifact)))
        .collect();
    Ok(json!({
        "version": METADATA_VERSION,
        "kiln": env!("CARGO_PKG_VERSION"),
        "node": task.name,
        "action-key": task.key_inputs.keys.action.to_string(),
        "outcome": result.outcome.as_str(),
        "continued": result.continued,
        "warnings": messages.warnings,
        "errors": messages.errors,
        "build": build(action),
        "inputs": inputs(task),
        "tools": tools(task),
        "environment": environment,
        "commands": commands,
        "make": make,
        "outputs": outputs,
    }))
}

/// The axes of the action's build.
fn build(action: &Action) -> BTreeMap<&'static str, String> {
    let axes = Axis::ALL.into_iter().filter(|axis| action.rule.decl.has_axis(*axis));
    axes.map(|axis| (axis.name(), action.bindings.text_of(axis.name()))).collect()
}

fn output(action: &Action, name: &str, artifact: &Artifact) -> Json {
    let path = action.export_path(name);
    let path = path.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    match artifact {
        Artifact::File { digest, size, .. } => {
            json!({ "path": path, "blake3": digest.to_string(), "size": size })
        }
        Artifact::Tree { digest, files, bytes } => {
            json!({ "path": path, "listing": digest.to_string(), "files": files, "size": bytes })
        }
        Artifact::Absent => Json::Null,
    }
}

/// The inputs of the action.
fn inputs(task: &Task<'_>) -> BTreeMap<String, Json> {
    let mut inputs: BTreeMap<String, Json> = BTreeMap::new();
    let mut commits = Vec::new();
    for field in task.key_inputs.manifest.all_fields() {
        let digest = match &field.value {
            FieldValue::Digest(digest) => Json::String(digest.to_string()),
            FieldValue::List(list) => json!(list),
            FieldValue::Text(text) => Json::String(text.clone()),
            FieldValue::Absent => Json::Null,
        };
        match field.kind {
            FieldKind::Source { input, source } => {
                inputs.insert(input, json!({ "source": source, "digest": digest }));
            }
            FieldKind::Output { input, node, output } => {
                inputs.insert(input, json!({ "node": node, "output": output, "digest": digest }));
            }
            FieldKind::File { input, path } => {
                inputs.insert(input, json!({ "file": path, "digest": digest }));
            }
            FieldKind::Lines { input } => {
                inputs.insert(format!("{input} lines"), digest);
            }
            FieldKind::Commit { source } => commits.push((source, digest)),
            FieldKind::Rule(_)
            | FieldKind::Binding(_)
            | FieldKind::Tool(_)
            | FieldKind::Host(_)
            | FieldKind::Library(_)
            | FieldKind::Projected(_) => {}
        }
    }
    for (source, commit) in commits {
        let of = inputs.values_mut().filter(|input| input["source"] == source.as_str());
        of.for_each(|input| input["commit"] = commit.clone());
    }
    inputs
}

/// The declared programs, each with the digest of all files that it loads.
fn tools(task: &Task<'_>) -> BTreeMap<String, Digest> {
    let fields = task.key_inputs.manifest.all_fields().into_iter();
    let tools = fields.filter_map(|field| match (field.kind, field.value) {
        (FieldKind::Tool(program), FieldValue::Digest(digest)) => Some((program, digest)),
        _ => None,
    });
    tools.collect()
}

/// Steps as a user types them in a shell, with `$O` for the output directory and a variable for each input.
struct ShellWords<'a> {
    bindings: &'a Bindings,
}

impl<'a> ShellWords<'a> {
    fn new(action: &'a Action) -> Self {
        Self { bindings: &action.bindings }
    }

    /// One argument; of a list its words, and nothing for an empty one.
    fn argument(&self, template: &Template) -> Result<String, BindError> {
        if let [Part::Placeholder(placeholder)] = template.parts.as_slice()
            && let Some(Value::List(list)) = self.bindings.get(placeholder)
        {
            return Ok(list.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "));
        }
        let mut word = String::new();
        for part in &template.parts {
            match part {
                Part::Text(text) => word.push_str(&quoted(text)),
                Part::Placeholder(placeholder) if placeholder == "out" => word.push_str("\"$O\""),
                Part::Placeholder(placeholder) => match placeholder.strip_prefix("in.") {
                    Some(input) => word.extend(["\"$", &variable(input), "\""]),
                    None => {
                        let text = self.bindings.text(&Template { parts: vec![part.clone()] })?;
                        word.push_str(&quoted(&text));
                    }
                },
            }
        }
        Ok(if template.parts.is_empty() { "''".to_owned() } else { word })
    }
}

fn variable(input: &str) -> String {
    input
        .chars()
        .map(|char| if char.is_ascii_alphanumeric() { char.to_ascii_uppercase() } else { '_' })
        .collect()
}
