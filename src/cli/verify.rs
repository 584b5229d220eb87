//! `kiln verify`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::build::{Sinks, cancel_on_signals};
use super::exit::{Exit, Failure};
use super::format::Format;
use super::needs::hold_all;
use super::plan::jobs;
use super::project::{Project, select};
use super::remotes::tell;
use super::terminal::{Terminal, out, outln};
use crate::digest::Digest;
use crate::exec::{OutputComparison, Unverifiable, Verification, result_to_compare, verify};
use crate::graph::{NodeId, NodeKind, NodeName};
use crate::kinds::AllKinds;
use crate::plan::{World, plan};
use crate::report::{self, Comparison, VerifiedNode, VerifiedOutput};
use crate::store::{Artifact, BlobError, Outcome, StoreError, remove_tree};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Names, globs, `RULE:`, or builds. Default: all nodes that have a result and run in a sandbox.
    targets: Vec<String>,
    /// Only results that were built by continuing in the output directory of an earlier run, and that no run from nothing
    /// has made; those that have waited longest come first.
    #[arg(long)]
    continued: bool,
    /// Begin no run but the first that is not expected to end within that time, such as `30min`.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    budget: Option<Duration>,
    /// Use so many cores. Default: all of them.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Keep what the clean runs made there, beside what is recorded where that differs.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Do not ask the remotes for inputs that are not here.
    #[arg(long)]
    offline: bool,
    /// How to print what came of it.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = Project::open(terminal)?;
    let remotes = project.remotes(args.offline, terminal)?;
    let kinds = AllKinds::new(&project.spec);
    let (mut graph, mut world) = project.look(&kinds)?;
    // What a result that is here was made from may be elsewhere.
    world.remotes = Some(&remotes);
    let selection = select(&args.targets, &graph)?;
    let plan = plan(&world, &mut graph, &selection)?;
    world.save();
    // What is gone by now is met, and told, where it is compared.
    hold_all(&world, &graph, &plan)?;
    let unverified = project.store.unverified()?;
    let since = |id: NodeId| plan.strong_key(id).and_then(|key| unverified.get(&key));
    let mut wanted: Vec<NodeId> = Vec::new();
    let mut nodes: BTreeMap<usize, VerifiedNode> = BTreeMap::new();
    for (at, &id) in plan.nodes().iter().enumerate().filter(|(_, id)| selection.wants(&graph, **id)) {
        if args.continued && since(id).is_none() {
            continue;
        }
        match result_to_compare(&world, &graph, &plan, id, &kinds) {
            Ok(_) => wanted.push(id),
            // A point stands for the boots that it has become, or will.
            Err(Unverifiable::NoAction) if matches!(graph.node(id).kind, NodeKind::Expansion(_)) => {}
            // Without a word of it, it is not meant.
            Err(Unverifiable::NeverRan) if args.targets.is_empty() => {}
            Err(why) => {
                nodes.insert(at, not_compared(graph.name(id), why));
            }
        }
    }
    if args.continued {
        wanted.sort_by_key(|&id| since(id));
    }
    let cancel = cancel_on_signals()?;
    let mut sinks = Sinks::text(terminal);
    let jobs = jobs(args.jobs);
    let mut emit = |event: &_| sinks.tell(event);
    let verified = verify(&world, &graph, &plan, &wanted, jobs, args.budget, &kinds, &mut emit, &cancel)?;
    tell(&remotes, terminal);
    let keep = args.keep.as_deref();
    for one in &verified {
        let at = plan.nodes().iter().position(|&id| id == one.node).expect("it was planned");
        nodes.insert(at, compared(&world, graph.name(one.node), one, keep)?);
        match plan.strong_key(one.node).filter(|key| unverified.contains_key(key)) {
            Some(key) if one.is_same() && has_made(&project, &key, one)? => {
                project.store.mark_verified(&key)?;
            }
            // What led to it would lead to more of the kind.
            Some(_) if one.outcome.is_cacheable() => project.store.drop_kept_of(graph.name(one.node))?,
            _ => {}
        }
    }
    let left = wanted.len() - verified.len();
    let nodes: Vec<VerifiedNode> = nodes.into_values().collect();
    world.save();
    match args.format {
        Format::Json => outln!("{:#}", report::verified_json(&nodes)),
        Format::Text if args.continued && wanted.is_empty() && nodes.is_empty() => {
            outln!("nothing to verify: every result was built from nothing, or has been verified");
        }
        Format::Text => show(&nodes, keep, terminal),
    }
    if left > 0 && !cancel.is_cancelled() {
        terminal.note(&format!("{left} more left for another time: the budget is used up"));
    }
    // Nothing is wrong where nothing was continued.
    if args.continued && nodes.is_empty() && !cancel.is_cancelled() {
        return Ok(Exit::Done);
    }
    Ok(exit(&nodes, cancel.is_cancelled()))
}

/// Whether the clean run has made what is recorded under that key.
fn has_made(project: &Project, key: &Digest, verified: &Verification) -> Result<bool, StoreError> {
    let Some(result) = project.store.result(key)? else { return Ok(false) };
    Ok(verified.outputs.iter().all(|one| result.outputs.contains(&(one.output.clone(), one.clean))))
}

