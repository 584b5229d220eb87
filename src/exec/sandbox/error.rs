//! Errors of sandboxes, and what the user can do about them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::{fs, io};

use nix::errno::Errno;
use thiserror::Error;

use super::failure::{Failure, SetupPart};
use super::ids;

/// Why a sandbox, or a step in it, could not be run.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// The specification asks for something that no host can do.
    #[error("cannot make such a sandbox: {problem}")]
    Spec {
        /// What that is.
        problem: String,
    },
    /// The host does not allow the sandbox.
    #[error("cannot set up the sandbox: {operation}: {source}")]
    Setup {
        /// The operation, and the path.
        operation: String,
        /// The kernel's answer.
        source: io::Error,
        /// What the user can do.
        help: String,
    },
    /// The control group that limits a sandbox can't be made.
    #[error("cannot make the control group of the sandbox: {source}")]
    Group {
        /// The kernel's answer.
        source: io::Error,
    },
    /// A step's program does not exist in the sandbox, or can't be executed there. Earlier steps have run.
    #[error("cannot execute {} (step {step}): {source}", program.display())]
    Exec {
        /// The index of the step in [`SandboxSpec::steps`](super::SandboxSpec::steps).
        step: usize,
        /// The program as the step names it.
        program: OsString,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The helper could not be started or reached.
    #[error("cannot start the sandbox helper {}: {source}", helper.display())]
    Helper {
        /// The helper's executable.
        helper: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// The helper ended without a report: it was killed from outside, with everything in the sandbox, or it has a bug and its error
    /// message is in the output.
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

impl From<Failure> for SandboxError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Setup { part, operation, errno } => Self::Setup {
                operation,
                source: io::Error::from_raw_os_error(errno),
                help: help(part, Errno::from_raw(errno)),
            },
            Failure::Refused { part, operation, reason } => Self::Setup {
                operation,
                source: io::Error::other(reason),
                help: help(part, Errno::UnknownErrno),
            },
            Failure::Exec { step, program, errno } => {
                Self::Exec { step, program, source: io::Error::from_raw_os_error(errno) }
            }
        }
    }
}

const AS_ROOT: &str = "or run kiln as root; in a container, start that with `--privileged`";

