//! `kiln push`, and pushing as one goes.

use std::collections::{BTreeSet, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Scope, ScopedJoinHandle};

use super::exit::{Exit, Failure};
use super::project::{Project, select};
use super::remotes::{signing_key, tell};
use super::terminal::{Terminal, outln};
use crate::digest::Digest;
use crate::exec::event::{Finished, How};
use crate::exec::incremental_state_refs;
use crate::graph::NodeName;
use crate::kinds::AllKinds;
use crate::plan::{Strong, Verdict, plan};
use crate::remote::{
    Archive, By, Line, Outgoing, OutgoingKept, PushError, Pushed, Remotes, SigningKey, Trust,
};
use crate::source::PathSet;
use crate::spec::model::OutputShape;
use crate::spec::show_size;
use crate::store::{Built, NodeState, Origin, Outcome, ProjectId, StoreError, StoredResult};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Names, globs, `RULE:`, or builds (source/arch/defconfig/toolchain). Default: everything that has a result.
    targets: Vec<String>,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = Project::open(terminal)?;
    let remotes = project.remotes(false, terminal)?;
    let pusher = Pusher::new(&project, &remotes)?;
    if pusher.lines().next().is_none() {
        let why = pusher.why_not();
        let what = if why.is_empty() { "no remote is written to".to_owned() } else { why.join("; ") };
        return Err(Failure::new(Exit::Spec, what)
            .help("`remotes: [(name: .., url: .., write: true)]` in graph.ron names one: docs/remote.md"));
    }
    let kinds = AllKinds::new(&project.spec);
    let (mut graph, mut world) = project.look(&kinds)?;
    // What is not here, but elsewhere, tells the keys of what is made from it.
    world.remotes = Some(&remotes);
    let selection = select(&args.targets, &graph)?;
    let plan = plan(&world, &mut graph, &selection)?;
    world.save();
    let known = |id| matches!(plan.verdict(id), Verdict::Fresh(_) | Verdict::Cached(..));
    let wanted = plan
        .nodes()
        .iter()
        .filter(|&&id| selection.wants(&graph, id) && graph.node(id).action().is_some() && known(id));
    let mut report = Report::default();
    for &id in wanted {
        pusher.push(graph.name(id), &mut report);
    }
    tell(&remotes, terminal);
    report.tell(terminal);
    outln!("{}", report.summary());
    Ok(if report.failed.is_empty() { Exit::Done } else { Exit::Environment })
}

/// What pushing takes.
pub(super) struct Pusher<'a> {
    project: &'a Project,
    remotes: &'a Remotes,
    id: ProjectId,
    key: Result<SigningKey, String>,
    /// Remotes that have failed to take something: they are not written to again.
    given_up: Mutex<HashSet<usize>>,
    /// Nothing more is begun.
    stop: AtomicBool,
}

/// A recorded result with what was read for it.
pub(super) struct Recorded {
    strong_key: Digest,
    path_set: PathSet,
    result: StoredResult,
    /// Whether a run of this machine made it, so that this machine may vouch for it.
    made_here: bool,
    /// How it was signed where it came from.
    sealed: Option<Vec<u8>>,
}

impl Recorded {
    /// Whether it was built by continuing, and no run from nothing has made it.
    pub(super) const fn is_unverified(&self) -> bool {
        self.result.built.is_unverified()
    }

    /// The result on its way. `compared`: whether an output is one that equal inputs make equal.
    pub(super) fn outgoing<'a>(
        &'a self,
        key: Option<&'a SigningKey>,
        compared: &'a dyn Fn(&str) -> bool,
    ) -> Outgoing<'a> {
        let by = match &self.sealed {
            _ if self.made_here => By::Us(key),
            Some(sealed) => By::Others(sealed),
            None => By::Nobody,
        };
        let (strong_key, path_set, result) = (self.strong_key, &self.path_set, &self.result);
        Outgoing { strong_key, path_set, result, compared, by }
    }
}

/// The result under a key; `None` where there is none, or what was read for it is not known any more.
pub(super) fn recorded(project: &Project, strong: &Strong) -> Result<Option<Recorded>, StoreError> {
    let Some(result) = project.store.result(&strong.key)? else { return Ok(None) };
    let Some(path_set) = path_set_of(project, &strong.path_set)? else { return Ok(None) };
    // What this machine has verified, it has made.
    let made_here =
        result.origin == Origin::Local || matches!(result.built, Built::Continued { verified: true, .. });
    let sealed = project.store.sealed(&strong.key)?;
    Ok(Some(Recorded { strong_key: strong.key, path_set, result, made_here, sealed }))
}

fn path_set_of(project: &Project, digest: &Digest) -> Result<Option<PathSet>, StoreError> {
    let Some(set) = project.store.path_set(digest)? else { return Ok(None) };
    Ok(set.resolve(&project.store.entries()?))
}

