//! The status of builds and boots, as data. `docs/reports.md` describes the JSON.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use jiff::{Timestamp, Unit};
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::digest::Digest;
use crate::lab::record::{Case, Record, Suite};

/// The version of the JSON. It is raised when a field is removed or changes its meaning, not when one is added.
pub const STATUS_VERSION: u32 = 1;

/// The suite in which LAVA reports on the job itself. Its cases are no tests.
const LAB_SUITE: &str = "lava";

/// The status of everything that was asked for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// [`STATUS_VERSION`].
    pub version: u32,
    /// The source trees of builds, by name.
    pub sources: BTreeMap<String, Tree>,
    /// Builds, by their id.
    pub builds: BTreeMap<String, Build>,
    /// Nodes that belong to no build, such as a user space.
    pub others: Vec<Node>,
}

/// A source tree.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tree {
    /// Its digest.
    pub digest: Digest,
    /// For a git source: the commit that is checked out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Whether the tree is exactly that commit.
    pub exact: bool,
}

/// A build.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Build {
    /// The name of its source.
    pub source: String,
    /// The name of its arch.
    pub arch: String,
    /// kbuild's name of the arch.
    pub kernel_arch: String,
    /// The name of its configuration.
    pub defconfig: String,
    /// The name of its toolchain.
    pub toolchain: String,
    /// Whether all of its nodes, boots aside, were asked for.
    pub whole: bool,
    /// Its nodes without boots, dependencies first.
    pub nodes: Vec<Node>,
    /// Its boots.
    pub boots: Vec<Boot>,
    /// Why the boards that it can boot are not known, if they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open: Option<String>,
}

/// A boot of a build.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Boot {
    /// The board.
    pub board: String,
    /// LAVA's device type.
    pub device_type: String,
    /// The test.
    pub test: String,
    /// The node.
    #[serde(flatten)]
    pub node: Node,
    /// The results of the job, if a lab ran it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub results: Option<Record>,
}

/// The status of a node.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Node {
    /// Its name.
    pub name: String,
    /// The name of its rule.
    pub rule: String,
    /// Its state.
    pub state: State,
    /// An explanation in one sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The start of its run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// The duration of its run.
    #[serde(rename = "seconds", serialize_with = "seconds", skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
    /// The messages of compilers and kbuild.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<Messages>,
    /// Its log or console in the output directory, if present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<PathBuf>,
    /// The end of the log, if it failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub log_tail: String,
    /// The key of its result: equal for equal inputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Digest>,
}

/// The messages of compilers and kbuild.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Messages {
    /// The number of different warnings.
    pub warnings: u64,
    /// The number of different errors.
    pub errors: u64,
    /// The first errors, with their positions.
    pub first_errors: Vec<String>,
}

/// The state of a node. The highest state among a build's nodes is the state of the build.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It passed with its present inputs.
    Pass,
    /// It can't run: a dependency failed.
    Skipped,
    /// It, or a dependency, has to run first.
    #[default]
    Unknown,
    /// It has a result for other inputs.
    Stale,
    /// A machine, a lab or a device failed.
    Infra,
    /// It failed with its present inputs.
    Fail,
}

impl State {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Skipped => "skipped",
            Self::Unknown => "unknown",
            Self::Stale => "stale",
            Self::Infra => "infra",
            Self::Fail => "fail",
        }
    }

    /// Whether it is the result of a run with the present inputs.
    pub const fn is_known(self) -> bool {
        matches!(self, Self::Pass | Self::Fail | Self::Infra)
    }
}

/// The result of a test case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaseResult {
    /// It passed.
    Passed,
    /// It failed.
    Failed,
    /// It does not count, for this reason.
    Skipped(String),
    /// The lab does not know.
    Unknown,
}

impl CaseResult {
    /// The result of a case.
    pub fn of(case: &Case) -> Self {
        match (&*case.result, &case.skipped) {
            ("pass", _) => Self::Passed,
            ("fail", Some(reason)) => Self::Skipped(format!("{reason} (it failed)")),
            ("fail", None) => Self::Failed,
            ("skip", reason) => {
                Self::Skipped(reason.clone().unwrap_or_else(|| "the test skipped it".to_owned()))
            }
            _ => Self::Unknown,
        }
    }
}

