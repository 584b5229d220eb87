//! `kiln plan`.

use std::collections::HashSet;

use clap::ValueEnum;

use super::exit::{Exit, Failure};
use super::project::{Project, select};
use super::push::HELD;
use super::remotes::tell;
use super::terminal::{Terminal, out, outln};
use crate::graph::{Graph, NodeName};
use crate::kinds::AllKinds;
use crate::kinds::match_boards::{MatchCoverage, match_coverage};
use crate::plan::{Plan, World, estimate, plan};
use crate::remote::Remotes;
use crate::report::{self, Unmet, UnmetBoard};
use crate::store::Outcome;

/// What `kiln plan` and `kiln build` have in common.
#[derive(Debug, clap::Args)]
pub(super) struct Wanted {
    /// Names, globs, `RULE:`, or builds (source/arch/defconfig/toolchain). Default: everything.
    pub targets: Vec<String>,
    /// Plan for so many cores. Default: all of them.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Run this node whatever is known of it. May be given again.
    #[arg(long, value_name = "NODE")]
    pub force: Vec<String>,
    /// Boot again: `failed`, or the boots that a name, a glob or a build means. May be given again.
    #[arg(long, value_name = "WHAT")]
    pub rerun: Vec<String>,
    /// Do not ask the remotes.
    #[arg(long)]
    pub offline: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    wanted: Wanted,
    /// Show fresh nodes too.
    #[arg(short, long)]
    all: bool,
    /// How to print the plan.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    /// A table, for people.
    #[default]
    Text,
    /// A documented, versioned schema: docs/plan-json.md.
    Json,
    /// Graphviz.
    Dot,
    /// Mermaid, as forges render it.
    Mermaid,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    show(&args.wanted, args.format, args.all, terminal)
}

/// `kiln build --dry-run`.
pub(super) fn dry_run(wanted: &Wanted, terminal: &Terminal) -> Result<Exit, Failure> {
    show(wanted, Format::Text, false, terminal)
}

fn show(wanted: &Wanted, format: Format, all: bool, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = Project::open(terminal)?;
    let kinds = AllKinds::new(&project.spec);
    let remotes = project.remotes(wanted.offline, terminal)?;
    let (mut graph, mut world) = project.look(&kinds)?;
    world.remotes = Some(&remotes);
    let selection = select(&wanted.targets, &graph)?;
    world.forced = forced(wanted, &graph, &world)?;
    let plan = plan(&world, &mut graph, &selection)?;
    world.save();
    tell(&remotes, terminal);
    let jobs = jobs(wanted.jobs);
    let durations = project.store.durations(world.project())?;
    let estimate = estimate(&graph, &plan, jobs, |name| durations.get(name).copied());
    match format {
        Format::Text => {
            out!("{}", report::plan_text(&world, &graph, &plan, &estimate, jobs, all, terminal.out));
            if let Some(unmet) = match_coverage(&world, &graph, &plan).map(unmet) {
                out!("{}", report::unmet_text(&unmet, terminal.out));
            }
            let held = held_back(&project, &remotes, &plan)?;
            if held > 0 {
                outln!("{held} {HELD}");
            }
        }
        Format::Json => {
            let unmet = match_coverage(&world, &graph, &plan).map(unmet);
            outln!("{:#}", report::plan_json(&world, &graph, &plan, &estimate, jobs, unmet.as_ref()));
        }
        Format::Dot => out!("{}", report::dot(&graph, &plan)),
        Format::Mermaid => out!("{}", report::mermaid(&graph, &plan)),
    }
    // What the machine lacks is told where a script would look, too.
    let mut lacking: Vec<&str> = plan.lacking().map(|(_, what)| what).collect();
    lacking.sort_unstable();
    lacking.dedup();
    if lacking.is_empty() {
        return Ok(Exit::Done);
    }
    Err(Failure::new(Exit::Environment, lacking.join("; ")).help("`kiln doctor` lists all that is missing"))
}

/// How many known results some remote does not get, as they were built by continuing.
fn held_back(project: &Project, remotes: &Remotes, plan: &Plan) -> Result<usize, Failure> {
    if remotes.written().all(|(_, line)| line.continued) {
        return Ok(0);
    }
    let unverified = project.store.unverified()?;
    let keys = plan.nodes().iter().filter_map(|&id| plan.strong_key(id));
    Ok(keys.filter(|key| unverified.contains_key(key)).count())
}

/// Who meets nobody, for people.
fn unmet(coverage: MatchCoverage) -> Unmet {
    let boards = coverage.boards.map(|boards| {
        let board = boards.into_iter().map(|lonely| {
            let (nearest, failing) = lonely.nearest.unzip();
            UnmetBoard { board: lonely.board, nearest, failing }
        });
        board.collect()
    });
    Unmet { boards, builds: coverage.builds, open: coverage.open }
}

/// `--rerun failed`.
const FAILED: &str = "failed";

/// The names of nodes that `--force` and `--rerun` mean.
pub(super) fn forced(wanted: &Wanted, graph: &Graph, world: &World<'_>) -> Result<HashSet<String>, Failure> {
    let mut names = meant(&wanted.force, graph, world)?;
    let boots = |name: &str| {
        let rule = NodeName::parse(name).and_then(|name| world.spec.rules.get(name.rule()));
        rule.is_some_and(|rule| rule.kind.boots().is_some())
    };
    let targets: Vec<String> = wanted.rerun.iter().filter(|what| *what != FAILED).cloned().collect();
    names.extend(meant(&targets, graph, world)?.into_iter().filter(|name| boots(name)));
    if wanted.rerun.iter().any(|what| what == FAILED) {
        let failed =
            world.previous.iter().filter(|(name, state)| state.outcome == Outcome::Fail && boots(name));
        names.extend(failed.map(|(name, _)| name.clone()));
    }
    Ok(names)
}

fn meant(targets: &[String], graph: &Graph, world: &World<'_>) -> Result<HashSet<String>, Failure> {
    if targets.is_empty() {
        return Ok(HashSet::new());
    }
    let selection = select(targets, graph)?;
    let in_graph = graph.ids().filter(|&id| selection.wants(graph, id)).map(|id| graph.name(id).to_string());
    let mut names: HashSet<String> = in_graph.collect();
    // Boots that were recorded, and that the graph will have once it is expanded.
    names.extend(world.previous.keys().filter(|name| selection.wants_name(name)).cloned());
    Ok(names)
}

/// How many cores to use.
pub(super) fn jobs(asked: Option<u16>) -> usize {
    asked.map_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get), usize::from)
}
