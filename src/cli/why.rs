//! `kiln why`.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::exit::{Exit, Failure};
use super::format::Format;
use super::project::{Project, one, select};
use super::terminal::{Terminal, out, outln};
use crate::graph::{Graph, NodeId};
use crate::kinds::AllKinds;
use crate::plan::manifest::{Field, What};
use crate::plan::{Commits, Plan, Reason, Verdict, World, basis, commits, plan};
use crate::report::{self, Style};
use crate::store::{Built, Run};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The node: a name, or a glob that means one.
    node: String,
    /// List everything that its key is made of.
    #[arg(short, long)]
    verbose: bool,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = Project::open(terminal)?;
    let kinds = AllKinds::new(&project.spec);
    let (mut graph, world) = project.look(&kinds)?;
    // A boot's name means something only once its match is known, so all is planned, then the node is looked for.
    let everything = select(&[], &graph)?;
    let plan = plan(&world, &mut graph, &everything)?;
    world.save();
    let id = one(&args.node, &graph)?;
    let last = last_run(&world, graph.name(id))?;
    match args.format {
        Format::Text => {
            let mut why =
                Why { world: &world, graph: &graph, plan: &plan, style: terminal.out, out: String::new() };
            why.node(id, 0, &mut HashSet::new());
            why.built(id);
            why.last_run(last.as_ref());
            if args.verbose {
                why.fields(id);
            }
            out!("{}", why.out);
        }
        Format::Json => {
            let estimate = crate::plan::estimate(&graph, &plan, 1, |_| None);
            let whole = report::plan_json(&world, &graph, &plan, &estimate, 1, None);
            let name = graph.name(id);
            let node =
                whole["nodes"].as_array().and_then(|nodes| nodes.iter().find(|node| node["name"] == **name));
            let between = match plan.verdict(id) {
                Verdict::Stale(reasons) => commits(&world, name, reasons)?,
                _ => Vec::new(),
            };
            let last = last.as_ref().map(|run| {
                serde_json::json!({
                    "outcome": run.outcome,
                    "continued": run.continued,
                    "started": stamp(run),
                    "seconds": run.duration.as_secs_f64(),
                    "reasons": serde_json::from_str::<serde_json::Value>(&run.reasons).unwrap_or_default(),
                })
            });
            let answer = serde_json::json!({
                "version": report::PLAN_VERSION, "node": node, "commits": between, "last-run": last,
            });
            outln!("{answer:#}");
        }
    }
    Ok(Exit::Done)
}

fn last_run(world: &World<'_>, name: &str) -> Result<Option<Run>, Failure> {
    Ok(world.store.runs(world.project(), name, 1)?.into_iter().next().map(|(_, run)| run))
}

struct Why<'a> {
    world: &'a World<'a>,
    graph: &'a Graph,
    plan: &'a Plan,
    style: Style,
    out: String,
}

impl Why<'_> {
    /// Says what a node's verdict is and why; goes on with the nodes that it comes from.
    fn node(&mut self, id: NodeId, depth: usize, told: &mut HashSet<NodeId>) {
        if !told.insert(id) {
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
                let reason = verdict.elsewhere().map(|reason| reason.to_string()).unwrap_or_default();
                self.line(depth, &format!("{name} is {}: {reason}", self.style.good("known elsewhere")));
            }
            Verdict::Stale(reasons) => {
                self.line(depth, &format!("{name} is {}", self.style.warn("stale")));
                self.reasons(depth, reasons);
                self.commits(depth, id, reasons);
                self.upstream(depth, reasons, told);
            }
            Verdict::Unknown(until) => {
                let names: Vec<&str> = until.iter().map(|&id| &**self.graph.name(id)).collect();
                self.line(
                    depth,
                    &format!("{name} is {} until {} has run", self.style.warn("unknown"), names.join(", ")),
                );
                for &dep in until {
                    self.node(dep, depth + 1, told);
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
                self.node(*by, depth + 1, told);
            }
            Verdict::Lacking(what) => {
                self.line(depth, &format!("{name} is {}: {what}", self.style.bad("blocked")));
            }
        }
    }

    fn reasons(&mut self, depth: usize, reasons: &[Reason]) {
        for reason in reasons {
            self.line(depth + 1, &format!("- {reason}"));
        }
    }

    /// The commits that brought the changes of git sources.
    fn commits(&mut self, depth: usize, id: NodeId, reasons: &[Reason]) {
        let between = commits(self.world, self.graph.name(id), reasons).unwrap_or_default();
        for Commits { source, from, to, commits, more, failed } in between {
            let range = format!("{}..{}", short(&from), short(&to));
            let head = match failed {
                Some(said) => format!("{source}: the commits {range} can't be told: {said}"),
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

    /// Where an output of another node changed: why that one ran.
    fn upstream(&mut self, depth: usize, reasons: &[Reason], told: &mut HashSet<NodeId>) {
        for reason in reasons {
            let Reason::Changed { what: What::Output { node, .. }, .. } = reason else { continue };
            let Some(id) = self.graph.find(node) else { continue };
            if !told.insert(id) {
                continue;
            }
            if let Ok(Some(run)) = last_run(self.world, node) {
                self.line(depth + 1, &format!("{} ran {} because", self.style.bold(node), stamp(&run)));
                let reasons: Vec<Reason> = serde_json::from_str(&run.reasons).unwrap_or_default();
                self.reasons(depth + 1, &reasons);
                self.upstream(depth + 1, &reasons, told);
            }
        }
    }

    /// Says so where its result was built by continuing.
    fn built(&mut self, id: NodeId) {
        let strong = self.plan.decision(id).and_then(|decision| decision.keys?.strong);
        let result = strong.and_then(|strong| self.world.store.result(&strong.key).ok().flatten());
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
        let time = report::duration(run.duration);
        let how = if run.continued { ", continued in the directory of the run before" } else { "" };
        self.line(0, &format!("last run: {}, {} in {time}{how}, because", stamp(run), run.outcome));
        let reasons: Vec<Reason> = serde_json::from_str(&run.reasons).unwrap_or_default();
        self.reasons(0, &reasons);
    }

    /// All that the key is made of; files of host tools are counted.
    fn fields(&mut self, id: NodeId) {
        let Ok(Some(basis)) = basis(self.world, self.graph, id, self.plan) else { return };
        let strong = basis.keys.strong.map(|strong| format!(", strong key {}", strong.key));
        self.line(0, &format!("action key {}{}, of", basis.keys.action, strong.unwrap_or_default()));
        let mut hosts: BTreeMap<&str, usize> = BTreeMap::new();
        let fields = basis.manifest.all_fields();
        for Field { what, value } in &fields {
            if let What::Host(_) = what {
                *hosts.entry("files of the host's tools and headers").or_default() += 1;
            } else {
                self.line(1, &format!("{what}: {value}"));
            }
        }
        for (what, count) in hosts {
            self.line(1, &format!("{count} {what}"));
        }
    }

    fn line(&mut self, depth: usize, text: &str) {
        self.out.push_str(&"  ".repeat(depth));
        self.out.push_str(text);
        self.out.push('\n');
    }
}

/// A commit's id as people write it.
fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

/// When a run began, in local time.
pub(super) fn stamp(run: &Run) -> String {
    Timestamp::try_from(run.started).map_or_else(
        |_| "at an unknown time".to_owned(),
        |time| time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}
