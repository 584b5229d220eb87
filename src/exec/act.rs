//! One run of one action: stage, run, judge, collect, place.

use std::cell::Cell;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, PipeReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::cancel::Cancel;
use super::collect::collect;
use super::place::place;
use super::sandbox::{End, Exit, Output, Sandbox, SandboxError, Usage};
use super::stage::{StageError, WorkDir, inside, stage};
use super::tokens::JobServer;
use crate::graph::{Action, Input, NodeId};
use crate::plan::{Basis, Outputs, World};
use crate::spec::model::Kind;
use crate::store::{Artifact, Blob, Outcome, Placed, remove_tree};

/// How many lines of a log are shown where something went wrong, and how far back they are looked for.
const TAIL_LINES: usize = 20;
const TAIL_BYTES: u64 = 64 * 1024;

/// How many damaged blobs a run puts right that makes the same again.
const DAMAGED_BLOBS: usize = 100;

/// With less free space than this on the cache's disk, a failure is put down to that.
const DISK_FULL: u64 = 4 * 1024 * 1024;

/// What runs the actions of a kind.
pub enum Runner<'a> {
    /// The rule's own steps.
    Steps,
    /// Steps that something watches, and ends when it has seen enough.
    Watched(&'a dyn Watcher),
    /// kiln itself, without a sandbox.
    Computed(&'a dyn Compute),
}

/// The kinds there are.
pub trait Kinds: Sync {
    /// What runs a kind.
    fn runner(&self, kind: Kind) -> Runner<'_>;
}

/// A kind whose output is watched while it runs.
pub trait Watcher: Sync {
    /// The steps. `inside` says where an input is in the sandbox.
    fn steps(&self, action: &Action, inside: &dyn Fn(&str) -> std::path::PathBuf) -> Vec<Vec<OsString>>;

    /// Watches until the end is clear. All that is read goes to `log` as well.
    fn watch(&self, action: &Action, output: &mut PipeReader, log: &mut File) -> io::Result<Watched>;
}

/// What a watcher saw.
#[derive(Debug)]
pub struct Watched {
    /// Pass, fail or infra.
    pub outcome: Outcome,
    /// In a sentence.
    pub message: String,
    /// Contents of outputs, by name.
    pub outputs: Vec<(String, Vec<u8>)>,
}

/// A kind that kiln works out itself.
pub trait Compute: Sync {
    /// Contents of outputs, by name. `read` yields the content of an input.
    fn compute(
        &self,
        action: &Action,
        read: &dyn Fn(&str) -> Result<Vec<u8>, String>,
    ) -> Result<Vec<(String, Vec<u8>)>, String>;
}

/// What actions need to run. Shared by all that do.
pub(super) struct Stage<'a> {
    pub world: &'a World<'a>,
    pub sandbox: Sandbox,
    pub kinds: &'a dyn Kinds,
    pub jobserver: JobServer,
    pub cancel: &'a Cancel,
}

/// An action to run.
pub(super) struct Task<'a> {
    pub name: &'a str,
    pub action: &'a Action,
    pub basis: &'a Basis,
    /// The outputs of the nodes it reads from.
    pub outputs_of: &'a dyn Fn(NodeId) -> Outputs,
}

/// What a run came to.
#[derive(Debug)]
pub(super) struct Done {
    pub outcome: Outcome,
    pub message: Option<String>,
    pub outputs: Vec<(String, Artifact)>,
    pub placed: Vec<Placed>,
    pub log: Option<Blob>,
    pub log_tail: Vec<String>,
    pub usage: Usage,
    pub started: SystemTime,
    pub duration: Duration,
    /// The outcome of the action itself, where the run as a whole came to another.
    pub kept: Option<Outcome>,
    /// Whether there are outputs to collect: a boot that failed has a console log, a compiler that failed has nothing.
    pub made: bool,
    /// The node whose output is lost: it has to run again before this one can.
    pub lost: Option<NodeId>,
}

