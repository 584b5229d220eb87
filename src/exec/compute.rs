//! Runs actions whose outputs kiln computes.

use std::cell::Cell;

use super::context::{RunContext, Task, artifact_of};
use super::kind::Compute;
use super::output_files::write_outputs;
use super::run_result::RunResult;
use super::work_dir::WorkDir;
use crate::plan::InputName;
use crate::store::Outcome;

pub(super) fn run_computed(
    context: &RunContext<'_>,
    task: &Task<'_>,
    work: &WorkDir,
    compute: &dyn Compute,
) -> RunResult {
    let lost = Cell::new(None);
    let read = |input: &str| {
        let declared = task.action.output_read(input);
        let declared = declared.ok_or_else(|| format!("there is no input {input}"))?;
        let (from, artifact) = (declared.node, artifact_of(task.outputs_of, declared));
        context.build.artifacts().read(artifact.as_ref(), InputName { from, input, node: task.name }).map_err(
            |error| {
                lost.set(error.lost());
                error.to_string()
            },
        )
    };
    let outputs = compute.compute(task.action, &read);
    if let (Err(message), Some(node)) = (&outputs, lost.get()) {
        return RunResult { lost: Some(node), ..RunResult::infra(message) };
    }
    match outputs.and_then(|outputs| write_outputs(task.action, work, &outputs)) {
        Ok(()) => RunResult::new(Outcome::Pass),
        Err(message) => RunResult::new(Outcome::Fail).with_message(message),
    }
}
