//! What to run, and where.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::wire::{os_path, os_paths};
use super::{Limits, SandboxError, SecretFile, SystemCalls, points};

/// As many descriptors as one message over a Unix socket can carry (`SCM_MAX_FD`, 253), besides those of control groups.
const MAX_INHERIT: usize = 250;

/// A sandbox, and what runs in it.
///
/// Besides [`mounts`](Self::mounts), steps find what [`root`](Self::root) says; a `/dev` of the harmless devices; a
/// `/proc` that shows them alone, read-only; and an empty, private `/tmp` and `/dev/shm`. They are on a host named
/// `kiln`, with umask 022, no core dumps, no terminal, and standard input at its end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// What there is besides.
    pub root: Root,
    /// Images to show elsewhere than at `/`, mounted before all else.
    pub shown: Vec<Shown>,
    /// Who steps are.
    pub run_as: RunAs,
    /// What of the host to show, mounted in this order: a mount below another comes after it.
    pub mounts: Vec<Mount>,
    /// Files that are in memory alone, such as private keys. Below `/kiln`, where no mount is.
    pub secrets: Vec<SecretFile>,
    /// Trees in memory, which whoever prepares the sandbox fills before it starts.
    pub memory: Vec<MemoryTree>,
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
    /// Which system calls steps may use.
    pub system_calls: SystemCalls,
    /// What all steps together may use.
    pub limits: Limits,
    /// The most that `/tmp` and `/dev/shm` may hold, each, in bytes; `None` leaves them at the kernel's default, half of the
    /// memory.
    pub tmp_size: Option<u64>,
    /// Descriptors that steps shall find under the same numbers, such as a jobserver's pipe. All above 2, which are
    /// the standard streams.
    pub inherit: Vec<RawFd>,
}

/// Where the system's directories in a sandbox come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Root {
    /// These files of the host, read-only, and a small `/etc` that is the same on every host.
    Host(HostFiles),
    /// All that is at the top of a tree of images, but for `/proc`, `/dev`, `/sys`, `/tmp` and `/kiln`, and for what a
    /// mount takes the place of. Steps get terminals (`/dev/pts`) as well.
    Images(Images),
}

impl Default for Root {
    /// Nothing of the host.
    fn default() -> Self {
        Self::Host(HostFiles::default())
    }
}

/// Files of the host that steps see, each where it is on the host.
///
/// No path here may lead through a link, but for those that are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFiles {
    /// Symbolic links to make, and what they hold.
    pub links: Vec<Link>,
    /// Files and directories to show.
    #[serde(with = "os_paths")]
    pub paths: Vec<PathBuf>,
    /// Where the loader has to look for libraries besides: a sandbox has no `/etc/ld.so.cache`, which holds all libraries of
    /// the host.
    #[serde(with = "os_paths")]
    pub library_dirs: Vec<PathBuf>,
}

impl HostFiles {
    /// Whether there is an entry of this path.
    pub(super) fn has(&self, path: &Path) -> bool {
        self.paths.iter().chain(self.links.iter().map(|link| &link.path)).any(|known| known == path)
    }
}

/// A symbolic link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Where it is.
    #[serde(with = "os_path")]
    pub path: PathBuf,
    /// What it holds.
    #[serde(with = "os_path")]
    pub target: PathBuf,
}

/// Squashfs images as one tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Images {
    /// Their files, the lowest first. What an upper one has hides what is of that name in those below, as overlayfs does
    /// it: a device 0:0 stands for what was removed, the attribute `user.overlay.opaque` for a directory made anew.
    #[serde(with = "os_paths")]
    pub layers: Vec<PathBuf>,
    /// Where writes go; `None`: they fail with `EROFS`.
    ///
    /// In a writable root at `/`, `/run` and `/var/tmp` are empty and private, as what is written there is of no use later on.
    /// Mount points that are in none of the layers are made, and so become part of what was written.
    pub writable: Option<Writable>,
}

/// Two directories on one file system of the host, of the user who runs kiln.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writable {
    /// Takes what is written, in the form of a layer: empty, or what an earlier sandbox over the same layers left.
    ///
    /// Without root's privileges, what other users of the sandbox wrote belongs to the ids that they are on the host, and
    /// only another sandbox with [`RunAs::Installer`] can read and remove all of it.
    #[serde(with = "os_path")]
    pub upper: PathBuf,
    /// Empty; overlayfs keeps what it is working on there.
    #[serde(with = "os_path")]
    pub work: PathBuf,
}

/// A tree of images at some place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Which.
    pub images: Images,
    /// Where steps see it: as [`Mount::to`].
    #[serde(with = "os_path")]
    pub to: PathBuf,
}

