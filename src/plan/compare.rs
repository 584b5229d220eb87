//! Comparison of a node's last run with its present inputs.

use std::collections::{BTreeMap, BTreeSet};

use super::last_run::LastRun;
use super::manifest::{Field, FieldKind, FieldValue, Manifest};
use super::reason::Reason;
use crate::digest::Digest;
use crate::source::{Change, Listings, diff};

/// The number of changed files of one tree that reasons name; the rest are counted.
const FILES_NAMED: usize = 10;

/// The differences between the last run and the present manifest. Of trees, only the changes that reach what the run read.
pub fn compare(last: &LastRun, now: &Manifest, listings: &dyn Listings) -> Vec<Reason> {
    let index = |fields: &[Field]| -> BTreeMap<FieldKind, Vec<FieldValue>> {
        let mut map: BTreeMap<FieldKind, Vec<FieldValue>> = BTreeMap::new();
        for field in fields {
            map.entry(field.kind.clone()).or_default().push(field.value.clone());
        }
        map
    };
    let (old, new) = (index(&last.fields), index(&now.all_fields()));
    let mut reasons = Vec::new();
    let all_kinds: BTreeSet<&FieldKind> = old.keys().chain(new.keys()).collect();
    for kind in all_kinds {
        let (was, is) = (old.get(kind), new.get(kind));
        // Another commit may have the same files.
        if was == is || matches!(kind, FieldKind::Commit { .. }) {
            continue;
        }
        let one = |values: Option<&Vec<FieldValue>>| values.and_then(|values| values.first()).cloned();
        match (kind, one(was), one(is)) {
            (
                FieldKind::Source { input, source },
                Some(FieldValue::Digest(was)),
                Some(FieldValue::Digest(is)),
            ) => {
                let reached = |change: &Change| last.is_reached(&[input], change);
                tree_changes(source, was, is, listings, &reached, &mut reasons);
            }
            (
                FieldKind::Output { input, node, output },
                Some(FieldValue::Digest(was)),
                Some(FieldValue::Digest(is)),
            ) if now.tree(input).is_some() => {
                let reached = |change: &Change| last.is_reached(&[input], change);
                tree_changes(&format!("{output} of {node}"), was, is, listings, &reached, &mut reasons);
            }
            (_, old, new) => reasons.push(Reason::Changed { field: kind.clone(), old, new }),
        }
    }
    drop_redundant_tools(&mut reasons);
    reasons
}

/// A tool need not be named if its changed files are.
fn drop_redundant_tools(reasons: &mut Vec<Reason>) {
    let host =
        reasons.iter().any(|reason| matches!(reason, Reason::Changed { field: FieldKind::Host(_), .. }));
    if host {
        reasons.retain(|reason| !matches!(reason, Reason::Changed { field: FieldKind::Tool(_), .. }));
    }
}

/// Adds reasons for the differences between two trees.
pub(super) fn tree_changes(
    source: &str,
    old: Digest,
    new: Digest,
    listings: &dyn Listings,
    reached: &dyn Fn(&Change) -> bool,
    reasons: &mut Vec<Reason>,
) {
    match diff(&old, &new, listings) {
        Ok(mut changes) => {
            changes.retain(reached);
            let count = changes.len();
            reasons.extend(changes.into_iter().take(FILES_NAMED).map(|Change { path, kind }| Reason::File {
                source: source.to_owned(),
                path,
                change: kind,
            }));
            if count > FILES_NAMED {
                reasons.push(Reason::MoreFiles { source: source.to_owned(), count: count - FILES_NAMED });
            }
        }
        Err(_) => reasons.push(Reason::Tree { source: source.to_owned(), old, new }),
    }
}
