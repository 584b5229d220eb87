//! Actions that run as jobs on other machines: kiln submits a job, and waits for its end.

use std::cell::Cell;

use super::context::{RunContext, Task, artifact_of};
use super::output_files::write_outputs;
use super::run_result::RunResult;
use super::work_dir::WorkDir;
use crate::digest::Digest;
use crate::graph::{Action, NodeId};
use crate::plan::BuildContext;
use crate::store::{Artifact, BlobError, Outcome, ProjectId, Store, StoreError};

/// A kind whose actions run as jobs on other machines.
pub trait Submit: Sync {
    /// Submits a job, or finds the one that an earlier run has submitted, and returns when it has ended.
    fn submit(&self, job: &Job<'_>) -> JobOutcome;
}

/// A job to submit.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// The node's name.
    pub node: &'a str,
    /// The action.
    pub action: &'a Action,
    /// The action key: equal for jobs that test the same.
    pub action_key: &'a Digest,
    /// The exact key, of which this process holds the lock: no other process runs this job.
    pub key: &'a Digest,
    /// The cache, which records submissions.
    pub store: &'a Store,
    /// The project of the node.
    pub project: ProjectId,
    /// Gives an input that is another node's output, fetched from a remote if need be.
    pub input: &'a dyn Fn(&str) -> Result<Artifact, JobInputError>,
    /// Whether the user pressed Ctrl-C.
    pub cancelled: &'a dyn Fn() -> bool,
}

/// Why an input can't be read.
#[derive(Debug, thiserror::Error)]
pub enum JobInputError {
    /// No input of this name is another node's output.
    #[error("there is no input {0}")]
    Unknown(String),
    /// The cache can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A blob of the input is gone: the node that makes it has to run again.
    #[error("input {input}: {source}")]
    Lost {
        /// That node.
        node: NodeId,
        /// The input's name.
        input: String,
        /// What is wrong with the blob.
        source: BlobError,
    },
}

/// The result of a job.
#[derive(Debug)]
pub struct JobOutcome {
    /// Pass, fail or infra; skipped if no lab takes the job.
    pub outcome: Outcome,
    /// The outcome in a sentence.
    pub message: String,
    /// Contents of outputs, by name.
    pub outputs: Vec<(String, Vec<u8>)>,
}

impl JobOutcome {
    /// A result without outputs.
    pub fn nothing(outcome: Outcome, message: impl std::fmt::Display) -> Self {
        Self { outcome, message: message.to_string(), outputs: Vec::new() }
    }
}

/// Runs a job.
pub(super) fn run_job(
    context: &RunContext<'_>,
    task: &Task<'_>,
    work: &WorkDir,
    submit: &dyn Submit,
) -> RunResult {
    let lost = Cell::new(None);
    let input = |name: &str| {
        input(context.build, task, name).inspect_err(|error| {
            if let JobInputError::Lost { node, .. } = error {
                lost.set(Some(*node));
            }
        })
    };
    let job = Job {
        node: task.name,
        action: task.action,
        action_key: &task.key_inputs.keys.action,
        key: &task.key_inputs.keys.exact_key,
        store: context.build.store,
        project: context.build.project(),
        input: &input,
        cancelled: &|| context.cancel.is_cancelled(),
    };
    let JobOutcome { outcome, message, outputs } = submit.submit(&job);
    if let Some(node) = lost.get() {
        return RunResult { lost: Some(node), ..RunResult::infra(message) };
    }
    match write_outputs(task.action, work, &outputs) {
        Ok(()) => {
            RunResult { has_outputs: !outputs.is_empty(), ..RunResult::new(outcome) }.with_message(message)
        }
        Err(message) => RunResult::infra(message),
    }
}

fn input(build: &BuildContext<'_>, task: &Task<'_>, name: &str) -> Result<Artifact, JobInputError> {
    let (from, artifact) = input_artifact(task, name)?;
    build.artifacts().fetch(&artifact)?;
    if build.store.has_artifact(&artifact)? {
        Ok(artifact)
    } else {
        Err(JobInputError::Lost { node: from, input: name.to_owned(), source: BlobError::Missing })
    }
}

/// An input that is another node's output, and that node.
pub(super) fn input_artifact(task: &Task<'_>, name: &str) -> Result<(NodeId, Artifact), JobInputError> {
    let wanted = task.action.output_read(name);
    let wanted = wanted.ok_or_else(|| JobInputError::Unknown(name.to_owned()))?;
    Ok((wanted.node, artifact_of(task.outputs_of, wanted).unwrap_or(Artifact::Absent)))
}
