//! The effect of a change on a node, as data. `docs/affected-json.md` describes it as JSON.

use std::fmt;

use serde::Serialize;

use crate::graph::NodeId;
use crate::source::patch;
use crate::store::Outcome;

/// The effect of a change on each node of the graph.
#[derive(Debug)]
pub struct Affected {
    /// The nodes, dependencies first. Expanded expansion points are included: their values may change.
    pub nodes: Vec<(NodeId, Effect)>,
    /// Whether any file that the change modifies or removes was in the source when it was last recorded. `None` if nothing is
    /// recorded, or the change only adds files.
    pub fits: Option<bool>,
}

/// The effect of a change on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It runs: the change reaches an entry that it read.
    Touched {
        /// The paths that reach it, each with the entry that it reaches; the most direct first.
        because: Vec<TouchReason>,
        /// The number of further paths.
        more: usize,
    },
    /// It runs if the outputs of a dependency change.
    MayFollow {
        /// A dependency that is touched or may follow.
        through: NodeId,
    },
    /// The records do not tell.
    Unknown(UnknownReason),
    /// The change reaches nothing that it read.
    Untouched,
}

/// Why the effect on a node is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnknownReason {
    /// It has no recorded run.
    NeverRan,
    /// Its last run had no reusable outcome, so it runs anyway.
    LastRun(Outcome),
    /// The effect on this dependency is unknown.
    Needs(NodeId),
}

impl Effect {
    /// The name of the effect.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Touched { .. } => "touched",
            Self::MayFollow { .. } => "may-follow",
            Self::Unknown(_) => "unknown",
            Self::Untouched => "untouched",
        }
    }
}

/// A changed path, and the entry of a node's path set that it reaches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct TouchReason {
    /// The cause.
    #[serde(rename = "because")]
    pub cause: Cause,
    /// The changed path.
    pub path: String,
    /// The change.
    pub change: PathChange,
    /// The file that was read, or the directory that was listed.
    pub entry: String,
}

/// How a change reaches the reads of a node. The most direct cause comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The node read the file.
    File,
    /// The file has the name of one that the node searched for.
    Namesake,
    /// The node listed the file's directory.
    Name,
    /// The file is below a directory that counts whole.
    Tree,
    /// The file is a symbolic link.
    Link,
    /// The whole tree counts: the node's reads are not known.
    Whole,
    /// The node makes the tree.
    Source,
}

/// The change of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PathChange {
    /// It is added.
    Added,
    /// It is removed.
    Removed,
    /// Its content changes.
    Content,
    /// Its mode changes.
    Mode,
    /// Several of content, mode and type change.
    Replaced,
    /// Any of these may apply.
    Unknown,
}

impl From<patch::Touch> for PathChange {
    fn from(touch: patch::Touch) -> Self {
        match touch {
            patch::Touch::Added => Self::Added,
            patch::Touch::Removed => Self::Removed,
            patch::Touch::Content => Self::Content,
            patch::Touch::Mode => Self::Mode,
            patch::Touch::Replaced => Self::Replaced,
            patch::Touch::Unknown => Self::Unknown,
        }
    }
}

impl fmt::Display for TouchReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cause, path, change, entry } = self;
        let verb = match change {
            PathChange::Added => "is new",
            PathChange::Removed => "is gone",
            PathChange::Content => "changes",
            PathChange::Mode => "changes its mode",
            PathChange::Replaced => "is replaced",
            PathChange::Unknown => "may have changed",
        };
        write!(f, "{path} {verb}")?;
        let dir = if entry.is_empty() { "the tree's root" } else { entry };
        match cause {
            Cause::File if entry == path => Ok(()),
            Cause::File => write!(f, ", and {entry} was read"),
            Cause::Namesake => write!(f, ", and {entry} was searched for"),
            Cause::Name => write!(f, ", and {dir} was looked into"),
            Cause::Tree if entry.is_empty() => write!(f, ", and all of the tree counts"),
            Cause::Tree => write!(f, ", and all of {entry} counts"),
            Cause::Link => write!(f, ", and is or may be a symbolic link"),
            Cause::Whole => write!(f, ", and all of the tree counts: what was read is not known"),
            Cause::Source => write!(f, ", so the tree is another"),
        }
    }
}
