//! Runs an action: attempts in fresh work directories, until one is not infra or the rule's retries are used up.

use std::path::Path;
use std::time::{Instant, SystemTime};

use super::builtin::run_builtin;
use super::collect::collect;
use super::compute::run_computed;
use super::context::{RunContext, Task};
use super::discover::Discovered;
use super::incremental;
use super::input_check::{InputAccess, strong_key_if_unchanged, wait_for_clock_tick};
use super::job::run_job;
use super::judge::input_changed;
use super::kind::Runner;
use super::log_tail::log_tail;
use super::publish::publish_outputs;
use super::run_result::{ReadInputs, Retry, RunResult};
use super::secrets;
use super::steps::{Watching, run_checked, run_steps};
use super::work_dir::WorkDir;
use crate::plan::StrongKey;
use crate::store::{Outcome, remove_tree};

/// With less free space than this on the cache's disk, in bytes, a failure is blamed on the full disk.
const DISK_FULL: u64 = 4 * 1024 * 1024;

/// Runs an action.
pub(super) fn run_action(context: &RunContext<'_>, task: &Task<'_>) -> RunResult {
    let (started, clock) = (SystemTime::now(), Instant::now());
    let mut retries = 0;
    let mut hint = None;
    let mut result = loop {
        let mut result = run_attempt(context, task, hint.as_deref());
        hint = result.hint.take().or(hint);
        let may_retry = result.outcome == Outcome::Infra
            && result.lost.is_none()
            && result.own_outcome.is_none()
            && result.retry == Retry::Useful
            && !context.cancel.is_cancelled();
        if !may_retry || retries == task.action.rule.decl.retries {
            break result;
        }
        retries += 1;
    };
    if retries > 0 && result.outcome == Outcome::Pass {
        result.message = Some(format!("passed at try {}", retries + 1));
    }
    result.started = started;
    result.duration = clock.elapsed();
    result
}

fn run_attempt(context: &RunContext<'_>, task: &Task<'_>, earlier_hint: Option<&str>) -> RunResult {
    let root = match context.build.store.fresh_work_dir(&task.name.replace(['/', ':'], "_")) {
        Ok(root) => root,
        Err(error) => return RunResult::infra(error),
    };
    let result = match WorkDir::new(root.clone()) {
        Ok(work) => run_in_work_dir(context, task, &work, earlier_hint),
        Err(error) => RunResult::infra(error),
    };
    // The next process that opens the cache removes what can't be removed now.
    let _ = remove_tree(&root);
    result
}

fn run_in_work_dir(
    context: &RunContext<'_>,
    task: &Task<'_>,
    work: &WorkDir,
    earlier_hint: Option<&str>,
) -> RunResult {
    let runner = context.kinds.runner(task.action.rule.decl.kind);
    wait_for_clock_tick(context.build, task);
    let is_incremental = task.action.rule.decl.incremental.is_some();
    let taken =
        if is_incremental && !context.clean { incremental::take(context, task, work) } else { Ok(None) };
    // A state that can't be reused costs time alone: the run starts from scratch.
    let (state, not_reusable) = taken.map_or_else(|why| (None, Some(why)), |state| (state, None));
    if state.is_none()
        && let Err(error) = work.make_out()
    {
        return RunResult::infra(error);
    }
    let (mut result, discovered) = match runner {
        Runner::Steps => run_steps(context, task, work, None, state.as_ref()),
        Runner::Checked(check) => run_checked(context, task, work, check),
        Runner::Watched(watcher) => {
            run_steps(context, task, work, Some(Watching { watcher, earlier_hint }), None)
        }
        Runner::Computed(compute) => (run_computed(context, task, work, compute), None),
        Runner::Builtin(action) => (run_builtin(context, task, work, action), None),
        Runner::Submitted(submit) => (run_job(context, task, work, submit), None),
    };
    match secrets::leaked(context.build, task.action, work) {
        Ok(None) => {}
        Ok(Some(path)) => {
            let path = path.strip_prefix(work.root()).unwrap_or(&path);
            let message = format!("{} holds the private key: nothing is kept of this run", path.display());
            return RunResult { usage: result.usage, ..RunResult::new(Outcome::Fail) }.with_message(message);
        }
        Err(error) => return RunResult::infra(format!("can't look for the private key: {error}")),
    }
    if result.retry == Retry::Futile {
        return result;
    }
    let store = context.build.store;
    if let Ok(log) = store.put_file(&work.log()) {
        result.log = Some(log);
    }
    if result.outcome != Outcome::Pass {
        result.log_tail = log_tail(&work.log()).unwrap_or_default();
    }
    if result.outcome == Outcome::Fail && disk_is_full(work.root()) {
        result.outcome = Outcome::Infra;
        let message = result.message.take().unwrap_or_default();
        return result.with_message(format!(
            "{message}; the disk with the cache is full ({}): make room and run kiln again",
            store.home().display()
        ));
    }
    if result.has_outputs {
        match collect(store, task.action, &work.out()) {
            Ok(outputs) => result.outputs = outputs,
            Err(error) if result.outcome == Outcome::Pass => {
                result.outcome = if error.is_the_outputs_fault() { Outcome::Fail } else { Outcome::Infra };
                result = result.with_message(error);
            }
            Err(_) => result.outputs.clear(),
        }
    }
    let whole = || Discovered { set: task.key_inputs.manifest.whole(), unknown: None, of_all: false };
    let Discovered { mut set, unknown, of_all } = discovered.unwrap_or_else(whole);
    if let Some(why) = unknown {
        result = result.with_note(format!("all of its trees count as read: {why}"));
    }
    if let Some(state) = &state
        && !of_all
    {
        // Files that this run did not make again were made from what earlier runs read.
        set = set.union(state.set.clone());
    }
    if result.outcome == Outcome::Cancelled {
        return result;
    }
    match strong_key_if_unchanged(context.build, task, input_access(&runner), &set) {
        Ok(_) if result.exceeded.is_some() => {}
        Ok(key) => result.read = Some(ReadInputs { strong: StrongKey { key, path_set: set.digest() }, set }),
        // Neither outputs nor the output directory are used: they may be made from something else than the key says.
        Err(changed) => return RunResult { log: result.log, ..input_changed(&changed) },
    }
    result.continued = state.is_some();
    if result.outcome == Outcome::Pass {
        result = result.with_incremental_note(state.as_ref(), not_reusable.as_ref());
    }
    if context.ephemeral { result } else { publish_outputs(context, task, work, result, state) }
}

/// Where the inputs of a run are while it runs.
const fn input_access(runner: &Runner<'_>) -> InputAccess {
    match runner {
        Runner::Steps | Runner::Checked(_) | Runner::Watched(_) => InputAccess::Staged,
        Runner::Computed(_) | Runner::Builtin(_) | Runner::Submitted(_) => InputAccess::InPlace,
    }
}

fn disk_is_full(path: &Path) -> bool {
    nix::sys::statvfs::statvfs(path)
        .is_ok_and(|stat| stat.blocks_available().saturating_mul(stat.fragment_size()) < DISK_FULL)
}
