//! The last run of a node, as far as explanations need it.

use std::sync::Arc;

use super::manifest::{Field, FieldKind, FieldValue};
use super::reach::{Reach, Touch};
use crate::source::{Change, Provenance};
use crate::store::{EntryTable, Outcome, StoredPathSet};

/// The last run of a node.
pub struct LastRun {
    /// Its outcome.
    pub outcome: Outcome,
    /// Its manifest.
    pub fields: Vec<Field>,
    /// Whether its path set is known, but with a lower provenance than a run here would give.
    pub has_low_provenance: bool,
    /// Its path set, if that is stored and its provenance is sufficient.
    path_set: Option<(Arc<StoredPathSet>, Reach)>,
}

impl LastRun {
    /// A run with this manifest. A path set counts from the provenance `least` on.
    pub(super) fn new(
        outcome: Outcome,
        fields: Vec<Field>,
        path_set: Option<(Arc<StoredPathSet>, Arc<EntryTable>)>,
        least: Provenance,
    ) -> Self {
        let has_low_provenance = path_set.as_ref().is_some_and(|(set, _)| set.provenance < least);
        let path_set = path_set.filter(|_| !has_low_provenance).map(|(set, table)| (set, Reach::new(table)));
        Self { outcome, fields, has_low_provenance, path_set }
    }

    /// The commit of a git source at that run, if recorded.
    pub fn commit(&self, source: &str) -> Option<&str> {
        self.fields.iter().find_map(|field| match (&field.kind, &field.value) {
            (FieldKind::Commit { source: of }, FieldValue::Text(commit)) if of == source => {
                Some(commit.as_str())
            }
            _ => None,
        })
    }

    /// Whether a change of one of these inputs can have affected the run. Without a path set, every change can.
    pub fn is_reached(&self, inputs: &[&str], change: &Change) -> bool {
        let path_set = self.path_set.as_ref();
        path_set.is_none_or(|(set, reach)| reach.reaches(set, inputs, Touch::of(change)))
    }
}