impl Done {
    pub(super) fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            message: None,
            outputs: Vec::new(),
            placed: Vec::new(),
            log: None,
            log_tail: Vec::new(),
            usage: Usage::default(),
            started: SystemTime::now(),
            duration: Duration::ZERO,
            kept: None,
            made: outcome == Outcome::Pass,
            lost: None,
        }
    }

    pub(super) fn saying(mut self, message: impl std::fmt::Display) -> Self {
        self.message = Some(message.to_string());
        self
    }
}

/// Runs an action, again where its rule allows for what is nobody's fault.
pub(super) fn act(stage: &Stage<'_>, task: &Task<'_>) -> Done {
    let (started, clock) = (SystemTime::now(), Instant::now());
    let mut tries = 0;
    let mut done = loop {
        let done = once(stage, task);
        let again = done.outcome == Outcome::Infra && done.lost.is_none() && done.kept.is_none();
        let again = again && !stage.cancel.is_cancelled();
        if !again || tries == task.action.rule.rule.retries {
            break done;
        }
        tries += 1;
    };
    if tries > 0 && done.outcome == Outcome::Pass {
        done.message = Some(format!("passed at try {}", tries + 1));
    }
    done.started = started;
    done.duration = clock.elapsed();
    done
}

fn once(stage: &Stage<'_>, task: &Task<'_>) -> Done {
    let root = match stage.world.store.fresh_work_dir(&task.name.replace(['/', ':'], "_")) {
        Ok(root) => root,
        Err(error) => return Done::new(Outcome::Infra).saying(error),
    };
    let done = match WorkDir::new(root.clone()) {
        Ok(work) => in_work_dir(stage, task, &work),
        Err(error) => Done::new(Outcome::Infra).saying(error),
    };
    // What can't be removed now is swept by the next kiln that opens the cache.
    let _ = remove_tree(&root);
    done
}

fn in_work_dir(stage: &Stage<'_>, task: &Task<'_>, work: &WorkDir) -> Done {
    let mut done = match stage.kinds.runner(task.action.rule.rule.kind) {
        Runner::Steps => sandboxed(stage, task, work, None),
        Runner::Watched(watcher) => sandboxed(stage, task, work, Some(watcher)),
        Runner::Computed(compute) => computed(stage, task, work, compute),
    };
    let store = stage.world.store;
    if let Ok(log) = store.put_file(&work.log()) {
        done.log = Some(log);
    }
    if done.outcome != Outcome::Pass {
        done.log_tail = tail(&work.log()).unwrap_or_default();
    }
    if done.outcome == Outcome::Fail && disk_is_full(work.root()) {
        done.outcome = Outcome::Infra;
        let message = done.message.take().unwrap_or_default();
        return done.saying(format!(
            "{message}; the disk with the cache is full ({}): make room and run kiln again",
            store.home().display()
        ));
    }
    if done.made {
        match collect(store, task.action, &work.out()) {
            Ok(outputs) => done.outputs = outputs,
            Err(error) if done.outcome == Outcome::Pass => {
                done.outcome = if error.is_the_outputs_fault() { Outcome::Fail } else { Outcome::Infra };
                done = done.saying(error);
            }
            Err(_) => done.outputs.clear(),
        }
    }
    if let Some(changed) = changed_meanwhile(stage.world, task) {
        return Done { log: done.log, ..Done::new(Outcome::Infra) }.saying(changed);
    }
    if matches!(done.outcome, Outcome::Pass | Outcome::Fail) {
        let mut tries = 0;
        loop {
            match place(store, task.action, &done.outputs, &stage.world.out) {
                Ok(placed) => break done.placed = placed,
                // The store had such a blob already, and it was damaged. It is out of the way now, one a time.
                Err(error) if error.is_miss() && tries < DAMAGED_BLOBS => {
                    tries += 1;
                    match collect(store, task.action, &work.out()) {
                        Ok(outputs) => done.outputs = outputs,
                        Err(error) => return Done::new(Outcome::Infra).saying(error),
                    }
                }
                // The result is good, and there is no place for it: it is kept, and put in place by the next build.
                Err(error) => {
                    let kept = Some(done.outcome);
                    return Done { kept, outcome: Outcome::Infra, ..done }.saying(error);
                }
            }
        }
    }
    done
}

