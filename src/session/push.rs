//! Pushing results to remotes: all at once, or each as soon as it is made.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Scope, ScopedJoinHandle};

use super::error::SessionError;
use super::project::Project;
use super::push_report::PushReport;
use super::recorded_result::{RecordedResult, path_set_of};
use crate::exec::event::{Finished, How};
use crate::exec::incremental_state_refs;
use crate::graph::NodeName;
use crate::plan::StrongKey;
use crate::remote::{Archive, Line, OutgoingKept, PushError, Remotes, SigningKey, Trust};
use crate::spec::model::OutputShape;
use crate::store::{NodeState, Outcome, ProjectId};

/// Pushes results of a project.
pub struct Pusher<'a> {
    project: &'a Project,
    remotes: &'a Remotes,
    id: ProjectId,
    key: Result<SigningKey, String>,
    /// Remotes that failed to take a result: they are not written to again.
    given_up: Mutex<HashSet<usize>>,
    /// Whether no further result is pushed.
    stop: AtomicBool,
}

impl<'a> Pusher<'a> {
    /// Pushes to those remotes of a project that are written to.
    pub fn new(project: &'a Project, remotes: &'a Remotes) -> Result<Self, SessionError> {
        let has_writable = remotes.written().next().is_some();
        let key =
            if has_writable { project.secrets().signing_key(&project.spec)? } else { Err(String::new()) };
        let id = project.id()?;
        Ok(Self { project, remotes, id, key, given_up: Mutex::default(), stop: AtomicBool::new(false) })
    }

    /// Whether any remote takes results.
    pub fn has_remotes(&self) -> bool {
        self.writable().next().is_some()
    }

    /// The remotes that take results. One that requires signatures takes none without a signing key.
    fn writable(&self) -> impl Iterator<Item = (usize, &Line)> {
        let given_up = |at: &usize| self.given_up.lock().expect("no panic while held").contains(at);
        let is_usable = |remote: &Line| self.key.is_ok() || remote.trust == Trust::AsItIs;
        self.remotes.written().filter(move |(at, remote)| is_usable(remote) && !given_up(at))
    }

    /// Why nothing is pushed to some of the remotes that the spec says are written to.
    pub fn excluded(&self) -> Vec<String> {
        let Err(why) = &self.key else { return Vec::new() };
        let excluded = self.remotes.written().filter(|(_, remote)| remote.trust != Trust::AsItIs);
        excluded.map(|(_, remote)| format!("nothing is pushed to {}: {why}", remote.name)).collect()
    }

    /// Pushes the result of a node to every remote that takes it.
    pub fn push(&self, node: &str, report: &mut PushReport) {
        for (at, remote) in self.writable().collect::<Vec<_>>() {
            if let Err(error) = self.push_to(at, remote, node, report) {
                self.give_up(at, &error);
                report.failed.push(format!("{node} was not pushed: {error}"));
            }
        }
    }

    fn push_to(
        &self,
        at: usize,
        remote: &Line,
        node: &str,
        report: &mut PushReport,
    ) -> Result<(), PushError> {
        let store = &self.project.store;
        let Some(state) = store.node(self.id, node)? else { return Ok(()) };
        let Some((key, path_set)) = state.strong_key.zip(state.path_set) else { return Ok(()) };
        let Some(recorded) = RecordedResult::read(store, &StrongKey { key, path_set })? else {
            return Ok(());
        };
        if recorded.is_unverified() && !remote.continued {
            report.held_back.insert(node.to_owned());
            return Ok(());
        }
        let compared = |output: &str| !self.is_report(node, output);
        match self.remotes.push(store, at, &recorded.outgoing(self.key.as_ref().ok(), &compared)) {
            // A result of another machine goes only to remotes that accept its signature.
            Err(PushError::Unfit(_)) if !recorded.is_made_here() => Ok(()),
            pushed => {
                report.add(node, &remote.name, pushed?);
                Ok(())
            }
        }
    }

    /// Stops writing to a remote that failed, unless the failure is due to the one result.
    fn give_up(&self, at: usize, error: &PushError) {
        if let PushError::Remote { .. } = error {
            self.given_up.lock().expect("no panic while held").insert(at);
        }
    }

