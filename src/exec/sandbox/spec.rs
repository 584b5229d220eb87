//! What to run, and where.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::wire::{os_path, os_paths};
use super::{SandboxError, root};

/// As many descriptors as one message over a Unix socket can carry (`SCM_MAX_FD`).
const MAX_INHERIT: usize = 253;

/// A sandbox, and what runs in it.
///
/// Besides [`mounts`](Self::mounts), steps find the host's system directories (`/usr`, `/etc`, `/opt`, and what the
/// linker and the shell need in `/`), read-only; a `/dev` of the harmless devices; a `/proc` that shows them alone,
/// read-only; and an empty, private `/tmp` and `/dev/shm`. They are user and group 0, on a host named `kiln`, with
/// umask 022, no core dumps, no terminal, and standard input at its end.
///
/// User 0 here holds no capability. It owns what the user who started kiln owns, and has no power over files of
/// others: with kiln run by root, files that others alone may read cannot be read.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// What of the host to show, mounted in this order: a mount below another comes after it.
    pub mounts: Vec<Mount>,
    /// Paths, as seen inside, to cover with something empty and read-only, such as a source's `.git`. What does not
    /// exist needs no cover.
    #[serde(with = "os_paths")]
    pub mask: Vec<PathBuf>,
    /// What to run, one after the other, up to the first that fails.
    pub steps: Vec<Step>,
    /// The environment of every step: this and nothing else.
    pub env: Vec<(OsString, OsString)>,
    /// Whether steps may use the host's network. Without it, there is a loopback device and nothing more.
    pub network: bool,
    /// The most that `/tmp` may hold, in bytes; `None` leaves it at the kernel's default, half of the memory.
    pub tmp_size: Option<u64>,
    /// Descriptors that steps shall find under the same numbers, such as a jobserver's pipe. All above 2, which are
    /// the standard streams.
    pub inherit: Vec<RawFd>,
}

/// A directory or file of the host, shown in the sandbox with all that is mounted below it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mount {
    /// Where it is on the host.
    #[serde(with = "os_path")]
    pub from: PathBuf,
    /// Where steps see it: absolute. Created if need be, so it should not lie in a read-only mount unless it exists
    /// there; in a writable mount the host gets to see the new directory too.
    #[serde(with = "os_path")]
    pub to: PathBuf,
    /// What steps may do with it.
    pub access: Access,
}

/// What may be done with a [`Mount`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// Writes fail with `EROFS`.
    ReadOnly,
    /// Writes reach the host.
    ReadWrite,
}

/// One command.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    /// The program, looked up in the `PATH` of [`SandboxSpec::env`] if it has no slash, and its arguments.
    pub argv: Vec<OsString>,
    /// The directory to run in, as seen inside: absolute.
    #[serde(with = "os_path")]
    pub cwd: PathBuf,
}

impl SandboxSpec {
    /// Finds what could not work on any host, before a process is spent on it.
    pub(super) fn validate(&self) -> Result<(), SandboxError> {
        for mount in &self.mounts {
            inside("mount", &mount.to)?;
            require(mount.from.is_absolute(), || {
                format!("mount source {} is not absolute", mount.from.display())
            })?;
            require(no_nul(mount.from.as_os_str()), || "a mount source contains a NUL byte".to_owned())?;
        }
        for path in &self.mask {
            inside("mask", path)?;
        }
        for (index, step) in self.steps.iter().enumerate() {
            require(!step.argv.is_empty(), || format!("step {index} has no program"))?;
            require(step.argv.iter().all(|word| no_nul(word)), || {
                format!("an argument of step {index} contains a NUL byte")
            })?;
            require(step.cwd.is_absolute() && no_nul(step.cwd.as_os_str()), || {
                format!("the directory of step {index}, {}, is not absolute", step.cwd.display())
            })?;
        }
        for (name, value) in &self.env {
            let bytes = name.as_bytes();
            require(!bytes.is_empty() && !bytes.contains(&b'=') && no_nul(name) && no_nul(value), || {
                format!("environment variable {} cannot be expressed", name.display())
            })?;
        }
        require(self.inherit.len() <= MAX_INHERIT, || {
            format!("more than {MAX_INHERIT} descriptors to inherit")
        })?;
        require(self.inherit.iter().all(|&fd| fd > 2), || {
            "descriptors to inherit must be above 2, which are the standard streams".to_owned()
        })?;
        let distinct: BTreeSet<_> = self.inherit.iter().collect();
        require(distinct.len() == self.inherit.len(), || "a descriptor to inherit is named twice".to_owned())
    }
}

fn inside(what: &str, path: &Path) -> Result<(), SandboxError> {
    let names = path.components().skip(1).all(|part| matches!(part, Component::Normal(_)));
    let below_root = path.is_absolute() && path.components().count() > 1;
    require(names && below_root && no_nul(path.as_os_str()), || {
        format!("{what} {} is not an absolute path below / without `..`", path.display())
    })?;
    require(!root::RESERVED.iter().any(|reserved| path.starts_with(reserved)), || {
        format!("{what} {} is at a place that the sandbox needs for itself", path.display())
    })
}

fn no_nul(text: &OsStr) -> bool {
    !text.as_bytes().contains(&0)
}

fn require(condition: bool, problem: impl FnOnce() -> String) -> Result<(), SandboxError> {
    if condition { Ok(()) } else { Err(SandboxError::Spec { problem: problem() }) }
}
