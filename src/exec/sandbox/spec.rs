//! The specification of a sandbox.

use std::ffi::{OsStr, OsString};
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::limits::Limits;
use super::path_serde::{os_path, os_paths};
use super::secret_file::SecretFile;
use super::system_calls::SystemCalls;

/// A sandbox, and the steps that run in it.
///
/// Besides [`mounts`](Self::mounts), steps see the files of [`root`](Self::root); a `/dev` with harmless devices; a `/proc` of
/// their own processes, read-only; and an empty, private `/tmp` and `/dev/shm`. Their host name is `kiln`, the umask is 022, there
/// are no core dumps and no terminal, and standard input is empty.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// The system's files.
    pub root: Root,
    /// Images that are mounted elsewhere than at `/`, before anything else.
    pub shown: Vec<Shown>,
    /// The user of the steps.
    pub run_as: RunAs,
    /// Files and directories of the host, mounted in this order: a mount below another comes after it.
    pub mounts: Vec<Mount>,
    /// Files that are only in memory, such as private keys. Below `/kiln`, and not below a mount.
    pub secrets: Vec<SecretFile>,
    /// Trees in memory, which the caller fills between prepare and start.
    pub memory: Vec<MemoryTree>,
    /// Paths in the sandbox that are covered by something empty and read-only, such as a source's `.git`. Paths that don't exist are
    /// ignored.
    #[serde(with = "os_paths")]
    pub mask: Vec<PathBuf>,
    /// The steps, run one after the other, up to the first that fails.
    pub steps: Vec<Step>,
    /// The whole environment of each step.
    pub env: Vec<(OsString, OsString)>,
    /// Whether steps may use the host's network. Otherwise there is only a loopback device.
    pub network: bool,
    /// The system calls that steps may use.
    pub system_calls: SystemCalls,
    /// The limits of all steps together.
    pub limits: Limits,
    /// The size of `/tmp` and of `/dev/shm`, in bytes; `None` is the kernel's default, half of the memory.
    pub tmp_size: Option<u64>,
    /// Descriptors that steps inherit under the same numbers, such as a jobserver's pipe. All are above 2.
    pub inherit: Vec<RawFd>,
}

/// Where the system's directories in a sandbox come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Root {
    /// These files of the host, read-only, and a small `/etc` that is the same on every host.
    Host(HostFiles),
    /// The top of a tree of images, except `/proc`, `/dev`, `/sys`, `/tmp`, `/kiln`, and paths of mounts. Steps also have terminals
    /// (`/dev/pts`).
    Images(Images),
}

impl Default for Root {
    /// No files of the host.
    fn default() -> Self {
        Self::Host(HostFiles::default())
    }
}

/// Files of the host that steps see under the same paths.
///
/// A path may only lead through links that are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFiles {
    /// Symbolic links, with their targets.
    pub links: Vec<Link>,
    /// Files and directories.
    #[serde(with = "os_paths")]
    pub paths: Vec<PathBuf>,
    /// Further directories in which the loader looks for libraries: a sandbox has no `/etc/ld.so.cache`, which lists all
    /// libraries of the host.
    #[serde(with = "os_paths")]
    pub library_dirs: Vec<PathBuf>,
}

impl HostFiles {
    /// Whether there is an entry with this path.
    pub(super) fn has(&self, path: &Path) -> bool {
        self.paths.iter().chain(self.links.iter().map(|link| &link.path)).any(|known| known == path)
    }
}

/// A symbolic link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its path.
    #[serde(with = "os_path")]
    pub path: PathBuf,
    /// Its target.
    #[serde(with = "os_path")]
    pub target: PathBuf,
}

/// Squashfs images that are mounted as one tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Images {
    /// The image files, the lowest first. An entry of an upper image hides the same name in lower ones, as in overlayfs: a device
    /// 0:0 stands for a removed entry, the attribute `user.overlay.opaque` for a directory that was replaced.
    #[serde(with = "os_paths")]
    pub layers: Vec<PathBuf>,
    /// Where writes go; `None`: they fail with `EROFS`.
    ///
    /// In a writable root at `/`, `/run` and `/var/tmp` are empty and private, because their content is temporary. Mount points that no
    /// layer has are created, and become part of what was written.
    pub writable: Option<Writable>,
}

