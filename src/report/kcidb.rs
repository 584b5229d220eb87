//! The status of builds and boots as a submission to KCIDB: its I/O schema, version 5.3, as in kcidb-io.
//!
//! Only known facts are submitted: KCIDB reads an omitted field as "not known yet". Ids are derived from keys, so that equal
//! results have equal ids, whoever submits them and how often. `docs/reports.md` describes the mapping.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::kcidb_names::{Origin, id, is_word, log_url, no_null, test_path, without_index};
use super::status::{Boot, Build, CaseResult, Node, State, Status, Tree};
use crate::lab::record::{Case, Suite};
use crate::text::one_line_marked;

/// The version of KCIDB's schema.
const VERSION: (u32, u32) = (5, 3);

/// The largest log excerpt that KCIDB accepts, in characters.
const EXCERPT: usize = 16_384;

/// A checkout: a source tree that builds are made of.
#[derive(Serialize)]
struct Checkout {
    id: String,
    origin: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    git_commit_hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patchset_hash: Option<&'static str>,
    comment: String,
    valid: bool,
    misc: Value,
}

#[derive(Serialize)]
struct BuildRun {
    checkout_id: String,
    id: String,
    origin: String,
    comment: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<f64>,
    architecture: String,
    compiler: String,
    config_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_excerpt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    misc: Value,
}

#[derive(Serialize)]
struct TestRun {
    build_id: String,
    id: String,
    origin: String,
    environment: Value,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_excerpt: Option<String>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<f64>,
    misc: Value,
}

/// The status as a submission.
pub fn kcidb(status: &Status, origin: &Origin) -> Value {
    let mut checkouts = BTreeMap::new();
    let (mut builds, mut tests) = (Vec::new(), Vec::new());
    for (id, build) in &status.builds {
        let Some(tree) = status.sources.get(&build.source) else { continue };
        let boots: Vec<&Boot> = build.boots.iter().filter(|boot| boot.node.state.is_known()).collect();
        if build_status(build).is_none() && boots.is_empty() {
            continue;
        }
        let checkout = checkout(&build.source, tree, origin);
        let run = build_run(id, build, &checkout.id, origin);
        checkouts.insert(checkout.id.clone(), checkout);
        for boot in boots {
            tests.extend(Runs::of(boot, &run.id, origin).all());
        }
        builds.push(run);
    }
    let checkouts: Vec<Checkout> = checkouts.into_values().collect();
    json!({
        "version": { "major": VERSION.0, "minor": VERSION.1 },
        "checkouts": checkouts,
        "builds": builds,
        "tests": tests,
    })
}

fn checkout(source: &str, tree: &Tree, origin: &Origin) -> Checkout {
    // KCIDB does not accept the longer ids of SHA-256 repositories.
    let commit = tree.commit.as_deref().filter(|commit| commit.len() == 40);
    let digest = tree.digest.to_string();
    Checkout {
        id: id(origin, &["checkout", source, tree.commit.as_deref().unwrap_or_default(), &digest]),
        origin: origin.to_string(),
        git_commit_hash: commit.map(str::to_owned),
        // No patches are applied to a commit. To a working tree, any may be.
        patchset_hash: (commit.is_some() && tree.exact).then_some(""),
        comment: format!("source {source}"),
        valid: true,
        misc: known(json!({ "source": source, "tree": digest, "commit": tree.commit })),
    }
}

