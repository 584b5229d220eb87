//! What kiln tells KCIDB, held to KCIDB's own checks: kcidb-io, in a Python environment that `KILN_TEST_KCIDB` names.
//!
//! `scripts/check-reports.sh` makes that environment and runs this; plain `cargo test` leaves it out.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::project::{Project, repository};

/// Reads a submission, and fails unless the newest schema of kcidb-io takes it as it is: of its version, and with
/// formats (times, addresses) looked at.
const CHECK: &str = "
import json, sys
import kcidb_io
data = json.load(sys.stdin)
latest = kcidb_io.schema.LATEST
assert data['version'] == {'major': latest.major, 'minor': latest.minor}, (data['version'], latest)
latest.validate(data)
ids = {kind: {o['id'] for o in data[kind]} for kind in ('checkouts', 'builds', 'tests')}
for kind, known in ids.items():
    assert len(known) == len(data[kind]), f'{kind}: an id is there twice'
assert all(b['checkout_id'] in ids['checkouts'] for b in data['builds']), 'a build of no checkout'
assert all(t['build_id'] in ids['builds'] for t in data['tests']), 'a test of no build'
def nulls(o):
    if isinstance(o, dict):
        return any(map(nulls, o.values()))
    if isinstance(o, list):
        return any(map(nulls, o))
    return o is None
assert not nulls(data), 'something is null'
";

/// What kcidb-io says of a submission.
fn check(told: &Value) -> Result<(), String> {
    let venv = std::env::var_os("KILN_TEST_KCIDB")
        .expect("KILN_TEST_KCIDB names a Python environment that has kcidb-io");
    let mut python = Command::new(PathBuf::from(venv).join("bin/python"))
        .args(["-c", CHECK])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(told.to_string().as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[track_caller]
fn passes(told: &Value) {
    check(told).unwrap_or_else(|error| panic!("{error}\n{told:#}"));
}

/// The text that the unit tests hold the report to: every state, every result, names of all kinds.
fn every_outcome() -> Value {
    let snapshot = "src/report/snapshots/kiln__report__kcidb__tests__every_outcome_is_told_in_its_words.snap";
    let text = std::fs::read_to_string(repository(snapshot)).unwrap();
    let (_, told) = text.trim_start_matches("---").split_once("---\n").unwrap();
    serde_json::from_str(told).unwrap()
}

#[test]
#[ignore = "needs kcidb-io: scripts/check-reports.sh"]
fn every_outcome_is_taken() {
    passes(&every_outcome());
}

/// The check can fail.
#[test]
#[ignore = "needs kcidb-io: scripts/check-reports.sh"]
fn what_is_wrong_is_not_taken() {
    for (pointer, wrong) in [
        ("/version/minor", json!(2)),
        ("/builds/0/id", json!("no origin")),
        ("/builds/0/status", json!("OK")),
        ("/tests/0/path", json!("ltp/x")),
        ("/tests/0/start_time", json!("yesterday")),
        ("/tests/0/build_id", json!("gentoo:none")),
        ("/tests/1/comment", json!(null)),
    ] {
        let mut told = every_outcome();
        *told.pointer_mut(pointer).unwrap_or_else(|| panic!("there is no {pointer}")) = wrong;
        check(&told).expect_err(pointer);
    }
}

#[test]
#[ignore = "needs kcidb-io: scripts/check-reports.sh"]
fn what_a_project_tells_is_taken() {
    let project = Project::new();
    let told = |code: i32| project.kiln("report --format kcidb --origin gentoo").exits(code).json();
    passes(&told(0));
    project.kiln("build -j2").exits(0);
    let good = told(0);
    assert_eq!(
        (good["builds"][0]["status"].as_str(), good["tests"][0]["status"].as_str()),
        (Some("PASS"), Some("PASS"))
    );
    passes(&good);

    project.write("boot/init", "no marker here\n");
    project.kiln("build -j2").exits(3);
    passes(&told(3));

    project.edit("graph.ron", "HZ=100", "BROKEN=y");
    project.kiln("build -j2").exits(1);
    passes(&told(1));
}
