//! One run of one action: stage, run, judge, collect, place.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, PipeReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;

use super::bounds;
use super::cancel::Cancel;
use super::collect::collect;
use super::discover::{Discovered, Records};
use super::kept::{self, Continued, Unfit};
use super::make::{Make, made};
use super::pace::Pace;
use super::place::place;
use super::sandbox::{End, Exceeded, Exit, Output, Root, Running, Sandbox, SandboxError, SandboxSpec, Usage};
use super::secrets;
use super::stage::{StageError, WorkDir, inside, stage};
use super::submit::{Submit, submitted};
use super::tokens::JobServer;
use super::told::{Messages, told};
use super::unchanged::{Changed, Inputs, key_if_unchanged, shown_as_decided, wait_for_clock};
use super::undeclared;
use super::watch::{self, WatchError};
use crate::graph::{Action, Input, NodeId};
use crate::host;
use crate::plan::{Basis, Outputs, Strong, World};
use crate::remote::{Meter, Remotes, Traffic};
use crate::source::PathSet;
use crate::spec::model::Kind;
use crate::store::{Artifact, Blob, Outcome, Placed, remove_tree};

/// How many lines of a log are shown where something went wrong, and how far back they are looked for.
const TAIL_LINES: usize = 20;
const TAIL_BYTES: u64 = 64 * 1024;

/// How long a watched step that has closed its output may take to end.
const LAST_BREATH: Duration = Duration::from_secs(5);

/// How many damaged blobs a run puts right that makes the same again.
const DAMAGED_BLOBS: usize = 100;

/// With less free space than this on the cache's disk, a failure is put down to that.
const DISK_FULL: u64 = 4 * 1024 * 1024;

