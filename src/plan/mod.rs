//! The plan: for every node a verdict with its reasons. `kiln plan` prints it, `kiln build` executes it, and both take every
//! decision in [`decide()`], so that a dry run can't disagree with the run.
//!
//! | question | file |
//! | --- | --- |
//! | what is to happen to a node | `decide.rs`, `choose.rs` |
//! | what its key is made of | `key_inputs.rs`, `manifest/`, `docs/keys.md` |
//! | whether a cache has its result | `cache_lookup.rs`, `strong_key.rs` |
//! | why it runs | `compare.rs`, `reason.rs` |
//! | what outside the graph it depends on | `context/` |
//! | which nodes a patch affects | `affected/` |

mod affected;
mod cache_lookup;
mod choose;
mod commits;
mod compare;
mod context;
mod decide;
mod decisions;
mod detached;
mod error;
mod estimate;
mod expiry;
mod key_inputs;
mod last_run;
pub mod manifest;
mod placement;
mod planner;
mod progress;
mod projection;
mod reach;
mod reason;
mod records;
mod rule_parts;
mod source_tree;
mod strong_key;
mod verdict;

pub use affected::{Affected, Cause, Effect, PathChange, TouchReason, UnknownReason, affected};
pub use cache_lookup::{is_reusable, look_up};
pub use choose::CacheLookup;
pub use commits::{Commit, Commits, commits};
pub use context::{
    Artifacts, BuildContext, HostInputs, HostPart, InputName, ProjectFiles, ProjectPath, SourceTrees, Tracing,
};
pub use decide::{decide, expansion_values, key_inputs};
pub use decisions::Plan;
pub use detached::{Decided, DetachedDecision};
pub use error::PlanError;
pub use estimate::{Estimate, estimate};
pub use last_run::LastRun;
pub use planner::{has_all_blobs, plan};
pub use progress::{Progress, State};
pub use projection::{Inputs, Projected, Projection};
pub use reason::Reason;
pub use records::Records;
pub use source_tree::{SourceTree, Unpacked, UnpackedFrom};
pub use strong_key::strong_key;
pub use verdict::{ActionResult, Decision, KeyInputs, Keys, Outputs, StrongKey, Verdict};
