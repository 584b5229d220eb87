//! `kiln cancel`.

use super::exit::Exit;
use super::failure::Failure;
use super::project::open;
use super::terminal::{Terminal, outln};
use crate::kinds::lava_job::{Labs, OnInterrupt};
use crate::lab::lava::JobId;
use crate::session::labs;
use crate::store::Submission;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Names or globs of nodes. Default: all.
    nodes: Vec<String>,
    /// Only list the jobs.
    #[arg(short = 'n', long)]
    dry_run: bool,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let project = open(terminal)?;
    let mut globs = globset::GlobSetBuilder::new();
    for node in &args.nodes {
        globs.add(globset::Glob::new(node).map_err(|error| Failure::new(Exit::Spec, error))?);
    }
    let globs = globs.build().map_err(|error| Failure::new(Exit::Spec, error))?;
    let left = project.store.submissions(project.id()?)?;
    let wanted = |submission: &&Submission| args.nodes.is_empty() || globs.is_match(&submission.node);
    let left: Vec<&Submission> = left.iter().filter(wanted).collect();
    if left.is_empty() {
        outln!("no job of this project is at a lab");
        return Ok(Exit::Done);
    }
    let labs = labs(&project.spec, project.secrets(), || OnInterrupt::Leave);
    let mut exit = Exit::Done;
    for submission in left {
        let node = &submission.node;
        // A process that waits for the job holds the lock, and records its end itself.
        let lock = project.store.try_lock(&submission.key, node)?;
        let told =
            if args.dry_run { Ok("is".to_owned()) } else { cancel(&labs, submission).map(str::to_owned) };
        let job = submission.job.map_or_else(|| "a job".to_owned(), |job| format!("job {job}"));
        match told {
            Ok(what) => {
                outln!(
                    "{node}: {job} at lab {} {what}{}",
                    submission.lab,
                    if args.dry_run { " there" } else { "" }
                );
                if !args.dry_run && lock.is_some() {
                    project.store.give_up(submission)?;
                }
            }
            Err(why) => {
                terminal
                    .warning(&format!("{node}: {job} at lab {} can't be cancelled: {why}", submission.lab));
                exit = Exit::Environment;
            }
        }
    }
    Ok(exit)
}

/// Cancels a job, and returns what happened to it.
fn cancel(labs: &Labs<'_>, submission: &Submission) -> Result<&'static str, String> {
    let lava = labs.client(&submission.lab).ok_or("graph.ron no longer names the lab")??;
    let jobs = match submission.job {
        Some(job) => vec![JobId(job)],
        // The request was sent, and no answer is recorded.
        None => lava.find(&submission.name, submission.made).map_err(|error| format!("the lab {error}"))?,
    };
    for job in &jobs {
        lava.cancel(*job).map_err(|error| format!("the lab {error}"))?;
    }
    Ok(if jobs.is_empty() { "was never made" } else { "was cancelled" })
}
