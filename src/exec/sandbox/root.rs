//! Builds the root that steps see.
//!
//! Init first makes an empty tmpfs the root, and moves the host's root below [`HOST`]; only then does it build. So no path or
//! symlink of a mount's target can lead to the host.
//!
//! Everything is mounted in init's own namespace: however init ends, its mounts and their devices go with it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{chdir, pivot_root, sethostname};

use super::failure::{During, Failure, SetupPart};
use super::identity::Identity;
use super::images::Trees;
use super::memory;
use super::mount_points::{bind_to, file, show_to, stays_inside};
use super::mounts::{HARMLESS, READ_ONLY, bind, make_private, tmpfs};
use super::reserved::{EMPTY, HOST, IMAGES, on_host};
use super::system::{HostSystem, show_tree};
use super::{Access, Root, SandboxSpec, kernel_mounts, network, raw, secret};

/// A directory that every host has, and that no mount source needs before the pivot.
const STAGING: &str = "/tmp";

/// The time of mount points: that of staged files, 1980-01-01.
const STAGED: TimeSpec = TimeSpec::new(315_532_800, 0);

/// The configuration of the resolver.
const RESOLVER: &str = "/etc/resolv.conf";

/// Gives this process its own namespaces and the root that `spec` describes. Returns two descriptors for each tree in memory,
/// see [`memory::make`].
///
/// `identity`: the user of the steps, where that user owns nothing on the host.
pub(super) fn build(spec: &SandboxSpec, identity: Option<&Identity>) -> Result<Vec<OwnedFd>, Failure> {
    enter_namespaces(spec.network)?;
    // While paths mean what they mean on the host:
    let sources = Sources::find(spec)?;
    let trees = Trees::open(spec)?;
    pivot(&trees, identity)?;
    let trees = Path::new(IMAGES);
    kernel_mounts::mount_proc()?;
    if let Root::Images(images) = &spec.root {
        show_tree(&Trees::root(trees), spec, images.writable.is_some())?;
    }
    kernel_mounts::make_devices(&spec.root, identity.is_some())?;
    kernel_mounts::make_temporary(spec.tmp_size)?;
    // A path of them may be below /tmp.
    if let Some(system) = &sources.system {
        system.show()?;
    }
    for (index, shown) in spec.shown.iter().enumerate() {
        let access = if shown.images.writable.is_some() { Access::ReadWrite } else { Access::ReadOnly };
        bind_to(&Trees::shown(trees, index), &shown.to, flags(access))?;
    }
    for (source, mount) in sources.mounts.iter().zip(&spec.mounts) {
        let (from, to, flags) = (on_host(source), &mount.to, flags(mount.access));
        match (mount.access, identity) {
            (Access::ReadOnly, Some(identity)) => show_to(&from, to, flags, identity)?,
            _ => bind_to(&from, to, flags)?,
        }
    }
    if let Some(path) = &sources.resolver {
        bind_to(&on_host(path), Path::new(RESOLVER), READ_ONLY)?;
    }
    for secret in &spec.secrets {
        secret::make(secret, spec.run_as, identity.is_some())?;
    }
    let memory = memory::make(&spec.memory)?;
    for path in &spec.mask {
        mask(path)?;
    }
    Trees::let_go(trees, spec)?;
    settle_times(spec)?;
    leave_host()?;
    Ok(memory)
}

fn flags(access: Access) -> MsFlags {
    match access {
        Access::ReadOnly => READ_ONLY,
        Access::ReadWrite => HARMLESS,
    }
}

fn enter_namespaces(with_network: bool) -> Result<(), Failure> {
    let kinds = [
        ("mount", CloneFlags::CLONE_NEWNS),
        ("IPC", CloneFlags::CLONE_NEWIPC),
        ("UTS", CloneFlags::CLONE_NEWUTS),
        ("network", CloneFlags::CLONE_NEWNET),
    ];
    for (name, flag) in kinds {
        if !(with_network && flag == CloneFlags::CLONE_NEWNET) {
            unshare(flag).during(SetupPart::Namespaces, || format!("create a namespace ({name})"))?;
        }
    }
    sethostname("kiln").during(SetupPart::Other, || "set the host name".to_owned())?;
    // The name that Linux has after boot.
    raw::set_domain_name("(none)").during(SetupPart::Other, || "set the domain name".to_owned())?;
    if !with_network {
        network::bring_up_loopback()
            .during(SetupPart::Other, || "bring up the loopback device".to_owned())?;
    }
    Ok(())
}

