//! Actions that kiln itself runs: their outputs are files, made from downloads, by programs, and in sandboxes.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::context::{RunContext, Task};
use super::host_files::files_of;
use super::job::{JobInputError, input_artifact};
use super::judge::{judge, sandbox_failed, wait};
use super::output_files::output_path;
use super::run_result::RunResult;
use super::sandbox::{End, HostFiles, Output, SandboxSpec, Usage};
use super::staging::confined;
use super::work_dir::WorkDir;
use crate::graph::{Action, NodeId};
use crate::host::Closure;
use crate::remote::Transfer;
use crate::store::Outcome;

/// How much of the output of steps is given to the action, in bytes: the end of it.
const MAX_OUTPUT_TAIL: u64 = 1 << 20;

/// The time limit of steps that clean up.
const CLEANUP_LIMIT: Duration = Duration::from_secs(30);

/// A kind whose actions kiln itself runs.
pub trait BuiltinAction: Sync {
    /// Makes the outputs.
    fn run(&self, run: &BuiltinRun<'_>) -> BuiltinResult;
}

/// The result of a built-in action.
#[derive(Debug)]
pub struct BuiltinResult {
    /// Pass, fail or infra; cancelled after Ctrl-C.
    pub outcome: Outcome,
    /// The outcome in a sentence, where it needs one.
    pub message: Option<String>,
    /// The node whose output is gone from the cache: it has to run again first.
    lost: Option<NodeId>,
}

impl BuiltinResult {
    /// All outputs are made. The message is a note.
    pub const fn passed(message: Option<String>) -> Self {
        Self { outcome: Outcome::Pass, message, lost: None }
    }

    /// Ctrl-C.
    pub const CANCELLED: Self = Self { outcome: Outcome::Cancelled, message: None, lost: None };

    /// The outputs can't be made: another attempt would fail too.
    pub fn failed(message: impl std::fmt::Display) -> Self {
        Self { outcome: Outcome::Fail, message: Some(message.to_string()), lost: None }
    }

    /// The machine or a server failed: another attempt may succeed.
    pub fn infra(message: impl std::fmt::Display) -> Self {
        Self { outcome: Outcome::Infra, message: Some(message.to_string()), lost: None }
    }
}

impl From<JobInputError> for BuiltinResult {
    fn from(error: JobInputError) -> Self {
        let lost = match error {
            JobInputError::Lost { node, .. } => Some(node),
            _ => None,
        };
        Self { lost, ..Self::infra(error) }
    }
}

impl From<RunResult> for BuiltinResult {
    fn from(done: RunResult) -> Self {
        Self { outcome: done.outcome, message: done.message, lost: None }
    }
}

/// How steps ended that were not killed.
#[derive(Debug)]
pub enum StepsEnd {
    /// All steps passed.
    Passed,
    /// A step failed, and the steps after it did not run.
    Failed {
        /// The index of the step.
        step: usize,
        /// Its exit code.
        code: i32,
        /// The end of the steps' output.
        said: String,
    },
}

/// What a built-in action is given.
pub struct BuiltinRun<'a> {
    /// The node's name.
    pub node: &'a str,
    /// The action.
    pub action: &'a Action,
    /// A directory for temporary files, on the file system of the cache.
    pub scratch: &'a Path,
    /// The cache directory, for files that runs share.
    pub home: &'a Path,
    /// The number of cores to use.
    pub cores: usize,
    context: &'a RunContext<'a>,
    task: &'a Task<'a>,
    work: &'a WorkDir,
    log: RefCell<File>,
    usage: Cell<Usage>,
    began: Instant,
}

