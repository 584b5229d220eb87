//! `results.json`: the results of a LAVA job, for reports. docs/results.md describes the format.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The version of the format. It increases when a field changes its meaning or is removed.
pub const VERSION: u32 = 1;

/// The results of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Record {
    /// [`VERSION`] of the kiln that wrote it.
    pub version: u32,
    /// The lab's name in the project.
    pub lab: String,
    /// The job's number at the lab.
    pub job: u64,
    /// The URL of its web page.
    pub page: String,
    /// The device that it ran on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub device: Option<String>,
    /// LAVA's device type.
    pub device_type: String,
    /// `pass` or `fail`.
    pub outcome: String,
    /// The outcome in a sentence.
    pub message: String,
    /// When it was submitted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub submitted: Option<Timestamp>,
    /// When a device started it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub started: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ended: Option<Timestamp>,
    /// Earlier attempts of the same run without an outcome.
    pub attempts: Vec<Attempt>,
    /// Its test suites.
    pub suites: Vec<Suite>,
}

/// An attempt without an outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Attempt {
    /// The lab.
    pub lab: String,
    /// The job's number at the lab, if one was created.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub job: Option<u64>,
    /// The device that it ran on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub device: Option<String>,
    /// Why it has no outcome.
    pub message: String,
}

/// A test suite of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Suite {
    /// Its name at the lab: `0_smoke`; `lava` has the lab's own cases.
    pub name: String,
    /// Its cases, in the order of their ends.
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
    /// Its measurement.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub measurement: Option<f64>,
    /// The unit of the measurement.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unit: Option<String>,
    /// Why its fail does not count.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub skipped: Option<String>,
}