fn build_run(name: &str, build: &Build, checkout_id: &str, origin: &Origin) -> BuildRun {
    let keys: Vec<String> = build.keys().iter().map(ToString::to_string).collect();
    let parts = ["build", checkout_id, name].into_iter().chain(keys.iter().map(String::as_str));
    let messages = build.messages().unwrap_or_default();
    let speaker = build.speaker().filter(|node| matches!(node.state, State::Fail | State::Infra));
    let message = speaker.and_then(|node| Some(format!("{}: {}", node.rule, node.message.as_ref()?)));
    BuildRun {
        checkout_id: checkout_id.to_owned(),
        id: id(origin, &parts.collect::<Vec<_>>()),
        origin: origin.to_string(),
        comment: no_null(&message.map_or_else(|| name.to_owned(), |message| format!("{name}: {message}"))),
        start_time: build.started(),
        duration: build.duration().map(seconds),
        architecture: build.kernel_arch.to_lowercase().replace(|c: char| !is_word(c), "_"),
        compiler: build.toolchain.clone(),
        config_name: build.defconfig.clone(),
        log_excerpt: speaker.and_then(excerpt),
        status: build_status(build),
        misc: json!({
            "build": name,
            "arch": build.arch,
            "warnings": messages.warnings,
            "errors": messages.errors,
            "first_errors": messages.first_errors,
        }),
    }
}

/// The test runs of a boot.
struct Runs<'a> {
    boot: &'a Boot,
    build_id: &'a str,
    origin: &'a Origin,
    /// The key that identifies the boot.
    key: String,
}

impl<'a> Runs<'a> {
    fn of(boot: &'a Boot, build_id: &'a str, origin: &'a Origin) -> Self {
        Self { boot, build_id, origin, key: boot.node.key.map_or_else(String::new, |key| key.to_string()) }
    }

    /// The boot, the test if it is more than a boot, and its cases.
    fn all(&self) -> Vec<TestRun> {
        let boot = self.boot;
        let cases = boot.suites().flat_map(|suite| suite.cases.iter().map(move |case| (suite, case)));
        let cases: Vec<(&Suite, &Case)> = cases.collect();
        let overall = status(boot.node.state).expect("only what is known is told");
        let is_more = !cases.is_empty();
        // A kernel that started a test has booted, whatever the result of the test.
        let booted = if is_more { "PASS" } else { overall };
        let mut runs = vec![self.whole("boot", booted)];
        if is_more || boot.test != "boot" {
            runs.push(self.whole(&test_path(&boot.test), overall));
        }
        let mut seen: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        runs.extend(cases.into_iter().map(|(suite, case)| {
            let times = seen.entry((&suite.name, &case.name)).or_default();
            *times += 1;
            self.case(suite, case, *times)
        }));
        runs
    }

    /// The boot, or the test as a whole.
    fn whole(&self, path: &str, status: &'static str) -> TestRun {
        let node = &self.boot.node;
        TestRun {
            // A failure of the test is no failure of the boot.
            comment: node
                .message
                .as_deref()
                .map(no_null)
                .filter(|_| Some(status) == self::status(node.state)),
            log_excerpt: excerpt(node),
            start_time: self.boot.started(),
            duration: self.boot.duration().map(seconds),
            ..self.run(&["whole", path], path.to_owned(), status)
        }
    }

    /// A case; `times` counts those of the same name.
    fn case(&self, suite: &Suite, case: &Case, times: usize) -> TestRun {
        let (status, comment) = match CaseResult::of(case) {
            CaseResult::Passed => ("PASS", None),
            CaseResult::Failed => ("FAIL", None),
            CaseResult::Skipped(reason) => ("SKIP", Some(no_null(&one_line_marked(&reason)))),
            CaseResult::Unknown => ("ERROR", None),
        };
        let number = case.measurement.filter(|value| value.is_finite()).map(|value| {
            let mut number = Map::from_iter([("value".to_owned(), json!(value))]);
            if let Some(unit) = case.unit.as_ref().filter(|unit| !unit.is_empty()) {
                number.insert("unit".to_owned(), no_null(unit).into());
            }
            Value::Object(number)
        });
        let path = format!("{}.{}", test_path(without_index(&suite.name)), test_path(&case.name));
        let parts = ["case", &suite.name, &case.name, &times.to_string()];
        TestRun { comment, number, ..self.run(&parts, path, status) }
    }

