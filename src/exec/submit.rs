//! A run that machines elsewhere carry out: kiln hands a job over, and waits for its end.

use std::cell::Cell;

use super::act::{Done, Stage, Task, write_outputs};
use super::stage::WorkDir;
use crate::digest::Digest;
use crate::graph::{Action, Input, NodeId};
use crate::plan::World;
use crate::store::{Artifact, BlobError, Outcome, ProjectId, Store, StoreError};

/// A kind whose jobs machines elsewhere carry out.
pub trait Submit: Sync {
    /// Hands a job over, or takes up one that an earlier run has handed over, and comes back when it has ended.
    fn submit(&self, job: &Job<'_>) -> Submitted;
}

/// A job to be handed over.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// The node.
    pub node: &'a str,
    /// What it is.
    pub action: &'a Action,
    /// The key of all that is declared of it: what two equal jobs have in common.
    pub action_key: &'a Digest,
    /// With all that it is given: who holds it is the only one who runs it.
    pub key: &'a Digest,
    /// Where what was handed over is on record.
    pub store: &'a Store,
    /// The project it is of.
    pub project: ProjectId,
    /// An input that is the output of another node, brought here where it is elsewhere.
    pub input: &'a dyn Fn(&str) -> Result<Artifact, JobInput>,
    /// Whether the user has had enough.
    pub cancelled: &'a dyn Fn() -> bool,
}

/// Why an input can't be had.
#[derive(Debug, thiserror::Error)]
pub enum JobInput {
    /// There is none of that name that is an output of another node.
    #[error("there is no input {0}")]
    Unknown(String),
    /// The cache can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The node that makes it has to run again.
    #[error("input {input}: {source}")]
    Lost {
        /// The node.
        node: NodeId,
        /// The input.
        input: String,
        /// What is wrong with it.
        source: BlobError,
    },
}

/// What a job came to.
#[derive(Debug)]
pub struct Submitted {
    /// Pass, fail or infra; skipped where there is nowhere to hand it to.
    pub outcome: Outcome,
    /// In a sentence.
    pub message: String,
    /// Contents of outputs, by name.
    pub outputs: Vec<(String, Vec<u8>)>,
}

impl Submitted {
    /// A job of which nothing can be shown.
    pub fn nothing(outcome: Outcome, message: impl std::fmt::Display) -> Self {
        Self { outcome, message: message.to_string(), outputs: Vec::new() }
    }
}

/// Has a job carried out.
pub(super) fn submitted(stage: &Stage<'_>, task: &Task<'_>, work: &WorkDir, submit: &dyn Submit) -> Done {
    let lost = Cell::new(None);
    let input = |name: &str| {
        input(stage.world, task, name).inspect_err(|error| {
            if let JobInput::Lost { node, .. } = error {
                lost.set(Some(*node));
            }
        })
    };
    let job = Job {
        node: task.name,
        action: task.action,
        action_key: &task.basis.keys.action,
        key: &task.basis.keys.given,
        store: stage.world.store,
        project: stage.world.project(),
        input: &input,
        cancelled: &|| stage.cancel.is_cancelled(),
    };
    let Submitted { outcome, message, outputs } = submit.submit(&job);
    if let Some(node) = lost.get() {
        return Done { lost: Some(node), ..Done::new(Outcome::Infra) }.saying(message);
    }
    match write_outputs(task.action, work, &outputs) {
        Ok(()) => Done { made: !outputs.is_empty(), ..Done::new(outcome) }.saying(message),
        Err(message) => Done::new(Outcome::Infra).saying(message),
    }
}

fn input(world: &World<'_>, task: &Task<'_>, name: &str) -> Result<Artifact, JobInput> {
    let (from, artifact) = input_artifact(task, name)?;
    world.bring(&artifact)?;
    if world.store.has_artifact(&artifact)? {
        Ok(artifact)
    } else {
        Err(JobInput::Lost { node: from, input: name.to_owned(), source: BlobError::Missing })
    }
}

/// An input that is the output of another node, wherever it is, and that node.
pub(super) fn input_artifact(task: &Task<'_>, name: &str) -> Result<(NodeId, Artifact), JobInput> {
    let wanted = task.action.inputs.iter().find_map(|(input, declared)| match declared {
        Input::Output { node, output } if &**input == name => Some((*node, output)),
        _ => None,
    });
    let (from, output): (NodeId, _) = wanted.ok_or_else(|| JobInput::Unknown(name.to_owned()))?;
    let outputs = (task.outputs_of)(from);
    let found = outputs.iter().find(|(name, _)| *name == **output).map(|(_, artifact)| *artifact);
    Ok((from, found.unwrap_or(Artifact::Absent)))
}
