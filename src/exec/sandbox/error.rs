//! What can go wrong, and what the user can do about it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::{fs, io};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a sandbox could not be had, or what in it could not be run.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// The spec asks for something that no host can do.
    #[error("cannot make such a sandbox: {problem}")]
    Spec {
        /// What it is.
        problem: String,
    },
    /// The host, or what is on it, does not allow the sandbox.
    #[error("cannot set up the sandbox: {operation}: {source}")]
    Setup {
        /// What was tried, and on which path.
        operation: String,
        /// How the kernel answered.
        source: io::Error,
        /// What the user can do.
        help: String,
    },
    /// The control group that limits a sandbox can't be made.
    #[error("cannot make the control group of the sandbox: {source}")]
    Group {
        /// What the kernel says.
        source: io::Error,
    },
    /// A step's program does not exist inside, or cannot be executed there. Steps before it have run.
    #[error("cannot execute {} (step {step}): {source}", program.display())]
    Exec {
        /// The step's place in [`SandboxSpec::steps`](super::SandboxSpec::steps).
        step: usize,
        /// The program as the step names it.
        program: OsString,
        /// How the kernel answered.
        source: io::Error,
    },
    /// The helper could not be started or talked to.
    #[error("cannot start the sandbox helper {}: {source}", helper.display())]
    Helper {
        /// The helper's executable.
        helper: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// The helper ended without a report: it was killed from outside (and everything in the sandbox with it), or it
    /// has a bug and its last words are in the output.
    #[error("the sandbox helper is gone without a report ({status})")]
    HelperLost {
        /// How it ended.
        status: ExitStatus,
    },
}

impl SandboxError {
    /// What the user can do, where that is known.
    pub fn help(&self) -> Option<&str> {
        match self {
            Self::Setup { help, .. } => Some(help),
            Self::Exec { source, .. } if source.raw_os_error() == Some(Errno::ENOEXEC as i32) => Some(
                "it is of another machine, or damaged: `kiln doctor` says which machines' programs run here",
            ),
            _ => None,
        }
    }
}

/// A failure in helper or init, on its way to kiln.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Failure {
    Setup {
        stage: Stage,
        operation: String,
        errno: i32,
    },
    /// As `Setup`, with a reason that is not the kernel's.
    Refused {
        stage: Stage,
        operation: String,
        reason: String,
    },
    Exec {
        step: usize,
        program: OsString,
        errno: i32,
    },
}

/// What kind of thing failed: the help depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Stage {
    UserNamespace,
    Namespaces,
    Proc,
    Mount,
    /// Something the spec names is missing or not as it should be.
    Input,
    /// An image leads out of the sandbox.
    Escape,
    /// An image is not what it should be.
    Damaged,
    /// Loop devices.
    Loop,
    /// The kernel's squashfs, and what is read from it.
    Image,
    Overlay,
    FuseDevice,
    Squashfuse,
    /// `newuidmap`, which is not there.
    NoMapper,
    /// What is opened in a tree in memory.
    Watch,
    /// Ids that are granted in `/etc/subuid` and `/etc/subgid`.
    Granted,
    /// The system-call filter.
    Filter,
    /// Showing files to steps that are another user.
    Owner,
    /// The same for images.
    Shift,
    Other,
}

/// Turns a system call's error into a [`Failure`] that says what was tried.
pub(super) trait During<T> {
    fn during(self, stage: Stage, operation: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, stage: Stage, operation: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::Setup { stage, operation: operation(), errno: errno(&error.into()) })
    }
}

/// An error's number. Those without one do not come from the kernel, but from what is built on it: bad data.
pub(super) fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(Errno::EIO as i32)
}

impl From<Failure> for SandboxError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Setup { stage, operation, errno } => Self::Setup {
                operation,
                source: io::Error::from_raw_os_error(errno),
                help: help(stage, Errno::from_raw(errno)),
            },
            Failure::Refused { stage, operation, reason } => Self::Setup {
                operation,
                source: io::Error::other(reason),
                help: help(stage, Errno::UnknownErrno),
            },
            Failure::Exec { step, program, errno } => {
                Self::Exec { step, program, source: io::Error::from_raw_os_error(errno) }
            }
        }
    }
}

const AS_ROOT: &str = "or run kiln as root; in a container, start that with `--privileged`";

