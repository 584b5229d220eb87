//! Source trees as content: what a directory tree holds, by digest, kept up to date by one stat of each file.
//!
//! ```text
//! root --walk + stat cache--> Snapshot --listings--> store --diff--> what changed between two trees
//! ```
//!
//! * [`Snapshot`] is the state of a whole tree. Every directory has a [`Listing`], whose digest covers everything
//!   below it, so two equal directories anywhere are equal by one comparison.
//! * [`FileDigests`] is the same for single files anywhere on the host.
//! * [`patch`] says which paths a change touches, without the tree.
//! * [`disturbance`] says whether what was read of a tree stayed the same between two snapshots.
//! * [`TreeBuilder`] is a tree that is known without being looked at, such as that of a commit.
//! * [`diff()`] says what differs between two trees, and looks only into directories that differ.
//!
//! Stat results are a cache of digests, never the truth; when they may be believed is for [`stat`] and [`file_system`] to
//! say.

mod between;
mod builder;
mod diff;
mod envelope;
mod error;
mod file_digests;
mod file_system;
mod hash;
mod links;
mod listing;
pub mod patch;
mod path_set;
mod raw;
mod snapshot;
mod stat;
mod states;
#[cfg(test)]
mod tests;
mod tree;
mod tree_cache;
mod walk;

pub use between::{Disturbance, DisturbedBy, disturbance};
pub use builder::{Built, NotBelow, TreeBuilder};
pub use diff::{Change, ChangeKind, EntryType, Listings, MissingListing, diff};
pub use envelope::ColdReason;
pub use error::{Problem, ProblemKind, SourceError};
pub use file_digests::{FileDigests, Guard, Question, Remembered};
pub use listing::{BadListing, Entry, Kind, Listing, Special};
pub use path_set::{EntryKind, PathEntry, PathSet, Provenance, Reads};
pub use snapshot::{CacheState, CacheWrite, Snapshot, SnapshotOptions, SnapshotStats};
pub use states::{Contents, Listed, States, split};
pub use walk::MAX_DEPTH;
