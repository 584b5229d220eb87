//! `/proc`, `/dev` and `/tmp`.

use std::os::unix::fs::symlink;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use super::Root;
use super::failure::{During, Failure, SetupPart};
use super::identity::group_on_host;
use super::mount_points::{directory, file};
use super::mounts::{HARMLESS, READ_ONLY};
use super::mounts::{bind, restrict, tmpfs};
use super::reserved::on_host;

/// Devices without state and without power over the host.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Files of `/proc` about the host's kernel, or about more than the steps' processes.
const HIDDEN: [&str; 8] =
    ["config.gz", "kcore", "key-users", "keys", "kmsg", "sched_debug", "sysrq-trigger", "timer_list"];

/// Options of terminals: any user may have one, and it belongs to the group `tty`.
const TERMINALS: &str = "newinstance,ptmxmode=0666,mode=0620";

/// The group `tty`, which has this number everywhere.
const TTY: u32 = 5;

/// Mounts a `/proc` of the new PID namespace.
///
/// Read-only: some settings of the host need no capability but only the right user. Open files in `/proc/self/fd` are not affected.
pub(super) fn mount_proc() -> Result<(), Failure> {
    directory(Path::new("/proc"))?;
    mount(Some("proc"), "/proc", Some("proc"), HARMLESS | MsFlags::MS_NOEXEC, None::<&str>)
        .during(SetupPart::Proc, || "mount a fresh /proc".to_owned())?;
    restrict(Path::new("/proc"), READ_ONLY)?;
    HIDDEN.iter().try_for_each(|name| hide(&Path::new("/proc").join(name)))
}

/// Covers a file with an empty one. Some kernels lack some of them.
fn hide(path: &Path) -> Result<(), Failure> {
    match mount(Some(&on_host(Path::new("/dev/null"))), path, None::<&str>, MsFlags::MS_BIND, None::<&str>) {
        Err(Errno::ENOENT) => Ok(()),
        result => result.during(SetupPart::Mount, || format!("hide {}", path.display())),
    }
}

/// `shifted`: whether this process is outside of the steps' user namespace, where groups have other numbers.
pub(super) fn make_devices(root: &Root, shifted: bool) -> Result<(), Failure> {
    directory(Path::new("/dev"))?;
    for name in DEVICES {
        let path = Path::new("/dev").join(name);
        file(&path)?;
        // Read-only protects the node's mode and owner, which are the host's; the device can still be written.
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
    // Terminals are devices: this is the only mount that allows them.
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    let options = format!("{TERMINALS},gid={group}");
    mount(Some("devpts"), "/dev/pts", Some("devpts"), flags, Some(&*options))
        .during(SetupPart::Mount, || "mount terminals on /dev/pts".to_owned())?;
    link("pts/ptmx", "ptmx")
}

fn link(target: &str, name: &str) -> Result<(), Failure> {
    symlink(target, Path::new("/dev").join(name))
        .during(SetupPart::Mount, || format!("create symlink /dev/{name}"))
}

pub(super) fn make_temporary(size: Option<u64>) -> Result<(), Failure> {
    let size = size.map(|bytes| format!(",size={bytes}")).unwrap_or_default();
    for path in ["/dev/shm", "/tmp"] {
        directory(Path::new(path))?;
        tmpfs(Path::new(path), HARMLESS, &format!("mode=1777{size}"))?;
    }
    Ok(())
}
