//! Collects the status of builds and boots from a plan, without running anything.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::contents::{read_messages, read_record, tail};
use super::status::{Boot, Build, Node, STATUS_VERSION, State, Status, Tree, stamp};
use crate::graph::{Action, BuildId, Graph, NodeId, NodeKind};
use crate::lab::record::Record;
use crate::plan::manifest::{Field, FieldKind, Manifest};
use crate::plan::{BuildContext, KeyInputs, Plan, PlanError, Reason, UnpackedFrom, Verdict};
use crate::spec::model::{Axis, OutputShape, RunReport};
use crate::store::{Artifact, NodeRecord, Outcome, Run, StoreError};
use crate::text::one_line_marked;

/// The output of a boot that holds the results of a lab.
const RESULTS: &str = "results";

/// The output of a boot that holds its console.
const CONSOLE: &str = "console";

/// The largest results, messages or log that are read, in bytes.
const MOST: u64 = 64 << 20;

/// Whether a node is a boot: under QEMU, or at a lab.
pub(super) fn is_boot(action: &Action) -> bool {
    let rule = &action.rule.decl;
    // Or by a rule of the user's own, which leaves the same results.
    let of_their_own = rule.has_axis(Axis::Board) && rule.outputs.contains_key(RESULTS);
    rule.kind.boots().is_some() || of_their_own
}

/// Whether a node is part of a build, boots included.
pub(super) fn is_of_build(action: &Action) -> bool {
    action.rule.decl.is_per_build()
}

/// The build of a node: `source/arch/defconfig/toolchain`.
pub(super) fn build_id(action: &Action) -> String {
    action.build.as_ref().map(BuildId::to_string).unwrap_or_default()
}

/// The status of everything that was planned.
pub fn collect_status(context: &BuildContext<'_>, graph: &Graph, plan: &Plan) -> Result<Status, PlanError> {
    let mut status = Status {
        version: STATUS_VERSION,
        sources: BTreeMap::new(),
        builds: BTreeMap::new(),
        others: Vec::new(),
    };
    let mut states = HashMap::new();
    for &id in plan.nodes() {
        match &graph.node(id).kind {
            NodeKind::Action(action) => {
                let look = Look { context, graph, id, action };
                let (node, results) = look.node(plan, &states)?;
                states.insert(id, node.state);
                place(&mut status, action, node, results);
            }
            NodeKind::Expansion(expansion) if graph.expansion(id).is_none() => {
                let Some(from) = graph.node(expansion.from.node).action().filter(|from| is_of_build(from))
                else {
                    continue;
                };
                let open = format!("not known before {} has passed", graph.name(expansion.from.node));
                build_of(&mut status, from).open = Some(open);
            }
            NodeKind::Expansion(_) | NodeKind::Source(_) => {}
        }
    }
    // A build of which only a part was planned may not pass as a whole.
    for id in graph.ids().filter(|&id| plan.decision(id).is_none()) {
        let action = graph.node(id).action().filter(|action| is_of_build(action) && !is_boot(action));
        if let Some(build) = action.and_then(|action| status.builds.get_mut(&build_id(action))) {
            build.whole = false;
        }
    }
    for build in status.builds.values_mut() {
        build.boots.sort_by(|a, b| (&a.board, &a.test).cmp(&(&b.board, &b.test)));
        let known = build.nodes.iter().any(|node| node.state.is_known());
        if known && !status.sources.contains_key(&build.source) {
            status.sources.insert(build.source.clone(), tree(context, &build.source)?);
        }
    }
    Ok(status)
}

fn tree(context: &BuildContext<'_>, name: &str) -> Result<Tree, PlanError> {
    // An unpacked tree has a snapshot only if it holds what was unpacked.
    let digest = context.sources.snapshot(name)?.digest();
    let unpacked = context.sources.tree(name)?.unpacked.as_ref();
    let exact = unpacked.is_some_and(|unpacked| matches!(unpacked.from, UnpackedFrom::Commit { .. }));
    Ok(Tree { digest, commit: context.sources.commit(name).map(str::to_owned), exact })
}

fn place(status: &mut Status, action: &Action, node: Node, results: Option<Record>) {
    if !is_of_build(action) {
        status.others.push(node);
        return;
    }
    let build = build_of(status, action);
    if is_boot(action) {
        let text = |placeholder: &str| action.bindings.text_of(placeholder);
        let (board, device_type, test) = (text("board"), text("board.device_type"), text("test"));
        build.boots.push(Boot { board, device_type, test, node, results });
    } else {
        build.nodes.push(node);
    }
}

