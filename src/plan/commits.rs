//! The commits of a git source between a node's last run and now that touch the changed files.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::context::BuildContext;
use super::error::PlanError;
use super::reason::Reason;
use crate::host::git;
use crate::source::Provenance;

/// The largest number of commits that are named.
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
    /// The commits between the two that change files named by the reasons, newest first.
    pub commits: Vec<Commit>,
    /// Whether there are more than are listed.
    pub more: bool,
    /// The message of git, if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Commit {
    /// Its abbreviated id.
    pub id: String,
    /// The first line of its message.
    pub subject: String,
}

/// The commits behind reasons, for each git source with changed files of which both commits are known.
pub fn commits(
    context: &BuildContext<'_>,
    node: &str,
    reasons: &[Reason],
) -> Result<Vec<Commits>, PlanError> {
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
    files.retain(|source, _| context.sources.repository(source).is_some());
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let Some(last) = context.last_run(node, Provenance::KbuildRecords)? else { return Ok(Vec::new()) };
    let between = files.into_iter().filter_map(|(source, files)| {
        let (from, to) = (last.commit(source)?.to_owned(), context.sources.commit(source)?.to_owned());
        let said = git::log(&context.sources.repository(source)?, &from, &to, &files, NAMED + 1);
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
