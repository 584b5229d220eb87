//! The root as steps see it.
//!
//! Init first makes an empty tmpfs the root and moves the host's below [`HOST`]; only then does it build. So whatever
//! path or symlink a mount's target goes through, it cannot lead to the host by accident.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{chdir, pivot_root, sethostname};

use super::error::{During, Failure, Stage};
use super::mounts::{bind, make_private, restrict, tmpfs};
use super::{Access, SandboxSpec, network, raw};

/// Where the host's root is while ours is built.
const HOST: &str = "/.host";

/// Where the file that covers masked ones is while it is put there.
const EMPTY: &str = "/.empty";

/// What no mount may be put at or below: it would reach the host itself.
pub(super) const RESERVED: [&str; 2] = [HOST, EMPTY];

/// Any directory that every host has and that no mount source needs before the pivot.
const STAGING: &str = "/tmp";

/// What of the host's root programs need to run at all.
pub const SYSTEM_DIRS: [&str; 9] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt"];

/// Devices without state and without power over the host.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

const HARMLESS: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);
const READ_ONLY: MsFlags = HARMLESS.union(MsFlags::MS_RDONLY);

/// Gives this process namespaces of its own and the root that `spec` describes.
pub(super) fn build(spec: &SandboxSpec) -> Result<(), Failure> {
    enter_namespaces(spec.network)?;
    // While paths still mean what they mean on the host:
    let sources = Sources::find(spec)?;
    pivot()?;
    mount_proc()?;
    for (path, entry) in &sources.system {
        match entry {
            System::Link(target) => {
                symlink(target, path)
                    .during(Stage::Mount, || format!("create symlink {}", path.display()))?;
            }
            System::Directory(source) => bind_host(source, path, READ_ONLY)?,
        }
    }
    make_devices()?;
    make_temporary(spec.tmp_size)?;
    for (source, mount) in sources.mounts.iter().zip(&spec.mounts) {
        bind_host(source, &mount.to, flags(mount.access))?;
    }
    if let Some(path) = &sources.resolver {
        bind_host(path, path, READ_ONLY)?;
    }
    for path in &spec.mask {
        mask(path)?;
    }
    leave_host()
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
struct Sources {
    system: Vec<(PathBuf, System)>,
    /// One for each of the spec's mounts.
    mounts: Vec<PathBuf>,
    /// Where `/etc/resolv.conf` really is, if not in `/etc`.
    resolver: Option<PathBuf>,
}

/// An entry of the host's root.
enum System {
    /// A symlink to somewhere in another of them, as `/bin` is on hosts with a merged `/usr`.
    Link(PathBuf),
    Directory(PathBuf),
}

impl Sources {
    fn find(spec: &SandboxSpec) -> Result<Self, Failure> {
        let mut system = Vec::new();
        for path in SYSTEM_DIRS.map(PathBuf::from) {
            match fs::canonicalize(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => {
                    let real = result.during(Stage::Input, || format!("find {}", path.display()))?;
                    let elsewhere =
                        SYSTEM_DIRS.iter().any(|other| Path::new(other) != path && real.starts_with(other));
                    let entry = match fs::read_link(&path) {
                        Ok(target) if elsewhere => System::Link(target),
                        _ => System::Directory(real),
                    };
                    system.push((path, entry));
                }
            }
        }
        let mounts = spec.mounts.iter().map(|mount| {
            fs::canonicalize(&mount.from)
                .during(Stage::Input, || format!("find mount source {}", mount.from.display()))
        });
        let mounts = mounts.collect::<Result<_, _>>()?;
        // With systemd-resolved it is a symlink into /run.
        let resolver = fs::canonicalize("/etc/resolv.conf")
            .ok()
            .filter(|path| spec.network && !SYSTEM_DIRS.iter().any(|known| path.starts_with(known)));
        Ok(Self { system, mounts, resolver })
    }
}

/// Makes an empty tmpfs the root, and moves the host's to [`HOST`].
fn pivot() -> Result<(), Failure> {
    make_private().during(Stage::Mount, || "make all mounts private".to_owned())?;
    let staging = Path::new(STAGING);
    tmpfs(staging, HARMLESS, "mode=0755")?;
    let host = staging.join(&HOST[1..]);
    fs::create_dir(&host).during(Stage::Mount, || format!("create {}", host.display()))?;
    pivot_root(staging, &host)
        .during(Stage::Mount, || "make the new root the root (pivot_root)".to_owned())?;
    chdir("/").during(Stage::Mount, || "enter the new root".to_owned())
}

/// Mounts a `/proc` of the new PID namespace.
///
/// Read-only, since in mode [`Root`](super::Mode::Root) the steps' user owns the host's `/proc/sys` and
/// `/proc/sysrq-trigger`, and needs no capability to write what it owns. Open files in `/proc/self/fd` are not
/// affected.
fn mount_proc() -> Result<(), Failure> {
    create_directory(Path::new("/proc"))?;
    mount(Some("proc"), "/proc", Some("proc"), HARMLESS | MsFlags::MS_NOEXEC, None::<&str>)
        .during(Stage::Proc, || "mount a fresh /proc".to_owned())?;
    restrict(Path::new("/proc"), READ_ONLY)
}

fn make_devices() -> Result<(), Failure> {
    create_directory(Path::new("/dev"))?;
    for name in DEVICES {
        let path = Path::new("/dev").join(name);
        create_file(&path)?;
        // Read-only keeps the node's mode and owner, which are the host's, from change; the device can be written.
        let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
        bind(&on_host(&path), &path, flags)?;
    }
    for (name, target) in [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")]
    {
        symlink(target, Path::new("/dev").join(name))
            .during(Stage::Mount, || format!("create symlink /dev/{name}"))?;
    }
    Ok(())
}

fn make_temporary(size: Option<u64>) -> Result<(), Failure> {
    let size = size.map(|bytes| format!(",size={bytes}")).unwrap_or_default();
    for (path, options) in [("/dev/shm", "mode=1777".to_owned()), ("/tmp", format!("mode=1777{size}"))] {
        create_directory(Path::new(path))?;
        tmpfs(Path::new(path), HARMLESS, &options)?;
    }
    Ok(())
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
    if kind.is_dir() {
        return tmpfs(path, READ_ONLY, "mode=0555,size=4k");
    }
    if kind.is_symlink() {
        // A mount would cover what the symlink points to and leave the symlink.
        return Err(Errno::ELOOP).during(Stage::Input, operation);
    }
    let empty = Path::new(EMPTY);
    create_file(empty)?;
    bind(empty, path, READ_ONLY)?;
    // The mount keeps the file; the root loses its name.
    fs::remove_file(empty).during(Stage::Mount, operation)
}

/// Lets go of the host's root, and makes ours read-only.
fn leave_host() -> Result<(), Failure> {
    umount2(HOST, MntFlags::MNT_DETACH).during(Stage::Mount, || "unmount the host's root".to_owned())?;
    fs::remove_dir(HOST).during(Stage::Mount, || format!("remove {HOST}"))?;
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | READ_ONLY;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
        .during(Stage::Mount, || "make the root read-only".to_owned())
}

/// Binds a path of the host, with a mount point of its kind.
fn bind_host(source: &Path, to: &Path, flags: MsFlags) -> Result<(), Failure> {
    let source = on_host(source);
    let metadata =
        fs::metadata(&source).during(Stage::Input, || format!("find the source of {}", to.display()))?;
    if metadata.is_dir() {
        create_directory(to)?;
    } else {
        if let Some(parent) = to.parent() {
            create_directory(parent)?;
        }
        create_file(to)?;
    }
    bind(&source, to, flags)
}

fn on_host(path: &Path) -> PathBuf {
    Path::new(HOST).join(path.strip_prefix("/").unwrap_or(path))
}

fn create_directory(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).during(Stage::Mount, || format!("create mount point {}", path.display()))
}

fn create_file(path: &Path) -> Result<(), Failure> {
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result.map(drop).during(Stage::Mount, || format!("create mount point {}", path.display())),
    }
}
