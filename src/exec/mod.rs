//! Execution: carries out a plan.
//!
//! The scheduler ([`execute`]) is one thread: it decides, hands out cores, records, and tells its sinks. Every
//! running action has a thread of its own ([`act`]), in which its sandbox is waited for.
//!
//! | file | what |
//! | --- | --- |
//! | `schedule.rs`, `ask.rs` | the scheduler; remotes are asked beside it |
//! | `tokens.rs` | cores, memory, pools; the jobserver |
//! | `act.rs` | one run of one action, from staging to placing |
//! | `stage.rs`, `canonical.rs` | its inputs, and the sandbox it runs in |
//! | `bounds.rs` | how much it may use |
//! | `make.rs` | a run in which kiln makes the outputs itself |
//! | `submit.rs` | a run that machines elsewhere carry out |
//! | `discover.rs`, `asked.rs`, `trace/` | what it read, and asked for |
//! | `unchanged.rs` | whether that stayed the same while it ran |
//! | `collect.rs` | its outputs |
//! | `told.rs` | what is told of it, beside them |
//! | `secrets.rs` | private keys that steps see, and that none gets out |
//! | `pace.rs` | whether a sandbox had the CPU when it wanted it |
//! | `kept/`, `times.rs` | the output directory of its last run, and what of a change lets a run continue there |
//! | `place.rs` | `out/` |
//! | `verify.rs` | runs that are held against what is recorded |
//! | `unpack/` | source trees from commits and tarballs |
//! | `trace/` | what its sandbox opened |
//! | `cancel.rs` | Ctrl-C |
//! | `event.rs`, `fetching.rs` | what is told to sinks; how much comes from remotes |

mod act;
mod ask;
mod asked;
mod bounds;
mod cancel;
mod canonical;
mod collect;
mod discover;
pub mod event;
mod fetching;
mod host;
mod kept;
mod make;
mod memory;
mod pace;
mod place;
mod rooted;
pub mod sandbox;
mod schedule;
mod secrets;
mod stage;
mod submit;
mod times;
mod tokens;
mod told;
pub mod trace;
mod tree_copy;
mod unchanged;
mod undeclared;
mod unpack;
mod verify;
mod watch;

pub use act::{Check, Compute, Kinds, Ran, Runner, Watched, Watcher};
pub use cancel::Cancel;
pub use discover::{Recorded, Records, Use, Uses};
pub use kept::kept_refers_to;
pub use make::{Made, Make, Making, StepsEnd};
pub use pace::Pace;
pub use schedule::{Ended, ExecError, Goal, Options, execute};
pub use stage::inside;
pub use submit::{Job, JobInput, Submit, Submitted};
pub use told::Messages;
pub use verify::{Compared, Unverifiable, Verified, comparable, verify};