impl BuiltinRun<'_> {
    /// The path at which an output is to be made.
    pub fn out(&self, output: &str) -> Result<PathBuf, BuiltinResult> {
        output_path(self.action, self.work, output).map_err(BuiltinResult::infra)
    }

    /// The path in the cache of an input that is another node's output. It must not be written.
    pub fn input(&self, name: &str) -> Result<PathBuf, BuiltinResult> {
        let (node, artifact) = input_artifact(self.task, name)?;
        self.context.build.artifacts().file(&artifact).map_err(|source| {
            if source.is_miss() {
                JobInputError::Lost { node, input: name.to_owned(), source }.into()
            } else {
                BuiltinResult::infra(source)
            }
        })
    }

    /// Whether the user pressed Ctrl-C.
    pub fn is_cancelled(&self) -> bool {
        self.context.cancel.is_cancelled()
    }

    /// Announces a download of `bytes`. What arrives is reported to the returned value.
    pub fn begin_transfer(&self, bytes: u64) -> Transfer<'_> {
        self.context.meter.begin(bytes)
    }

    /// Writes a line to the log. Errors are ignored: a result with an incomplete log is still a result.
    pub fn log(&self, line: &str) {
        let _ = writeln!(self.log.borrow_mut(), "{line}");
    }

    /// The files of this machine that these programs need in a sandbox.
    pub fn host_files(&self, programs: &[&str]) -> Result<HostFiles, BuiltinResult> {
        let mut all = Closure::default();
        for program in programs {
            let tool = self
                .context
                .build
                .host
                .tool(program, &self.action.tool_path, self.node)
                .map_err(BuiltinResult::infra)?;
            all.extend(&tool.closure);
        }
        Ok(files_of(&all))
    }

    /// Runs steps in a sandbox; their output goes to the log. The error is the action's result where the steps were killed: by
    /// a limit, by the user, or from outside.
    pub fn run_steps(&self, spec: SandboxSpec) -> Result<StepsEnd, BuiltinResult> {
        let confined = confined(self.action);
        let spec = SandboxSpec {
            system_calls: confined.system_calls,
            limits: confined.limits,
            tmp_size: confined.tmp_size,
            ..spec
        };
        let log_error = |error: io::Error| BuiltinResult::infra(format!("the log: {error}"));
        let (output, start) = {
            let mut log = self.log.borrow_mut();
            let start = log.seek(SeekFrom::End(0)).map_err(log_error)?;
            (log.try_clone().map_err(log_error)?, start)
        };
        let sandbox_error = |error| BuiltinResult::from(sandbox_failed(&error, self.task));
        let mut running = self.context.sandbox.spawn(&spec, Output::File(output)).map_err(sandbox_error)?;
        let _registered = self.context.cancel.register(running.killer());
        let limit = self.action.rule.decl.time_limit;
        let left = limit.map(|limit| limit.saturating_sub(self.began.elapsed()));
        let (exit, timed_out) = wait(&mut running, left).map_err(sandbox_error)?;
        self.usage.set(self.usage.get() + exit.usage);
        match exit.end {
            _ if exit.exceeded.is_some() => Err(judge(self.context, self.task, exit, None).into()),
            End::AllStepsPassed => Ok(StepsEnd::Passed),
            End::StepExited { step, code } if !self.is_cancelled() && !timed_out => {
                let said = self.said(start).map_err(log_error)?;
                Ok(StepsEnd::Failed { step, code, said })
            }
            _ => Err(judge(self.context, self.task, exit, limit.filter(|_| timed_out)).into()),
        }
    }

    /// Runs steps that clean up, even after Ctrl-C or when the time limit is over. Errors are ignored.
    pub fn clean_up(&self, spec: &SandboxSpec) {
        let Ok(log) = self.log.borrow().try_clone() else { return };
        if let Ok(mut running) = self.context.sandbox.spawn(spec, Output::File(log)) {
            let _ = wait(&mut running, Some(CLEANUP_LIMIT));
        }
    }

    /// What was written to the log since it had the length `start`.
    fn said(&self, start: u64) -> io::Result<String> {
        let mut log = self.log.borrow_mut();
        let end = log.seek(SeekFrom::End(0))?;
        log.seek(SeekFrom::Start(start.max(end.saturating_sub(MAX_OUTPUT_TAIL))))?;
        let mut bytes = Vec::new();
        (&mut *log).take(MAX_OUTPUT_TAIL).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Runs a built-in action.
pub(super) fn run_builtin(
    context: &RunContext<'_>,
    task: &Task<'_>,
    work: &WorkDir,
    action: &dyn BuiltinAction,
) -> RunResult {
    let log = File::options().read(true).append(true).create(true).open(work.log());
    let (log, scratch) = match log.and_then(|log| work.make_scratch().map(|scratch| (log, scratch))) {
        Ok(both) => both,
        Err(error) => return RunResult::infra(error),
    };
    let cores = task.action.rule.decl.resources.cpu.max(1) as usize;
    let run = BuiltinRun {
        node: task.name,
        action: task.action,
        scratch: &scratch,
        home: context.build.store.home(),
        cores: cores.min(std::thread::available_parallelism().map_or(1, std::num::NonZero::get)),
        context,
        task,
        work,
        log: RefCell::new(log),
        usage: Cell::new(Usage::default()),
        began: Instant::now(),
    };
    let BuiltinResult { outcome, message, lost } = action.run(&run);
    // After Ctrl-C, whatever error the action gives is a consequence of that.
    let outcome = if outcome == Outcome::Infra && run.is_cancelled() { Outcome::Cancelled } else { outcome };
    RunResult { message, lost, usage: run.usage.get(), ..RunResult::new(outcome) }
}
