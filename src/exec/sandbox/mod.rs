//! The sandbox: where an action's steps run.
//!
//! Steps see the declared files of the host or the root of an image, and the declared mounts, nothing else of the
//! host: not its other files, its processes, its network, its name, nor kiln's environment. They hold no capability with which
//! any of this could be undone, and when the last step ends, or kiln dies, everything they started dies with them, and
//! every mount made for them goes.
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
//! The **helper** is kiln's own binary, executed anew with [`HELPER_ARGUMENT`]: a process with many threads must not
//! do more between `fork` and `exec` than a handful of system calls, and building a root is far more than that. What
//! the helper shall do arrives over the control socket (an argument vector may exceed what one `exec` can carry).
//!
//! Nothing outlives kiln. The control socket is the lifeline: when kiln's end closes, be it because someone asked to
//! kill, because kiln exited, or because it was itself killed with SIGKILL, the helper kills init, and the kernel
//! kills the rest of the namespace. A parent-death signal would not do there, for it fires when the *thread* that
//! spawned ends, and kiln spawns from workers. From the helper, which has one thread, to init it is exactly right.
//!
//! A sandbox is brought up in two strides. [`Sandbox::prepare`] returns when the root stands and no step has run:
//! the moment to put marks on the mounts in [`Prepared::root`]. [`Prepared::start`] then lets the steps go.
//!
//! | file | what |
//! | --- | --- |
//! | `spec.rs` | what to run, and where |
//! | `spawn.rs` | kiln's side: prepare, start, wait, kill |
//! | `wire.rs` | what kiln, helper and init say to each other |
//! | `helper.rs` | the process outside: namespaces, lifeline |
//! | `init.rs` | PID 1: the steps, their orphans, their usage |
//! | `root.rs` | the root as steps see it, from its parts: |
//! | `system.rs`, `devices.rs` | the system's files; `/proc`, `/dev`, `/tmp` |
//! | `images.rs`, `device.rs`, `squashfuse.rs` | trees of images, by loop devices or in user space |
//! | `memory.rs` | trees in memory, whose opens are watched |
//! | `points.rs`, `mounts.rs` | mount points; mounts |
//! | `secret.rs` | files that are in memory alone |
//! | `network.rs` | loopback |
//! | `privileges.rs`, `ids.rs` | who we are and what we may; other users without root |
//! | `identity.rs` | who steps are where root runs kiln |
//! | `limits/` | memory, processes and bytes on disk, by control groups where there are any |
//! | `system_calls.rs` | the system-call filter of steps |
//! | `error.rs`, `probe.rs` | what went wrong and what mends it; can this host do it at all |
//! | `raw.rs` | every `unsafe` there is |

mod device;
mod devices;
mod error;
mod exit;
mod helper;
mod identity;
mod ids;
mod images;
mod init;
mod limits;
mod memory;
mod mounts;
mod network;
mod points;
mod privileges;
mod probe;
mod raw;
mod root;
mod secret;
mod spawn;
mod spec;
mod squashfuse;
mod system;
mod system_calls;
mod wire;

pub use error::SandboxError;
pub use exit::{End, Exit, Usage};
pub use helper::helper_main;
pub use identity::FIRST_ID;
pub use limits::{Exceeded, Limits, Means, means_of_limits, memory_of_this_machine};
pub(in crate::exec) use mounts::parse as parse_mounts;
pub use privileges::Mode;
pub use probe::{Probe, probe, probe_images};
pub use secret::SecretFile;
pub use spawn::{Killer, Memory, Output, Prepared, Running, Sandbox};
pub use spec::{
    Access, HostFiles, Images, Link, MemoryTree, Mount, Root, RunAs, SandboxSpec, Shown, Step, Writable,
};
pub use system_calls::SystemCalls;

/// The first argument that turns the binary into a sandbox helper: see [`helper_main`].
pub const HELPER_ARGUMENT: &str = "__sandbox";
