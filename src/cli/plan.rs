//! `kiln plan`.

use clap::ValueEnum;

use super::exit::Exit;
use super::failure::Failure;
use super::project::{open, print_warnings, remotes};
use super::terminal::{Terminal, out, outln};
use super::wanted::Wanted;
use crate::kinds::AllKinds;
use crate::kinds::match_boards::{MatchCoverage, match_coverage};
use crate::report::{self, Unmet, UnmetBoard};
use crate::session::{HELD_BACK, View};

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
    let project = open(terminal)?;
    let kinds = AllKinds::new(&project.spec);
    let remotes = remotes(&project, wanted.offline, terminal)?;
    let view = View::plan(&project, &kinds, Some(&remotes), &wanted.targets, wanted.forced())?;
    print_warnings(&remotes, terminal);
    let View { graph, context, plan, .. } = &view;
    let jobs = wanted.jobs();
    let estimate = view.estimate(jobs)?;
    let unmet = || match_coverage(context, graph, plan).map(unmet);
    match format {
        Format::Text => {
            out!("{}", report::plan_text(context, graph, plan, &estimate, jobs, all, terminal.out));
            if let Some(unmet) = unmet() {
                out!("{}", report::unmet_text(&unmet, terminal.out));
            }
            let held = view.held_back(&remotes)?;
            if held > 0 {
                outln!("{held} {HELD_BACK}");
            }
        }
        Format::Json => {
            let unmet = unmet();
            outln!("{:#}", report::plan_json(context, graph, plan, &estimate, jobs, unmet.as_ref()));
        }
        Format::Dot => out!("{}", report::dot(graph, plan)),
        Format::Mermaid => out!("{}", report::mermaid(graph, plan)),
    }
    // Reported as an error as well, where a script notices it.
    let missing = view.missing_requirements();
    if missing.is_empty() {
        return Ok(Exit::Done);
    }
    Err(Failure::new(Exit::Environment, missing.join("; ")).help("`kiln doctor` lists all that is missing"))
}

/// The boards and builds without a match, as the report shows them.
fn unmet(coverage: MatchCoverage) -> Unmet {
    let boards = coverage.boards.map(|boards| {
        let board = boards.into_iter().map(|unmatched| {
            let (nearest, failing) = unmatched.nearest.unzip();
            UnmetBoard { board: unmatched.board, nearest, failing }
        });
        board.collect()
    });
    Unmet { boards, builds: coverage.builds, open: coverage.open }
}