fn help(part: SetupPart, errno: Errno) -> String {
    match (part, errno) {
        (SetupPart::UserNamespace | SetupPart::Namespaces | SetupPart::Mount, _) if obstacle().is_some() => {
            format!("{}, {AS_ROOT}", obstacle().unwrap_or_default())
        }
        (SetupPart::UserNamespace, Errno::EINVAL) => {
            format!("the kernel lacks user namespaces (CONFIG_USER_NS): use one that has them, {AS_ROOT}")
        }
        (SetupPart::UserNamespace | SetupPart::Namespaces, Errno::ENOSPC) => {
            "the limit on namespaces is reached: raise the `user.max_*_namespaces` sysctls".to_owned()
        }
        (SetupPart::UserNamespace, _) => format!("allow user namespaces to ordinary users, {AS_ROOT}"),
        (SetupPart::Namespaces, Errno::EINVAL) => {
            "the kernel lacks a namespace kind (CONFIG_PID_NS, CONFIG_NET_NS, CONFIG_IPC_NS, CONFIG_UTS_NS): \
             use one that has them all"
                .to_owned()
        }
        (SetupPart::Proc, _) => {
            "a container hides parts of /proc, so the kernel refuses a fresh one: start the container with \
             `--security-opt systempaths=unconfined` or `--privileged`"
                .to_owned()
        }
        (SetupPart::Namespaces | SetupPart::Mount, Errno::EPERM | Errno::EACCES) => {
            "kiln lacks the right to create namespaces and mounts: in a container, start that with `--privileged` \
             (or `--cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined`)"
                .to_owned()
        }
        (
            SetupPart::Loop
            | SetupPart::Image
            | SetupPart::Overlay
            | SetupPart::FuseDevice
            | SetupPart::Squashfuse
            | SetupPart::NoMapper
            | SetupPart::Granted
            | SetupPart::Damaged
            | SetupPart::Escape,
            _,
        ) => help_with_images(part, errno),
        (SetupPart::Owner, _) => "let others read it (`chmod -R a+rX`), run kiln as its owner, or put it on a file system \
             with id-mapped mounts (ext4, xfs, btrfs; Linux 5.12)"
            .to_owned(),
        (SetupPart::Shift, _) => "roots take Linux 6.2 where root runs kiln: use that, or run kiln as an ordinary user, for whom \
             `squashfuse` mounts images"
            .to_owned(),
        (SetupPart::Filter, _) => "the kernel lacks seccomp filters (CONFIG_SECCOMP_FILTER): use one that has them, or let the \
             rule do without: `sandbox: (system_calls: Unfiltered)`"
            .to_owned(),
        (SetupPart::Watch, Errno::EPERM) => {
            "an ordinary user can have reads traced from Linux 6.16 on: run kiln as root, or without a trace".to_owned()
        }
        (SetupPart::Watch, _) => "raise the `user.max_fanotify_*` sysctls".to_owned(),
        (SetupPart::Input, Errno::ENOENT) => "check that the path exists".to_owned(),
        (SetupPart::Input, Errno::EACCES) => "check that the user who runs kiln may read the path".to_owned(),
        (SetupPart::Input, Errno::ELOOP) => "a symlink cannot be masked: mask what it points to".to_owned(),
        (SetupPart::Mount, Errno::ENOENT | Errno::EROFS | Errno::ENOTDIR) => {
            "a mount point in a read-only mount must exist there already: create it, or mount elsewhere".to_owned()
        }
        _ => "run `kiln doctor` to see what this host lacks".to_owned(),
    }
}

fn help_with_images(part: SetupPart, errno: Errno) -> String {
    match (part, errno) {
        (SetupPart::Loop, _) => {
            "load loop devices: `modprobe loop`; in a container, start that with `--privileged`".to_owned()
        }
        (SetupPart::Image, Errno::ENODEV) => {
            "the kernel lacks squashfs (CONFIG_SQUASHFS): `modprobe squashfs`, or use a kernel that has it".to_owned()
        }
        (SetupPart::Image | SetupPart::Damaged, _) => {
            "the image is damaged (`kiln cache verify` puts such aside), or what reads it lacks its compression: zstd \
             (CONFIG_SQUASHFS_ZSTD), or xz for a tree of ebuilds (CONFIG_SQUASHFS_XZ)"
                .to_owned()
        }
        (SetupPart::Overlay, Errno::ENODEV) => {
            "the kernel lacks overlayfs (CONFIG_OVERLAY_FS): `modprobe overlay`, or use a kernel that has it".to_owned()
        }
        (SetupPart::Overlay, Errno::ENOSPC) => "make room on the disk of the cache".to_owned(),
        (SetupPart::Overlay, _) => {
            "an overlay writes to ext4, xfs, btrfs and the like, not to another overlay or to NFS: put the cache on such \
             a file system; and it takes Linux 5.11"
                .to_owned()
        }
        (SetupPart::FuseDevice, Errno::ENOENT) => {
            format!("load FUSE: `modprobe fuse`; in a container, show it /dev/fuse; {AS_ROOT}")
        }
        (SetupPart::FuseDevice, _) => format!("let the user open /dev/fuse, {AS_ROOT}"),
        (SetupPart::Squashfuse, _) => format!("install it: `apt-get install squashfuse`, {AS_ROOT}"),
        (SetupPart::NoMapper, _) => format!("install them: `apt-get install uidmap`, {AS_ROOT}"),
        (SetupPart::Granted, _) => format!("grant the user ids: `{}`, {AS_ROOT}", ids::granting()),
        _ => "an image has a symlink out of the root where a mount point should be: do not use it".to_owned(),
    }
}

/// The setting of this host that denies user namespaces to ordinary users, with the command that changes it.
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
