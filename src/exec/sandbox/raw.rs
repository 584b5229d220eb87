//! All `unsafe` code of the sandbox, each with the reason why it is sound.
//!
//! All of this runs in the helper or in init, which have a single thread.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, clone};
use nix::unistd::{ForkResult, Pid, dup2_raw};

use super::loop_config::LoopConfig;

/// Forks the helper.
pub(super) fn fork() -> nix::Result<ForkResult> {
    // SAFETY: a forked child must not use locks that a thread which no longer exists was holding, such as the allocator's. The
    // helper has never had a second thread.
    unsafe { nix::unistd::fork() }
}

/// Starts a process in its own user namespace, which ends when the other end of the pipe is closed everywhere.
pub(super) fn wait_in_user_namespace(reader: &OwnedFd, writer: &OwnedFd) -> nix::Result<Pid> {
    let mut stack = [0; 16 << 10];
    let wait = || {
        // SAFETY: this is the child's own copy of the descriptor table; nothing here drops the value.
        unsafe { libc::close(writer.as_raw_fd()) };
        while nix::unistd::read(reader, &mut [0]) == Err(Errno::EINTR) {}
        0
    };
    // SAFETY: as for `fork`; the child makes two system calls, on a stack that is large enough for them.
    unsafe { clone(Box::new(wait), &mut stack, CloneFlags::CLONE_NEWUSER, Some(libc::SIGCHLD)) }
}

/// A copy of the mount that shows `path`, and of those below it, attached nowhere.
pub(super) fn open_tree(path: &CStr) -> nix::Result<OwnedFd> {
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_RECURSIVE as libc::c_uint;
    // SAFETY: the path ends with a NUL byte and outlives the call, which returns a new descriptor or an error.
    let result = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) };
    let fd = Errno::result(result)?;
    Ok(own(RawFd::try_from(fd).expect("descriptors are small")))
}

/// Adds attributes to a mount and to all below it.
pub(super) fn set_mount_attributes(tree: &OwnedFd, attributes: &libc::mount_attr) -> nix::Result<()> {
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    // SAFETY: path and attributes outlive the call, which is told the size of the latter and only reads them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const *attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    Errno::result(result).map(drop)
}

/// Attaches the result of [`open_tree`].
pub(super) fn move_mount(tree: &OwnedFd, to: &CStr) -> nix::Result<()> {
    // SAFETY: both paths end with a NUL byte and outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            to.as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH,
        )
    };
    Errno::result(result).map(drop)
}

/// Takes ownership of a descriptor that the kernel has just made for us.
pub(super) fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: callers pass the result of `recvmsg`, `open_tree` or `fcntl(F_DUPFD_CLOEXEC)`, once: it is open, and nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Makes `target` a copy of `fd` that survives `exec`.
pub(super) fn place(fd: impl AsFd, target: RawFd) -> nix::Result<()> {
    // SAFETY: this would be unsound if some value owned `target`, which would then refer to another file. Callers have moved all
    // descriptors that they own above the highest target, and closed all others.
    let placed = unsafe { dup2_raw(fd, target) }?;
    // It stays open under its number, without an owner.
    let _ = placed.into_raw_fd();
    Ok(())
}

/// Gives all signals their default action, whatever kiln's parent chose: a step that ignored SIGINT because kiln was started by
/// `nohup` or in a shell's background would behave differently.
pub(super) fn reset_signals() {
    // SIGPIPE stays ignored in helper and init, which notice closed sockets by `EPIPE`; the standard library restores it in what they
    // execute.
    for signal in (1..=libc::SIGRTMAX()).filter(|&signal| signal != libc::SIGPIPE) {
        // SAFETY: this installs no handler. It fails for SIGKILL, SIGSTOP and the two signals of the C library, none of which needs it.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Sets the NIS domain name, which `uname` reports beside the host name.
pub(super) fn set_domain_name(name: &str) -> io::Result<()> {
    // SAFETY: pointer and length describe `name`, which outlives the call.
    let result = unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) };
    Errno::result(result).map(drop).map_err(io::Error::from)
}

// From <linux/loop.h>.
const LOOP_CONFIGURE: u64 = 0x4C0A;
const LOOP_CTL_GET_FREE: u64 = 0x4C82;

nix::ioctl_none_bad!(get_free, LOOP_CTL_GET_FREE);
nix::ioctl_write_ptr_bad!(configure, LOOP_CONFIGURE, LoopConfig);

/// The number of a free loop device. `control` is `/dev/loop-control`.
pub(super) fn free_loop_device(control: &File) -> nix::Result<i32> {
    // SAFETY: this request has no argument.
    unsafe { get_free(control.as_raw_fd()) }
}

/// Attaches a file to a loop device.
pub(super) fn configure_loop_device(device: &File, config: &LoopConfig) -> nix::Result<()> {
    // SAFETY: the structure has the layout of the kernel's, and outlives the call, which only reads it.
    unsafe { configure(device.as_raw_fd(), &raw const *config) }.map(drop)
}
