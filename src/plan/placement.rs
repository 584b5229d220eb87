//! Outputs below `out/`: whether they are still as kiln placed them.

use std::path::Path;

use super::context::BuildContext;
use super::reason::Reason;
use crate::graph::Action;
use crate::store::{Artifact, NodeRecord};

/// The outputs that are missing or changed below `out/`. One `lstat` per file; content is not read.
pub(super) fn misplaced(context: &BuildContext<'_>, action: &Action, record: &NodeRecord) -> Vec<Reason> {
    let now = |path: &Path| std::fs::symlink_metadata(context.out.join(path));
    let changed = record
        .placed
        .iter()
        .filter(|placed| !now(Path::new(&placed.path)).is_ok_and(|now| placed.is_untouched(&now)))
        .map(|placed| placed.path.clone().into());
    // The destination of outputs is no part of a key, so the rule may have placed them elsewhere, or nowhere, before.
    let unplaced = record.outputs.iter().filter_map(|(output, artifact)| {
        let place = action.export_path(output)?;
        let is_placed = match artifact {
            Artifact::File { .. } => record.placed.iter().any(|placed| Path::new(&placed.path) == place),
            Artifact::Tree { .. } => {
                record.placed.iter().any(|placed| Path::new(&placed.path).starts_with(&place))
                    || now(&place).is_ok_and(|now| now.is_dir())
            }
            Artifact::Absent => true,
        };
        (!is_placed).then_some(place)
    });
    changed.chain(unplaced).map(|path| Reason::Misplaced { path }).collect()
}