/// What runs the actions of a kind.
pub enum Runner<'a> {
    /// The rule's own steps.
    Steps,
    /// The rule's own steps, and a look at what they made.
    Checked(&'a dyn Check),
    /// Steps that something watches, and ends when it has seen enough.
    Watched(&'a dyn Watcher),
    /// kiln itself, without a sandbox.
    Computed(&'a dyn Compute),
    /// kiln itself, which makes them as files.
    Made(&'a dyn Make),
    /// Machines elsewhere, which something hands a job to.
    Submitted(&'a dyn Submit),
}

/// The kinds there are.
pub trait Kinds: Sync {
    /// What runs a kind.
    fn runner(&self, kind: Kind) -> Runner<'_>;

    /// What reads the records that builds keep of their inputs.
    fn records(&self) -> &dyn Records;

    /// The warnings and errors in a log; none where there is no log, as of a run that failed before it began. `trees` is
    /// where source trees were for the steps.
    ///
    /// # Errors
    ///
    /// When the log can't be read.
    fn messages(&self, log: &Path, trees: &[String]) -> io::Result<Messages>;
}

/// A kind whose outputs are looked at once its steps have passed, and whose failures it can explain.
pub trait Check: Sync {
    /// What is to be said of them, or what is wrong with them: the action has failed then.
    fn check(&self, ran: &Ran<'_>) -> Result<Option<String>, String>;

    /// Why a step failed, and what to do; `log` are the last lines of what it said. `None`: these have to do.
    fn explain(&self, ran: &Ran<'_>, log: &[String]) -> Option<String>;
}

/// A run, for those who look at what it made.
#[derive(Clone, Copy)]
pub struct Ran<'a> {
    /// What ran.
    pub action: &'a Action,
    /// Where an output is.
    pub out: &'a dyn Fn(&str) -> Option<PathBuf>,
    /// Where an input that is a source tree is.
    pub source: &'a dyn Fn(&str) -> Option<PathBuf>,
    /// What a compiler makes code for, by its own word.
    pub machine: &'a dyn Fn(&str) -> Option<String>,
}

/// A kind whose output is watched while it runs.
pub trait Watcher: Sync {
    /// The steps. `inside` says where an input is in the sandbox.
    fn steps(&self, action: &Action, inside: &dyn Fn(&str) -> std::path::PathBuf) -> Vec<Vec<OsString>>;

    /// Watches until the end is clear. All that is read goes to `log` as well. What the steps say on standard error is not
    /// part of `output`.
    /// `pace` is to be looked at meanwhile. `before` is what an earlier try of this run left to be [confirmed](Watched::hint).
    fn watch(
        &self,
        action: &Action,
        output: &mut PipeReader,
        log: &mut File,
        pace: &mut Pace,
        before: Option<&str>,
    ) -> io::Result<Watched>;

    /// What it means that the steps ended before the watcher had seen enough. `end` is how, where that is known, and
    /// `errors` what they said on standard error.
    fn ended(
        &self,
        action: &Action,
        inside: &dyn Fn(&str) -> PathBuf,
        watched: Watched,
        end: Option<End>,
        errors: &str,
    ) -> Watched;
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
    /// Whether the output ended first, and decided nothing.
    pub ended: bool,
    /// What is no verdict by itself, but would be if another try came to it as well.
    pub hint: Option<String>,
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
    /// Counts what comes from servers that are no remotes.
    pub meter: Meter,
    /// Whether every run starts with an empty output directory.
    pub clean: bool,
    /// Whether runs leave nothing behind: no output is put in place, and no output directory kept.
    pub apart: bool,
}

impl Stage<'_> {
    /// What has come from elsewhere.
    pub(super) fn traffic(&self) -> Traffic {
        let remotes = self.world.remotes.map(Remotes::traffic).unwrap_or_default();
        remotes.with(self.meter.traffic())
    }
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
    /// What it read; `None` where it did not come to that.
    pub read: Option<WasRead>,
    /// Whether it continued in the output directory of its last run.
    pub continued: bool,
    /// Whether its steps ended by themselves, so that what they left is whole.
    pub ended: bool,
    /// The step whose program could not be executed.
    pub not_started: Option<usize>,
    /// What another try may confirm.
    pub hint: Option<String>,
    /// Whether it is of use to run it again here, if it is infra.
    pub retry: Retry,
    /// The limit that decided it, where one did. Limits are in no key: nothing is kept of it.
    pub exceeded: Option<Exceeded>,
}

/// Whether it is of use to run an action again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// It may end otherwise.
    Useful,
    /// Its inputs are not what this kiln decided on, and will not be.
    Futile,
}

/// What a run read, and the key of its result.
#[derive(Debug)]
pub(super) struct WasRead {
    pub set: PathSet,
    pub strong: Strong,
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
            read: None,
            continued: false,
            ended: false,
            hint: None,
            not_started: None,
            retry: Retry::Useful,
            exceeded: None,
        }
    }

    /// Adds outputs. They are kept in the order of their names, whatever made them.
    fn add(&mut self, outputs: &[(String, Artifact)]) {
        self.outputs.extend(outputs.iter().cloned());
        self.outputs.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    }

    /// Says how it made use of what was kept of its last run.
    fn noting(self, continued: Option<&Continued>, unfit: Option<&Unfit>) -> Self {
        match (continued, unfit) {
            (Some(continued), _) => match continued.len() {
                1 => self.adding("continued from its last run: 1 file differs"),
                count => self.adding(format!("continued from its last run: {count} files differ")),
            },
            (None, Some(unfit)) => self.adding(format!("built from scratch: {unfit}")),
            (None, None) => self,
        }
    }

    /// Says how many warnings and errors there were.
    fn counting(self, messages: Option<&Messages>) -> Self {
        let Some(messages) = messages else { return self };
        let count = |count: u64, what: &str| match count {
            0 => None,
            1 => Some(format!("1 {what}")),
            _ => Some(format!("{count} {what}s")),
        };
        let counts = [count(messages.errors, "error"), count(messages.warnings, "warning")];
        let counts: Vec<String> = counts.into_iter().flatten().collect();
        if counts.is_empty() { self } else { self.adding(counts.join(" and ")) }
    }

    /// Says more.
    fn adding(self, more: impl std::fmt::Display) -> Self {
        match &self.message {
            Some(message) => {
                let message = format!("{message}; {more}");
                self.saying(message)
            }
            None => self.saying(more),
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
    let mut hint = None;
    let mut done = loop {
        let mut done = once(stage, task, hint.as_deref());
        hint = done.hint.take().or(hint);
        let again = done.outcome == Outcome::Infra && done.lost.is_none() && done.kept.is_none();
        let again = again && done.retry == Retry::Useful && !stage.cancel.is_cancelled();
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

fn once(stage: &Stage<'_>, task: &Task<'_>, before: Option<&str>) -> Done {
    let root = match stage.world.store.fresh_work_dir(&task.name.replace(['/', ':'], "_")) {
        Ok(root) => root,
        Err(error) => return Done::new(Outcome::Infra).saying(error),
    };
    let done = match WorkDir::new(root.clone()) {
        Ok(work) => in_work_dir(stage, task, &work, before),
        Err(error) => Done::new(Outcome::Infra).saying(error),
    };
    // What can't be removed now is swept by the next kiln that opens the cache.
    let _ = remove_tree(&root);
    done
}

fn in_work_dir(stage: &Stage<'_>, task: &Task<'_>, work: &WorkDir, before: Option<&str>) -> Done {
    wait_for_clock(stage.world, task);
    let incremental = task.action.rule.rule.incremental.is_some();
    let kept = if incremental && !stage.clean { kept::take(stage, task, work) } else { Ok(None) };
    // Whatever is wrong with what was kept, it can be made again.
    let (continued, unfit) = kept.map_or_else(|unfit| (None, Some(unfit)), |continued| (continued, None));
    if continued.is_none()
        && let Err(error) = work.make_out()
    {
        return Done::new(Outcome::Infra).saying(error);
    }
    let runner = stage.kinds.runner(task.action.rule.rule.kind);
    let inputs = match runner {
        Runner::Steps | Runner::Checked(_) | Runner::Watched(_) => Inputs::Staged,
        Runner::Computed(_) | Runner::Made(_) | Runner::Submitted(_) => Inputs::InPlace,
    };
    let (mut done, discovered) = match runner {
        Runner::Steps => sandboxed(stage, task, work, None, continued.as_ref()),
        Runner::Checked(check) => checked(stage, task, work, check),
        Runner::Watched(watcher) => sandboxed(stage, task, work, Some((watcher, before)), None),
        Runner::Computed(compute) => (computed(stage, task, work, compute), None),
        Runner::Made(make) => (made(stage, task, work, make), None),
        Runner::Submitted(submit) => (submitted(stage, task, work, submit), None),
    };
    match secrets::leaked(stage.world, task.action, work) {
        Ok(None) => {}
        Ok(Some(path)) => {
            let path = path.strip_prefix(work.root()).unwrap_or(&path);
            let message = format!("{} holds the private key: nothing is kept of this run", path.display());
            return Done {
                outcome: Outcome::Fail,
                made: false,
                usage: done.usage,
                ..Done::new(Outcome::Fail)
            }
            .saying(message);
        }
        Err(error) => {
            return Done::new(Outcome::Infra).saying(format!("can't look for the private key: {error}"));
        }
    }
    if done.retry == Retry::Futile {
        return done;
    }
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
    let whole = || Discovered { set: task.basis.manifest.whole(), unknown: None, of_all: false };
    let Discovered { mut set, unknown, of_all } = discovered.unwrap_or_else(whole);
    if let Some(why) = unknown {
        done = done.adding(format!("all of its trees count as read: {why}"));
    }
    if let Some(continued) = &continued
        && !of_all
    {
        // What was read for what is not made anew counts as well.
        set = set.union(continued.set.clone());
    }
    if done.outcome == Outcome::Cancelled {
        // Nothing of it is kept.
        return done;
    }
    match key_if_unchanged(stage.world, task, inputs, &set) {
        Ok(_) if done.exceeded.is_some() => {}
        Ok(key) => done.read = Some(WasRead { strong: Strong { key, path_set: set.digest() }, set }),
        // No output, no result, and no output directory to continue in: all may be of something else.
        Err(changed) => return Done { log: done.log, ..of_change(&changed) },
    }
    done.continued = continued.is_some();
    if done.outcome == Outcome::Pass {
        done = done.noting(continued.as_ref(), unfit.as_ref());
    }
    if stage.apart { done } else { leave(stage, task, work, done, continued) }
}

/// Leaves behind what a run came to: its outputs in their places, what is told of it, and its output directory.
fn leave(
    stage: &Stage<'_>,
    task: &Task<'_>,
    work: &WorkDir,
    mut done: Done,
    continued: Option<Continued>,
) -> Done {
    if !matches!(done.outcome, Outcome::Pass | Outcome::Fail) {
        return done;
    }
    let store = stage.world.store;
    let incremental = task.action.rule.rule.incremental.is_some();
    let mut told = match self::told(stage, task, work, &done) {
        Ok((told, messages)) => {
            done = done.counting(messages.as_ref());
            told
        }
        Err(error) => {
            let kept = Some(done.outcome);
            return Done { kept, outcome: Outcome::Infra, ..done }.saying(error);
        }
    };
    // What is told of a run that made nothing is put in place, and is no result.
    if done.made {
        done.add(&told);
    }
    let mut tries = 0;
    loop {
        let placed = if done.made { &done.outputs } else { &told };
        match place(store, task.action, placed, &stage.world.out) {
            Ok(placed) => break done.placed = placed,
            // The store had such a blob already, and it was damaged. It is out of the way now, one a time.
            Err(error) if error.is_miss() && tries < DAMAGED_BLOBS => {
                tries += 1;
                if done.made {
                    match collect(store, task.action, &work.out()) {
                        Ok(outputs) => done.outputs = outputs,
                        Err(error) => return Done::new(Outcome::Infra).saying(error),
                    }
                }
                // After the outputs, of which it tells.
                told = match self::told(stage, task, work, &done) {
                    Ok((told, _)) => told,
                    Err(error) => return Done::new(Outcome::Infra).saying(error),
                };
                if done.made {
                    done.add(&told);
                }
            }
            // The result is good, and there is no place for it: it is kept, and put in place by the next build.
            Err(error) => {
                let kept = Some(done.outcome);
                return Done { kept, outcome: Outcome::Infra, ..done }.saying(error);
            }
        }
    }
    if let (true, true, Some(read)) = (incremental, done.ended, &done.read) {
        let unfinished = match done.outcome {
            Outcome::Pass => BTreeMap::new(),
            _ => continued.map(|continued| continued.changed).unwrap_or_default(),
        };
        match unkeepable(stage, work) {
            // Without it the next run takes longer, and is as right.
            Ok(None) => drop(kept::keep(stage, task, work, &read.set, unfinished)),
            // It failed before its settings were there.
            Err(_) if done.outcome == Outcome::Fail => {}
            Ok(Some(why)) | Err(why) => {
                done = done.adding(format!("its output directory is not kept: {why}"));
            }
        }
    }
    done
}

/// Why no run may continue in what this one leaves.
fn unkeepable(stage: &Stage<'_>, work: &WorkDir) -> Result<Option<String>, String> {
    let key = secrets::private_key(&work.out()).map_err(|error| error.to_string())?;
    if let Some(path) = key {
        let path = path.strip_prefix(work.out()).unwrap_or(&path);
        return Ok(Some(format!("{} is a private key", path.display())));
    }
    stage.kinds.records().stateful(&work.out())
}

/// Runs steps, and has what they made checked, or explained why they did not.
fn checked(
    stage: &Stage<'_>,
    task: &Task<'_>,
    work: &WorkDir,
    check: &dyn Check,
) -> (Done, Option<Discovered>) {
    let (done, discovered) = sandboxed(stage, task, work, None, None);
    let out = |output: &str| output_file(task.action, work, output).ok();
    let source = |input: &str| match task.action.inputs.iter().find(|(name, _)| &**name == input)? {
        (_, Input::Source { name, .. }) => Some(stage.world.source_tree(name).ok()?.root.clone()),
        _ => None,
    };
    let machine = |compiler: &str| host::machine(compiler, &task.action.tool_path);
    let ran = Ran { action: task.action, out: &out, source: &source, machine: &machine };
    let done = match done.outcome {
        Outcome::Pass => match check.check(&ran) {
            Ok(None) => done,
            Ok(Some(note)) => done.adding(note),
            Err(message) => Done { outcome: Outcome::Fail, made: false, ..done }.saying(message),
        },
        Outcome::Fail => match check.explain(&ran, &tail(&work.log()).unwrap_or_default()) {
            Some(why) => {
                let step = done.message.as_deref().unwrap_or("a step failed");
                let message = format!("{why} ({step})");
                done.saying(message)
            }
            None => done,
        },
        _ => done,
    };
    (done, discovered)
}

/// Runs steps, and tells what they read where that was watched.
fn sandboxed(
    stage: &Stage<'_>,
    task: &Task<'_>,
    work: &WorkDir,
    watcher: Option<(&dyn Watcher, Option<&str>)>,
    continued: Option<&Continued>,
) -> (Done, Option<Discovered>) {
    let argv = watcher.map(|(watcher, _)| watcher.steps(task.action, &inside));
    let staged =
        self::stage(stage.world, task.name, task.action, task.outputs_of, work, argv, &stage.jobserver);
    let mut spec = match staged {
        Ok(spec) => spec,
        Err(error) => return (of_stage_error(error), None),
    };
    match continued.map(|continued| continued.mounts(stage.world, task, work)).transpose() {
        Ok(mounts) => spec.mounts.extend(mounts.into_iter().flatten()),
        Err(error) => return (Done::new(Outcome::Infra).saying(error), None),
    }
    let log = File::options().read(true).write(true).create(true).truncate(true).open(work.log());
    let mut log = match log {
        Ok(log) => log,
        Err(error) => return (Done::new(Outcome::Infra).saying(error), None),
    };
    let output = || match watcher {
        Some(_) => File::create(work.errors()).map(Output::Apart),
        None => log.try_clone().map(Output::File),
    };
    let (prepared, discovery) = match watch::prepare(stage, task, &spec, &output) {
        Ok(watched) => watched,
        Err(WatchError::Sandbox(error)) => return (of_sandbox_error(&error, task), None),
        Err(error) => return (Done::new(Outcome::Infra).saying(error), None),
    };
    if let Err(changed) = shown_as_decided(stage.world, task, continued, &prepared) {
        return (of_change(&changed), None);
    }
    let running = match prepared.start() {
        Ok(running) => running,
        Err(error) => return (of_sandbox_error(&error, task), None),
    };
    let _registered = stage.cancel.register(running.killer());
    let done = match watcher {
        None => awaited(stage, task, running),
        Some((watcher, before)) => watched(stage, task, work, watcher, before, running, &mut log),
    };
    let done = explained(stage, task, work, &spec, done);
    // The sandbox is gone, and with it whoever might still have read something.
    let passed = done.outcome == Outcome::Pass;
    let discovered = discovery.end(stage.world, stage.kinds.records(), &work.out(), passed);
    (done, Some(discovered))
}

/// Says of a failed run what of this machine it lacked that its rule does not declare.
fn explained(stage: &Stage<'_>, task: &Task<'_>, work: &WorkDir, spec: &SandboxSpec, done: Done) -> Done {
    let is_on_host = matches!(spec.root, Root::Host(_));
    if !matches!(done.outcome, Outcome::Fail | Outcome::Infra) || !is_on_host {
        return done;
    }
    let Ok(shown) = stage.world.closure(task.action, task.name) else { return done };
    let script = done.not_started.and_then(|step| {
        let program = Path::new(spec.steps.get(step)?.argv.first()?);
        let mount = spec.mounts.iter().find(|mount| program.starts_with(&mount.to))?;
        let below = program.strip_prefix(&mount.to).ok()?;
        let script = if below.as_os_str().is_empty() { mount.from.clone() } else { mount.from.join(below) };
        undeclared::interpreter(&script, task.action, &shown)
    });
    let log = tail(&work.log()).unwrap_or_default();
    match script.or_else(|| undeclared::explain(task.action, &shown, &log)) {
        Some(why) => done.adding(why),
        None => done,
    }
}

/// What it means that inputs changed. To run again here would be held against the same old state.
fn of_change(changed: &Changed) -> Done {
    Done { retry: Retry::Futile, ..Done::new(Outcome::Infra) }.saying(changed)
}

fn of_stage_error(error: StageError) -> Done {
    match error {
        StageError::Lost { node, input, source } => {
            let done = Done::new(Outcome::Infra).saying(format!("input {input}: {source}"));
            Done { lost: Some(node), ..done }
        }
        // The node that could have made it did not, and will not next time.
        error @ StageError::Absent { .. } => Done::new(Outcome::Fail).saying(error),
        error @ StageError::Changed(_) => {
            Done { retry: Retry::Futile, ..Done::new(Outcome::Infra) }.saying(error)
        }
        // Another compiler is a change of the tool, so that nothing need be recorded.
        error @ StageError::OtherCompiler { .. } => Done::new(Outcome::Infra).saying(error),
        error => Done::new(Outcome::Infra).saying(error),
    }
}

/// Waits for the steps, no longer than the rule allows.
fn awaited(stage: &Stage<'_>, task: &Task<'_>, mut running: Running) -> Done {
    match wait(&mut running, task.action.rule.rule.time_limit) {
        Ok((exit, timed_out)) => judge(stage, task, exit, timed_out),
        Err(error) => of_sandbox_error(&error, task),
    }
}

/// Waits no longer than that, and tells whether it had to be ended.
pub(super) fn wait(running: &mut Running, limit: Option<Duration>) -> Result<(Exit, bool), SandboxError> {
    let Some(limit) = limit else { return Ok((running.wait()?, false)) };
    match running.wait_timeout(limit)? {
        Some(exit) => Ok((exit, false)),
        None => {
            running.killer().kill();
            Ok((running.wait()?, true))
        }
    }
}

/// Watches the steps' output until its end is clear.
fn watched(
    stage: &Stage<'_>,
    task: &Task<'_>,
    work: &WorkDir,
    watcher: &dyn Watcher,
    before: Option<&str>,
    mut running: Running,
    log: &mut File,
) -> Done {
    let mut console = running.take_output().expect("the output was asked to be piped");
    let mut pace = Pace::new(running.init_pid());
    let seen = watcher.watch(task.action, &mut console, log, &mut pace, before);
    let by_itself = match &seen {
        // One that has closed its output and goes on has no end to tell of.
        Ok(seen) if seen.ended => running.wait_timeout(LAST_BREATH).ok().flatten(),
        _ => None,
    };
    running.killer().kill();
    let exit = running.wait();
    let usage = exit.as_ref().map(|exit| exit.usage).unwrap_or_default();
    let errors = fs::read(work.errors()).unwrap_or_default();
    // The log is for people, and what it lacks is no reason to throw a result away.
    let _ = log.seek(SeekFrom::End(0)).and_then(|_| log.write_all(&errors));
    if let Ok(exit) = exit
        && exit.exceeded.is_some()
    {
        return judge(stage, task, exit, false);
    }
    let seen = seen.map(|seen| {
        if !seen.ended {
            return seen;
        }
        let errors = String::from_utf8_lossy(&errors);
        watcher.ended(task.action, &inside, seen, by_itself.map(|exit| exit.end), &errors)
    });
    if stage.cancel.is_cancelled() {
        return Done { usage, ..Done::new(Outcome::Cancelled) };
    }
    match seen {
        Ok(seen) => match write_outputs(task.action, work, &seen.outputs) {
            Ok(()) => {
                Done { usage, made: true, hint: seen.hint, ..Done::new(seen.outcome) }.saying(seen.message)
            }
            Err(message) => Done { usage, ..Done::new(Outcome::Infra) }.saying(message),
        },
        Err(error) => Done { usage, ..Done::new(Outcome::Infra) }.saying(error),
    }
}

/// What the end of a command's steps means.
pub(super) fn judge(stage: &Stage<'_>, task: &Task<'_>, exit: Exit, timed_out: bool) -> Done {
    let rule = &task.action.rule.rule;
    let ended = matches!(exit.end, End::AllStepsPassed | End::StepExited { .. });
    let done = |outcome| Done { usage: exit.usage, ended, ..Done::new(outcome) };
    if let (Some(exceeded), false) = (exit.exceeded, stage.cancel.is_cancelled()) {
        let (outcome, message) = bounds::judge(exceeded, &rule.resources, &task.action.rule.name);
        return Done { ended: false, exceeded: Some(exceeded), ..done(outcome) }.saying(message);
    }
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
        End::StepSignaled { step, signal } if signal == Signal::SIGSYS as i32 => done(Outcome::Fail).saying(format!(
            "step {} ({}) made a system call of another ABI, such as that of 32-bit programs: if it has to, let rule \
             {} have `sandbox: (system_calls: Unfiltered)`",
            step + 1,
            program(task, step),
            task.action.rule.name
        )),
        End::StepSignaled { step, signal } => done(Outcome::Infra).saying(format!(
            "step {} ({}) was killed by signal {signal}{}",
            step + 1,
            program(task, step),
            if signal == 9 { ", as happens when memory runs out" } else { "" }
        )),
        End::Killed => done(Outcome::Infra).saying("killed from outside, as happens when memory runs out"),
    }
}

pub(super) fn of_sandbox_error(error: &SandboxError, task: &Task<'_>) -> Done {
    let help = error.help().map_or(String::new(), |help| format!(": {help}"));
    let done = Done::new(Outcome::Infra).saying(format!("{error}{help}"));
    match error {
        // The rule's own mistake, and the same next time.
        SandboxError::Exec { step, .. } => {
            let program = program(task, *step);
            Done { outcome: Outcome::Fail, not_started: Some(*step), ..done }
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
pub(super) fn write_outputs(
    action: &Action,
    work: &WorkDir,
    contents: &[(String, Vec<u8>)],
) -> Result<(), String> {
    for (name, bytes) in contents {
        let path = output_file(action, work, name)?;
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, bytes));
        written.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// Where an output that is a file is made.
pub(super) fn output_file(action: &Action, work: &WorkDir, name: &str) -> Result<PathBuf, String> {
    use crate::spec::model::OutputShape;
    let Some(declared) = action.rule.rule.outputs.get(name) else {
        return Err(format!("rule {} declares no output {name}", action.rule.name));
    };
    let OutputShape::File(path) = &declared.value.shape else {
        return Err(format!("output {name} of rule {} must be a file", action.rule.name));
    };
    let path = action.bindings.text(&path.value).map_err(|error| error.to_string())?;
    Ok(work.out().join(path))
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