/// Why results are held back, and until when.
pub(super) const HELD: &str =
    "held back: built by continuing, and `kiln verify --continued` has not made them from nothing";

/// What pushing has come to.
#[derive(Default)]
struct Report {
    pushed: usize,
    known: usize,
    bytes: u64,
    differing: Vec<String>,
    failed: Vec<String>,
    /// Nodes whose results were built by continuing, and are not verified.
    held: BTreeSet<String>,
}

/// What became of a result for one remote.
enum Sent {
    /// There is none that counts.
    Nothing,
    /// It stays here until it is verified.
    Held,
    /// It went.
    Went(Pushed),
}

impl<'a> Pusher<'a> {
    pub(super) fn new(project: &'a Project, remotes: &'a Remotes) -> Result<Self, Failure> {
        let key =
            if remotes.written().next().is_some() { signing_key(&project.spec)? } else { Err(String::new()) };
        let id = project.store.project(&project.spec.root)?;
        Ok(Self { project, remotes, id, key, given_up: Mutex::default(), stop: AtomicBool::new(false) })
    }

    /// The remotes that results go to. To one where only signatures count, nothing goes without one.
    fn lines(&self) -> impl Iterator<Item = (usize, &Line)> {
        let given_up = |at: &usize| self.given_up.lock().expect("no panic while held").contains(at);
        let counts = |line: &Line| self.key.is_ok() || line.trust == Trust::AsItIs;
        self.remotes.written().filter(move |(at, line)| counts(line) && !given_up(at))
    }

    /// Why nothing goes to some of those that the spec says are written to.
    fn why_not(&self) -> Vec<String> {
        let Err(why) = &self.key else { return Vec::new() };
        let without = self.remotes.written().filter(|(_, line)| line.trust != Trust::AsItIs);
        without.map(|(_, line)| format!("nothing is pushed to {}: {why}", line.name)).collect()
    }

    /// Pushes what a node came to, to every remote that takes it.
    fn push(&self, node: &str, report: &mut Report) {
        for (at, line) in self.lines().collect::<Vec<_>>() {
            match self.push_to(at, node) {
                Ok(Sent::Held) => {
                    report.held.insert(node.to_owned());
                }
                Ok(Sent::Went(Pushed::Known)) => report.known += 1,
                Ok(Sent::Went(Pushed::Done { bytes })) => {
                    report.pushed += 1;
                    report.bytes += bytes;
                }
                Ok(Sent::Went(Pushed::Replaced { signed_by, outputs })) => {
                    let whose = signed_by.map(|key| format!(", signed by {key},")).unwrap_or_default();
                    report.pushed += 1;
                    report.differing.push(format!(
                        "{node}: remote {} had other bits{whose} that were built by continuing: {}. They are replaced",
                        line.name,
                        outputs.join(", "),
                    ));
                }
                Ok(Sent::Went(Pushed::Differs { signed_by, outputs, evidence })) => {
                    let whose = signed_by.map(|key| format!(", signed by {key},")).unwrap_or_default();
                    report.differing.push(format!(
                        "{node}: remote {} has other bits{whose} for the same inputs: {}. Theirs stay; ours are kept there \
                         as {}. `kiln verify {node}` tells whether this machine makes the same bits twice",
                        line.name,
                        outputs.join(", "),
                        evidence.short(),
                    ));
                }
                Ok(Sent::Nothing) => {}
                Err(error) => {
                    self.give_up(at, &error);
                    report.failed.push(format!("{node} was not pushed: {error}"));
                }
            }
        }
    }

    /// A remote that did not take one result is not offered another, unless it is the result.
    fn give_up(&self, line: usize, error: &PushError) {
        if let PushError::Remote { .. } = error {
            self.given_up.lock().expect("no panic while held").insert(line);
        }
    }

    /// Pushes the output directory that a node left, for other machines to go on from.
    fn push_kept(&self, node: &str, report: &mut Report) {
        let store = &self.project.store;
        let Ok(Some(state)) = store.node(self.id, node) else { return };
        // What it would pass on is continued in, over and over.
        let unverified = self.is_unverified(&state);
        let lines: Vec<_> =
            self.lines().filter(|(_, line)| line.kept && (line.continued || !unverified)).collect();
        if lines.is_empty() {
            return;
        }
        let newest = store.kept().unwrap_or_default().into_iter().find(|kept| kept.node == node);
        let Some(kept) = newest else { return };
        // Archived first: it is away from its place no longer than that takes.
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
        // In a shared cache a node of another project may have the same name.
        if state.path_set != Some(path_set) {
            return;
        }
        let Ok(Some(path_set)) = path_set_of(self.project, &path_set) else { return };
        let outgoing = OutgoingKept {
            key: kept.key,
            node,
            record: &record,
            path_set: &path_set,
            trees: &trees,
            archive: &archive,
            bytes: kept.bytes,
        };
        for (at, _) in lines {
            match self.remotes.push_kept(store, at, &outgoing, self.key.as_ref().ok()) {
                Ok(bytes) => report.bytes += bytes,
                Err(error) => {
                    self.give_up(at, &error);
                    report.failed.push(format!("what was kept of {node} was not pushed: {error}"));
                }
            }
        }
    }

