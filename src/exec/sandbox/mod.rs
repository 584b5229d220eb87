//! The sandbox: where an action's steps run.
//!
//! Steps see the declared files of the host or the root of an image, and the declared mounts. They see nothing else of
//! the host: not its other files, its processes, its network, its name, nor kiln's environment. They have no capability to undo
//! any of this. When the last step ends, or kiln dies, all processes that they started are killed, and all mounts that were made
//! for them are gone.
//!
//! ```text
//! kiln ──control socket──► helper ──socket──► init (PID 1) ──► step, step, ...
//!  │                         │                  │
//!  │ any number of threads   │ one thread       │ builds the root, drops all privilege,
//!  │                         │ outside          │ runs the steps, reaps orphans
//!  │                         │ user namespace,  │
//!  │                         │ PID namespace    │ its death ends the whole PID namespace
//! ```
//!
//! The **helper** is kiln's own binary, executed with [`HELPER_ARGUMENT`]: between `fork` and `exec`, a process with many
//! threads may only make simple system calls, and building a root takes more. The helper receives the specification over the
//! control socket (an argument vector may exceed the limit of `exec`).
//!
//! Nothing outlives kiln. The control socket is the lifeline: when kiln's end is closed, by a request to kill, because kiln
//! exits, or because it is killed with SIGKILL, the helper kills init, and the kernel kills the rest of the namespace. A
//! parent-death signal is no alternative there: it is sent when the *thread* ends that started the child, and kiln starts helpers
//! from worker threads. Between the helper, which has one thread, and init it is used.
//!
//! A sandbox is made in two steps. [`Sandbox::prepare`] returns when the root is built and no step has run: then the mounts in
//! [`Prepared::root`] can be marked for tracing. [`Prepared::start`] runs the steps.
//!
//! | file | contents |
//! | --- | --- |
//! | `spec.rs`, `validate.rs` | what to run, and where; mistakes in that |
//! | `spawn.rs`, `killer.rs` | kiln's side: prepare, start, wait; kill |
//! | `wire.rs` | messages between kiln, helper and init |
//! | `helper.rs` | the helper process: namespaces, lifeline |
//! | `init.rs` | PID 1: runs the steps, reaps orphans, measures usage |
//! | `root.rs` | builds the root, from its parts: |
//! | `system.rs`, `kernel_mounts.rs` | the system's files; `/proc`, `/dev`, `/tmp` |
//! | `images.rs`, `loop_device.rs`, `squashfuse.rs` | trees of images, by loop devices or in user space |
//! | `memory.rs` | trees in memory, whose opens are watched |
//! | `mount_points.rs`, `mounts.rs` | mount points; mounts |
//! | `secret.rs`, `secret_file.rs` | files that are in memory only |
//! | `network.rs` | loopback |
//! | `privileges.rs`, `ids.rs` | users and capabilities; many users without root |
//! | `identity.rs` | the users of steps where root runs kiln |
//! | `limits/` | limits of memory, processes and disk space |
//! | `system_calls.rs` | the system-call filter of steps |
//! | `failure.rs`, `error.rs` | what failed, and what the user can do about it |
//! | `probe.rs` | whether this host can run sandboxes |
//! | `raw.rs` | all `unsafe` code |

mod error;
mod exit;
mod failure;
mod helper;
mod identity;
mod ids;
mod images;
mod init;
mod kernel_mounts;
mod killer;
mod limits;
mod loop_config;
mod loop_device;
mod memory;
mod mount_points;
mod mounts;
mod network;
mod path_serde;
mod privileges;
mod probe;
mod raw;
mod reserved;
mod root;
mod secret;
mod secret_file;
mod spawn;
mod spec;
mod squashfuse;
mod system;
mod system_calls;
mod validate;
mod wire;

pub use error::SandboxError;
pub use exit::{End, Exit, Usage};
pub use helper::helper_main;
pub use identity::FIRST_ID;
pub use killer::Killer;
pub use limits::{Exceeded, Limits, Means, means_of_limits, memory_of_this_machine};
pub(in crate::exec) use mounts::parse as parse_mounts;
pub use privileges::Mode;
pub use probe::{Probe, probe, probe_images};
pub use secret_file::SecretFile;
pub use spawn::{Memory, Output, Prepared, Running, Sandbox};
pub use spec::{
    Access, HostFiles, Images, Link, MemoryTree, Mount, Root, RunAs, SandboxSpec, Shown, Step, Writable,
};
pub use system_calls::SystemCalls;

/// The first argument that makes the binary a sandbox helper: see [`helper_main`].
pub const HELPER_ARGUMENT: &str = "__sandbox";
