//! Reasons: why a node runs, as data. `docs/plan-json.md` describes them as JSON.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::manifest::{FieldKind, FieldValue};
use crate::digest::Digest;
use crate::source::ChangeKind;
use crate::store::Outcome;

/// Why a node runs, or why its outputs are put in place again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Reason {
    /// It has no recorded run.
    NeverRan,
    /// The user asked for a run.
    Forced,
    /// Its last run had no reusable outcome.
    LastRun {
        /// The outcome.
        outcome: Outcome,
    },
    /// Its result is older than its rule allows.
    TooOld {
        /// The age; `None` if unknown.
        age_seconds: Option<u64>,
        /// The limit.
        limit_seconds: u64,
    },
    /// The reads of its last run are known only from kbuild's records, and this machine can trace them.
    RecordsAlone,
    /// A field of the manifest changed.
    Changed {
        /// The field.
        #[serde(rename = "what")]
        field: FieldKind,
        /// Its value at the last run; `None` if it is new.
        old: Option<FieldValue>,
        /// Its value now; `None` if it is gone.
        new: Option<FieldValue>,
    },
    /// A file of a source tree changed.
    File {
        /// The source.
        source: String,
        /// The file, relative to the tree.
        path: PathBuf,
        /// The change.
        change: ChangeKind,
    },
    /// More files of the same source changed.
    MoreFiles {
        /// The source.
        source: String,
        /// Their number.
        count: usize,
    },
    /// The source tree changed; the listing of its last state is no longer stored.
    Tree {
        /// The source.
        source: String,
        /// Its digest at the last run.
        old: Digest,
        /// Its digest now.
        new: Digest,
    },
    /// The result is known, but the blob of an output is missing from the cache.
    BlobMissing {
        /// The output.
        output: String,
    },
    /// A file below `out/` is missing or differs from what was placed there.
    Misplaced {
        /// The path below `out/`.
        path: PathBuf,
    },
    /// An earlier run had exactly these inputs.
    SeenBefore,
    /// A remote has its result.
    Remote {
        /// The remote's name.
        remote: String,
        /// The signer; `None` if the remote is trusted without signatures.
        signed_by: Option<String>,
    },
    /// The source tree is not unpacked yet.
    NotUnpacked,
    /// The source tree was changed by something else after it was unpacked.
    Altered {
        /// The source.
        source: String,
        /// Why the differences are unknown, if they are.
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
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
                        write!(f, "its result is {age} old, and the limit is {}", time(*limit_seconds))
                    }
                    None => write!(
                        f,
                        "the age of its result is unknown, and the limit is {}",
                        time(*limit_seconds)
                    ),
                }
            }
            Self::Changed { field, old, new } => write_change(f, field, old.as_ref(), new.as_ref()),
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
                    "the reads of its last run are known from kbuild's records alone, and can be traced here"
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
    field: &FieldKind,
    old: Option<&FieldValue>,
    new: Option<&FieldValue>,
) -> fmt::Result {
    write!(f, "{field}")?;
    match (old, new) {
        (Some(FieldValue::Text(old)), Some(FieldValue::Text(new))) => {
            let (old, new) = (only_in(old, new), only_in(new, old));
            write!(f, " changed ({old:?} -> {new:?})")
        }
        (Some(old), Some(new)) => write!(f, " changed ({old} -> {new})"),
        (None, Some(new)) => write!(f, " is new ({new})"),
        (Some(old), None) => write!(f, " is gone (was {old})"),
        (None, None) => Ok(()),
    }
}

/// The lines of a text that another one does not have. Long texts, such as a rule's steps, are not repeated whole.
fn only_in(text: &str, other: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !other.lines().any(|known| known == *line)).collect();
    lines.join("\n")
}
