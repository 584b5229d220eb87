//! What a job reported: suites of test cases, and LAVA's own verdict.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use super::ask::Ask;
use super::{JobId, Lava, LavaError, yaml};
use crate::net::plain;

/// The suite in which LAVA itself reports, one case for each of its actions.
pub(super) const LAVA: &str = "lava";

/// Its case for the job as a whole.
const JOB: &str = "job";

/// How many cases are asked for at once.
const AT_ONCE: usize = 500;

/// As much as is kept of LAVA's message about a job that broke off. A panic comes with all its lines.
const MAX_MESSAGE: usize = 8 << 10;

/// All that a job reported.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// The suites, in the order in which they began.
    pub suites: Vec<Suite>,
    /// Why LAVA broke the job off; nothing where it did not, or does not say.
    pub fault: Option<Fault>,
}

/// A suite. Its name is that of its definition with its position before it (`0_smoke`); `lava` is LAVA's own.
#[derive(Clone, Debug, PartialEq)]
pub struct Suite {
    /// Its name.
    pub name: String,
    /// Its cases, in the order in which they were reported. A name may stand there twice.
    pub cases: Vec<Case>,
}

/// A test case.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Its name. That of a set that it is part of (`lava-test-set`) is not told by this API.
    pub name: String,
    /// What came of it.
    pub result: CaseResult,
    /// What was measured.
    pub measurement: Option<f64>,
    /// The unit of that. Empty where there is none.
    pub unit: String,
    /// Where an action of LAVA stands: `2.4.1` is below the second of those that the job definition lists.
    pub level: Option<String>,
}

/// What came of a test case. The names are LAVA's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CaseResult {
    /// It passed.
    Pass,
    /// It failed.
    Fail,
    /// It was skipped.
    Skip,
    /// It began, and nobody knows what came of it.
    Unknown,
}

/// Why LAVA broke a job off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// LAVA's kind of error: `Job`, `Test`, `Infrastructure`, `Bug`, `Configuration`, `Canceled`, or another.
    pub kind: String,
    /// What it says of it: lines of the console, too, as they came.
    pub message: String,
}

impl Lava {
    /// What a job reported so far.
    pub fn results(&self, id: JobId) -> Result<Results, LavaError> {
        let number = id.to_string();
        let suites = Ask::get(&["jobs", &number, "suites"]).with("ordering", "id");
        let cases = Ask::get(&["jobs", &number, "tests"]).with("ordering", "id").at_once(AT_ONCE);
        let results: Result<Results, LavaError> = self.calls.wait(async {
            let suites = self.server.list(&suites, |_| true).await?;
            Ok(gather(suites, self.server.list(&cases, |_| true).await?))
        });
        // A job that there is not, or that is not shown to us, looks like one without results.
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

/// A suite as it is told.
#[derive(Deserialize)]
pub(super) struct WireSuite {
    id: u64,
    name: String,
}

/// A test case as it is told.
#[derive(Deserialize)]
pub(super) struct WireCase {
    id: u64,
    name: String,
    result: CaseResult,
    /// A decimal number in a text.
    measurement: Option<String>,
    unit: Option<String>,
    /// YAML in a text.
    metadata: Option<String>,
    suite: u64,
}

/// What LAVA keeps beside a case of its own.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    level: Option<Value>,
    error_type: Option<String>,
    error_msg: Option<String>,
}

/// Puts the cases into their suites.
pub(super) fn gather(suites: Vec<WireSuite>, mut cases: Vec<WireCase>) -> Results {
    let mut results = Results::default();
    let mut places: HashMap<u64, usize> = HashMap::new();
    for suite in suites {
        places.entry(suite.id).or_insert_with(|| {
            results.suites.push(Suite { name: plain(&suite.name), cases: Vec::new() });
            results.suites.len() - 1
        });
    }
    cases.sort_by_key(|case| case.id);
    // Pages that shift while they are read show a case twice.
    cases.dedup_by_key(|case| case.id);
    for case in cases {
        let place = *places.entry(case.suite).or_insert_with(|| {
            // Its suite began after the suites were read.
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
                Some(Fault { kind: plain(kind), message: message.chars().take(MAX_MESSAGE).collect() });
        }
        suite.cases.push(Case {
            name: plain(&case.name),
            result: case.result,
            measurement: case.measurement.and_then(|number| number.parse().ok()),
            unit: plain(&case.unit.unwrap_or_default()),
            level: metadata.level.as_ref().map(|level| plain(&as_text(level))),
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
