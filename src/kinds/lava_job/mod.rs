//! Kind `Lava`: boot jobs at LAVA labs.
//!
//! | file | content |
//! | --- | --- |
//! | `labs.rs` | the labs of a run: clients, availability, slots |
//! | `definition.rs` | the job's definition and the files that it names |
//! | `job.rs` | submits or resumes a job and waits for it |
//! | `collect.rs` | fetches and judges its results |

mod collect;
mod definition;
mod job;
mod labs;
mod no_result;

use std::collections::HashSet;
use std::path::Path;

use crate::exec::{Job, JobOutcome, Submit};
use crate::graph::Action;
use crate::plan::{Inputs, PlanError, Projected};
use crate::spec::model::{Board, Spec, Test};
use crate::store::Artifact;

pub use definition::{Draft, draft};
pub use labs::{Labs, OnInterrupt};

use job::LavaJob;
use no_result::NoResult;

/// The input with all device trees of a kernel.
const DTBS: &str = "dtbs";

/// The placeholder with the board's device tree.
const DTB: &str = "board.dtb";

/// The key projection of a job: of all device trees only the board's own counts, by content.
pub(super) fn projection(action: &Action, inputs: &dyn Inputs) -> Result<Projected, PlanError> {
    if !action.inputs.iter().any(|(name, _)| &**name == DTBS) {
        return Ok(Projected::default());
    }
    let path = action.bindings.text_of(DTB);
    let mut fields = Vec::new();
    if !path.is_empty() {
        // A missing device tree is a value of its own: there is nothing to boot.
        let value = match inputs.file_in(DTBS, Path::new(&path))? {
            Some(Artifact::File { digest, .. }) => digest.to_string(),
            Some(Artifact::Tree { .. } | Artifact::Absent) | None => "absent".to_owned(),
        };
        fields.push(("dtb".to_owned(), value));
    }
    Ok(Projected { fields, inputs: HashSet::from([DTBS.to_owned()]) })
}

/// Boots at LAVA labs.
pub(super) struct Lava<'a> {
    pub spec: &'a Spec,
    /// `None` for commands that run no jobs.
    pub labs: Option<&'a Labs<'a>>,
}

impl Submit for Lava<'_> {
    fn submit(&self, job: &Job<'_>) -> JobOutcome {
        match (self.labs, Booted::of(self.spec, job.action)) {
            (Some(labs), Some(booted)) => {
                LavaJob { spec: self.spec, labs, job, booted }.run().unwrap_or_else(NoResult::into)
            }
            _ => unreachable!("a lab job runs only where labs are, and is of a board and a test of the spec"),
        }
    }
}

/// The board and the test of a job.
#[derive(Clone, Copy)]
struct Booted<'a> {
    board: &'a Board,
    test: &'a Test,
}

impl<'a> Booted<'a> {
    fn of(spec: &'a Spec, action: &Action) -> Option<Self> {
        let board = spec.project.boards.get(&action.bindings.text_of("board"))?;
        let test = spec.project.tests.get(&action.bindings.text_of("test"))?;
        Some(Self { board, test })
    }
}
