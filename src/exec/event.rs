//! Events: the executor's only output. Progress bars, plain lines and JSON are sinks.

use std::io;
use std::time::Duration;

use serde::Serialize;

use crate::graph::NodeName;
use crate::plan::Reason;
use crate::remote::Traffic;
use crate::store::Outcome;

/// The version of the events' JSON form. It is raised when a field is removed or changes its meaning.
pub const EVENTS_VERSION: u32 = 1;

/// Something that happened. docs/events.md describes the JSON form.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Event {
    /// The run begins.
    Begun {
        /// The version of the events' format.
        version: u32,
        /// Wanted nodes.
        nodes: usize,
        /// Wanted nodes that are up to date.
        fresh: usize,
        /// Expected wall time.
        #[serde(serialize_with = "seconds")]
        expected: Duration,
    },
    /// A node runs.
    Started {
        /// Its name.
        node: NodeName,
        /// Why it runs.
        reasons: Vec<Reason>,
        /// How long it is expected to take.
        #[serde(serialize_with = "maybe_seconds", skip_serializing_if = "Option::is_none")]
        expected: Option<Duration>,
    },
    /// Another process runs the same action; this one waits for its result.
    Waiting {
        /// The node.
        node: NodeName,
        /// That process, and the node that it runs.
        holder: String,
    },
    /// A node has ended.
    Finished(Finished),
    /// An expansion point was replaced by nodes.
    Expanded {
        /// The expansion point.
        node: NodeName,
        /// Its wanted nodes.
        into: Vec<NodeName>,
    },
    /// Progress of downloads from remotes and mirrors: now and then, and at their end.
    Fetching(Fetching),
    /// Something is wrong, and the run goes on.
    Warning {
        /// What is wrong.
        message: String,
    },
    /// The run is over.
    Ended(Summary),
}

/// Progress of downloads, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Fetching {
    /// Downloaded.
    pub bytes: u64,
    /// Present from an interrupted download.
    pub resumed: u64,
    /// Both of these, and what is known to be missing.
    pub of: u64,
    /// Bytes per second, while any download was running.
    pub rate: u64,
}

impl Fetching {
    /// How much is present.
    pub const fn is_here(&self) -> u64 {
        self.bytes + self.resumed
    }
}

impl From<Traffic> for Fetching {
    fn from(traffic: Traffic) -> Self {
        let Traffic { came, resumed, left, .. } = traffic;
        Self { bytes: came, resumed, of: came + resumed + left, rate: traffic.rate() }
    }
}

/// The end of a node.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finished {
    /// Its name.
    pub node: NodeName,
    /// Its outcome.
    pub outcome: Outcome,
    /// What led to the outcome.
    pub how: How,
    /// An explanation of the outcome, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Wall time.
    #[serde(serialize_with = "seconds")]
    pub duration: Duration,
    /// Whether the run continued in the output directory of its last run.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub continued: bool,
    /// The last lines of the log, where the node did not pass.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log_tail: Vec<String>,
}

impl Finished {
    /// The end of a node, with nothing more to say.
    pub fn new(node: NodeName, outcome: Outcome, how: How) -> Self {
        let (message, duration, log_tail) = (None, Duration::ZERO, Vec::new());
        Self { node, outcome, how, message, duration, continued: false, log_tail }
    }
}

/// What led to a node's outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It ran.
    Ran,
    /// It ran, and its outputs are those of its last run: no node that reads them has to run.
    RanUnchanged,
    /// A cached result was put in place.
    Restored,
}

/// The counts of a run.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    /// Nodes that ran.
    pub ran: usize,
    /// Nodes that ran, and whose outputs are those of their last run.
    pub unchanged: usize,
    /// Nodes whose cached results were put in place.
    pub restored: usize,
    /// Nodes whose results only a remote has: nothing here needed them.
    #[serde(rename = "elsewhere")]
    pub remote_only: usize,
    /// Nodes that were up to date.
    pub fresh: usize,
    /// Nodes that failed, in this run or as recorded.
    pub failed: usize,
    /// Boots that failed.
    pub boots_failed: usize,
    /// Nodes that a lab, a device or the machine kept from an outcome.
    pub infra: usize,
    /// Nodes that could not run.
    pub skipped: usize,
    /// Whether the user interrupted the run.
    pub interrupted: bool,
    /// Wall time.
    #[serde(serialize_with = "seconds")]
    pub duration: Duration,
}

/// Takes events. A sink that fails is reported once and dropped: it never fails a build.
pub trait Sink {
    /// Takes an event.
    fn event(&mut self, event: &Event) -> io::Result<()>;

    /// Called at intervals, for sinks that show elapsed time.
    fn tick(&mut self) {}
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((duration.as_secs_f64() * 1000.0).round() / 1000.0)
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn maybe_seconds<S: serde::Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => seconds(duration, serializer),
        None => serializer.serialize_none(),
    }
}
