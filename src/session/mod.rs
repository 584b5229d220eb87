//! A session: one project with its cache and its remotes, from plan to execution and back.
//!
//! | operation | file |
//! | --- | --- |
//! | open a project, its secrets, remotes and labs | `project.rs`, `secrets.rs`, `remotes.rs`, `labs.rs` |
//! | plan targets, without running anything | `view.rs` |
//! | plan, claim, execute, plan again: build and restore | `run.rs` |
//! | push results, while they are made or afterwards | `push.rs` |
//! | run again and compare | `verify.rs` |
//! | keep the cache within its limits; remove it, or outputs | `collect.rs`, `clean.rs` |
//! | check the host | `doctor/` |
//! | lock roots | `update.rs` |
//! | read what changes in a source | `change.rs` |
//!
//! Nothing here prints, reads the environment or ends the process: the command line does.

mod change;
mod claims;
mod clean;
mod collect;
mod doctor;
mod error;
mod labs;
mod project;
mod push;
mod push_report;
mod recorded_result;
mod remotes;
mod run;
mod secrets;
mod source_roots;
mod targets;
mod update;
mod verify;
mod view;

pub use change::{ChangeFrom, changed_source};
pub use clean::{clean_cache, clean_outputs};
pub use collect::{collect, collect_after_build, limits, needed_of_cache};
pub use doctor::{Finding, State, check_host, undefined_symbols};
pub use error::SessionError;
pub use labs::{labs, sweep_published};
pub use project::Project;
pub use push::{BackgroundPush, Pusher};
pub use push_report::{HELD_BACK, PushReport};
pub use recorded_result::{ExportReport, add_results};
pub use remotes::public_keys;
pub use run::{BuildReport, BuildSession, Observer};
pub use secrets::Secrets;
pub use source_roots::source_roots;
pub use targets::{Forced, select, select_one};
pub use update::{Pinned, Updated, update};
pub use verify::{VerifyReport, VerifyRequest};
pub use view::{View, prepare};
