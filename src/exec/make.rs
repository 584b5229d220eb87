//! A run in which kiln makes the outputs itself, as files: by way of downloads, of other programs, and of sandboxes that it
//! describes as it goes.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::act::{Done, Stage, Task, judge, of_sandbox_error, output_file, wait};
use super::host::files_of;
use super::sandbox::{End, HostFiles, Output, SandboxSpec, Usage};
use super::stage::{WorkDir, confined};
use super::submit::{JobInput, input_artifact};
use crate::graph::{Action, NodeId};
use crate::host::Closure;
use crate::remote::Transfer;
use crate::store::Outcome;

/// As much of what steps say as is handed to who runs them, in bytes: the end of it.
const SAID: u64 = 1 << 20;

/// How long putting things in order may take.
const MOMENT: Duration = Duration::from_secs(30);

/// A kind whose outputs kiln makes as files.
pub trait Make: Sync {
    /// Makes them.
    fn make(&self, making: &Making<'_>) -> Made;
}

/// What came of it.
#[derive(Debug)]
pub struct Made {
    /// Pass, fail or infra; cancelled where the user has had enough.
    pub outcome: Outcome,
    /// In a sentence, where there is more to say than that.
    pub message: Option<String>,
    /// The node whose output is lost: it has to run again first.
    lost: Option<NodeId>,
}

impl Made {
    /// All outputs are there, and there may be something to say.
    pub const fn passed(message: Option<String>) -> Self {
        Self { outcome: Outcome::Pass, message, lost: None }
    }

    /// The user has had enough.
    pub const CANCELLED: Self = Self { outcome: Outcome::Cancelled, message: None, lost: None };

    /// What is asked for can't be made, and could not the next time either.
    pub fn failed(message: impl std::fmt::Display) -> Self {
        Self { outcome: Outcome::Fail, message: Some(message.to_string()), lost: None }
    }

    /// This machine, or a server, has not done its part.
    pub fn infra(message: impl std::fmt::Display) -> Self {
        Self { outcome: Outcome::Infra, message: Some(message.to_string()), lost: None }
    }
}

impl From<JobInput> for Made {
    fn from(error: JobInput) -> Self {
        let lost = match error {
            JobInput::Lost { node, .. } => Some(node),
            _ => None,
        };
        Self { lost, ..Self::infra(error) }
    }
}

impl From<Done> for Made {
    fn from(done: Done) -> Self {
        Self { outcome: done.outcome, message: done.message, lost: None }
    }
}

/// How steps ended that came to an end by themselves.
#[derive(Debug)]
pub enum StepsEnd {
    /// All of them passed.
    Passed,
    /// One did not, and the rest did not run.
    Failed {
        /// Which one, from 0.
        step: usize,
        /// With what code.
        code: i32,
        /// What they said, the last of it.
        said: String,
    },
}

/// A run, for those who make what it is to make.
pub struct Making<'a> {
    /// The node.
    pub node: &'a str,
    /// What it is.
    pub action: &'a Action,
    /// A directory for what comes and goes, on the file system of the cache.
    pub scratch: &'a Path,
    /// The cache's directory, for what runs share.
    pub home: &'a Path,
    /// How many cores it may use.
    pub cores: usize,
    stage: &'a Stage<'a>,
    task: &'a Task<'a>,
    work: &'a WorkDir,
    log: RefCell<File>,
    usage: Cell<Usage>,
    began: Instant,
}

