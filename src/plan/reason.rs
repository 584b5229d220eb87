//! Reasons: why a node runs, as data.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::manifest::{Field, Manifest, Val, What};
use super::world::LastRun;
use crate::digest::Digest;
use crate::source::{Change, ChangeKind, Listings, diff};
use crate::store::Outcome;

/// How many changed files of one tree a reason names; the rest are counted.
const FILES_NAMED: usize = 10;

/// Why a node runs, or why its outputs are put in place again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Reason {
    /// There is no record of it.
    NeverRan,
    /// The command line asks for it.
    Forced,
    /// Its last run did not come to an outcome that counts.
    LastRun {
        /// That outcome.
        outcome: Outcome,
    },
    /// Its result is older than its rule lets one be.
    TooOld {
        /// How old; `None`: nobody knows.
        age_seconds: Option<u64>,
        /// How old it may be.
        limit_seconds: u64,
    },
    /// What its last run read is known from kbuild's records alone, and a run here would be traced.
    RecordsAlone,
    /// A declared field is not what it was.
    Changed {
        /// Which.
        what: What,
        /// Its value in the last run; `None`: it was not there.
        old: Option<Val>,
        /// Its value now; `None`: it is gone.
        new: Option<Val>,
    },
    /// A file of a source tree is not what it was.
    File {
        /// The source.
        source: String,
        /// The file, relative to the tree.
        path: PathBuf,
        /// How it differs.
        change: ChangeKind,
    },
    /// More files of that source differ.
    MoreFiles {
        /// The source.
        source: String,
        /// How many.
        count: usize,
    },
    /// The source tree differs; its last listing is no longer known.
    Tree {
        /// The source.
        source: String,
        /// Its digest then.
        old: Digest,
        /// Its digest now.
        new: Digest,
    },
    /// The result is known, but a blob that it names is not in the cache.
    BlobMissing {
        /// The output.
        output: String,
    },
    /// A file below `out/` is missing or is not what kiln put there.
    Misplaced {
        /// Below `out/`.
        path: PathBuf,
    },
    /// These very inputs were seen in an earlier run.
    SeenBefore,
    /// A remote has its result.
    Remote {
        /// What the remote is called.
        remote: String,
        /// Whose signature makes it count; `None` where the remote is trusted as it is.
        signed_by: Option<String>,
    },
    /// The source tree is not there yet.
    NotUnpacked,
    /// The source tree is there, but something has changed it since kiln unpacked it.
    Altered {
        /// The source.
        source: String,
        /// Why it can't be told what differs, where it can't.
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
}

/// Compares the last run with what is declared now. Of trees it names the changes that reach what was read.
pub fn compare(last: &LastRun, now: &Manifest, listings: &dyn Listings) -> Vec<Reason> {
    let index = |fields: &[Field]| -> BTreeMap<What, Vec<Val>> {
        let mut map: BTreeMap<What, Vec<Val>> = BTreeMap::new();
        for field in fields {
            map.entry(field.what.clone()).or_default().push(field.value.clone());
        }
        map
    };
    let (old, new) = (index(&last.fields), index(&now.all_fields()));
    let mut reasons = Vec::new();
    let every: std::collections::BTreeSet<&What> = old.keys().chain(new.keys()).collect();
    for what in every {
        let (was, is) = (old.get(what), new.get(what));
        // Another commit may well be the same files.
        if was == is || matches!(what, What::Commit { .. }) {
            continue;
        }
        let one = |values: Option<&Vec<Val>>| values.and_then(|values| values.first()).cloned();
        match (what, one(was), one(is)) {
            (What::Source { input, source }, Some(Val::Digest(was)), Some(Val::Digest(is))) => {
                let reached = |change: &Change| last.is_reached(&[input], change);
                trees(source, was, is, listings, &reached, &mut reasons);
            }
            (What::Output { input, node, output }, Some(Val::Digest(was)), Some(Val::Digest(is)))
                if now.tree(input).is_some() =>
            {
                let reached = |change: &Change| last.is_reached(&[input], change);
                trees(&format!("{output} of {node}"), was, is, listings, &reached, &mut reasons);
            }
            (_, old, new) => reasons.push(Reason::Changed { what: what.clone(), old, new }),
        }
    }
    shadowed_by_details(&mut reasons);
    reasons
}

/// A tool whose files are named as changed need not be named itself.
fn shadowed_by_details(reasons: &mut Vec<Reason>) {
    let host = reasons.iter().any(|reason| matches!(reason, Reason::Changed { what: What::Host(_), .. }));
    if host {
        reasons.retain(|reason| !matches!(reason, Reason::Changed { what: What::Tool(_), .. }));
    }
}

