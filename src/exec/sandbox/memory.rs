//! Trees in memory: a tmpfs of the sandbox that kiln fills before the steps start, and whose opens are traced.
//!
//! Since Linux 6.16, a process with power over a user namespace may watch mounts of file systems that were made in it. So an
//! ordinary user can't trace a source tree, but can trace a copy. Only init has the capabilities and the mount namespace to set this
//! up. It sends the directory and the events to kiln, and keeps neither.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::AT_FDCWD;
use nix::mount::{MntFlags, umount2};
use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags};

use super::MemoryTree;
use super::failure::{During, Failure, SetupPart};
use super::mount_points::directory;
use super::mounts::{HARMLESS, READ_ONLY};
use super::mounts::{bind, tmpfs};
use super::reserved::MEMORY;

/// `FAN_REPORT_DIR_FID | FAN_REPORT_NAME`: events have the handle of the directory, and the name in it.
const REPORT_DFID_NAME: InitFlags = InitFlags::from_bits_retain(0x0c00);

/// Two descriptors for each tree: its writable directory, and the events of its opens.
pub(super) fn make(trees: &[MemoryTree]) -> Result<Vec<OwnedFd>, Failure> {
    let mut made = Vec::with_capacity(trees.len() * 2);
    for tree in trees {
        let hidden = Path::new(MEMORY);
        directory(hidden)?;
        tmpfs(hidden, HARMLESS, &format!("mode=0755,size={},nr_inodes=0", tree.size))?;
        let root = File::open(hidden).during(SetupPart::Mount, || format!("open {}", hidden.display()))?;
        directory(&tree.to)?;
        bind(hidden, &tree.to, READ_ONLY)?;
        // Steps only see the read-only mount.
        umount2(hidden, MntFlags::MNT_DETACH)
            .during(SetupPart::Mount, || format!("unmount {}", hidden.display()))?;
        fs::remove_dir(hidden).during(SetupPart::Mount, || format!("remove {}", hidden.display()))?;
        made.extend([root.into(), watch(&tree.to)?]);
    }
    Ok(made)
}

/// Events of opens through the mount at a path.
fn watch(mount: &Path) -> Result<OwnedFd, Failure> {
    let flags =
        InitFlags::FAN_CLASS_NOTIF | InitFlags::FAN_CLOEXEC | InitFlags::FAN_NONBLOCK | REPORT_DFID_NAME;
    let watched = Fanotify::init(flags, EventFFlags::O_RDONLY | EventFFlags::O_CLOEXEC).and_then(|group| {
        let how = MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_MOUNT;
        group.mark(how, MaskFlags::FAN_OPEN | MaskFlags::FAN_ONDIR, AT_FDCWD, Some(mount))?;
        Ok(group.into())
    });
    watched.during(SetupPart::Watch, || format!("watch what is opened below {}", mount.display()))
}
