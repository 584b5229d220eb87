//! The status of builds and boots as JUnit XML: a suite for each build and for each boot. `docs/reports.md` describes the
//! mapping.
//!
//! JUnit has neither "stale" nor "unknown": both are skipped cases with the reason, never passed ones.

use std::time::Duration;

use quick_junit::{
    NonSuccessKind, Property, Report, SerializeError, TestCase, TestCaseStatus, TestRerun, TestSuite,
};

use super::status::{Boot, Build, CaseResult, Node, State, Status};
use crate::lab::record::{Case, Record};
use crate::text::one_line_marked;

/// The status as JUnit XML.
pub fn junit(status: &Status) -> Result<String, SerializeError> {
    let mut report = Report::new("kiln");
    for (id, build) in &status.builds {
        report.add_test_suite(build_suite(id, build));
        for boot in &build.boots {
            report.add_test_suite(boot_suite(id, boot));
        }
    }
    if !status.others.is_empty() {
        let mut suite = TestSuite::new("others");
        suite.add_test_cases(status.others.iter().map(|node| node_case(node, &node.name, "others")));
        report.add_test_suite(suite);
    }
    let times = report.test_suites.iter().filter_map(|suite| suite.time);
    report.time = Some(times.sum());
    report.to_string()
}

fn build_suite(id: &str, build: &Build) -> TestSuite {
    let mut suite = TestSuite::new(id);
    suite.timestamp = build.started().and_then(|time| time.to_string().parse().ok());
    suite.time = build.duration();
    if let Some(messages) = build.messages() {
        suite.add_property(Property::new("warnings", messages.warnings.to_string()));
        suite.add_property(Property::new("errors", messages.errors.to_string()));
    }
    suite.add_test_cases(build.nodes.iter().map(|node| node_case(node, &node.rule, id)));
    if let Some(open) = &build.open {
        let mut status = TestCaseStatus::skipped();
        status.set_message(format!("unknown: {open}"));
        let mut case = TestCase::new("boots", status);
        case.set_classname(id);
        suite.add_test_case(case);
    }
    suite
}

fn boot_suite(build: &str, boot: &Boot) -> TestSuite {
    let id = format!("{build}/{}/{}", boot.board, boot.test);
    let mut suite = TestSuite::new(&*id);
    suite.timestamp = boot.started().and_then(|time| time.to_string().parse().ok());
    suite.time = boot.duration();
    let mut own = node_case(&boot.node, &boot.test, &id);
    own.time = boot.duration();
    if let Some(record) = &boot.results {
        let job = record.job.to_string();
        let device = record.device.as_deref().unwrap_or_default();
        let properties = [("lab", &*record.lab), ("job", &*job), ("page", &*record.page), ("device", device)];
        suite.add_properties(properties.into_iter().filter(|(_, value)| !value.is_empty()));
        own.status.add_reruns(reruns(record));
    }
    suite.add_test_case(own);
    for tested in boot.suites() {
        let class = format!("{id}/{}", tested.name);
        suite.add_test_cases(tested.cases.iter().map(|case| tested_case(case, &class)));
    }
    suite
}

/// A node as a case.
fn node_case(node: &Node, name: &str, class: &str) -> TestCase {
    let message = node.message.as_deref().unwrap_or_default();
    let mut status = match node.state {
        State::Pass => TestCaseStatus::success(),
        State::Fail => TestCaseStatus::non_success(NonSuccessKind::Failure),
        State::Infra => TestCaseStatus::non_success(NonSuccessKind::Error),
        State::Stale | State::Unknown | State::Skipped => TestCaseStatus::skipped(),
    };
    match node.state {
        State::Pass => {}
        State::Fail | State::Infra => {
            status.set_message(message).set_type(node.state.as_str());
            let errors = node.messages.iter().flat_map(|messages| &messages.first_errors);
            let errors: Vec<&str> = errors.map(String::as_str).collect();
            if !errors.is_empty() {
                status.set_description(errors.join("\n"));
            }
        }
        State::Stale | State::Unknown | State::Skipped => {
            status.set_message(format!("{}: {message}", node.state.as_str()));
        }
    }
    let mut case = TestCase::new(name, status);
    case.set_classname(class);
    case.time = node.duration;
    if !node.log_tail.is_empty() {
        case.set_system_out(&*node.log_tail);
    }
    case
}

/// A case of a job.
fn tested_case(case: &Case, class: &str) -> TestCase {
    let status = match CaseResult::of(case) {
        CaseResult::Passed => TestCaseStatus::success(),
        CaseResult::Failed => TestCaseStatus::non_success(NonSuccessKind::Failure),
        CaseResult::Skipped(reason) => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(reason);
            status
        }
        CaseResult::Unknown => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_message("the lab does not know what became of it");
            status
        }
    };
    let mut junit = TestCase::new(&*case.name, status);
    junit.set_classname(class);
    if let Some(value) = case.measurement {
        let unit = case.unit.as_deref().unwrap_or_default();
        junit.add_property(Property::new(
            "measurement",
            one_line_marked(&format!("{value} {unit}")).trim_end(),
        ));
        // Only measurements in units of time are times.
        junit.time =
            matches!(unit, "s" | "seconds").then(|| Duration::try_from_secs_f64(value).ok()).flatten();
    }
    junit
}

/// The earlier attempts of a job.
fn reruns(record: &Record) -> impl Iterator<Item = TestRerun> {
    record.attempts.iter().map(|attempt| {
        let place = attempt.device.as_ref().unwrap_or(&attempt.lab);
        let mut rerun = TestRerun::new(NonSuccessKind::Error);
        rerun.set_type("infra").set_message(one_line_marked(&format!("{place}: {}", attempt.message)));
        rerun
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::every_outcome;

    #[test]
    fn every_outcome_has_its_element() {
        insta::assert_snapshot!(junit(&every_outcome()).unwrap());
    }

    /// As readers of JUnit see it: unknown is not passed, and nothing is lost.
    #[test]
    fn it_reads_back_as_what_it_was() {
        let xml = junit(&every_outcome()).unwrap();
        let report = Report::deserialize_from_str(&xml).unwrap();
        let count = |wanted: fn(&TestCaseStatus) -> bool| {
            let cases = report.test_suites.iter().flat_map(|suite| &suite.test_cases);
            cases.filter(|case| wanted(&case.status)).count()
        };
        let passed = count(|status| matches!(status, TestCaseStatus::Success { .. }));
        // Nodes and boots, and the cases of the two jobs that ran tests.
        assert_eq!(passed, 4 + 2 + 3 + 2, "{xml}");
        assert_eq!((report.failures, report.errors), (2 + 2 + 1, 2 + 1), "{xml}");
        assert_eq!(report.tests, passed + report.failures + report.errors + report.skipped);
        let name = "say \"hello\" & <wave>/now";
        let mut names = report.test_suites.iter().flat_map(|suite| &suite.test_cases);
        assert!(names.any(|case| case.name == *name), "{xml}");
    }
}
