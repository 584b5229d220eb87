//! `results.json`: what came of a job at a lab, for reports. docs/results.md describes it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The version of the format. It rises when a field changes its meaning or goes.
pub const VERSION: u32 = 1;

/// What came of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Record {
    /// [`VERSION`] of the kiln that wrote it.
    pub version: u32,
    /// The lab, as the project calls it.
    pub lab: String,
    /// The job's number there.
    pub job: u64,
    /// Its page, for people.
    pub page: String,
    /// What it ran on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub device: Option<String>,
    /// LAVA's word for the kind of that.
    pub device_type: String,
    /// `pass` or `fail`.
    pub outcome: String,
    /// In a sentence.
    pub message: String,
    /// When it was handed over.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub submitted: Option<Timestamp>,
    /// When a device began with it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub started: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ended: Option<Timestamp>,
    /// Earlier tries of the same run, which a lab or a device kept from an outcome.
    pub attempts: Vec<Attempt>,
    /// What was tested.
    pub suites: Vec<Suite>,
}

/// A try that came to no outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Attempt {
    /// The lab.
    pub lab: String,
    /// The job's number there, where it came to one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub job: Option<u64>,
    /// What it ran on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub device: Option<String>,
    /// Why it came to nothing.
    pub message: String,
}

/// A test suite of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Suite {
    /// Its name at the lab: `0_smoke`; `lava` is what the lab itself tells of the job.
    pub name: String,
    /// Its cases, in the order in which they ended.
    pub cases: Vec<Case>,
}

/// A test case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Case {
    /// Its name.
    pub name: String,
    /// `pass`, `fail`, `skip` or `unknown`.
    pub result: String,
    /// What it measured.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub measurement: Option<f64>,
    /// In what unit.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unit: Option<String>,
    /// Why a fail of it does not count.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub skipped: Option<String>,
}