    fn push_to(&self, line: usize, node: &str) -> Result<Sent, PushError> {
        let store = &self.project.store;
        let Some(state) = store.node(self.id, node)? else { return Ok(Sent::Nothing) };
        let Some((key, path_set)) = state.strong_key.zip(state.path_set) else { return Ok(Sent::Nothing) };
        let Some(recorded) = recorded(self.project, &Strong { key, path_set })? else {
            return Ok(Sent::Nothing);
        };
        if recorded.is_unverified() && !self.takes_continued(line) {
            return Ok(Sent::Held);
        }
        let compared = |output: &str| !self.is_told(node, output);
        let key = self.key.as_ref().ok();
        match self.remotes.push(store, line, &recorded.outgoing(key, &compared)) {
            // What others made goes to where somebody is believed who stands for it.
            Err(PushError::Unfit(_)) if !recorded.made_here => Ok(Sent::Nothing),
            pushed => pushed.map(Sent::Went),
        }
    }

    fn takes_continued(&self, line: usize) -> bool {
        self.remotes.written().any(|(at, to)| at == line && to.continued)
    }

    /// Whether the state of a node comes of continuing, and no run from nothing has come to the same.
    fn is_unverified(&self, state: &NodeState) -> bool {
        let store = &self.project.store;
        let result = state.strong_key.and_then(|key| store.result(&key).ok().flatten());
        match result {
            Some(result) => result.built.is_unverified(),
            // A failure that is no result.
            None => store.run(state.run).ok().flatten().is_none_or(|run| run.continued),
        }
    }

    /// Whether an output is told of a run, and so differs from one to the next.
    fn is_told(&self, node: &str, output: &str) -> bool {
        let name = NodeName::parse(node);
        let rule = name.as_ref().and_then(|name| self.project.spec.rules.get(name.rule()));
        let output = rule.and_then(|rule| rule.outputs.get(output));
        output.is_some_and(|output| matches!(output.shape, OutputShape::Report(..)))
    }

    /// Pushes what it is given, on a thread of its own.
    pub(super) fn start<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) -> Running<'scope> {
        let (sender, receiver) = channel();
        let pushes = self.lines().next().is_some().then(|| scope.spawn(|| self.all(receiver)));
        Running { pusher: self, sender, pushes }
    }

    fn all(&self, nodes: Receiver<String>) -> Report {
        let mut report = Report::default();
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

/// Pushes that are under way.
pub(super) struct Running<'scope> {
    pusher: &'scope Pusher<'scope>,
    sender: Sender<String>,
    pushes: Option<ScopedJoinHandle<'scope, Report>>,
}

impl Running<'_> {
    /// Takes note of a node that has ended: if it ran and has a result, that is pushed.
    pub(super) fn take(&self, finished: &Finished) {
        let ran = matches!(finished.how, How::Ran | How::RanUnchanged);
        if ran && matches!(finished.outcome, Outcome::Pass | Outcome::Fail) && self.pushes.is_some() {
            // Gone it is only after `end`.
            let _ = self.sender.send(finished.node.to_string());
        }
    }

    /// Waits for the last of them, and tells what came of them. After Ctrl-C only for what is on its way.
    pub(super) fn end(self, interrupted: bool, terminal: &Terminal) {
        self.pusher.stop.store(interrupted, Ordering::Relaxed);
        drop(self.sender);
        for why in self.pusher.why_not() {
            terminal.note(&why);
        }
        let Some(pushes) = self.pushes else { return };
        let report = pushes.join().unwrap_or_default();
        report.tell(terminal);
        if report.pushed > 0 || !report.held.is_empty() {
            terminal.note(&report.summary());
        }
    }
}

impl Report {
    fn tell(&self, terminal: &Terminal) {
        for message in self.differing.iter().chain(&self.failed) {
            terminal.warning(message);
        }
    }

    fn summary(&self) -> String {
        let mut parts = vec![format!("pushed {} ({})", self.pushed, show_size(self.bytes))];
        let counts = [
            (self.known, "there already"),
            (self.differing.len(), "with other bits"),
            (self.failed.len(), "failed"),
            (self.held.len(), HELD),
        ];
        parts.extend(
            counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")),
        );
        parts.join(", ")
    }
}
