//! Runs the steps of an action in a sandbox.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use super::context::{RunContext, Task};
use super::discover::Discovered;
use super::incremental::IncrementalState;
use super::input_check::check_visible_sources;
use super::judge::{input_changed, judge, sandbox_failed, staging_failed, wait};
use super::kind::{Check, CheckedRun, Watcher};
use super::log_tail::log_tail;
use super::output_files::{output_path, write_outputs};
use super::run_result::RunResult;
use super::sandbox::{Output, Root, Running, SandboxSpec};
use super::sandbox_paths::sandbox_path;
use super::staging::stage_inputs;
use super::starvation::StarvationMonitor;
use super::traced_sandbox::{self, PrepareError};
use super::undeclared;
use super::work_dir::WorkDir;
use crate::graph::Input;
use crate::host;
use crate::store::Outcome;

/// How long a watched step may take to exit after it has closed its output.
const EXIT_GRACE: Duration = Duration::from_secs(5);

/// Who watches the output of steps.
#[derive(Clone, Copy)]
pub(super) struct Watching<'a> {
    pub watcher: &'a dyn Watcher,
    pub earlier_hint: Option<&'a str>,
}

/// Runs steps. Gives what they read, where that is discovered.
pub(super) fn run_steps(
    context: &RunContext<'_>,
    task: &Task<'_>,
    work: &WorkDir,
    watching: Option<Watching<'_>>,
    incremental: Option<&IncrementalState>,
) -> (RunResult, Option<Discovered>) {
    let argv = watching.map(|watching| watching.watcher.steps(task.action, &sandbox_path));
    let staged =
        stage_inputs(context.build, task.name, task.action, task.outputs_of, work, argv, &context.jobserver);
    let mut spec = match staged {
        Ok(spec) => spec,
        Err(error) => return (staging_failed(error), None),
    };
    match incremental.map(|state| state.mounts(context.build, task, work)).transpose() {
        Ok(mounts) => spec.mounts.extend(mounts.into_iter().flatten()),
        Err(error) => return (RunResult::infra(error), None),
    }
    let log = File::options().read(true).write(true).create(true).truncate(true).open(work.log());
    let mut log = match log {
        Ok(log) => log,
        Err(error) => return (RunResult::infra(error), None),
    };
    let output = || match watching {
        Some(_) => File::create(work.errors()).map(Output::Apart),
        None => log.try_clone().map(Output::File),
    };
    let (prepared, discovery) = match traced_sandbox::prepare(context, task, &spec, &output) {
        Ok(prepared) => prepared,
        Err(PrepareError::Sandbox(error)) => return (sandbox_failed(&error, task), None),
        Err(error) => return (RunResult::infra(error), None),
    };
    if let Err(changed) = check_visible_sources(context.build, task, incremental, &prepared) {
        return (input_changed(&changed), None);
    }
    let running = match prepared.start() {
        Ok(running) => running,
        Err(error) => return (sandbox_failed(&error, task), None),
    };
    let _registered = context.cancel.register(running.killer());
    let result = match watching {
        None => wait_for_steps(context, task, running),
        Some(watching) => watch_steps(context, task, work, watching, running, &mut log),
    };
    let result = explain_undeclared(context, task, work, &spec, result);
    // Not before here: the sandbox is gone, and nothing in it reads any more.
    let passed = result.outcome == Outcome::Pass;
    let discovered = discovery.end(context.build, context.kinds.records(), &work.out(), passed);
    (result, Some(discovered))
}

/// Runs steps, and checks what they made, or explains why they failed.
pub(super) fn run_checked(
    context: &RunContext<'_>,
    task: &Task<'_>,
    work: &WorkDir,
    check: &dyn Check,
) -> (RunResult, Option<Discovered>) {
    let (result, discovered) = run_steps(context, task, work, None, None);
    let out = |output: &str| output_path(task.action, work, output).ok();
    let source = |input: &str| match task.action.input(input)? {
        Input::Source { name, .. } => Some(context.build.sources.tree(name).ok()?.root.clone()),
        _ => None,
    };
    let machine = |compiler: &str| host::machine(compiler, &task.action.tool_path);
    let run = CheckedRun { action: task.action, out: &out, source: &source, machine: &machine };
    let result = match result.outcome {
        Outcome::Pass => match check.check(&run) {
            Ok(None) => result,
            Ok(Some(note)) => result.with_note(note),
            Err(message) => {
                RunResult { outcome: Outcome::Fail, has_outputs: false, ..result }.with_message(message)
            }
        },
        Outcome::Fail => match check.explain(&run, &log_tail(&work.log()).unwrap_or_default()) {
            Some(why) => {
                let step = result.message.as_deref().unwrap_or("a step failed");
                let message = format!("{why} ({step})");
                result.with_message(message)
            }
            None => result,
        },
        _ => result,
    };
    (result, discovered)
}

