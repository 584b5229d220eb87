//! The root as steps see it.
//!
//! Init first makes an empty tmpfs the root and moves the host's below [`HOST`]; only then does it build. So whatever
//! path or symlink a mount's target goes through, it cannot lead to the host by accident.
//!
//! All is mounted in a namespace that is init's own: whatever ends it, its mounts go with it, and their devices.

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

use super::error::{During, Failure, Stage};
use super::identity::Identity;
use super::images::Trees;
use super::memory;
use super::mounts::{bind, make_private, tmpfs};
use super::points::{EMPTY, HOST, IMAGES, bind_to, file, on_host, show_to, stays_inside};
use super::system::{HostSystem, show_tree};
use super::{Access, Root, SandboxSpec, devices, network, raw};

/// Any directory that every host has and that no mount source needs before the pivot.
const STAGING: &str = "/tmp";

/// What mount points have for a time: that of staged files, 1980-01-01.
const STAGED: TimeSpec = TimeSpec::new(315_532_800, 0);

/// Says where names are looked up.
const RESOLVER: &str = "/etc/resolv.conf";

pub(super) const HARMLESS: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);
pub(super) const READ_ONLY: MsFlags = HARMLESS.union(MsFlags::MS_RDONLY);

/// Gives this process namespaces of its own and the root that `spec` describes. Returns two descriptors for each tree in
/// memory, see [`memory::make`].
///
/// `identity`: who steps are, where that is none who owns something on the host.
pub(super) fn build(spec: &SandboxSpec, identity: Option<&Identity>) -> Result<Vec<OwnedFd>, Failure> {
    enter_namespaces(spec.network)?;
    // While paths still mean what they mean on the host:
    let sources = Sources::find(spec)?;
    let trees = Trees::open(spec)?;
    pivot(&trees, identity)?;
    let trees = Path::new(IMAGES);
    devices::mount_proc()?;
    if let Root::Images(images) = &spec.root {
        show_tree(&Trees::root(trees), spec, images.writable.is_some())?;
    }
    devices::make_devices(&spec.root, identity.is_some())?;
    devices::make_temporary(spec.tmp_size)?;
    // Some of it may be below /tmp.
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
        secret.show(spec.run_as, identity.is_some())?;
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
            unshare(flag).during(Stage::Namespaces, || format!("create a namespace ({name})"))?;
        }
    }
    sethostname("kiln").during(Stage::Other, || "set the host name".to_owned())?;
    // The name that Linux has from boot.
    raw::set_domain_name("(none)").during(Stage::Other, || "set the domain name".to_owned())?;
    if !with_network {
        network::bring_up_loopback().during(Stage::Other, || "bring up the loopback device".to_owned())?;
    }
    Ok(())
}

/// What to bind, by paths that no symlink on the host can bend.
struct Sources<'a> {
    system: Option<HostSystem<'a>>,
    /// One for each of the spec's mounts.
    mounts: Vec<PathBuf>,
    /// What says where names are looked up, for a root of images; of the host it is one of the files.
    resolver: Option<PathBuf>,
}

impl<'a> Sources<'a> {
    fn find(spec: &'a SandboxSpec) -> Result<Self, Failure> {
        let mounts = spec.mounts.iter().map(|mount| {
            fs::canonicalize(&mount.from)
                .during(Stage::Input, || format!("find mount source {}", mount.from.display()))
        });
        let mounts = mounts.collect::<Result<_, _>>()?;
        let (system, resolver) = match &spec.root {
            Root::Host(files) => (Some(HostSystem::find(files)?), None),
            Root::Images(_) => (None, fs::canonicalize(RESOLVER).ok().filter(|_| spec.network)),
        };
        Ok(Self { system, mounts, resolver })
    }
}

/// Makes an empty tmpfs the root, with the trees mounted in it, and moves the host's to [`HOST`].
///
/// The trees come first, as the programs that serve them are the host's.
fn pivot(trees: &Trees, identity: Option<&Identity>) -> Result<(), Failure> {
    make_private().during(Stage::Mount, || "make all mounts private".to_owned())?;
    let staging = Path::new(STAGING);
    tmpfs(staging, HARMLESS, "mode=0755")?;
    trees.mount(&staging.join(&IMAGES[1..]), identity.map(Identity::shift_of_images))?;
    let host = staging.join(&HOST[1..]);
    fs::create_dir(&host).during(Stage::Mount, || format!("create {}", host.display()))?;
    pivot_root(staging, &host)
        .during(Stage::Mount, || "make the new root the root (pivot_root)".to_owned())?;
    chdir("/").during(Stage::Mount, || "enter the new root".to_owned())
}

/// Covers `path` with something empty of the same kind.
fn mask(path: &Path) -> Result<(), Failure> {
    let operation = || format!("mask {}", path.display());
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(());
        }
        Err(error) => return Err(error).during(Stage::Input, operation),
    };
    stays_inside(path)?;
    if kind.is_dir() {
        return tmpfs(path, READ_ONLY, "mode=0555,size=4k");
    }
    if kind.is_symlink() {
        // A mount would cover what the symlink points to and leave the symlink.
        return Err(Errno::ELOOP).during(Stage::Input, operation);
    }
    let empty = Path::new(EMPTY);
    file(empty)?;
    bind(empty, path, READ_ONLY)?;
    // The mount keeps the file; the root loses its name.
    fs::remove_file(empty).during(Stage::Mount, operation)
}

/// Gives the directories that were made for mounts one time, so that who packs them makes the same each time.
fn settle_times(spec: &SandboxSpec) -> Result<(), Failure> {
    let operation = || "set the times of mount points".to_owned();
    let device = |path: &Path| fs::symlink_metadata(path).map(|stat| stat.dev());
    let ours = device(Path::new("/")).during(Stage::Other, operation)?;
    let places = spec.mounts.iter().map(|mount| &*mount.to).chain(spec.memory.iter().map(|tree| &*tree.to));
    let dirs: BTreeSet<&Path> = places.flat_map(|place| place.ancestors().skip(1)).collect();
    // Other devices are the host's, and images can't be written to.
    for dir in dirs.into_iter().filter(|dir| device(dir).is_ok_and(|device| device == ours)) {
        match utimensat(AT_FDCWD, dir, &STAGED, &STAGED, UtimensatFlags::NoFollowSymlink) {
            Err(Errno::EROFS) => {}
            result => result.during(Stage::Other, operation)?,
        }
    }
    Ok(())
}

/// Lets go of the host's root, and makes ours read-only.
fn leave_host() -> Result<(), Failure> {
    umount2(HOST, MntFlags::MNT_DETACH).during(Stage::Mount, || "unmount the host's root".to_owned())?;
    fs::remove_dir(HOST).during(Stage::Mount, || format!("remove {HOST}"))?;
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | READ_ONLY;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
        .during(Stage::Mount, || "make the root read-only".to_owned())
}
