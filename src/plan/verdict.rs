//! Verdicts: what is to happen to a node, with the keys and the reasons.

use std::sync::Arc;

use super::manifest::Manifest;
use super::reason::Reason;
use crate::digest::Digest;
use crate::graph::NodeId;
use crate::remote::Hit;
use crate::store::{Artifact, Outcome, RunId};

/// A node's outputs by name.
pub type Outputs = Arc<[(String, Artifact)]>;

/// What is to happen to a node.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Nothing: its last result is valid and in place.
    Fresh(ActionResult),
    /// Its result is in the local cache, and is put in place.
    Cached(ActionResult, Vec<Reason>),
    /// A remote has its result.
    Remote(ActionResult, Arc<Hit>),
    /// It runs.
    Stale(Vec<Reason>),
    /// Not known until these nodes have run.
    Unknown(Vec<NodeId>),
    /// It can't run: this node, which it depends on, failed.
    Blocked(NodeId),
    /// It can't run: this machine or project does not have what it requires. The text says what.
    MissingRequirement(String),
}

/// The result of an action, known without a run.
#[derive(Clone, Debug)]
pub struct ActionResult {
    /// Pass or fail.
    pub outcome: Outcome,
    /// Its outputs.
    pub outputs: Outputs,
    /// The run that made them; `None` for nodes that do not run, and results of remotes.
    pub run: Option<RunId>,
}

impl ActionResult {
    /// The result of a node that makes nothing.
    pub fn empty() -> Self {
        Self { outcome: Outcome::Pass, outputs: Arc::from([]), run: None }
    }

    /// An output by name; `None` if there is none of that name.
    pub fn output(&self, name: &str) -> Option<&Artifact> {
        self.outputs.iter().find(|(own, _)| own == name).map(|(_, artifact)| artifact)
    }
}

/// The keys of an action whose inputs are known.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    /// The action key: the digest of the manifest without the content of trees.
    pub action: Digest,
    /// The action key with all input trees, whole: the key of exactly one run. Two processes that are about to do the same
    /// work lock it.
    pub exact_key: Digest,
    /// The action key with what a run reads. `None` if only a run can tell that.
    pub strong: Option<StrongKey>,
}

/// The key of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrongKey {
    /// The key.
    pub key: Digest,
    /// The digest of the path set that it was computed with.
    pub path_set: Digest,
}

/// A verdict with the keys that led to it.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The verdict.
    pub verdict: Verdict,
    /// The node's keys, if its inputs are known.
    pub keys: Option<Keys>,
    /// What a run or a restore is recorded under; `None` if the node is fresh, or if its inputs are not known.
    pub key_inputs: Option<Arc<KeyInputs>>,
}

/// The keys of an action and what they were computed from.
#[derive(Debug)]
pub struct KeyInputs {
    /// The keys.
    pub keys: Keys,
    /// The manifest.
    pub manifest: Manifest,
}

impl Decision {
    /// A verdict without keys.
    pub const fn without_keys(verdict: Verdict) -> Self {
        Self { verdict, keys: None, key_inputs: None }
    }

    /// The decision of an expansion point that has been expanded.
    pub fn expanded() -> Self {
        Self::without_keys(Verdict::Fresh(ActionResult::empty()))
    }
}

impl Verdict {
    /// The verdict in one word.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Fresh(_) => "fresh",
            Self::Cached(..) => "cached",
            Self::Remote(..) => "remote",
            Self::Stale(_) => "stale",
            Self::Unknown(_) => "unknown",
            Self::Blocked(_) | Self::MissingRequirement(_) => "blocked",
        }
    }

    /// The result, if it is known.
    pub const fn known(&self) -> Option<&ActionResult> {
        match self {
            Self::Fresh(result) | Self::Cached(result, _) | Self::Remote(result, _) => Some(result),
            Self::Stale(_) | Self::Unknown(_) | Self::Blocked(_) | Self::MissingRequirement(_) => None,
        }
    }

    /// For a remote's result: the remote, and whose signature makes the result valid.
    pub fn remote_reason(&self) -> Option<Reason> {
        let Self::Remote(_, hit) = self else { return None };
        Some(Reason::Remote { remote: hit.remote.clone(), signed_by: hit.signed_by.clone() })
    }

    /// Whether the node runs, or may turn out to.
    pub const fn may_run(&self) -> bool {
        matches!(self, Self::Stale(_) | Self::Unknown(_))
    }
}
