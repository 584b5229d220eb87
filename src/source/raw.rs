//! Every `unsafe` of this module: two system calls that no library here wraps.

use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::libc;

/// From <linux/fcntl.h>.
const F_SETSIG: libc::c_int = 10;

/// The number of the mount that an open file or directory is on, which no other mount has until the next boot. `None`
/// before Linux 6.8.
pub(super) fn unique_mount_id(fd: impl AsFd) -> Option<u64> {
    let mut statx = MaybeUninit::<libc::statx>::zeroed();
    let (flags, wanted) = (libc::AT_EMPTY_PATH, libc::STATX_MNT_ID_UNIQUE);
    // SAFETY: the path is an empty text with its NUL, and the structure outlives the call, which fills it.
    let result =
        unsafe { libc::statx(fd.as_fd().as_raw_fd(), c"".as_ptr(), flags, wanted, statx.as_mut_ptr()) };
    Errno::result(result).ok()?;
    // SAFETY: it is of integers alone, and all of it was set: to zero, and then by the kernel.
    let statx = unsafe { statx.assume_init() };
    (statx.stx_mask & wanted != 0).then_some(statx.stx_mnt_id)
}

/// Takes a read lease on a file, and gives it back at once. The kernel refuses it with `EAGAIN` while anybody has the file
/// open, or mapped, for writing; and for other reasons, such as that the file is somebody else's.
pub(super) fn try_read_lease(file: &File) -> nix::Result<()> {
    let fcntl = |command: libc::c_int, argument: libc::c_int| {
        // SAFETY: these commands take an integer and touch no memory of ours.
        Errno::result(unsafe { libc::fcntl(file.as_raw_fd(), command, argument) }).map(drop)
    };
    // Who opens the file for writing in this moment has a signal sent to us: one that is ignored by default, where the
    // usual one would end the process.
    fcntl(F_SETSIG, libc::SIGURG)?;
    fcntl(libc::F_SETLEASE, libc::F_RDLCK)?;
    fcntl(libc::F_SETLEASE, libc::F_UNLCK)
}