fn help(stage: Stage, errno: Errno) -> String {
    match (stage, errno) {
        (Stage::UserNamespace | Stage::Namespaces | Stage::Mount, _) if obstacle().is_some() => {
            format!("{}, {AS_ROOT}", obstacle().unwrap_or_default())
        }
        (Stage::UserNamespace, Errno::EINVAL) => {
            format!("the kernel lacks user namespaces (CONFIG_USER_NS): use one that has them, {AS_ROOT}")
        }
        (Stage::UserNamespace | Stage::Namespaces, Errno::ENOSPC) => {
            "the limit on namespaces is reached: raise the `user.max_*_namespaces` sysctls".to_owned()
        }
        (Stage::UserNamespace, _) => format!("allow user namespaces to ordinary users, {AS_ROOT}"),
        (Stage::Namespaces, Errno::EINVAL) => {
            "the kernel lacks a namespace kind (CONFIG_PID_NS, CONFIG_NET_NS, CONFIG_IPC_NS, CONFIG_UTS_NS): \
             use one that has them all"
                .to_owned()
        }
        (Stage::Proc, _) => {
            "a container hides parts of /proc, so the kernel refuses a fresh one: start the container with \
             `--security-opt systempaths=unconfined` or `--privileged`"
                .to_owned()
        }
        (Stage::Namespaces | Stage::Mount, Errno::EPERM | Errno::EACCES) => {
            "kiln lacks the right to create namespaces and mounts: in a container, start that with `--privileged` \
             (or `--cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined`)"
                .to_owned()
        }
        (
            Stage::Loop
            | Stage::Image
            | Stage::Overlay
            | Stage::FuseDevice
            | Stage::Squashfuse
            | Stage::NoMapper
            | Stage::Granted
            | Stage::Damaged
            | Stage::Escape,
            _,
        ) => help_with_images(stage, errno),
        (Stage::Owner, _) => "let others read it (`chmod -R a+rX`), run kiln as its owner, or put it on a file system \
             with id-mapped mounts (ext4, xfs, btrfs; Linux 5.12)"
            .to_owned(),
        (Stage::Shift, _) => "roots take Linux 6.2 where root runs kiln: use that, or run kiln as an ordinary user, for whom \
             `squashfuse` mounts images"
            .to_owned(),
        (Stage::Filter, _) => "the kernel lacks seccomp filters (CONFIG_SECCOMP_FILTER): use one that has them, or let the \
             rule do without: `sandbox: (system_calls: Unfiltered)`"
            .to_owned(),
        (Stage::Watch, Errno::EPERM) => {
            "an ordinary user can have reads traced from Linux 6.16 on: run kiln as root, or without a trace".to_owned()
        }
        (Stage::Watch, _) => "raise the `user.max_fanotify_*` sysctls".to_owned(),
        (Stage::Input, Errno::ENOENT) => "check that the path exists".to_owned(),
        (Stage::Input, Errno::EACCES) => "check that the user who runs kiln may read the path".to_owned(),
        (Stage::Input, Errno::ELOOP) => "a symlink cannot be masked: mask what it points to".to_owned(),
        (Stage::Mount, Errno::ENOENT | Errno::EROFS | Errno::ENOTDIR) => {
            "a mount point in a read-only mount must exist there already: create it, or mount elsewhere".to_owned()
        }
        _ => "run `kiln doctor` to see what this host lacks".to_owned(),
    }
}

fn help_with_images(stage: Stage, errno: Errno) -> String {
    match (stage, errno) {
        (Stage::Loop, _) => {
            "load loop devices: `modprobe loop`; in a container, start that with `--privileged`".to_owned()
        }
        (Stage::Image, Errno::ENODEV) => {
            "the kernel lacks squashfs (CONFIG_SQUASHFS): `modprobe squashfs`, or use a kernel that has it".to_owned()
        }
        (Stage::Image | Stage::Damaged, _) => {
            "the image is damaged (`kiln cache verify` puts such aside), or what reads it lacks its compression: zstd \
             (CONFIG_SQUASHFS_ZSTD), or xz for a tree of ebuilds (CONFIG_SQUASHFS_XZ)"
                .to_owned()
        }
        (Stage::Overlay, Errno::ENODEV) => {
            "the kernel lacks overlayfs (CONFIG_OVERLAY_FS): `modprobe overlay`, or use a kernel that has it".to_owned()
        }
        (Stage::Overlay, Errno::ENOSPC) => "make room on the disk of the cache".to_owned(),
        (Stage::Overlay, _) => {
            "an overlay writes to ext4, xfs, btrfs and the like, not to another overlay or to NFS: put the cache on such \
             a file system; and it takes Linux 5.11"
                .to_owned()
        }
        (Stage::FuseDevice, Errno::ENOENT) => {
            format!("load FUSE: `modprobe fuse`; in a container, show it /dev/fuse; {AS_ROOT}")
        }
        (Stage::FuseDevice, _) => format!("let the user open /dev/fuse, {AS_ROOT}"),
        (Stage::Squashfuse, _) => format!("install it: `apt-get install squashfuse`, {AS_ROOT}"),
        (Stage::NoMapper, _) => format!("install them: `apt-get install uidmap`, {AS_ROOT}"),
        (Stage::Granted, _) => format!("grant the user ids: `{}`, {AS_ROOT}", super::ids::granting()),
        _ => "an image has a symlink out of the root where a mount point should be: do not use it".to_owned(),
    }
}

/// The switch that keeps ordinary users from user namespaces on this host, with the command that turns it.
fn obstacle() -> Option<String> {
    [
        ("kernel.unprivileged_userns_clone", "0", "1"),
        ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
        ("user.max_user_namespaces", "0", "15000"),
    ]
    .into_iter()
    .find(|(name, off, _)| {
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        !nix::unistd::geteuid().is_root() && fs::read_to_string(path).is_ok_and(|value| value.trim() == *off)
    })
    .map(|(name, _, on)| {
        format!("ordinary users may not use user namespaces here: `sudo sysctl {name}={on}`")
    })
}