fn build_of<'a>(status: &'a mut Status, action: &Action) -> &'a mut Build {
    let text = |placeholder: &str| action.bindings.text_of(placeholder);
    status.builds.entry(build_id(action)).or_insert_with(|| Build {
        source: text("source"),
        arch: text("arch"),
        kernel_arch: text("arch.kernel"),
        defconfig: text("defconfig"),
        toolchain: text("toolchain"),
        whole: true,
        nodes: Vec::new(),
        boots: Vec::new(),
        open: None,
    })
}

/// The status of one node.
struct Look<'a> {
    context: &'a BuildContext<'a>,
    graph: &'a Graph,
    id: NodeId,
    action: &'a Action,
}

/// A run that has ended, and its outputs.
struct Ended {
    outcome: Outcome,
    outputs: Vec<(String, Artifact)>,
    /// `None` if it is not recorded here, as that of another machine.
    run: Option<Run>,
}

impl Look<'_> {
    fn node(
        &self,
        plan: &Plan,
        states: &HashMap<NodeId, State>,
    ) -> Result<(Node, Option<Record>), PlanError> {
        let Self { context, graph, id, action } = *self;
        let decision = plan.decision(id).expect("a plan decides all its nodes");
        let said = |state: State, message: String| Node {
            name: graph.name(id).to_string(),
            rule: action.rule.name.to_string(),
            state,
            message: Some(message),
            ..Node::default()
        };
        let ended = match &decision.verdict {
            Verdict::Fresh(known) | Verdict::Cached(known, _) | Verdict::Remote(known, _) => Ended {
                outcome: known.outcome,
                outputs: known.outputs.to_vec(),
                run: known.run.map(|run| context.store.run(run)).transpose()?.flatten(),
            },
            Verdict::Stale(reasons) => match self.failed_so(reasons, decision.key_inputs.as_deref())? {
                Some(ended) => ended,
                None => return Ok((stale(reasons, said), None)),
            },
            Verdict::Unknown(until) => {
                let failed = |on: &&NodeId| matches!(states.get(on), Some(State::Fail | State::Skipped));
                let node = match until.iter().find(failed) {
                    Some(&on) => said(State::Skipped, blocked(graph, on)),
                    None => {
                        let first = until.first().map_or_else(String::new, |&on| graph.name(on).to_string());
                        said(State::Unknown, format!("not known before {first} has run"))
                    }
                };
                return Ok((node, None));
            }
            Verdict::Blocked(on) => return Ok((said(State::Skipped, blocked(graph, *on)), None)),
            Verdict::MissingRequirement(what) => return Ok((said(State::Infra, what.clone()), None)),
        };
        let key = decision.keys.map(|keys| keys.strong.map_or(keys.exact_key, |strong| strong.key));
        let (mut node, results) = self.ended(&ended)?;
        node.key = key;
        Ok((node, results))
    }

    /// The last run of a node that has to run again, if it failed with the present inputs. A failure counts here even if it
    /// is not cached.
    fn failed_so(
        &self,
        reasons: &[Reason],
        key_inputs: Option<&KeyInputs>,
    ) -> Result<Option<Ended>, PlanError> {
        let (context, name) = (self.context, &**self.graph.name(self.id));
        if matches!(reasons, [Reason::LastRun { outcome: Outcome::Fail }])
            && let Some(state) = context.previous.get(name).filter(|state| state.outcome == Outcome::Fail)
            && let Some(run) = context.store.run(state.run)?
            // Without a manifest, the inputs have not been compared.
            && run.manifest.as_deref().and_then(Manifest::decode).is_some()
        {
            let outputs = state.record().map(|record| self.left_behind(record)).unwrap_or_default();
            return Ok(Some(Ended { outcome: Outcome::Fail, outputs, run: Some(run) }));
        }
        Ok(context
            .newest_run(name)?
            .filter(|run| run.outcome == Outcome::Infra && is_same(run, key_inputs))
            .map(|run| Ended { outcome: Outcome::Infra, outputs: Vec::new(), run: Some(run) }))
    }

    /// The outputs of a failed run. Logs and messages of a run that made nothing are recorded only where they were placed.
    fn left_behind(&self, record: NodeRecord) -> Vec<(String, Artifact)> {
        let mut outputs = record.outputs;
        for name in self.action.rule.decl.outputs.keys() {
            let Some(place) = self.action.export_path(name) else { continue };
            let placed = record.placed.iter().find(|placed| Path::new(&placed.path) == place);
            if let (Some(placed), false) = (placed, outputs.iter().any(|(own, _)| own == name)) {
                outputs.push((name.clone(), placed.artifact));
            }
        }
        outputs
    }

    fn ended(&self, ended: &Ended) -> Result<(Node, Option<Record>), PlanError> {
        let state = match ended.outcome {
            Outcome::Pass => State::Pass,
            Outcome::Fail => State::Fail,
            Outcome::Infra | Outcome::Skipped | Outcome::Cancelled => State::Infra,
        };
        let mut node = Node {
            name: self.graph.name(self.id).to_string(),
            rule: self.action.rule.name.to_string(),
            state,
            ..Node::default()
        };
        // A result of another machine took no time here.
        if let Some(run) = ended.run.as_ref().filter(|run| !run.duration.is_zero()) {
            node.started = stamp(run.started);
            node.duration = Some(run.duration);
        }
        let output = |name: &str| ended.outputs.iter().find(|(own, _)| own == name).map(|(_, made)| made);
        let mut results = None;
        if is_boot(self.action) {
            node.log = self.placed(CONSOLE);
            if let Some(made) = output(RESULTS) {
                match self.read(made)?.and_then(|bytes| read_record(&bytes)) {
                    Ok(record) => results = Some(record),
                    Err(why) => node.message = Some(format!("its results can't be read: {why}")),
                }
            }
        } else {
            node.log = self.report_output(RunReport::Log).and_then(|log| self.placed(log));
            let messages = self.report_output(RunReport::Messages).and_then(output);
            if let Some(bytes) = messages.map(|made| self.read(made)).transpose()? {
                node.messages = bytes.ok().and_then(|bytes| read_messages(&bytes));
            }
        }
        if state != State::Pass {
            let console = output(CONSOLE).copied();
            let log = ended.run.as_ref().and_then(|run| run.log).map(|log| Artifact::file(log, false));
            if let Some(log) = console.or(log) {
                node.log_tail = self.read(&log)?.map(|bytes| tail(&bytes)).unwrap_or_default();
            }
        }
        node.message = node.message.take().or_else(|| why(&node, results.as_ref()));
        Ok((node, results))
    }

    /// The output that holds this report on a run.
    fn report_output(&self, wanted: RunReport) -> Option<&str> {
        let mut outputs = self.action.rule.decl.outputs.iter();
        let found = outputs
            .find(|(_, output)| matches!(output.shape, OutputShape::Report(report, _) if report == wanted));
        found.map(|(name, _)| name.as_str())
    }

    /// The path of an output below the output directory, if it is present.
    fn placed(&self, output: &str) -> Option<PathBuf> {
        self.action.export_path(output).filter(|place| self.context.out.join(place).is_file())
    }

    /// The content of a file, or why it is not read.
    fn read(&self, made: &Artifact) -> Result<Result<Vec<u8>, String>, StoreError> {
        let Artifact::File { digest, size, .. } = *made else { return Ok(Err("there are none".to_owned())) };
        if size > MOST {
            return Ok(Err(format!("they take {size} bytes")));
        }
        self.context.artifacts().fetch(made)?;
        Ok(self.context.store.read(&digest, size).map_err(|error| error.to_string()))
    }
}

