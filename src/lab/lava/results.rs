//! A job's results: suites of test cases, and LAVA's own verdict.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use super::server::ApiCall;
use super::{JobId, Lava, LavaError, yaml};
use crate::text::one_line;

/// The suite of LAVA's own cases, one for each of its actions.
pub(super) const LAVA: &str = "lava";

/// Its case for the whole job.
const JOB: &str = "job";

/// The page size of the case list.
const PAGE_SIZE: usize = 500;

/// The length at which LAVA's message about an aborted job is cut, in characters. A panic comes with all its lines.
const MAX_MESSAGE: usize = 8 << 10;

/// The results of a job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// The suites, in the order of their starts.
    pub suites: Vec<Suite>,
    /// Why LAVA aborted the job, if it did and says so.
    pub fault: Option<Fault>,
}

/// A suite. Its name is the position and the name of its definition (`0_smoke`); `lava` is LAVA's own.
#[derive(Clone, Debug, PartialEq)]
pub struct Suite {
    /// Its name.
    pub name: String,
    /// Its cases, in the order of their reports. Names may repeat.
    pub cases: Vec<Case>,
}

/// A test case.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Its name. The API does not return its test set (`lava-test-set`).
    pub name: String,
    /// Its result.
    pub result: CaseResult,
    /// Its measurement.
    pub measurement: Option<f64>,
    /// The unit of the measurement, or empty.
    pub unit: String,
    /// The level of a LAVA action: `2.4.1` belongs to the second action of the job definition.
    pub level: Option<String>,
}

/// The result of a test case, in LAVA's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CaseResult {
    /// It passed.
    Pass,
    /// It failed.
    Fail,
    /// It was skipped.
    Skip,
    /// It started, and its result is unknown.
    Unknown,
}

/// Why LAVA aborted a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// LAVA's kind of error: `Job`, `Test`, `Infrastructure`, `Bug`, `Configuration`, `Canceled`, or another.
    pub kind: String,
    /// LAVA's message, which may include lines of the console.
    pub message: String,
}

impl Lava {
    /// The results of a job so far.
    pub fn results(&self, id: JobId) -> Result<Results, LavaError> {
        let number = id.to_string();
        let suites = ApiCall::get(&["jobs", &number, "suites"]).with("ordering", "id");
        let cases = ApiCall::get(&["jobs", &number, "tests"]).with("ordering", "id").page_size(PAGE_SIZE);
        let results: Result<Results, LavaError> = self.calls.wait(async {
            let suites = self.server.list(&suites, |_| true).await?;
            Ok(gather(suites, self.server.list(&cases, |_| true).await?))
        });
        // A missing or hidden job looks like one without results.
        let nothing = match &results {
            Ok(results) => results.suites.is_empty(),
            Err(error) => matches!(error, LavaError::Unexpected(_)),
        };
        if nothing {
            self.job(id)?;
        }
        results
    }
}

/// The API's suite.
#[derive(Deserialize)]
pub(super) struct WireSuite {
    id: u64,
    name: String,
}

/// The API's test case.
#[derive(Deserialize)]
pub(super) struct WireCase {
    id: u64,
    name: String,
    result: CaseResult,
    /// A decimal number as text.
    measurement: Option<String>,
    unit: Option<String>,
    /// YAML as text.
    metadata: Option<String>,
    suite: u64,
}

/// What LAVA stores with a case of its own.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    level: Option<Value>,
    error_type: Option<String>,
    error_msg: Option<String>,
}

/// Sorts the cases into their suites.
pub(super) fn gather(suites: Vec<WireSuite>, mut cases: Vec<WireCase>) -> Results {
    let mut results = Results::default();
    let mut places: HashMap<u64, usize> = HashMap::new();
    for suite in suites {
        places.entry(suite.id).or_insert_with(|| {
            results.suites.push(Suite { name: one_line(&suite.name), cases: Vec::new() });
            results.suites.len() - 1
        });
    }
    cases.sort_by_key(|case| case.id);
    // A case may be on two pages if the list grows meanwhile.
    cases.dedup_by_key(|case| case.id);
    for case in cases {
        let place = *places.entry(case.suite).or_insert_with(|| {
            // Its suite started after the suites were read.
            results.suites.push(Suite { name: format!("suite {}", case.suite), cases: Vec::new() });
            results.suites.len() - 1
        });
        let suite = &mut results.suites[place];
        let metadata =
            if suite.name == LAVA { metadata(case.metadata.as_deref()) } else { Metadata::default() };
        if suite.name == LAVA
            && case.name == JOB
            && let Some(kind) = &metadata.error_type
        {
            let message = metadata.error_msg.as_deref().unwrap_or_default();
            results.fault =
                Some(Fault { kind: one_line(kind), message: message.chars().take(MAX_MESSAGE).collect() });
        }
        suite.cases.push(Case {
            name: one_line(&case.name),
            result: case.result,
            measurement: case.measurement.and_then(|number| number.parse().ok()),
            unit: one_line(&case.unit.unwrap_or_default()),
            level: metadata.level.as_ref().map(|level| one_line(&as_text(level))),
        });
    }
    results
}

fn metadata(text: Option<&str>) -> Metadata {
    text.and_then(|text| yaml::read(text).ok()).unwrap_or_default()
}

fn as_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
