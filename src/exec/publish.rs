//! Publishing: the outputs of a run are exported, its reports are written, and its output directory is kept for the next
//! run.

use std::collections::BTreeMap;

use super::collect::collect;
use super::context::{RunContext, Task};
use super::export::export_outputs;
use super::incremental::{self, IncrementalState};
use super::run_report::report_files;
use super::run_result::RunResult;
use super::secrets;
use super::work_dir::WorkDir;
use crate::store::Outcome;

/// How many damaged blobs of the cache one run replaces that makes the same content again.
const MAX_REPLACED_BLOBS: usize = 100;

/// Publishes the outputs of a run that passed or failed.
pub(super) fn publish_outputs(
    context: &RunContext<'_>,
    task: &Task<'_>,
    work: &WorkDir,
    mut result: RunResult,
    state: Option<IncrementalState>,
) -> RunResult {
    if !matches!(result.outcome, Outcome::Pass | Outcome::Fail) {
        return result;
    }
    let store = context.build.store;
    let is_incremental = task.action.rule.decl.incremental.is_some();
    let mut reports = match report_files(context, task, work, &result) {
        Ok((reports, messages)) => {
            result = result.with_message_counts(messages.as_ref());
            reports
        }
        Err(error) => {
            let own_outcome = Some(result.outcome);
            return RunResult { own_outcome, outcome: Outcome::Infra, ..result }.with_message(error);
        }
    };
    // The reports of a run without outputs are exported, and are not part of its result.
    if result.has_outputs {
        result.add_outputs(&reports);
    }
    let mut replaced = 0;
    loop {
        let exported = if result.has_outputs { &result.outputs } else { &reports };
        match export_outputs(store, task.action, exported, &context.build.out) {
            Ok(placed) => break result.placed = placed,
            // The cache had a blob of this content already, and it was damaged. It is set aside now: collect again, until all
            // such blobs are replaced.
            Err(error) if error.is_miss() && replaced < MAX_REPLACED_BLOBS => {
                replaced += 1;
                if result.has_outputs {
                    match collect(store, task.action, &work.out()) {
                        Ok(outputs) => result.outputs = outputs,
                        Err(error) => return RunResult::infra(error),
                    }
                }
                // After the outputs: reports list them.
                reports = match report_files(context, task, work, &result) {
                    Ok((reports, _)) => reports,
                    Err(error) => return RunResult::infra(error),
                };
                if result.has_outputs {
                    result.add_outputs(&reports);
                }
            }
            // The result is good, but can't be put in place: it is recorded, and the next build puts it in place.
            Err(error) => {
                let own_outcome = Some(result.outcome);
                return RunResult { own_outcome, outcome: Outcome::Infra, ..result }.with_message(error);
            }
        }
    }
    if let (true, true, Some(read)) = (is_incremental, result.ended, &result.read) {
        let unfinished = match result.outcome {
            Outcome::Pass => BTreeMap::new(),
            _ => state.map(|state| state.changed).unwrap_or_default(),
        };
        match why_not_reusable(context, work) {
            // If it can't be kept, the next run takes longer, and is as right.
            Ok(None) => drop(incremental::save(context, task, work, &read.set, unfinished)),
            // The run failed before its configuration was there to be read.
            Err(_) if result.outcome == Outcome::Fail => {}
            Ok(Some(why)) | Err(why) => {
                result = result.with_note(format!("its output directory is not kept: {why}"));
            }
        }
    }
    result
}

/// Why no run may continue in the output directory of this one.
fn why_not_reusable(context: &RunContext<'_>, work: &WorkDir) -> Result<Option<String>, String> {
    let key = secrets::private_key(&work.out()).map_err(|error| error.to_string())?;
    if let Some(path) = key {
        let path = path.strip_prefix(work.out()).unwrap_or(&path);
        return Ok(Some(format!("{} is a private key", path.display())));
    }
    context.kinds.records().stateful(&work.out())
}
