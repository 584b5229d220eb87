//! Execution: carries out a plan.
//!
//! The scheduler ([`execute`]) is one thread: it decides, reserves cores, records, and emits events. Each running action
//! has its own thread, which waits for the action's sandbox.
//!
//! | file | contents |
//! | --- | --- |
//! | `scheduler/`, `run_loop.rs` | the scheduler; the loop that builds and verifications share |
//! | `resources.rs` | cores, memory, pools; the jobserver |
//! | `kind.rs` | the traits of rule kinds, one for each way to run |
//! | `attempt.rs`, `context.rs`, `run_result.rs` | one run of one action; what it is given; its result |
//! | `steps.rs`, `compute.rs`, `builtin.rs`, `job.rs` | the ways to run: in a sandbox, in memory, by kiln, on another machine |
//! | `judge.rs`, `publish.rs` | the outcome of a run; its outputs in `out/` and for the next run |
//! | `staging.rs`, `canonical.rs` | the inputs of a run and its sandbox specification |
//! | `toolchain_root.rs` | the root of a toolchain in a sandbox |
//! | `limits.rs` | memory, process and disk limits of a run |
//! | `discover.rs`, `has_include.rs`, `trace/` | which inputs a run read |
//! | `input_check.rs` | whether inputs stayed the same during the run |
//! | `collect.rs` | outputs |
//! | `run_report.rs` | log, messages and metadata of a run |
//! | `secrets.rs` | private keys in runs, and the check that none leaks |
//! | `starvation.rs` | whether a sandbox was kept from the CPU |
//! | `incremental/`, `file_times.rs` | the output directory of the last run, and which changes allow continuing in it |
//! | `export.rs` | `out/` |
//! | `verify.rs` | clean runs that are compared with recorded results |
//! | `unpack/` | source trees from commits and tarballs |
//! | `sandbox/` | namespaces, mounts, limits |
//! | `cancel.rs` | Ctrl-C |
//! | `event.rs`, `transfer_progress.rs` | events for reports; progress of transfers |

mod attempt;
mod builtin;
mod cancel;
mod canonical;
mod collect;
mod compute;
mod context;
mod discover;
mod error;
pub mod event;
mod export;
mod file_times;
mod free_memory;
mod has_include;
mod host_files;
mod incremental;
mod input_check;
mod job;
mod judge;
mod kind;
mod limits;
mod log_tail;
mod messages;
mod output_files;
mod publish;
mod resources;
mod run_loop;
mod run_report;
mod run_result;
pub mod sandbox;
mod sandbox_paths;
mod scheduler;
mod secrets;
mod staging;
mod staging_error;
mod starvation;
mod steps;
mod toolchain_root;
pub mod trace;
mod traced_sandbox;
mod transfer_progress;
mod tree_copy;
mod undeclared;
mod unpack;
mod verify;
mod work_dir;
mod worker;

pub use builtin::{BuiltinAction, BuiltinResult, BuiltinRun, StepsEnd};
pub use cancel::Cancel;
pub use discover::{BuildRecords, FileUse, FileUses, RecordedReads};
pub use error::ExecError;
pub use incremental::incremental_state_refs;
pub use job::{Job, JobInputError, JobOutcome, Submit};
pub use kind::{Check, CheckedRun, Compute, Kinds, Runner, WatchResult, Watcher};
pub use messages::{LogReader, Messages};
pub use sandbox_paths::sandbox_path;
pub use scheduler::{ExecutionResult, Goal, Options, execute};
pub use starvation::StarvationMonitor;
pub use verify::{OutputComparison, Unverifiable, Verification, result_to_compare, verify};