/// Sources of bind mounts, as paths that no symlink on the host affects.
struct Sources<'a> {
    system: Option<HostSystem<'a>>,
    /// One for each mount of the specification.
    mounts: Vec<PathBuf>,
    /// The resolver's configuration, for a root of images; of the host's root it is one of the files.
    resolver: Option<PathBuf>,
}

impl<'a> Sources<'a> {
    fn find(spec: &'a SandboxSpec) -> Result<Self, Failure> {
        let mounts = spec.mounts.iter().map(|mount| {
            fs::canonicalize(&mount.from)
                .during(SetupPart::Input, || format!("find mount source {}", mount.from.display()))
        });
        let mounts = mounts.collect::<Result<_, _>>()?;
        let (system, resolver) = match &spec.root {
            Root::Host(files) => (Some(HostSystem::find(files)?), None),
            Root::Images(_) => (None, fs::canonicalize(RESOLVER).ok().filter(|_| spec.network)),
        };
        Ok(Self { system, mounts, resolver })
    }
}

/// Makes an empty tmpfs the root, with the trees of images mounted in it, and moves the host's root to [`HOST`].
///
/// The trees are mounted first: the programs that serve them are the host's.
fn pivot(trees: &Trees, identity: Option<&Identity>) -> Result<(), Failure> {
    make_private().during(SetupPart::Mount, || "make all mounts private".to_owned())?;
    let staging = Path::new(STAGING);
    tmpfs(staging, HARMLESS, "mode=0755")?;
    trees.mount(&staging.join(&IMAGES[1..]), identity.map(Identity::shift_of_images))?;
    let host = staging.join(&HOST[1..]);
    fs::create_dir(&host).during(SetupPart::Mount, || format!("create {}", host.display()))?;
    pivot_root(staging, &host)
        .during(SetupPart::Mount, || "make the new root the root (pivot_root)".to_owned())?;
    chdir("/").during(SetupPart::Mount, || "enter the new root".to_owned())
}

/// Covers `path` with something empty of the same type.
fn mask(path: &Path) -> Result<(), Failure> {
    let operation = || format!("mask {}", path.display());
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(());
        }
        Err(error) => return Err(error).during(SetupPart::Input, operation),
    };
    stays_inside(path)?;
    if kind.is_dir() {
        return tmpfs(path, READ_ONLY, "mode=0555,size=4k");
    }
    if kind.is_symlink() {
        // A mount would cover the symlink's target, and leave the symlink.
        return Err(Errno::ELOOP).during(SetupPart::Input, operation);
    }
    let empty = Path::new(EMPTY);
    file(empty)?;
    bind(empty, path, READ_ONLY)?;
    // The mount keeps the file; its name is removed from the root.
    fs::remove_file(empty).during(SetupPart::Mount, operation)
}

/// Sets one time for all directories that were made for mounts, so that packing the root is repeatable.
fn settle_times(spec: &SandboxSpec) -> Result<(), Failure> {
    let operation = || "set the times of mount points".to_owned();
    let device = |path: &Path| fs::symlink_metadata(path).map(|stat| stat.dev());
    let ours = device(Path::new("/")).during(SetupPart::Other, operation)?;
    let places = spec.mounts.iter().map(|mount| &*mount.to).chain(spec.memory.iter().map(|tree| &*tree.to));
    let dirs: BTreeSet<&Path> = places.flat_map(|place| place.ancestors().skip(1)).collect();
    // Other devices belong to the host, and images can't be written to.
    for dir in dirs.into_iter().filter(|dir| device(dir).is_ok_and(|device| device == ours)) {
        match utimensat(AT_FDCWD, dir, &STAGED, &STAGED, UtimensatFlags::NoFollowSymlink) {
            Err(Errno::EROFS) => {}
            result => result.during(SetupPart::Other, operation)?,
        }
    }
    Ok(())
}

/// Unmounts the host's root, and makes the new one read-only.
fn leave_host() -> Result<(), Failure> {
    umount2(HOST, MntFlags::MNT_DETACH).during(SetupPart::Mount, || "unmount the host's root".to_owned())?;
    fs::remove_dir(HOST).during(SetupPart::Mount, || format!("remove {HOST}"))?;
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | READ_ONLY;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
        .during(SetupPart::Mount, || "make the root read-only".to_owned())
}
