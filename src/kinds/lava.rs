//! Kind `Lava`: one job at a LAVA lab.

use std::collections::HashSet;
use std::path::Path;

use crate::exec::Compute;
use crate::graph::Action;
use crate::plan::{Inputs, PlanError, Projected};
use crate::store::Artifact;

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

/// Jobs at labs.
pub(super) struct Lava;

impl Compute for Lava {
    fn compute(
        &self,
        _action: &Action,
        _read: &dyn Fn(&str) -> Result<Vec<u8>, String>,
    ) -> Result<Vec<(String, Vec<u8>)>, String> {
        Err("this kiln sends no jobs to LAVA labs".to_owned())
    }
}