/// Adds to a failed run which files of this machine it looked for that its rule does not declare.
fn explain_undeclared(
    context: &RunContext<'_>,
    task: &Task<'_>,
    work: &WorkDir,
    spec: &SandboxSpec,
    result: RunResult,
) -> RunResult {
    let is_on_host = matches!(spec.root, Root::Host(_));
    if !matches!(result.outcome, Outcome::Fail | Outcome::Infra) || !is_on_host {
        return result;
    }
    let Ok(declared) = context.build.host.closure(task.action, task.name) else { return result };
    let script = result.not_started.and_then(|step| {
        let program = Path::new(spec.steps.get(step)?.argv.first()?);
        let mount = spec.mounts.iter().find(|mount| program.starts_with(&mount.to))?;
        let below = program.strip_prefix(&mount.to).ok()?;
        let script = if below.as_os_str().is_empty() { mount.from.clone() } else { mount.from.join(below) };
        undeclared::interpreter(&script, task.action, &declared)
    });
    let log = log_tail(&work.log()).unwrap_or_default();
    match script.or_else(|| undeclared::explain(task.action, &declared, &log)) {
        Some(why) => result.with_note(why),
        None => result,
    }
}

/// Waits for steps, up to the rule's time limit.
fn wait_for_steps(context: &RunContext<'_>, task: &Task<'_>, mut running: Running) -> RunResult {
    let limit = task.action.rule.decl.time_limit;
    match wait(&mut running, limit) {
        Ok((exit, timed_out)) => judge(context, task, exit, limit.filter(|_| timed_out)),
        Err(error) => sandbox_failed(&error, task),
    }
}

/// Watches the output of steps until the outcome is clear.
fn watch_steps(
    context: &RunContext<'_>,
    task: &Task<'_>,
    work: &WorkDir,
    watching: Watching<'_>,
    mut running: Running,
    log: &mut File,
) -> RunResult {
    let Watching { watcher, earlier_hint } = watching;
    let mut console = running.take_output().expect("the output was asked to be piped");
    let mut starvation = StarvationMonitor::new(running.init_pid());
    let seen = watcher.watch(task.action, &mut console, log, &mut starvation, earlier_hint);
    let own_exit = match &seen {
        // Steps that close their output and go on running are killed, and have no exit to judge by.
        Ok(seen) if seen.ended => running.wait_timeout(EXIT_GRACE).ok().flatten(),
        _ => None,
    };
    running.killer().kill();
    let exit = running.wait();
    let usage = exit.as_ref().map(|exit| exit.usage).unwrap_or_default();
    let errors = fs::read(work.errors()).unwrap_or_default();
    // The log is for people: a result without all of it is still a result.
    let _ = log.seek(SeekFrom::End(0)).and_then(|_| log.write_all(&errors));
    if let Ok(exit) = exit
        && exit.exceeded.is_some()
    {
        return judge(context, task, exit, None);
    }
    let seen = seen.map(|seen| {
        if !seen.ended {
            return seen;
        }
        let errors = String::from_utf8_lossy(&errors);
        watcher.ended(task.action, &sandbox_path, seen, own_exit.map(|exit| exit.end), &errors)
    });
    if context.cancel.is_cancelled() {
        return RunResult { usage, ..RunResult::new(Outcome::Cancelled) };
    }
    match seen {
        Ok(seen) => match write_outputs(task.action, work, &seen.outputs) {
            Ok(()) => RunResult { usage, has_outputs: true, hint: seen.hint, ..RunResult::new(seen.outcome) }
                .with_message(seen.message),
            Err(message) => RunResult { usage, ..RunResult::infra(message) },
        },
        Err(error) => RunResult { usage, ..RunResult::infra(error) },
    }
}
