//! The answer of `kiln why`, for people.

use std::collections::HashSet;

use super::style::{Style, duration};
use super::timestamp::local_time;
use crate::graph::{Graph, NodeId};
use crate::plan::manifest::{Field, FieldKind};
use crate::plan::{BuildContext, Commits, Plan, Reason, Verdict, commits, key_inputs};
use crate::store::{Built, Run, StoreError};

/// The explanation of a node's verdict. With `verbose`, everything that its key is made of.
pub fn why_text(
    context: &BuildContext<'_>,
    graph: &Graph,
    plan: &Plan,
    id: NodeId,
    verbose: bool,
    style: Style,
) -> Result<String, StoreError> {
    let last = context.newest_run(graph.name(id))?;
    let mut text = Explanation { context, graph, plan, style, text: String::new() };
    text.node(id, 0, &mut HashSet::new());
    text.built(id);
    text.last_run(last.as_ref());
    if verbose {
        text.fields(id);
    }
    Ok(text.text)
}

struct Explanation<'a> {
    context: &'a BuildContext<'a>,
    graph: &'a Graph,
    plan: &'a Plan,
    style: Style,
    text: String,
}

impl Explanation<'_> {
    /// Explains a node's verdict, and the nodes that it follows from. Each node is explained once.
    fn node(&mut self, id: NodeId, depth: usize, explained: &mut HashSet<NodeId>) {
        if !explained.insert(id) {
            return;
        }
        let name = self.style.bold(self.graph.name(id));
        let verdict = self.plan.verdict(id).clone();
        match &verdict {
            Verdict::Fresh(_) => {
                self.line(
                    depth,
                    &format!("{name} is {}: nothing it depends on has changed", self.style.good("fresh")),
                );
            }
            Verdict::Cached(_, reasons) => {
                self.line(
                    depth,
                    &format!(
                        "{name} is {}: its result is known, and is put in place",
                        self.style.good("cached")
                    ),
                );
                self.reasons(depth, reasons);
            }
            Verdict::Remote(..) => {
                let reason = verdict.remote_reason().map(|reason| reason.to_string()).unwrap_or_default();
                self.line(depth, &format!("{name} is {}: {reason}", self.style.good("known elsewhere")));
            }
            Verdict::Stale(reasons) => {
                self.line(depth, &format!("{name} is {}", self.style.warn("stale")));
                self.reasons(depth, reasons);
                self.commits(depth, id, reasons);
                self.upstream(depth, reasons, explained);
            }
            Verdict::Unknown(until) => {
                let names: Vec<&str> = until.iter().map(|&id| &**self.graph.name(id)).collect();
                self.line(
                    depth,
                    &format!("{name} is {} until {} has run", self.style.warn("unknown"), names.join(", ")),
                );
                for &dep in until {
                    self.node(dep, depth + 1, explained);
                }
            }
            Verdict::Blocked(by) => {
                self.line(
                    depth,
                    &format!(
                        "{name} is {}: {} has no result",
                        self.style.bad("blocked"),
                        self.graph.name(*by)
                    ),
                );
                self.node(*by, depth + 1, explained);
            }
            Verdict::MissingRequirement(what) => {
                self.line(depth, &format!("{name} is {}: {what}", self.style.bad("blocked")));
            }
        }
    }

    fn reasons(&mut self, depth: usize, reasons: &[Reason]) {
        for reason in reasons {
            self.line(depth + 1, &format!("- {reason}"));
        }
    }

    /// The commits that made the changes of git sources.
    fn commits(&mut self, depth: usize, id: NodeId, reasons: &[Reason]) {
        let between = commits(self.context, self.graph.name(id), reasons).unwrap_or_default();
        for Commits { source, from, to, commits, more, failed } in between {
            let range = format!("{}..{}", short(&from), short(&to));
            let head = match failed {
                Some(said) => format!("{source}: the commits {range} can't be listed: {said}"),
                None if from == to => {
                    format!("{source}: still at commit {}; the changes are not committed", short(&from))
                }
                None if commits.is_empty() => {
                    format!("{source}: no commit of {range} has these changes; they are not committed")
                }
                None => format!("{source}: commits {range} with these changes:"),
            };
            self.line(depth + 1, &head);
            for commit in commits {
                self.line(depth + 2, &format!("{} {}", self.style.warn(&commit.id), commit.subject));
            }
            if more {
                self.line(depth + 2, "and more");
            }
        }
    }

    /// For each changed output of another node: why that node ran.
    fn upstream(&mut self, depth: usize, reasons: &[Reason], explained: &mut HashSet<NodeId>) {
        for reason in reasons {
            let Reason::Changed { field: FieldKind::Output { node, .. }, .. } = reason else { continue };
            let Some(id) = self.graph.find(node) else { continue };
            if !explained.insert(id) {
                continue;
            }
            if let Ok(Some(run)) = self.context.newest_run(node) {
                self.line(depth + 1, &format!("{} ran {} because", self.style.bold(node), local_time(&run)));
                let reasons: Vec<Reason> = serde_json::from_str(&run.reasons).unwrap_or_default();
                self.reasons(depth + 1, &reasons);
                self.upstream(depth + 1, &reasons, explained);
            }
        }
    }

    /// Whether its result was built by continuing.
    fn built(&mut self, id: NodeId) {
        let strong = self.plan.decision(id).and_then(|decision| decision.keys?.strong);
        let result = strong.and_then(|strong| self.context.store.result(&strong.key).ok().flatten());
        let Some(Built::Continued { verified, .. }) = result.map(|result| result.built) else { return };
        self.line(0, if verified {
            "its result was built by continuing, and a run from nothing has made the same"
        } else {
            "its result was built by continuing; `kiln verify --continued` would show whether a run from nothing makes the same"
        });
    }

    fn last_run(&mut self, run: Option<&Run>) {
        let Some(run) = run else {
            self.line(0, "it never ran");
            return;
        };
        let time = duration(run.duration);
        let how = if run.continued { ", continued in the directory of the run before" } else { "" };
        self.line(0, &format!("last run: {}, {} in {time}{how}, because", local_time(run), run.outcome));
        let reasons: Vec<Reason> = serde_json::from_str(&run.reasons).unwrap_or_default();
        self.reasons(0, &reasons);
    }

    /// Everything that the key is made of; the files of host tools are counted.
    fn fields(&mut self, id: NodeId) {
        let Ok(Some(key_inputs)) = key_inputs(self.context, self.graph, id, self.plan) else { return };
        let strong = key_inputs.keys.strong.map(|strong| format!(", strong key {}", strong.key));
        self.line(0, &format!("action key {}{}, of", key_inputs.keys.action, strong.unwrap_or_default()));
        let mut host_files = 0;
        for Field { kind, value } in &key_inputs.manifest.all_fields() {
            if let FieldKind::Host(_) = kind {
                host_files += 1;
            } else {
                self.line(1, &format!("{kind}: {value}"));
            }
        }
        if host_files > 0 {
            self.line(1, &format!("{host_files} files of the host's tools and headers"));
        }
    }

    fn line(&mut self, depth: usize, text: &str) {
        self.text.push_str(&"  ".repeat(depth));
        self.text.push_str(text);
        self.text.push('\n');
    }
}

/// The abbreviated id of a commit.
fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}