/// A node whose result, if it has one, is for other inputs.
fn stale(reasons: &[Reason], said: impl Fn(State, String) -> Node) -> Node {
    match reasons {
        [] | [Reason::NeverRan] => said(State::Unknown, Reason::NeverRan.to_string()),
        [only] => said(State::Stale, one_line_marked(&only.to_string())),
        [first, rest @ ..] => {
            said(State::Stale, one_line_marked(&format!("{first}; and {} more", rest.len())))
        }
    }
}

fn blocked(graph: &Graph, on: NodeId) -> String {
    format!("what it needs has failed: {}", graph.name(on))
}

/// Whether a run had the present inputs. Commits do not count.
fn is_same(run: &Run, key_inputs: Option<&KeyInputs>) -> bool {
    let counts = |field: &Field| !matches!(field.kind, FieldKind::Commit { .. });
    let then = run.manifest.as_deref().and_then(Manifest::decode);
    then.zip(key_inputs).is_some_and(|(then, key_inputs)| {
        let now = key_inputs.manifest.all_fields();
        then.iter().filter(|field| counts(field)).eq(now.iter().filter(|field| counts(field)))
    })
}

/// The explanation of a result in one sentence.
fn why(node: &Node, results: Option<&Record>) -> Option<String> {
    if let Some(record) = results {
        return Some(one_line_marked(&record.message)).filter(|message| !message.is_empty());
    }
    match node.state {
        State::Infra => Some("its last run came to no outcome".to_owned()),
        State::Fail => {
            let error = node.messages.as_ref().and_then(|messages| messages.first_errors.first().cloned());
            let end = || node.log_tail.lines().rev().find(|line| !line.trim().is_empty());
            error.or_else(|| end().map(|line| format!("its log ends with: {}", one_line_marked(line.trim()))))
        }
        State::Pass | State::Skipped | State::Unknown | State::Stale => None,
    }
}
