//! Verdicts: what is to happen to a node.

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
    /// Nothing: its last result stands, and is in place.
    Fresh(Known),
    /// It need not run: its result is in this machine's cache, and is put in place.
    Cached(Known, Vec<Reason>),
    /// It need not run: a remote has its result.
    Remote(Known, Arc<Hit>),
    /// It runs.
    Stale(Vec<Reason>),
    /// Not known until these have run.
    Unknown(Vec<NodeId>),
    /// It can't run: what it needs has failed, in this run or in one that is recorded.
    Blocked(NodeId),
    /// It can't run: this machine lacks a program, and this says which.
    Lacking(String),
}

/// A result that is known without running anything.
#[derive(Clone, Debug)]
pub struct Known {
    /// Pass or fail.
    pub outcome: Outcome,
    /// Its outputs.
    pub outputs: Outputs,
    /// The run that they come from; `None` for what is not run.
    pub run: Option<RunId>,
}

/// The keys of an action whose inputs are known.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    /// The digest of all that is declared.
    pub action: Digest,
    /// With all that it is given: the key of one run, whatever that reads. Two kilns that are about to do the same
    /// know each other by it.
    pub given: Digest,
    /// With what it reads, and what tells that. `None`: only a run can.
    pub strong: Option<Strong>,
}

/// The key of a result, and the path set that led to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strong {
    /// The key.
    pub key: Digest,
    /// The path set's digest.
    pub path_set: Digest,
}

/// A verdict with what led to it.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The verdict.
    pub verdict: Verdict,
    /// Its keys, where its inputs are known.
    pub keys: Option<Keys>,
    /// What a run of it will be recorded under, where it may come to one.
    pub basis: Option<Arc<Basis>>,
}

/// What a run of the node will be recorded under.
#[derive(Debug)]
pub struct Basis {
    /// Its keys.
    pub keys: Keys,
    /// What the keys are made of.
    pub manifest: Manifest,
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
            Self::Blocked(_) | Self::Lacking(_) => "blocked",
        }
    }

    /// The result, where it is known already.
    pub const fn known(&self) -> Option<&Known> {
        match self {
            Self::Fresh(known) | Self::Cached(known, _) | Self::Remote(known, _) => Some(known),
            Self::Stale(_) | Self::Unknown(_) | Self::Blocked(_) | Self::Lacking(_) => None,
        }
    }

    /// Which remote has its result, where one has.
    pub fn elsewhere(&self) -> Option<Reason> {
        let Self::Remote(_, hit) = self else { return None };
        Some(Reason::Remote { remote: hit.remote.clone(), signed_by: hit.signed_by.clone() })
    }

    /// Whether the node is, or may be, going to run.
    pub const fn may_run(&self) -> bool {
        matches!(self, Self::Stale(_) | Self::Unknown(_))
    }
}
