//! What the kernel and memory provide: `/proc`, `/dev`, `/tmp`.

use std::os::unix::fs::symlink;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use super::Root;
use super::error::{During, Failure, Stage};
use super::identity::group_on_host;
use super::mounts::{bind, restrict, tmpfs};
use super::points::{directory, file, on_host};
use super::root::{HARMLESS, READ_ONLY};

/// Devices without state and without power over the host.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// What of `/proc` tells of the host's kernel, and to whoever may read it more than of the steps.
const HIDDEN: [&str; 8] =
    ["config.gz", "kcore", "key-users", "keys", "kmsg", "sched_debug", "sysrq-trigger", "timer_list"];

/// Terminals of a sandbox: anybody may have one, and it is of the group `tty`.
const TERMINALS: &str = "newinstance,ptmxmode=0666,mode=0620";

/// The number of `tty`, which is the same everywhere.
const TTY: u32 = 5;

/// Mounts a `/proc` of the new PID namespace.
///
/// Read-only: some of the host's settings take no capability to change but the right user. Open files in
/// `/proc/self/fd` are not affected.
pub(super) fn mount_proc() -> Result<(), Failure> {
    directory(Path::new("/proc"))?;
    mount(Some("proc"), "/proc", Some("proc"), HARMLESS | MsFlags::MS_NOEXEC, None::<&str>)
        .during(Stage::Proc, || "mount a fresh /proc".to_owned())?;
    restrict(Path::new("/proc"), READ_ONLY)?;
    HIDDEN.iter().try_for_each(|name| hide(&Path::new("/proc").join(name)))
}

/// Covers a file with an empty one. Not every kernel has each.
fn hide(path: &Path) -> Result<(), Failure> {
    match mount(Some(&on_host(Path::new("/dev/null"))), path, None::<&str>, MsFlags::MS_BIND, None::<&str>) {
        Err(Errno::ENOENT) => Ok(()),
        result => result.during(Stage::Mount, || format!("hide {}", path.display())),
    }
}

/// `shifted`: whether this process is on the host, where the groups of steps have other numbers.
pub(super) fn make_devices(root: &Root, shifted: bool) -> Result<(), Failure> {
    directory(Path::new("/dev"))?;
    for name in DEVICES {
        let path = Path::new("/dev").join(name);
        file(&path)?;
        // Read-only keeps the node's mode and owner, which are the host's, from change; the device can be written.
        let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
        bind(&on_host(&path), &path, flags)?;
    }
    let links = [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")];
    for (name, target) in links {
        link(target, name)?;
    }
    match root {
        Root::Host(_) => Ok(()),
        Root::Images(_) => make_terminals(if shifted { group_on_host(TTY) } else { TTY }),
    }
}

fn make_terminals(group: u32) -> Result<(), Failure> {
    directory(Path::new("/dev/pts"))?;
    // They are devices: this one mount has to allow those.
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    let options = format!("{TERMINALS},gid={group}");
    mount(Some("devpts"), "/dev/pts", Some("devpts"), flags, Some(&*options))
        .during(Stage::Mount, || "mount terminals on /dev/pts".to_owned())?;
    link("pts/ptmx", "ptmx")
}

fn link(target: &str, name: &str) -> Result<(), Failure> {
    symlink(target, Path::new("/dev").join(name))
        .during(Stage::Mount, || format!("create symlink /dev/{name}"))
}

pub(super) fn make_temporary(size: Option<u64>) -> Result<(), Failure> {
    let size = size.map(|bytes| format!(",size={bytes}")).unwrap_or_default();
    for path in ["/dev/shm", "/tmp"] {
        directory(Path::new(path))?;
        tmpfs(Path::new(path), HARMLESS, &format!("mode=1777{size}"))?;
    }
    Ok(())
}
