//! `kiln cache gc`, and the same in passing after a build.

use std::collections::HashSet;
use std::time::Duration;

use crate::cli::exit::{Exit, Failure};
use crate::cli::needs::{of_graph, trees_of};
use crate::cli::project::Project;
use crate::cli::terminal::{Terminal, out};
use crate::report;
use crate::spec::model::CacheLimit;
use crate::spec::{parse_size, show_size};
use crate::store::{Collected, Limits, Manner, Needs, Store, StoreError};

/// How much of the file system is left free where nothing else is said: in bytes, and as a part of it.
const FREE: u64 = 2 << 30;
const FREE_PART: u64 = 20;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How much room the cache may take, such as 50GiB. Default: as in graph.ron.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    size: Option<u64>,
    /// How long things stay that are not used, such as 30d. Default: as in graph.ron.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    age: Option<Duration>,
    /// How much of the file system to leave free, such as 20GiB. Default: as in graph.ron.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    free: Option<u64>,
    /// Only tell what would go.
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Take also what the graph needs as it is now. What a running kiln uses stays.
    #[arg(long)]
    force: bool,
}

fn size(text: &str) -> Result<u64, String> {
    parse_size(text).ok_or_else(|| "expected such as 512MiB, 1.5GiB".to_owned())
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = Project::open(terminal)?;
    let spec = limits(&project.spec.project.cache.limit, &project.store)?;
    let limits =
        Limits { size: args.size.or(spec.size), age: args.age.or(spec.age), free: args.free.or(spec.free) };
    let needed = if args.force { HashSet::new() } else { of_graph(&project)? };
    let manner = Manner { dry_run: args.dry_run, in_passing: false };
    let collected = collect(&project, &limits, &needed, manner)?;
    if !terminal.quiet {
        out!("{}", report::collected_text(&collected, args.dry_run));
    }
    if collected.over > 0 {
        let whose = if args.force {
            "a running kiln uses it"
        } else {
            "this graph needs it, or a running kiln uses it"
        };
        terminal.warning(&format!("{} more should have gone, but {whose}", show_size(collected.over)));
    }
    Ok(Exit::Done)
}

/// Brings the cache within its bounds where it has come over them. No build fails for it.
pub(in crate::cli) fn after_build(project: &Project, terminal: &Terminal) {
    if let Err(failure) = in_passing(project, terminal) {
        terminal.warning(&format!("the cache was not brought within its bounds: {}", failure.message));
    }
}

fn in_passing(project: &Project, terminal: &Terminal) -> Result<(), Failure> {
    let limits = limits(&project.spec.project.cache.limit, &project.store)?;
    if !project.store.is_over(&limits)? {
        return Ok(());
    }
    let manner = Manner { dry_run: false, in_passing: true };
    let collected = collect(project, &limits, &of_graph(project)?, manner)?;
    if !terminal.quiet && !collected.gone.is_empty() {
        eprint!("{}", report::collected_text(&collected, false));
    }
    Ok(())
}

fn collect(
    project: &Project,
    limits: &Limits,
    digests: &HashSet<crate::digest::Digest>,
    manner: Manner,
) -> Result<Collected, StoreError> {
    let needs = Needs { digests, trees_of: &trees_of };
    project.store.gc(limits, &needs, manner, &|_| {})
}

/// The bounds of the spec, with those that it leaves open.
fn limits(limit: &CacheLimit, store: &Store) -> Result<Limits, Failure> {
    let free = match limit.free {
        Some(free) => free,
        None => FREE.min(store.file_system()? / FREE_PART),
    };
    Ok(Limits { size: limit.size, age: limit.age, free: Some(free) })
}
