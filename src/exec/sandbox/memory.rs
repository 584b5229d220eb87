//! Trees in memory: a tmpfs of the sandbox's own, which kiln fills before the steps start, and whose opens are watched.
//!
//! Since Linux 6.16 whoever rules a user namespace may watch a mount of a file system that was made in it. So an ordinary
//! user can't watch the source tree itself, but can watch a copy of it. Only init can set that up: it has the
//! capabilities, and the mount namespace. It hands the directory and the events to kiln, and keeps neither.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::AT_FDCWD;
use nix::mount::{MntFlags, umount2};
use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags};

use super::MemoryTree;
use super::error::{During, Failure, Stage};
use super::mounts::{bind, tmpfs};
use super::points::{MEMORY, directory};
use super::root::{HARMLESS, READ_ONLY};

/// `FAN_REPORT_DIR_FID | FAN_REPORT_NAME`: events tell the handle of the directory, and the name in it.
const REPORT_DFID_NAME: InitFlags = InitFlags::from_bits_retain(0x0c00);

/// Two descriptors for each tree: its directory, which can be written through, and the events of what is opened in it.
pub(super) fn make(trees: &[MemoryTree]) -> Result<Vec<OwnedFd>, Failure> {
    let mut made = Vec::with_capacity(trees.len() * 2);
    for tree in trees {
        let hidden = Path::new(MEMORY);
        directory(hidden)?;
        tmpfs(hidden, HARMLESS, &format!("mode=0755,size={},nr_inodes=0", tree.size))?;
        let root = File::open(hidden).during(Stage::Mount, || format!("open {}", hidden.display()))?;
        directory(&tree.to)?;
        bind(hidden, &tree.to, READ_ONLY)?;
        // The steps get to see the read-only mount alone.
        umount2(hidden, MntFlags::MNT_DETACH)
            .during(Stage::Mount, || format!("unmount {}", hidden.display()))?;
        fs::remove_dir(hidden).during(Stage::Mount, || format!("remove {}", hidden.display()))?;
        made.extend([root.into(), watch(&tree.to)?]);
    }
    Ok(made)
}

/// The events of what is opened through the mount there.
fn watch(mount: &Path) -> Result<OwnedFd, Failure> {
    let flags =
        InitFlags::FAN_CLASS_NOTIF | InitFlags::FAN_CLOEXEC | InitFlags::FAN_NONBLOCK | REPORT_DFID_NAME;
    let watched = Fanotify::init(flags, EventFFlags::O_RDONLY | EventFFlags::O_CLOEXEC).and_then(|group| {
        let how = MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_MOUNT;
        group.mark(how, MaskFlags::FAN_OPEN | MaskFlags::FAN_ONDIR, AT_FDCWD, Some(mount))?;
        Ok(group.into())
    });
    watched.during(Stage::Watch, || format!("watch what is opened below {}", mount.display()))
}
