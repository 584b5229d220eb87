//! What helper and init send to kiln when they fail.

use std::ffi::OsString;
use std::io;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// A failure in the helper or in init.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Failure {
    Setup {
        part: SetupPart,
        operation: String,
        errno: i32,
    },
    /// As `Setup`, with a reason that is not an error of the kernel.
    Refused {
        part: SetupPart,
        operation: String,
        reason: String,
    },
    Exec {
        step: usize,
        program: OsString,
        errno: i32,
    },
}

/// What failed: the help depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum SetupPart {
    UserNamespace,
    Namespaces,
    Proc,
    Mount,
    /// Something in the specification is missing or of the wrong type.
    Input,
    /// A link of an image leads out of the sandbox.
    Escape,
    /// An image is damaged.
    Damaged,
    /// Loop devices.
    Loop,
    /// Mounting the kernel's squashfs, and reading from it.
    Image,
    Overlay,
    FuseDevice,
    Squashfuse,
    /// `newuidmap` is missing.
    NoMapper,
    /// Tracing a tree in memory.
    Watch,
    /// Granting ids in `/etc/subuid` and `/etc/subgid`.
    Granted,
    /// The system-call filter.
    Filter,
    /// Showing files to steps that are another user.
    Owner,
    /// Showing images to steps that are another user.
    Shift,
    Other,
}

/// Turns a system call's error into a [`Failure`] that says what was tried.
pub(super) trait During<T> {
    fn during(self, part: SetupPart, operation: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, part: SetupPart, operation: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::Setup { part, operation: operation(), errno: errno(&error.into()) })
    }
}

/// An error's number. Errors without one come from damaged data.
pub(super) fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(Errno::EIO as i32)
}