    fn run(&self, parts: &[&str], path: String, status: &'static str) -> TestRun {
        let Boot { board, device_type, test, results, .. } = self.boot;
        let own = ["test", self.build_id, board, test, &self.key];
        let own: Vec<&str> = own.into_iter().chain(parts.iter().copied()).collect();
        let place = results.as_ref().map_or_else(String::new, |record| {
            let device = record.device.as_deref().unwrap_or("a device");
            format!(", {device} in lab {}", record.lab)
        });
        let device = results.as_ref().and_then(|record| record.device.as_ref());
        TestRun {
            build_id: self.build_id.to_owned(),
            id: id(self.origin, &own),
            origin: self.origin.to_string(),
            environment: json!({
                "comment": no_null(&one_line_marked(&format!("board {board}{place}"))),
                "misc": known(json!({
                    "board": board,
                    "device_type": device_type,
                    "lab": results.as_ref().map(|record| &record.lab),
                    "device": device,
                })),
            }),
            path,
            comment: None,
            log_url: results.as_ref().and_then(log_url),
            log_excerpt: None,
            status,
            number: None,
            start_time: None,
            duration: None,
            misc: known(json!({
                "test": test,
                "job_url": results.as_ref().map(|record| &record.page),
                "attempts": results.as_ref().map(|record| &record.attempts),
            })),
        }
    }
}

/// The KCIDB status of a build. If only a part of a build passed, its status is not known.
fn build_status(build: &Build) -> Option<&'static str> {
    if build.state() == State::Pass && !build.whole { None } else { status(build.state()) }
}

/// The KCIDB status of a state; `None` if it is not known.
const fn status(state: State) -> Option<&'static str> {
    match state {
        State::Pass => Some("PASS"),
        State::Fail => Some("FAIL"),
        // The failure says nothing about the kernel.
        State::Infra => Some("MISS"),
        State::Stale | State::Unknown | State::Skipped => None,
    }
}

fn excerpt(node: &Node) -> Option<String> {
    let log = no_null(&node.log_tail);
    let skip = log.chars().count().saturating_sub(EXCERPT);
    Some(log.chars().skip(skip).collect()).filter(|log: &String| !log.is_empty())
}

/// The fields of an object that have a value: KCIDB has no nulls.
fn known(mut object: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    object
}

fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::every_outcome;

    fn told() -> Value {
        kcidb(&every_outcome(), &"gentoo".parse().unwrap())
    }

    /// `tests/servers/kcidb.rs` validates this text with KCIDB's own checks.
    #[test]
    fn every_outcome_is_told_in_its_words() {
        insta::assert_snapshot!(format!("{:#}", told()));
    }

    #[test]
    fn ids_are_unique_and_stay() {
        let told = told();
        let list = |what: &str| told[what].as_array().unwrap().clone();
        let mut ids: Vec<String> = ["checkouts", "builds", "tests"]
            .into_iter()
            .flat_map(list)
            .map(|object| object["id"].as_str().unwrap().to_owned())
            .collect();
        let all = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all);
        assert_eq!(self::told(), told);
    }

    #[test]
    fn a_part_that_passed_is_no_build_that_passed() {
        let mut status = every_outcome();
        let origin = "gentoo".parse().unwrap();
        let good = status.builds.get_mut("linux/amd64/good/gcc").unwrap();
        good.whole = false;
        let told = kcidb(&status, &origin);
        let id = self::told()["builds"][1]["id"].clone();
        assert_eq!((&told["builds"][1]["id"], told["builds"][1].get("status")), (&id, None));
        status.builds.get_mut("linux/amd64/good/gcc").unwrap().boots.clear();
        let told = kcidb(&status, &origin);
        assert!(told["builds"].as_array().unwrap().iter().all(|build| build["config_name"] != "good"));
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let told = told();
        let builds: Vec<_> =
            told["builds"].as_array().unwrap().iter().map(|build| &build["config_name"]).collect();
        assert_eq!(builds, ["broken", "good", "infra"]);
        let tests =
            told["tests"].as_array().unwrap().iter().map(|test| test["misc"]["test"].as_str().unwrap());
        assert!(!tests.into_iter().any(|test| ["login", "new", "later"].contains(&test)));
    }
}
