//! How the actions of each rule kind run. The kinds themselves implement these traits in `src/kinds/`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeReader};
use std::path::PathBuf;

use super::builtin::BuiltinAction;
use super::discover::BuildRecords;
use super::job::Submit;
use super::messages::LogReader;
use super::sandbox::End;
use super::starvation::StarvationMonitor;
use crate::graph::Action;
use crate::spec::model::Kind;
use crate::store::Outcome;

/// What runs the actions of a kind.
pub enum Runner<'a> {
    /// The rule's steps, in a sandbox.
    Steps,
    /// The rule's steps, and a check of what they made.
    Checked(&'a dyn Check),
    /// Steps whose output is watched, and that are ended when it says enough.
    Watched(&'a dyn Watcher),
    /// kiln itself, without a sandbox: outputs are computed in memory.
    Computed(&'a dyn Compute),
    /// kiln itself: outputs are made as files.
    Builtin(&'a dyn BuiltinAction),
    /// A job on another machine.
    Submitted(&'a dyn Submit),
}

/// All rule kinds.
pub trait Kinds: Sync {
    /// What runs a kind.
    fn runner(&self, kind: Kind) -> Runner<'_>;

    /// What reads the records that builds keep of their inputs.
    fn records(&self) -> &dyn BuildRecords;

    /// What reads the logs of runs.
    fn logs(&self) -> &dyn LogReader;
}

/// A kind that checks the outputs of passed steps, and explains failures.
pub trait Check: Sync {
    /// A note about the outputs; an error fails the action.
    fn check(&self, run: &CheckedRun<'_>) -> Result<Option<String>, String>;

    /// Why a step failed, and what to do about it. `log` are the last lines of the log. `None`: nothing better than these
    /// is known.
    fn explain(&self, run: &CheckedRun<'_>, log: &[String]) -> Option<String>;
}

/// A run whose steps have ended.
#[derive(Clone, Copy)]
pub struct CheckedRun<'a> {
    /// The action.
    pub action: &'a Action,
    /// The path of an output.
    pub out: &'a dyn Fn(&str) -> Option<PathBuf>,
    /// The path of an input that is a source tree.
    pub source: &'a dyn Fn(&str) -> Option<PathBuf>,
    /// The machine that a compiler makes code for, by the compiler's own answer.
    pub machine: &'a dyn Fn(&str) -> Option<String>,
}

/// A kind whose output is watched while it runs.
pub trait Watcher: Sync {
    /// The steps. `inside` gives the path of an input in the sandbox.
    fn steps(&self, action: &Action, inside: &dyn Fn(&str) -> PathBuf) -> Vec<Vec<OsString>>;

    /// Watches standard output until the outcome is clear, and copies it to `log`. Samples `starvation` meanwhile.
    /// `earlier_hint` is the [hint](WatchResult::hint) of an earlier attempt.
    fn watch(
        &self,
        action: &Action,
        output: &mut PipeReader,
        log: &mut File,
        starvation: &mut StarvationMonitor,
        earlier_hint: Option<&str>,
    ) -> io::Result<WatchResult>;

    /// The result of a run whose steps ended before the outcome was clear. `end` says how they ended, where that is known;
    /// `errors` is their standard error.
    fn ended(
        &self,
        action: &Action,
        inside: &dyn Fn(&str) -> PathBuf,
        watched: WatchResult,
        end: Option<End>,
        errors: &str,
    ) -> WatchResult;
}

/// What a watcher saw.
#[derive(Debug)]
pub struct WatchResult {
    /// Pass, fail or infra.
    pub outcome: Outcome,
    /// The outcome in a sentence.
    pub message: String,
    /// Contents of outputs, by name.
    pub outputs: Vec<(String, Vec<u8>)>,
    /// Whether the output ended before the outcome was clear.
    pub ended: bool,
    /// A suspicion that decides the outcome if the next attempt has the same one.
    pub hint: Option<String>,
}

/// A kind whose outputs kiln computes.
pub trait Compute: Sync {
    /// Contents of outputs, by name. `read` gives the content of an input.
    fn compute(
        &self,
        action: &Action,
        read: &dyn Fn(&str) -> Result<Vec<u8>, String>,
    ) -> Result<Vec<(String, Vec<u8>)>, String>;
}