/// Reasons for what differs between two trees.
pub(super) fn trees(
    source: &str,
    old: Digest,
    new: Digest,
    listings: &dyn Listings,
    reached: &dyn Fn(&Change) -> bool,
    reasons: &mut Vec<Reason>,
) {
    match diff(&old, &new, listings) {
        Ok(mut changes) => {
            changes.retain(reached);
            let count = changes.len();
            reasons.extend(changes.into_iter().take(FILES_NAMED).map(|Change { path, kind }| Reason::File {
                source: source.to_owned(),
                path,
                change: kind,
            }));
            if count > FILES_NAMED {
                reasons.push(Reason::MoreFiles { source: source.to_owned(), count: count - FILES_NAMED });
            }
        }
        Err(_) => reasons.push(Reason::Tree { source: source.to_owned(), old, new }),
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverRan => write!(f, "never ran"),
            Self::Forced => write!(f, "forced"),
            Self::LastRun { outcome } => write!(f, "its last run ended as {outcome}"),
            Self::TooOld { age_seconds, limit_seconds } => {
                let time = |seconds| humantime::format_duration(Duration::from_secs(seconds));
                match age_seconds.map(time) {
                    Some(age) => {
                        write!(f, "its result is {age} old, and counts for {}", time(*limit_seconds))
                    }
                    None => write!(
                        f,
                        "nobody knows how old its result is, which counts for {}",
                        time(*limit_seconds)
                    ),
                }
            }
            Self::Changed { what, old, new } => write_change(f, what, old.as_ref(), new.as_ref()),
            Self::File { source, path, change } => {
                let path = path.display();
                match change {
                    ChangeKind::Added(_) => write!(f, "{source}: {path} is new"),
                    ChangeKind::Removed(_) => write!(f, "{source}: {path} is gone"),
                    ChangeKind::Content { old, new } => {
                        write!(f, "{source}: {path} changed ({} -> {})", old.short(), new.short())
                    }
                    ChangeKind::Mode { executable: true } => {
                        write!(f, "{source}: {path} became executable")
                    }
                    ChangeKind::Mode { executable: false } => {
                        write!(f, "{source}: {path} is no longer executable")
                    }
                    ChangeKind::Target { old, new } => {
                        write!(
                            f,
                            "{source}: {path} points elsewhere ({} -> {})",
                            old.display(),
                            new.display()
                        )
                    }
                    ChangeKind::Type { .. } => write!(f, "{source}: {path} is another kind of file"),
                }
            }
            Self::MoreFiles { source, count } => write!(f, "{source}: {count} more files differ"),
            Self::Tree { source, old, new } => {
                write!(f, "{source}: the tree changed ({} -> {})", old.short(), new.short())
            }
            Self::BlobMissing { output } => write!(f, "output {output} is missing from the cache"),
            Self::Misplaced { path } => write!(f, "out/{} is missing or was changed", path.display()),
            Self::RecordsAlone => {
                write!(
                    f,
                    "what its last run read is known from kbuild's records alone, and can be traced here"
                )
            }
            Self::SeenBefore => write!(f, "the same inputs as in an earlier run"),
            Self::Remote { remote, signed_by: Some(key) } => {
                write!(f, "remote {remote} has its result, signed by {key}")
            }
            Self::Remote { remote, signed_by: None } => write!(f, "remote {remote} has its result"),
            Self::NotUnpacked => write!(f, "the source tree is not unpacked yet"),
            Self::Altered { source, why: None } => {
                write!(f, "{source}: the unpacked tree was changed by something else")
            }
            Self::Altered { source, why: Some(why) } => {
                write!(f, "{source}: the unpacked tree can't be used: {why}")
            }
        }
    }
}

fn write_change(
    f: &mut fmt::Formatter<'_>,
    what: &What,
    old: Option<&Val>,
    new: Option<&Val>,
) -> fmt::Result {
    write!(f, "{what}")?;
    match (old, new) {
        (Some(Val::Text(old)), Some(Val::Text(new))) => {
            let (old, new) = (only_in(old, new), only_in(new, old));
            write!(f, " changed ({old:?} -> {new:?})")
        }
        (Some(old), Some(new)) => write!(f, " changed ({old} -> {new})"),
        (None, Some(new)) => write!(f, " is new ({new})"),
        (Some(old), None) => write!(f, " is gone (was {old})"),
        (None, None) => Ok(()),
    }
}

/// The lines of a text that another one does not have: of long ones, such as a rule's steps, nobody reads the rest.
fn only_in(text: &str, other: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !other.lines().any(|known| known == *line)).collect();
    lines.join("\n")
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(part) => write!(f, "the rule's {part}"),
            Self::Binding(placeholder) => write!(f, "{{{placeholder}}}"),
            Self::Tool(program) => write!(f, "tool {program}"),
            Self::Host(path) => write!(f, "host file {}", path.display()),
            Self::Library(name) => write!(f, "library {name}"),
            Self::File { path, .. } => write!(f, "{}", path.display()),
            Self::Lines { input } => write!(f, "input {input}"),
            Self::Output { node, output, .. } => write!(f, "{output} of {node}"),
            Self::Projected(name) => write!(f, "{name}"),
            Self::Source { source, .. } => write!(f, "source {source}"),
            Self::Commit { source } => write!(f, "commit of {source}"),
        }
    }
}

impl fmt::Display for Val {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::List(list) => write!(f, "{list:?}"),
            Self::Digest(digest) => f.write_str(&digest.short()),
            Self::Absent => f.write_str("absent"),
        }
    }
}