impl Making<'_> {
    /// Where an output is to be made.
    pub fn out(&self, output: &str) -> Result<PathBuf, Made> {
        output_file(self.action, self.work, output).map_err(Made::infra)
    }

    /// The file of an input that is the output of another node, in the cache, to be read and not written.
    pub fn input(&self, name: &str) -> Result<PathBuf, Made> {
        let (node, artifact) = input_artifact(self.task, name)?;
        self.stage.world.file_of(&artifact).map_err(|source| {
            if source.is_miss() {
                JobInput::Lost { node, input: name.to_owned(), source }.into()
            } else {
                Made::infra(source)
            }
        })
    }

    /// Whether the user has had enough.
    pub fn is_cancelled(&self) -> bool {
        self.stage.cancel.is_cancelled()
    }

    /// Tells that so many bytes are to come from a server. What comes of them is told to what this gives.
    pub fn fetching(&self, bytes: u64) -> Transfer<'_> {
        self.stage.meter.begin(bytes)
    }

    /// Writes a line to the log. What the log lacks is no reason to throw a result away.
    pub fn log(&self, line: &str) {
        let _ = writeln!(self.log.borrow_mut(), "{line}");
    }

    /// The files of this machine that it takes to run these programs of it, for a sandbox.
    pub fn host_files(&self, programs: &[&str]) -> Result<HostFiles, Made> {
        let mut all = Closure::default();
        for program in programs {
            let tool =
                self.stage.world.tool(program, &self.action.tool_path, self.node).map_err(Made::infra)?;
            all.extend(&tool.closure);
        }
        Ok(files_of(&all))
    }

    /// Runs steps in a sandbox. What they say goes to the log. Where they are kept from an end, by a time limit, by the user
    /// or by the machine, what this comes to is given instead.
    pub fn run(&self, spec: SandboxSpec) -> Result<StepsEnd, Made> {
        let confined = confined(self.action);
        let spec = SandboxSpec {
            system_calls: confined.system_calls,
            limits: confined.limits,
            tmp_size: confined.tmp_size,
            ..spec
        };
        let log_error = |error: io::Error| Made::infra(format!("the log: {error}"));
        let (output, start) = {
            let mut log = self.log.borrow_mut();
            let start = log.seek(SeekFrom::End(0)).map_err(log_error)?;
            (log.try_clone().map_err(log_error)?, start)
        };
        let sandbox_error = |error| Made::from(of_sandbox_error(&error, self.task));
        let mut running = self.stage.sandbox.spawn(&spec, Output::File(output)).map_err(sandbox_error)?;
        let _registered = self.stage.cancel.register(running.killer());
        let limit = self.action.rule.rule.time_limit;
        let left = limit.map(|limit| limit.saturating_sub(self.began.elapsed()));
        let (exit, timed_out) = wait(&mut running, left).map_err(sandbox_error)?;
        self.usage.set(self.usage.get() + exit.usage);
        match exit.end {
            _ if exit.exceeded.is_some() => Err(judge(self.stage, self.task, exit, timed_out).into()),
            End::AllStepsPassed => Ok(StepsEnd::Passed),
            End::StepExited { step, code } if !self.is_cancelled() && !timed_out => {
                let said = self.said(start).map_err(log_error)?;
                Ok(StepsEnd::Failed { step, code, said })
            }
            _ => Err(judge(self.stage, self.task, exit, timed_out).into()),
        }
    }

    /// Runs what puts things in order at the end, also where the user has had enough or the time is up. It has a moment, and
    /// what it can't do stays.
    pub fn tidy(&self, spec: &SandboxSpec) {
        let Ok(log) = self.log.borrow().try_clone() else { return };
        if let Ok(mut running) = self.stage.sandbox.spawn(spec, Output::File(log)) {
            let _ = wait(&mut running, Some(MOMENT));
        }
    }

    /// What has been said since the log was so long.
    fn said(&self, start: u64) -> io::Result<String> {
        let mut log = self.log.borrow_mut();
        let end = log.seek(SeekFrom::End(0))?;
        log.seek(SeekFrom::Start(start.max(end.saturating_sub(SAID))))?;
        let mut bytes = Vec::new();
        (&mut *log).take(SAID).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Has outputs made.
pub(super) fn made(stage: &Stage<'_>, task: &Task<'_>, work: &WorkDir, make: &dyn Make) -> Done {
    let log = File::options().read(true).append(true).create(true).open(work.log());
    let (log, scratch) = match log.and_then(|log| work.make_scratch().map(|scratch| (log, scratch))) {
        Ok(both) => both,
        Err(error) => return Done::new(Outcome::Infra).saying(error),
    };
    let cores = task.action.rule.rule.resources.cpu.max(1) as usize;
    let making = Making {
        node: task.name,
        action: task.action,
        scratch: &scratch,
        home: stage.world.store.home(),
        cores: cores.min(std::thread::available_parallelism().map_or(1, std::num::NonZero::get)),
        stage,
        task,
        work,
        log: RefCell::new(log),
        usage: Cell::new(Usage::default()),
        began: Instant::now(),
    };
    let Made { outcome, message, lost } = make.make(&making);
    // What stops because the user wants it to may say whatever it likes.
    let outcome =
        if outcome == Outcome::Infra && making.is_cancelled() { Outcome::Cancelled } else { outcome };
    Done { message, lost, usage: making.usage.get(), ..Done::new(outcome) }
}
