//! Which nodes a change of a source affects, down to the boards. Computed from records, before the change is applied: neither
//! the tree nor its new state is read.
//!
//! A node is touched if the change reaches an entry of its last path set. What is in doubt counts as touched; where a change
//! leaves something open, the recorded listings of the tree decide.

mod change_index;
mod effect;
mod effects;
mod reached;
mod recorded_trees;
#[cfg(test)]
mod tests;

pub use effect::{Affected, Cause, Effect, PathChange, TouchReason, UnknownReason};
pub use effects::affected;
