//! Checks of the host: what it has and lacks, for kiln and for one project.

mod finding;
mod host;
mod project;
mod roots;
mod tools;

use std::path::Path;
use std::sync::Arc;

pub use finding::{Finding, State};
pub use project::undefined_symbols;

use super::error::SessionError;
use crate::spec::model::Spec;

/// The programs that are checked without a project.
const USUAL_PROGRAMS: [&str; 3] = ["make", "gcc", "git"];

/// Checks the host, for a project if there is one. `dir` is on the disk that builds use, if there is one.
pub fn check_host(spec: Option<&Arc<Spec>>, dir: Option<&Path>) -> Result<Vec<Finding>, SessionError> {
    let mut findings = vec![host::sandbox(), host::limits(), host::tracing()];
    findings.extend(roots::roots(spec.map(|spec| &**spec)));
    findings.extend(dir.and_then(host::disk));
    match spec {
        Some(spec) => findings.extend(project::project(spec)?),
        None => findings.extend(USUAL_PROGRAMS.map(|name| tools::program(name, &[], State::Absent))),
    }
    Ok(findings)
}
