//! Removal of outputs, and of the whole cache.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::error::SessionError;
use super::project::{Project, has_lava_labs};
use super::targets::select;
use crate::spec::model::Spec;
use crate::store::{Journal, StoreError, remove_tree};

/// Everything in a cache except sources, which may be the user's own. The version is removed last: until then, an
/// interrupted removal leaves a directory that is recognized as a cache.
const CACHE_ENTRIES: [&str; 17] = [
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
];

/// Removes the outputs of targets from `out/`, and returns the number of files. The cache keeps them.
pub fn clean_outputs(project: &Project, targets: &[String]) -> Result<usize, SessionError> {
    let graph = project.graph()?;
    let selection = select(targets, &graph)?;
    let out = project.spec.root.join("out");
    let mut removed = 0;
    for (name, state) in project.store.load_nodes(project.id()?)? {
        if !selection.wants_name(&name) {
            continue;
        }
        for placed in state.record().unwrap_or_default().placed {
            let path = out.join(&placed.path);
            match fs::remove_file(&path) {
                Ok(()) => removed += 1,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::io(&path, error).into()),
            }
            // Directories are removed when they are empty; other files in them keep them.
            for dir in path.ancestors().skip(1).take_while(|dir| dir.starts_with(&out)) {
                if fs::remove_dir(dir).is_err() {
                    break;
                }
            }
        }
    }
    Ok(removed)
}

/// Removes the cache of a project except its sources, and returns where it was. Without `force`, a cache that alone knows of
/// jobs at labs is not removed.
pub fn clean_cache(spec: &Spec, force: bool) -> Result<PathBuf, SessionError> {
    let home = spec.root.join(&spec.project.cache.path);
    if !home.join("VERSION").is_file() {
        return Err(SessionError::environment(format!("{} is no cache of kiln's", home.display())));
    }
    let in_use = File::open(home.join("in-use"));
    if matches!(in_use.as_ref().map(File::try_lock), Ok(Err(TryLockError::WouldBlock))) {
        return Err(SessionError::environment("another kiln is using the cache")
            .help("wait for it to end, or end it"));
    }
    if !force {
        check_no_job_is_lost(spec, &home)?;
    }
    for entry in CACHE_ENTRIES {
        let path = home.join(entry);
        if path.is_dir() {
            remove_tree(&path)?;
        } else if let Err(error) = fs::remove_file(&path)
            && error.kind() != ErrorKind::NotFound
        {
            return Err(StoreError::io(&path, error).into());
        }
    }
    Ok(home)
}

/// Fails if jobs have not ended: without the cache, nobody would wait for them, and the next build would submit them again.
fn check_no_job_is_lost(spec: &Spec, home: &Path) -> Result<(), SessionError> {
    const FORCE: &str = "`kiln clean --cache --force` forgets them";
    let journal = Journal::of(home);
    let jobs: Vec<String> = journal
        .jobs
        .iter()
        .filter(|(_, submission)| !submission.ended)
        .map(|(root, submission)| {
            let job = submission.job.map_or_else(|| "a job".to_owned(), |job| format!("job {job}"));
            let project = if *root == spec.root { String::new() } else { format!(" of {}", root.display()) };
            format!("{}{project} ({job} at lab {})", submission.node, submission.lab)
        })
        .collect();
    if !jobs.is_empty() {
        let what = format!("labs have jobs that only this cache knows of: {}", jobs.join(", "));
        return Err(SessionError::environment(what)
            .help(format!("`kiln build` waits for them, `kiln cancel` ends them, {FORCE}")));
    }
    match journal.unreadable {
        Some(why) if has_lava_labs(spec) => {
            let what = format!(
                "labs may have jobs that only this cache knows of, and its index can't be read: {why}"
            );
            Err(SessionError::environment(what).help(format!("look at the labs' pages; {FORCE}")))
        }
        _ => Ok(()),
    }
}