/// Who steps are, and what they may.
///
/// Where root runs kiln, each of these is a user of the host that owns nothing there but what steps write (see
/// [`FIRST_ID`](super::FIRST_ID)): a mount that steps may write is given to them. Where an ordinary user does, user 0,
/// or [`User`](Self::User), is that user, under another number.
///
/// Without root's privileges, a root of images, or another user than [`Stripped`](Self::Stripped), takes more ids than
/// one: those that `/etc/subuid` and `/etc/subgid` grant the user who runs kiln.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunAs {
    /// User and group 0 without any capability.
    #[default]
    Stripped,
    /// An ordinary user, whose group has the same number and who is in no other.
    ///
    User {
        /// The number, which is not 0.
        id: u32,
    },
    /// User 0 with what it takes to install packages into a root of images: giving files away, setting any mode and file
    /// capability, becoming another user. It can't mount, make devices, or change anything of the kernel's.
    Installer,
}

/// A tree in memory that steps can't write to, and whose opens are watched; for that, Linux 6.16 is needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryTree {
    /// Where steps see it: as [`Mount::to`].
    #[serde(with = "os_path")]
    pub to: PathBuf,
    /// The most that it may hold, in bytes.
    pub size: u64,
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
    /// The variable that tells the loader where to look for libraries, where it has to be told.
    pub(super) fn library_path(&self) -> Option<(&'static str, OsString)> {
        let Root::Host(files) = &self.root else { return None };
        let dirs: Vec<&OsStr> = files.library_dirs.iter().map(|dir| dir.as_os_str()).collect();
        (!dirs.is_empty()).then(|| ("LD_LIBRARY_PATH", dirs.join(OsStr::new(":"))))
    }

    /// Whether more users than one are needed.
    pub(super) fn has_users(&self) -> bool {
        matches!(self.root, Root::Images(_)) || !self.shown.is_empty() || self.run_as != RunAs::Stripped
    }

    /// Where trees of images take what is written.
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

    /// Places that mounts take.
    pub(super) fn covered(&self) -> impl Iterator<Item = &Path> {
        let shown = self.shown.iter().map(|shown| &*shown.to);
        let shown = shown.chain(self.memory.iter().map(|tree| &*tree.to));
        self.mounts.iter().map(|mount| &*mount.to).chain(shown)
    }

    /// Finds what could not work on any host, before a process is spent on it.
    pub(super) fn validate(&self) -> Result<(), SandboxError> {
        let root = if let Root::Images(images) = &self.root { Some(images) } else { None };
        for images in root.into_iter().chain(self.shown.iter().map(|shown| &shown.images)) {
            layers(&images.layers)?;
            for dir in images.writable.iter().flat_map(|writable| [&writable.upper, &writable.work]) {
                on_host("directory for what is written", dir)?;
            }
        }
        if let Root::Host(files) = &self.root {
            for path in files.links.iter().map(|link| &link.path).chain(&files.paths) {
                inside("path of the host", path)?;
            }
        }
        for shown in &self.shown {
            inside("place for images", &shown.to)?;
        }
        require(self.run_as != RunAs::User { id: 0 }, || {
            "user 0 is no ordinary user: ask for one of the other kinds".to_owned()
        })?;
        for mount in &self.mounts {
            inside("mount", &mount.to)?;
            on_host("mount source", &mount.from)?;
        }
        for secret in &self.secrets {
            inside("secret", secret.path())?;
            require(secret.path().starts_with("/kiln"), || "a secret outside of /kiln".to_owned())?;
        }
        for tree in &self.memory {
            inside("tree in memory", &tree.to)?;
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

fn layers(layers: &[PathBuf]) -> Result<(), SandboxError> {
    require(!layers.is_empty(), || "a tree of images without an image".to_owned())?;
    layers.iter().try_for_each(|image| on_host("image", image))
}

fn on_host(what: &str, path: &Path) -> Result<(), SandboxError> {
    require(path.is_absolute() && no_nul(path.as_os_str()), || {
        format!("{what} {} is not absolute, or contains a NUL byte", path.display())
    })
}

fn inside(what: &str, path: &Path) -> Result<(), SandboxError> {
    let names = path.components().skip(1).all(|part| matches!(part, Component::Normal(_)));
    let below_root = path.is_absolute() && path.components().count() > 1;
    require(names && below_root && no_nul(path.as_os_str()), || {
        format!("{what} {} is not an absolute path below / without `..`", path.display())
    })?;
    require(!points::RESERVED.iter().any(|reserved| path.starts_with(reserved)), || {
        format!("{what} {} is at a place that the sandbox needs for itself", path.display())
    })
}

fn no_nul(text: &OsStr) -> bool {
    !text.as_bytes().contains(&0)
}

fn require(condition: bool, problem: impl FnOnce() -> String) -> Result<(), SandboxError> {
    if condition { Ok(()) } else { Err(SandboxError::Spec { problem: problem() }) }
}
