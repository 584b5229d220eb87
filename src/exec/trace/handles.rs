//! File handles, which identify directories in the events of copies: see `name_to_handle_at(2)`.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::libc;

/// The largest size of a handle, `MAX_HANDLE_SZ`.
const MAX: usize = 128;

/// A handle: its type and its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Handle {
    pub(super) kind: i32,
    pub(super) bytes: Box<[u8]>,
}

/// `struct file_handle`, with room for any handle.
#[repr(C)]
struct Buffer {
    length: u32,
    kind: i32,
    bytes: [u8; MAX],
}

/// The handle of what is at a path below a directory; of the directory itself, if the path is empty.
pub(super) fn handle(dir: impl AsFd, path: &CStr) -> nix::Result<Handle> {
    let mut buffer = Buffer { length: 128, kind: 0, bytes: [0; MAX] };
    let mut mount = 0;
    // SAFETY: `path` ends in a NUL. `buffer` begins like the kernel's structure, followed by as many bytes as `length` says; no
    // more are written. All outlive the call.
    let result = unsafe {
        libc::name_to_handle_at(
            dir.as_fd().as_raw_fd(),
            path.as_ptr(),
            (&raw mut buffer).cast(),
            &raw mut mount,
            libc::AT_EMPTY_PATH,
        )
    };
    Errno::result(result)?;
    let length = usize::try_from(buffer.length).map_err(|_| Errno::EOVERFLOW)?;
    let bytes = buffer.bytes.get(..length).ok_or(Errno::EOVERFLOW)?;
    Ok(Handle { kind: buffer.kind, bytes: bytes.into() })
}
