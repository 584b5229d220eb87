//! `kiln clean`.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use super::exit::{Exit, Failure};
use super::project::{Project, has_lava_labs, load_spec, select};
use super::terminal::{Terminal, outln};
use crate::spec::model::Spec;
use crate::store::{Journal, StoreError, remove_tree};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Whose outputs to remove. Default: all.
    targets: Vec<String>,
    /// Remove the whole cache as well: everything runs anew.
    #[arg(long, conflicts_with = "targets")]
    cache: bool,
    /// Remove it though it alone knows of jobs that labs have.
    #[arg(long, requires = "cache")]
    force: bool,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    if args.cache {
        return cache(args.force, terminal);
    }
    let project = Project::open(terminal)?;
    let id = project.store.project(&project.spec.root)?;
    let graph = project.graph()?;
    let selection = select(&args.targets, &graph)?;
    let out = project.spec.root.join("out");
    let mut removed = 0_usize;
    for (name, state) in project.store.load_nodes(id)? {
        if !selection.wants_name(&name) {
            continue;
        }
        for placed in state.record().unwrap_or_default().placed {
            let path = out.join(&placed.path);
            match fs::remove_file(&path) {
                Ok(()) => removed += 1,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::io(&path, error).into()),
            }
            // Directories go when the last thing in them has gone; what is not kiln's keeps them.
            for dir in path.ancestors().skip(1).take_while(|dir| dir.starts_with(&out)) {
                if fs::remove_dir(dir).is_err() {
                    break;
                }
            }
        }
    }
    if !terminal.quiet {
        outln!("removed {removed} files from out/; the cache still has them");
    }
    Ok(Exit::Done)
}

fn cache(force: bool, terminal: &Terminal) -> Result<Exit, Failure> {
    let spec = load_spec(terminal)?;
    let home = spec.root.join(&spec.project.cache.path);
    if !home.join("VERSION").is_file() {
        return Err(Failure::new(Exit::Environment, format!("{} is no cache of kiln's", home.display())));
    }
    let in_use = File::open(home.join("in-use"));
    if matches!(in_use.as_ref().map(File::try_lock), Ok(Err(TryLockError::WouldBlock))) {
        return Err(Failure::new(Exit::Environment, "another kiln is using the cache")
            .help("wait for it to end, or end it"));
    }
    if !force {
        no_job_is_forgotten(&spec, &home)?;
    }
    // Sources are kept: they may be the user's own, put there by hand. The version goes last: without it, what is left
    // by a clean that was killed would be no cache of kiln's.
    for entry in [
        "cas",
        "tmp",
        "locks",
        "work",
        "kept",
        "gentoo",
        "stat",
        "logs",
        "index.sqlite",
        "index.sqlite-wal",
        "index.sqlite-shm",
        "in-use",
        "opening",
        "claiming",
        "collecting",
        "size",
        "VERSION",
    ] {
        let path = home.join(entry);
        if path.is_dir() {
            remove_tree(&path)?;
        } else if let Err(error) = fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(StoreError::io(&path, error).into());
        }
    }
    if !terminal.quiet {
        outln!("removed the cache in {}; sources are kept", home.display());
    }
    Ok(Exit::Done)
}

/// Refuses to forget jobs that have not ended: nobody would take them up, and the next build would submit them again.
fn no_job_is_forgotten(spec: &Spec, home: &Path) -> Result<(), Failure> {
    const FORCE: &str = "`kiln clean --cache --force` forgets them";
    let journal = Journal::of(home);
    let jobs: Vec<String> = journal
        .jobs
        .iter()
        .filter(|(_, submission)| !submission.ended)
        .map(|(root, submission)| {
            let job = submission.job.map_or_else(|| "a job".to_owned(), |job| format!("job {job}"));
            let elsewhere =
                if *root == spec.root { String::new() } else { format!(" of {}", root.display()) };
            format!("{}{elsewhere} ({job} at lab {})", submission.node, submission.lab)
        })
        .collect();
    if !jobs.is_empty() {
        let what = format!("labs have jobs that only this cache knows of: {}", jobs.join(", "));
        return Err(Failure::new(Exit::Environment, what)
            .help(format!("`kiln build` waits for them, `kiln cancel` ends them, {FORCE}")));
    }
    match journal.unreadable {
        Some(why) if has_lava_labs(spec) => {
            let what = format!(
                "labs may have jobs that only this cache knows of, and its index can't be read: {why}"
            );
            Err(Failure::new(Exit::Environment, what).help(format!("look at the labs' pages; {FORCE}")))
        }
        _ => Ok(()),
    }
}
