//! Where builds and boots stand: what is known of them now, as data. `docs/reports.md` describes it as JSON.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use jiff::{Timestamp, Unit};
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::digest::Digest;
use crate::lab::record::{Case, Record, Suite};

/// The version of the JSON. It rises when a field changes its meaning or goes; new fields may come without.
pub const STANDING_VERSION: u32 = 1;

/// The suite in which a lab tells of the job itself: none of its cases is a test.
const LAB_SUITE: &str = "lava";

/// What is known of all that was asked for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Standing {
    /// [`STANDING_VERSION`].
    pub version: u32,
    /// The source trees that builds are made of, by name.
    pub sources: BTreeMap<String, Tree>,
    /// Builds, by their id.
    pub builds: BTreeMap<String, Build>,
    /// Nodes that belong to no build: a user space, actions.
    pub others: Vec<Node>,
}

/// A source tree.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tree {
    /// Of all that is in it.
    pub digest: Digest,
    /// Where git has it: the commit that it is, or that its files began as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Whether it is that commit and nothing else.
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
    /// kbuild's word for that.
    pub kernel_arch: String,
    /// The name of its configuration.
    pub defconfig: String,
    /// The name of its toolchain.
    pub toolchain: String,
    /// Whether all of its nodes were asked for, boots left aside.
    pub whole: bool,
    /// Its nodes, those depended on first.
    pub nodes: Vec<Node>,
    /// Its boots.
    pub boots: Vec<Boot>,
    /// Why it is not known which boards it can boot, where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open: Option<String>,
}

/// A boot of a build.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Boot {
    /// The board.
    pub board: String,
    /// LAVA's word for the kind of device.
    pub device_type: String,
    /// The test.
    pub test: String,
    /// The node.
    #[serde(flatten)]
    pub node: Node,
    /// What came of the job, where a lab ran it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub results: Option<Record>,
}

/// What is known of a node.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its rule's.
    pub rule: String,
    /// In a word.
    pub state: State,
    /// In a sentence, where there is more to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When the run began that it is known from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// How long that took.
    #[serde(rename = "seconds", serialize_with = "seconds", skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
    /// What compilers and kbuild said on the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<Messages>,
    /// Its log or console in the output directory, where it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<PathBuf>,
    /// The end of that, of a node that failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub log_tail: String,
    /// What it is known under: of equal inputs, equal keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Digest>,
}

/// What compilers and kbuild said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Messages {
    /// How many different warnings.
    pub warnings: u64,
    /// How many different errors.
    pub errors: u64,
    /// The first of those, with their places.
    pub first_errors: Vec<String>,
}

/// Where a node stands. The order is that in which one of several speaks for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It did what it should, with the inputs as they are now.
    Pass,
    /// It can't run: what it needs has failed.
    Skipped,
    /// It has to run, or something that it needs has, before it is known.
    #[default]
    Unknown,
    /// It has a result, of other inputs than now.
    Stale,
    /// Something around it failed.
    Infra,
    /// It failed, with the inputs as they are now.
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

    /// Whether it tells of a run with the inputs as they are now.
    pub const fn is_known(self) -> bool {
        matches!(self, Self::Pass | Self::Fail | Self::Infra)
    }
}

/// What became of a test case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Came {
    /// It passed.
    Passed,
    /// It failed.
    Failed,
    /// It does not count, and why.
    Skipped(String),
    /// The lab can't tell.
    Unknown,
}

impl Came {
    /// What became of a case.
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

/// How many cases came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Passed.
    pub passed: usize,
    /// Failed.
    pub failed: usize,
    /// Do not count.
    pub skipped: usize,
    /// The lab can't tell.
    pub unknown: usize,
}

impl Standing {
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
    /// Which of its nodes speaks for it: of several in the same state, the last, as others come before it.
    pub fn speaker(&self) -> Option<&Node> {
        self.nodes.iter().max_by_key(|node| node.state)
    }

    /// Where it stands, boots left aside.
    pub fn state(&self) -> State {
        self.speaker().map_or(State::Unknown, |node| node.state)
    }

    /// When its first node began.
    pub fn started(&self) -> Option<Timestamp> {
        self.nodes.iter().filter_map(|node| node.started).min()
    }

    /// How long its nodes took, where that is known of any.
    pub fn duration(&self) -> Option<Duration> {
        let mut known = self.nodes.iter().filter_map(|node| node.duration).peekable();
        known.peek().is_some().then(|| known.sum())
    }

    /// What its result is known under: the keys of the nodes that compile, if any does, so that a build is the same with
    /// and without those around them.
    pub fn keys(&self) -> Vec<Digest> {
        let compiles = self.nodes.iter().any(|node| node.messages.is_some());
        let nodes = self.nodes.iter().filter(|node| !compiles || node.messages.is_some());
        nodes.filter_map(|node| node.key).collect()
    }

    /// What was said in all of its nodes.
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
    /// When it began: on the device, if a lab tells.
    pub fn started(&self) -> Option<Timestamp> {
        self.results.as_ref().and_then(|record| record.started).or(self.node.started)
    }

    /// How long it took: on the device, if a lab tells.
    pub fn duration(&self) -> Option<Duration> {
        let times = self.results.as_ref().and_then(|record| record.started.zip(record.ended));
        let at_lab = times.and_then(|(started, ended)| started.duration_until(ended).try_into().ok());
        at_lab.or(self.node.duration)
    }

    /// The suites that test something.
    pub fn suites(&self) -> impl Iterator<Item = &Suite> {
        self.results.iter().flat_map(|record| &record.suites).filter(|suite| suite.name != LAB_SUITE)
    }

    /// How many cases came to what.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for case in self.suites().flat_map(|suite| &suite.cases) {
            *match Came::of(case) {
                Came::Passed => &mut counts.passed,
                Came::Failed => &mut counts.failed,
                Came::Skipped(_) => &mut counts.skipped,
                Came::Unknown => &mut counts.unknown,
            } += 1;
        }
        counts
    }
}

/// All of it as JSON.
pub fn standing_json(standing: &Standing) -> Value {
    serde_json::to_value(standing).expect("names are texts, and numbers are finite where they are JSON")
}

/// A time of this machine's clock, to the millisecond.
pub fn stamp(time: SystemTime) -> Option<Timestamp> {
    Timestamp::try_from(time).ok()?.round(Unit::Millisecond).ok()
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn seconds<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(|duration| (duration.as_secs_f64() * 1000.0).round() / 1000.0).serialize(serializer)
}