    /// Pushes the output directory that a node left, from which other machines can continue.
    fn push_kept(&self, node: &str, report: &mut PushReport) {
        let store = &self.project.store;
        let Ok(Some(state)) = store.node(self.id, node) else { return };
        let unverified = self.is_unverified(&state);
        let takes = |remote: &Line| remote.kept && (remote.continued || !unverified);
        let remotes: Vec<usize> =
            self.writable().filter(|(_, remote)| takes(remote)).map(|(at, _)| at).collect();
        if remotes.is_empty() {
            return;
        }
        let newest = store.kept().unwrap_or_default().into_iter().find(|kept| kept.node == node);
        let Some(kept) = newest else { return };
        // Archived first, as the directory is locked only while that takes.
        let archived = store.with_kept(&kept.key, |dir, record| (Archive::of(store, dir), record.to_vec()));
        let (archive, record) = match archived {
            Ok(Some((Ok(archive), record))) => (archive, record),
            Ok(None) => return,
            Ok(Some((Err(error), _))) | Err(error) => {
                report.failed.push(format!("what was kept of {node} was not pushed: {error}"));
                return;
            }
        };
        let Some((path_set, trees)) = incremental_state_refs(&record) else { return };
        // In a shared cache, a node of another project may have the same name.
        if state.path_set != Some(path_set) {
            return;
        }
        let Ok(Some(path_set)) = path_set_of(store, &path_set) else { return };
        let outgoing = OutgoingKept {
            key: kept.key,
            node,
            record: &record,
            path_set: &path_set,
            trees: &trees,
            archive: &archive,
            bytes: kept.bytes,
        };
        for at in remotes {
            match self.remotes.push_kept(store, at, &outgoing, self.key.as_ref().ok()) {
                Ok(bytes) => report.bytes += bytes,
                Err(error) => {
                    self.give_up(at, &error);
                    report.failed.push(format!("what was kept of {node} was not pushed: {error}"));
                }
            }
        }
    }

    /// Whether the state of a node was built by continuing, and no run from nothing has made the same.
    fn is_unverified(&self, state: &NodeState) -> bool {
        let store = &self.project.store;
        let result = state.strong_key.and_then(|key| store.result(&key).ok().flatten());
        match result {
            Some(result) => result.built.is_unverified(),
            // A failure that is not cached.
            None => store.run(state.run).ok().flatten().is_none_or(|run| run.continued),
        }
    }

    /// Whether an output reports on a run, such as its log, and so differs from run to run.
    fn is_report(&self, node: &str, output: &str) -> bool {
        let name = NodeName::parse(node);
        let rule = name.as_ref().and_then(|name| self.project.spec.rules.get(name.rule()));
        let output = rule.and_then(|rule| rule.outputs.get(output));
        output.is_some_and(|output| matches!(output.shape, OutputShape::Report(..)))
    }

    /// Starts a thread that pushes results as they are made.
    pub fn start<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) -> BackgroundPush<'scope> {
        let (sender, receiver) = channel();
        let thread = self.has_remotes().then(|| scope.spawn(|| self.push_all(receiver)));
        BackgroundPush { pusher: self, sender, thread }
    }

    fn push_all(&self, nodes: Receiver<String>) -> PushReport {
        let mut report = PushReport::default();
        for node in nodes {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            self.push(&node, &mut report);
            self.push_kept(&node, &mut report);
        }
        report
    }
}

/// A thread that pushes results as they are made.
pub struct BackgroundPush<'scope> {
    pusher: &'scope Pusher<'scope>,
    sender: Sender<String>,
    thread: Option<ScopedJoinHandle<'scope, PushReport>>,
}

impl BackgroundPush<'_> {
    /// Pushes the result of a node that has ended, if it ran and has one.
    pub fn push(&self, finished: &Finished) {
        let ran = matches!(finished.how, How::Ran | How::RanUnchanged);
        if ran && matches!(finished.outcome, Outcome::Pass | Outcome::Fail) && self.thread.is_some() {
            // The receiver lives until `end`.
            let _ = self.sender.send(finished.node.to_string());
        }
    }

    /// Waits for the thread. After an interruption, only the result that is being sent is completed. `None` if no remote
    /// takes results.
    pub fn end(self, interrupted: bool) -> Option<PushReport> {
        self.pusher.stop.store(interrupted, Ordering::Relaxed);
        drop(self.sender);
        self.thread.map(|thread| thread.join().unwrap_or_default())
    }
}