fn not_compared(name: &NodeName, why: Unverifiable) -> VerifiedNode {
    let (result, message) = match why {
        Unverifiable::Stale => (Comparison::Stale, "build it first".to_owned()),
        Unverifiable::NeverRan => (Comparison::Stale, why.to_string()),
        Unverifiable::NoAction
        | Unverifiable::Computed
        | Unverifiable::Builtin
        | Unverifiable::Boot
        | Unverifiable::Failed => (Comparison::Skipped, why.to_string()),
    };
    VerifiedNode {
        name: name.to_string(),
        result,
        message: Some(message),
        log_tail: Vec::new(),
        duration: None,
        outputs: Vec::new(),
    }
}

/// A clean run with what differs. The outputs that do are put side by side to be looked at, below `keep` or in a
/// directory that goes again.
fn compared(
    world: &World<'_>,
    name: &str,
    verified: &Verification,
    keep: Option<&Path>,
) -> Result<VerifiedNode, Failure> {
    let file_name = name.replace(['/', ':'], "_");
    let dir = match keep {
        Some(keep) => keep.join(&file_name),
        None => world.store.fresh_work_dir(&file_name)?,
    };
    let outputs = looked_at(world, verified, &dir, keep.is_some());
    if keep.is_none() {
        remove_tree(&dir)?;
    }
    let (outputs, lost) = match outputs {
        Ok(outputs) => (outputs, None),
        Err(BlobError::Store(error)) => return Err(error.into()),
        Err(lost) => (Vec::new(), Some(format!("an output is lost from the cache ({lost}): build it again"))),
    };
    let (result, message) = match verified.outcome {
        _ if lost.is_some() => (Comparison::Infra, lost),
        Outcome::Pass if verified.is_same() => (Comparison::Same, None),
        Outcome::Pass => (Comparison::Differs, None),
        Outcome::Fail => (Comparison::Failed, verified.message.clone()),
        Outcome::Cancelled => (Comparison::Infra, Some("interrupted".to_owned())),
        Outcome::Infra | Outcome::Skipped => (Comparison::Infra, verified.message.clone()),
    };
    Ok(VerifiedNode {
        name: name.to_owned(),
        result,
        message,
        log_tail: verified.log_tail.clone(),
        duration: Some(verified.duration),
        outputs,
    })
}

/// The outputs, and in `dir` those that are to be looked at; with `keep` all that the run made, and its log.
fn looked_at(
    world: &World<'_>,
    verified: &Verification,
    dir: &Path,
    keep: bool,
) -> Result<Vec<VerifiedOutput>, BlobError> {
    if let (true, Some(log)) = (keep, verified.log) {
        world.store.place(&Artifact::file(log, false), &dir.join("log"))?;
    }
    verified.outputs.iter().map(|one| output(world, one, dir, keep)).collect()
}

fn output(
    world: &World<'_>,
    compared: &OutputComparison,
    dir: &Path,
    keep: bool,
) -> Result<VerifiedOutput, BlobError> {
    let in_dir = |which: &str| dir.join(which).join(&compared.output);
    let (recorded, clean) = (in_dir("recorded"), in_dir("clean"));
    if keep || !compared.is_same() {
        world.store.place(&compared.clean, &clean)?;
    }
    let mut differences = None;
    if !compared.is_same() {
        world.store.place(&compared.recorded, &recorded)?;
        let found = report::difference(&recorded, &clean);
        differences = Some(found.map_err(|error| StoreError::io(&recorded, error))?);
    }
    Ok(VerifiedOutput {
        name: compared.output.clone(),
        recorded: digest(&compared.recorded),
        clean: digest(&compared.clean),
        differences,
    })
}

const fn digest(artifact: &Artifact) -> Option<Digest> {
    match artifact {
        Artifact::File { digest, .. } | Artifact::Tree { digest, .. } => Some(*digest),
        Artifact::Absent => None,
    }
}

fn show(nodes: &[VerifiedNode], keep: Option<&Path>, terminal: &Terminal) {
    out!("{}", report::verified_text(nodes, terminal.quiet, terminal.out));
    let compared = nodes.iter().any(|node| node.duration.is_some());
    if !compared && !nodes.iter().any(|node| node.result == Comparison::Stale) {
        outln!("nothing to verify: no node that runs in a sandbox has a result; `kiln build` makes them");
    }
    if terminal.quiet || !compared {
        return;
    }
    outln!("\n{}", report::verified_counts(nodes));
    if let Some(keep) = keep {
        outln!("what the clean runs made is in {}", keep.display());
    }
    if let Some(node) = nodes.iter().find(|node| node.result == Comparison::Differs) {
        let name = &node.name;
        outln!("what is recorded is left as it is; `kiln build --clean --force {name}` replaces it");
    }
}

fn exit(nodes: &[VerifiedNode], interrupted: bool) -> Exit {
    let any = |result| nodes.iter().any(|node| node.result == result);
    if interrupted {
        Exit::Interrupted
    } else if any(Comparison::Differs) || any(Comparison::Failed) {
        Exit::BuildFailed
    } else if any(Comparison::Infra) || any(Comparison::Stale) || !any(Comparison::Same) {
        Exit::Environment
    } else {
        Exit::Done
    }
}
