//! Commits: what happened in a git source between a node's last run and now, as far as it concerns the files that
//! changed.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::reason::Reason;
use super::world::{PlanError, World};
use crate::host::git;
use crate::source::Provenance;

/// How many commits are named.
const NAMED: usize = 10;

/// The commits of one source between two runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Commits {
    /// The source.
    pub source: String,
    /// The commit at the last run.
    pub from: String,
    /// The commit now.
    pub to: String,
    /// Those between that change the files that the reasons name, newest first.
    pub commits: Vec<Commit>,
    /// Whether there are more.
    pub more: bool,
    /// What git said where it could not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Commit {
    /// Its short id.
    pub id: String,
    /// Its first line.
    pub subject: String,
}

/// The commits behind reasons, for each git source of which files changed and both commits are known.
pub fn commits(world: &World<'_>, node: &str, reasons: &[Reason]) -> Result<Vec<Commits>, PlanError> {
    let mut files: BTreeMap<&str, Vec<&Path>> = BTreeMap::new();
    for reason in reasons {
        match reason {
            Reason::File { source, path, .. } => files.entry(source).or_default().push(path),
            Reason::Tree { source, .. } => {
                files.entry(source).or_default();
            }
            _ => {}
        }
    }
    files.retain(|source, _| world.repository(source).is_some());
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let Some(last) = world.last_run(node, Provenance::KbuildRecords)? else { return Ok(Vec::new()) };
    let between = files.into_iter().filter_map(|(source, files)| {
        let (from, to) = (last.commit(source)?.to_owned(), world.commit(source)?.to_owned());
        let said = git::log(&world.repository(source)?, &from, &to, &files, NAMED + 1);
        let (mut found, failed) = match said {
            Ok(found) => (found, None),
            Err(said) => (Vec::new(), Some(said)),
        };
        let more = found.len() > NAMED;
        found.truncate(NAMED);
        let commits = found.into_iter().map(|(id, subject)| Commit { id, subject }).collect();
        Some(Commits { source: source.to_owned(), from, to, commits, more, failed })
    });
    Ok(between.collect())
}