/// The number of cases by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Cases that passed.
    pub passed: usize,
    /// Cases that failed.
    pub failed: usize,
    /// Cases that do not count.
    pub skipped: usize,
    /// The lab does not know.
    pub unknown: usize,
}

impl Status {
    /// Every node.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        let boots = self.boots().map(|boot| &boot.node);
        self.builds.values().flat_map(|build| &build.nodes).chain(boots).chain(&self.others)
    }

    /// Every boot.
    pub fn boots(&self) -> impl Iterator<Item = &Boot> {
        self.builds.values().flat_map(|build| &build.boots)
    }
}

impl Build {
    /// The node with the highest state; the last of several, as it depends on the others.
    pub fn speaker(&self) -> Option<&Node> {
        self.nodes.iter().max_by_key(|node| node.state)
    }

    /// Its state, boots aside.
    pub fn state(&self) -> State {
        self.speaker().map_or(State::Unknown, |node| node.state)
    }

    /// The start of its first run.
    pub fn started(&self) -> Option<Timestamp> {
        self.nodes.iter().filter_map(|node| node.started).min()
    }

    /// The total duration of its runs; `None` if none is known.
    pub fn duration(&self) -> Option<Duration> {
        let mut known = self.nodes.iter().filter_map(|node| node.duration).peekable();
        known.peek().is_some().then(|| known.sum())
    }

    /// The keys of its result: those of the nodes that compile, if any, so that a build is the same with and without other
    /// nodes.
    pub fn keys(&self) -> Vec<Digest> {
        let compiles = self.nodes.iter().any(|node| node.messages.is_some());
        let nodes = self.nodes.iter().filter(|node| !compiles || node.messages.is_some());
        nodes.filter_map(|node| node.key).collect()
    }

    /// The messages of all its nodes.
    pub fn messages(&self) -> Option<Messages> {
        let mut all: Option<Messages> = None;
        for messages in self.nodes.iter().filter_map(|node| node.messages.as_ref()) {
            let all = all.get_or_insert_default();
            all.warnings += messages.warnings;
            all.errors += messages.errors;
            all.first_errors.extend(messages.first_errors.iter().cloned());
        }
        all
    }
}

impl Boot {
    /// Its start: on the device, if the lab reports that.
    pub fn started(&self) -> Option<Timestamp> {
        self.results.as_ref().and_then(|record| record.started).or(self.node.started)
    }

    /// Its duration: on the device, if the lab reports that.
    pub fn duration(&self) -> Option<Duration> {
        let times = self.results.as_ref().and_then(|record| record.started.zip(record.ended));
        let at_lab = times.and_then(|(started, ended)| started.duration_until(ended).try_into().ok());
        at_lab.or(self.node.duration)
    }

    /// The suites with tests.
    pub fn suites(&self) -> impl Iterator<Item = &Suite> {
        self.results.iter().flat_map(|record| &record.suites).filter(|suite| suite.name != LAB_SUITE)
    }

    /// The number of cases by result.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for case in self.suites().flat_map(|suite| &suite.cases) {
            *match CaseResult::of(case) {
                CaseResult::Passed => &mut counts.passed,
                CaseResult::Failed => &mut counts.failed,
                CaseResult::Skipped(_) => &mut counts.skipped,
                CaseResult::Unknown => &mut counts.unknown,
            } += 1;
        }
        counts
    }
}

/// The status as JSON.
pub fn status_json(status: &Status) -> Value {
    serde_json::to_value(status).expect("names are texts, and numbers are finite where they are JSON")
}

/// A time, rounded to the millisecond.
pub fn stamp(time: SystemTime) -> Option<Timestamp> {
    Timestamp::try_from(time).ok()?.round(Unit::Millisecond).ok()
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn seconds<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(|duration| (duration.as_secs_f64() * 1000.0).round() / 1000.0).serialize(serializer)
}
