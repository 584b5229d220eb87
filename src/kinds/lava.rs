//! Kind `Lava`: boot jobs at LAVA labs.
//!
//! | file | what |
//! | --- | --- |
//! | `labs.rs` | which lab takes a job |
//! | `define.rs` | the job's definition, and the files it names |
//! | `carry.rs` | from the first look at the journal to the last at the lab |
//! | `gather.rs` | what came of it |

mod carry;
mod define;
mod gather;
mod labs;

use std::collections::HashSet;
use std::path::Path;

use crate::exec::{Job, Submit, Submitted};
use crate::graph::Action;
use crate::plan::{Inputs, PlanError, Projected};
use crate::spec::model::{Board, Spec, Test};
use crate::store::Artifact;

pub use define::{Draft, draft};
pub use labs::{Labs, OnInterrupt};

/// The input with all device trees of a kernel, of which a board boots one.
const DTBS: &str = "dtbs";

/// The placeholder that says which.
const DTB: &str = "board.dtb";

/// What a job depends on inside its inputs: of the device trees the board's own, by its content. The others may come and go.
pub(super) fn projection(action: &Action, inputs: &dyn Inputs) -> Result<Projected, PlanError> {
    if !action.inputs.iter().any(|(name, _)| &**name == DTBS) {
        return Ok(Projected::default());
    }
    let path = action.bindings.text_of(DTB);
    let mut fields = Vec::new();
    if !path.is_empty() {
        // Where the kernel made no such file there is nothing to boot, which is an answer too.
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
    /// `None` for commands that run nothing.
    pub labs: Option<&'a Labs<'a>>,
}

impl Submit for Lava<'_> {
    fn submit(&self, job: &Job<'_>) -> Submitted {
        match (self.labs, Booted::of(self.spec, job.action)) {
            (Some(labs), Some(booted)) => {
                carry::Carry { spec: self.spec, labs, job, booted }.out().unwrap_or_else(carry::End::into)
            }
            _ => unreachable!("a lab job runs only where labs are, and is of a board and a test of the spec"),
        }
    }
}

/// What a job boots.
#[derive(Clone, Copy)]
struct Booted<'a> {
    board: &'a Board,
    test: &'a Test,
}

impl<'a> Booted<'a> {
    fn of(spec: &'a Spec, action: &Action) -> Option<Self> {
        let board = spec.project.boards.get(&action.bindings.text_of("board"))?;
        let test = spec.project.tests.get(&action.bindings.text_of("test"))?;
        Some(Self { board: &board.value, test: &test.value })
    }
}