fn sandboxed(stage: &Stage<'_>, task: &Task<'_>, work: &WorkDir, watcher: Option<&dyn Watcher>) -> Done {
    let argv = watcher.map(|watcher| watcher.steps(task.action, &inside));
    let spec = match self::stage(stage.world, task.action, task.outputs_of, work, argv, &stage.jobserver) {
        Ok(spec) => spec,
        Err(StageError::Lost { node, input, source }) => {
            let done = Done::new(Outcome::Infra).saying(format!("input {input}: {source}"));
            return Done { lost: Some(node), ..done };
        }
        // The node that could have made it did not, and will not next time.
        Err(error @ StageError::Absent { .. }) => return Done::new(Outcome::Fail).saying(error),
        Err(error) => return Done::new(Outcome::Infra).saying(error),
    };
    let log = File::options().read(true).write(true).create(true).truncate(true).open(work.log());
    let mut log = match log {
        Ok(log) => log,
        Err(error) => return Done::new(Outcome::Infra).saying(error),
    };
    let output = match watcher {
        Some(_) => Output::Piped,
        None => match log.try_clone() {
            Ok(log) => Output::File(log),
            Err(error) => return Done::new(Outcome::Infra).saying(error),
        },
    };
    let mut running = match stage.sandbox.spawn(&spec, output) {
        Ok(running) => running,
        Err(error) => return of_sandbox_error(&error, task),
    };
    let _registered = stage.cancel.register(running.killer());
    let Some(watcher) = watcher else {
        let limit = task.action.rule.rule.time_limit;
        let (exit, timed_out) = match limit {
            None => (running.wait(), false),
            Some(limit) => match running.wait_timeout(limit) {
                Ok(Some(exit)) => (Ok(exit), false),
                Ok(None) => {
                    running.killer().kill();
                    (running.wait(), true)
                }
                Err(error) => (Err(error), false),
            },
        };
        return match exit {
            Ok(exit) => judge(stage, task, exit, timed_out),
            Err(error) => of_sandbox_error(&error, task),
        };
    };
    let mut console = running.take_output().expect("the output was asked to be piped");
    let seen = watcher.watch(task.action, &mut console, &mut log);
    running.killer().kill();
    let usage = running.wait().map(|exit| exit.usage).unwrap_or_default();
    if stage.cancel.is_cancelled() {
        return Done { usage, ..Done::new(Outcome::Cancelled) };
    }
    match seen {
        Ok(seen) => match write_outputs(task.action, work, &seen.outputs) {
            Ok(()) => Done { usage, made: true, ..Done::new(seen.outcome) }.saying(seen.message),
            Err(message) => Done { usage, ..Done::new(Outcome::Infra) }.saying(message),
        },
        Err(error) => Done { usage, ..Done::new(Outcome::Infra) }.saying(error),
    }
}

/// What the end of a command's steps means.
fn judge(stage: &Stage<'_>, task: &Task<'_>, exit: Exit, timed_out: bool) -> Done {
    let rule = &task.action.rule.rule;
    let done = |outcome| Done { usage: exit.usage, ..Done::new(outcome) };
    match exit.end {
        End::AllStepsPassed => done(Outcome::Pass),
        _ if stage.cancel.is_cancelled() => done(Outcome::Cancelled),
        _ if timed_out => done(Outcome::Infra).saying(format!(
            "killed after its time limit of {}",
            humantime::format_duration(rule.time_limit.unwrap_or_default())
        )),
        End::StepExited { step, code } => {
            let outcome =
                if rule.outcome.infra_codes.contains(&code) { Outcome::Infra } else { Outcome::Fail };
            done(outcome).saying(format!("step {} ({}) exited with {code}", step + 1, program(task, step)))
        }
        End::StepSignaled { step, signal } => done(Outcome::Infra).saying(format!(
            "step {} ({}) was killed by signal {signal}{}",
            step + 1,
            program(task, step),
            if signal == 9 { ", as happens when memory runs out" } else { "" }
        )),
        End::Killed => done(Outcome::Infra).saying("killed from outside, as happens when memory runs out"),
    }
}