/// Two directories on one file system of the host that belong to the user who runs kiln.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writable {
    /// Takes writes, in the form of a layer: empty, or left by an earlier sandbox over the same layers.
    ///
    /// Without root's privileges, files of other users of the sandbox belong to the ids that these have on the host, and only another
    /// sandbox with [`RunAs::Installer`] can read and remove all of them.
    #[serde(with = "os_path")]
    pub upper: PathBuf,
    /// Empty: overlayfs's work directory.
    #[serde(with = "os_path")]
    pub work: PathBuf,
}

/// A tree of images at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The images.
    pub images: Images,
    /// The path in the sandbox: as [`Mount::to`].
    #[serde(with = "os_path")]
    pub to: PathBuf,
}

/// The user of the steps, and their capabilities.
///
/// Where root runs kiln, each of these is a user of the host that owns nothing there but what steps write (see
/// [`FIRST_ID`](super::FIRST_ID)): a mount that steps may write is given to that user. Where an ordinary user runs kiln, user 0, or
/// [`User`](Self::User), is that user under another number.
///
/// Without root's privileges, a root of images, or another user than [`Stripped`](Self::Stripped), needs several ids: those that
/// `/etc/subuid` and `/etc/subgid` grant the user who runs kiln.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunAs {
    /// User and group 0 without capabilities.
    #[default]
    Stripped,
    /// An ordinary user, whose group has the same number and who is in no other.
    ///
    User {
        /// The number, which is not 0.
        id: u32,
    },
    /// User 0 with the capabilities for installing packages into a root of images: giving files away, setting any mode and file
    /// capability, becoming another user. It can't mount, make devices, or change kernel settings.
    Installer,
}

/// A tree in memory that steps can't write to, and whose opens are traced. Needs Linux 6.16.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryTree {
    /// The path in the sandbox: as [`Mount::to`].
    #[serde(with = "os_path")]
    pub to: PathBuf,
    /// The size limit, in bytes.
    pub size: u64,
}

/// A directory or file of the host, shown in the sandbox with everything mounted below it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mount {
    /// The path on the host.
    #[serde(with = "os_path")]
    pub from: PathBuf,
    /// The path in the sandbox: absolute. It is created if need be, so below a read-only mount it has to exist there; below a
    /// writable mount, the new directory appears on the host.
    #[serde(with = "os_path")]
    pub to: PathBuf,
    /// Whether steps may write to it.
    pub access: Access,
}

/// Whether steps may write to a [`Mount`].
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
    /// The program and its arguments. A program without a slash is looked up in the `PATH` of [`SandboxSpec::env`].
    pub argv: Vec<OsString>,
    /// The working directory in the sandbox: absolute.
    #[serde(with = "os_path")]
    pub cwd: PathBuf,
}

impl SandboxSpec {
    /// The environment variable for the loader's further directories, if there are any.
    pub(super) fn library_path(&self) -> Option<(&'static str, OsString)> {
        let Root::Host(files) = &self.root else { return None };
        let dirs: Vec<&OsStr> = files.library_dirs.iter().map(|dir| dir.as_os_str()).collect();
        (!dirs.is_empty()).then(|| ("LD_LIBRARY_PATH", dirs.join(OsStr::new(":"))))
    }

    /// Whether the sandbox needs several users.
    pub(super) fn has_users(&self) -> bool {
        matches!(self.root, Root::Images(_)) || !self.shown.is_empty() || self.run_as != RunAs::Stripped
    }

    /// The writable directories of trees of images.
    pub(super) fn writables(&self) -> impl Iterator<Item = &Writable> {
        let root = if let Root::Images(images) = &self.root { Some(images) } else { None };
        root.into_iter()
            .chain(self.shown.iter().map(|shown| &shown.images))
            .filter_map(|images| images.writable.as_ref())
    }

    /// Directories of the host that steps may write to.
    pub(super) fn written(&self) -> Vec<PathBuf> {
        let mounts = self.mounts.iter().filter(|mount| mount.access == Access::ReadWrite);
        let upper = self.writables().flat_map(|writable| [&writable.upper, &writable.work]);
        mounts.map(|mount| &mount.from).chain(upper).cloned().collect()
    }

    /// Paths of mounts.
    pub(super) fn covered(&self) -> impl Iterator<Item = &Path> {
        let shown = self.shown.iter().map(|shown| &*shown.to);
        let shown = shown.chain(self.memory.iter().map(|tree| &*tree.to));
        self.mounts.iter().map(|mount| &*mount.to).chain(shown)
    }
}
