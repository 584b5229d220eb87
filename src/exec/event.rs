//! Events: the executor's only output. Progress bars, plain lines and JSON are sinks.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::plan::Reason;
use crate::remote::Traffic;
use crate::store::Outcome;

/// The version of the events' JSON form. It rises when a field changes its meaning or goes.
pub const EVENTS_VERSION: u32 = 1;

/// Something that happened. The JSON form is `docs/events.md`.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Event {
    /// The run begins.
    Begun {
        /// The version of the events' format.
        version: u32,
        /// Wanted nodes.
        nodes: usize,
        /// Of those, the ones for which nothing is to be done.
        fresh: usize,
        /// Expected wall time.
        #[serde(serialize_with = "seconds")]
        expected: Duration,
    },
    /// A node runs.
    Started {
        /// Its name.
        node: Arc<str>,
        /// Why.
        reasons: Vec<Reason>,
        /// How long it took before.
        #[serde(serialize_with = "maybe_seconds", skip_serializing_if = "Option::is_none")]
        expected: Option<Duration>,
    },
    /// Another kiln runs this very action; its result is waited for.
    Waiting {
        /// The node.
        node: Arc<str>,
        /// Who runs it.
        holder: String,
    },
    /// A node has come to an outcome in this run.
    Finished(Finished),
    /// An expansion point has become nodes.
    Expanded {
        /// The point.
        node: Arc<str>,
        /// The nodes that are wanted.
        into: Vec<Arc<str>>,
    },
    /// Bytes come from remotes or mirrors: now and then while they do, and when the last of them have come.
    Fetching(Fetching),
    /// Something is not as it should be, and the run goes on.
    Warning {
        /// What.
        message: String,
    },
    /// The run is over.
    Ended(Summary),
}

/// What has come from elsewhere so far, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Fetching {
    /// What came over.
    pub bytes: u64,
    /// What did not have to: an earlier try had left it here.
    pub resumed: u64,
    /// Both, with all that is known to be still to come.
    pub of: u64,
    /// Bytes a second, over the time in which anything came.
    pub rate: u64,
}

impl Fetching {
    /// How much of it is here.
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

/// A node's end.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finished {
    /// The node.
    pub node: Arc<str>,
    /// What it came to.
    pub outcome: Outcome,
    /// How.
    pub how: How,
    /// In a sentence, where there is more to say than the outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Wall time.
    #[serde(serialize_with = "seconds")]
    pub duration: Duration,
    /// Whether it continued in the output directory of its last run.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub continued: bool,
    /// The last lines of the log, where it went wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log_tail: Vec<String>,
}

/// How a node came to its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It ran.
    Ran,
    /// It ran, and made what was there already: nothing downstream has a reason to run.
    RanUnchanged,
    /// Its result was in the cache, and was put in place.
    Restored,
}

/// What a run came to.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    /// Nodes that ran.
    pub ran: usize,
    /// Of those, the ones whose outputs were the same as before.
    pub unchanged: usize,
    /// Nodes whose outputs were put in place.
    pub restored: usize,
    /// Nodes whose results a remote has, and that nobody needed here.
    pub elsewhere: usize,
    /// Nodes that were fresh.
    pub fresh: usize,
    /// Nodes that failed, now or as recorded.
    pub failed: usize,
    /// Of those, boots.
    pub boots_failed: usize,
    /// Nodes that lab, device or machine kept from an outcome.
    pub infra: usize,
    /// Nodes that could not run.
    pub skipped: usize,
    /// Whether the user ended it.
    pub interrupted: bool,
    /// Wall time.
    #[serde(serialize_with = "seconds")]
    pub duration: Duration,
}

/// Takes events. A failing sink is reported once and dropped; it never fails a build.
pub trait Sink {
    /// Takes one.
    fn event(&mut self, event: &Event) -> io::Result<()>;

    /// Is called now and then, for what shows the time.
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