fn of_sandbox_error(error: &SandboxError, task: &Task<'_>) -> Done {
    let help = error.help().map_or(String::new(), |help| format!(": {help}"));
    let done = Done::new(Outcome::Infra).saying(format!("{error}{help}"));
    match error {
        // The rule's own mistake, and the same next time.
        SandboxError::Exec { step, .. } => {
            let program = program(task, *step);
            Done { outcome: Outcome::Fail, ..done }
                .saying(format!("step {} can't run {program}: {error}", step + 1))
        }
        _ => done,
    }
}

fn program(task: &Task<'_>, step: usize) -> String {
    let steps = &task.action.rule.rule.steps;
    let first = steps.get(step).and_then(|step| step.value.first());
    first.map_or_else(|| task.name.to_owned(), |template| template.value.to_string())
}

fn computed(stage: &Stage<'_>, task: &Task<'_>, work: &WorkDir, compute: &dyn Compute) -> Done {
    let lost = Cell::new(None);
    let read = |input: &str| {
        let wanted = task.action.inputs.iter().find_map(|(name, declared)| match declared {
            Input::Output { node, output } if &**name == input => Some((*node, output)),
            _ => None,
        });
        let (from, output) = wanted.ok_or_else(|| format!("there is no input {input}"))?;
        let outputs = (task.outputs_of)(from);
        let artifact = outputs.iter().find(|(name, _)| *name == **output).map(|(_, artifact)| artifact);
        stage.world.read_artifact(artifact, from, input, task.name).map_err(|error| {
            lost.set(error.lost());
            error.to_string()
        })
    };
    let made = compute.compute(task.action, &read);
    if let (Err(message), Some(node)) = (&made, lost.get()) {
        return Done { lost: Some(node), ..Done::new(Outcome::Infra) }.saying(message);
    }
    match made.and_then(|outputs| write_outputs(task.action, work, &outputs)) {
        Ok(()) => Done::new(Outcome::Pass),
        Err(message) => Done::new(Outcome::Fail).saying(message),
    }
}

/// Writes contents where the rule declares them to be, to be collected like any other output.
fn write_outputs(action: &Action, work: &WorkDir, contents: &[(String, Vec<u8>)]) -> Result<(), String> {
    use crate::spec::model::OutputShape;
    for (name, bytes) in contents {
        let Some(declared) = action.rule.rule.outputs.get(name) else {
            return Err(format!("rule {} declares no output {name}", action.rule.name));
        };
        let OutputShape::File(path) = &declared.value.shape else {
            return Err(format!("output {name} of rule {} must be a file", action.rule.name));
        };
        let path = action.bindings.text(&path.value).map_err(|error| error.to_string())?;
        let path = work.out().join(path);
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, bytes));
        written.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// Whether what was read is still what the key says. A result of something else must not be recorded under it.
fn changed_meanwhile(world: &World<'_>, task: &Task<'_>) -> Option<String> {
    for (input, declared) in &task.action.inputs {
        let changed = match declared {
            Input::Source { name, .. } => {
                let then = task.basis.manifest.trees().find(|(tree, _)| **tree == **input);
                match (world.walk(name), then) {
                    (Ok(now), Some((_, then))) => now.digest() != then,
                    _ => true,
                }
                .then(|| format!("source {name}"))
            }
            Input::File(path) => world.changed(path).then(|| path.display().to_string()),
            Input::Concat { files, .. } => {
                files.iter().find(|path| world.changed(path)).map(|path| path.display().to_string())
            }
            Input::Output { .. } => None,
        };
        if let Some(what) = changed {
            return Some(changed_while_running(&what));
        }
    }
    world.changed_on_host(task.action).map(|what| changed_while_running(&what))
}

fn changed_while_running(what: &str) -> String {
    format!("{what} changed while this ran: nothing is recorded; run kiln again")
}

fn disk_is_full(path: &Path) -> bool {
    nix::sys::statvfs::statvfs(path)
        .is_ok_and(|stat| stat.blocks_available().saturating_mul(stat.fragment_size()) < DISK_FULL)
}

/// The last lines of a log.
pub(super) fn tail(path: &Path) -> io::Result<Vec<String>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.len().saturating_sub(TAIL_LINES);
    Ok(lines[first..].iter().map(|line| (*line).to_owned()).collect())
}
