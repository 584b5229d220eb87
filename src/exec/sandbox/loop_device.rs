//! Loop devices.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

use super::loop_config::LoopConfig;
use super::raw;

/// How often another process may take the free device first.
const TRIES: usize = 64;

/// A loop device that is removed when it is closed and unmounted.
pub(super) struct LoopDevice {
    pub(super) path: PathBuf,
    /// Keeps the device until it is mounted.
    _open: File,
}

impl LoopDevice {
    /// Makes a read-only device of a file.
    pub(super) fn of(image: &File) -> io::Result<Self> {
        let control = File::options().read(true).write(true).open("/dev/loop-control")?;
        let mut last = Errno::EBUSY;
        for _ in 0..TRIES {
            let number = raw::free_loop_device(&control)?;
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let device = File::open(&path)?;
            match raw::configure_loop_device(&device, &LoopConfig::read_only(image)) {
                Ok(()) => return Ok(Self { path, _open: device }),
                Err(errno @ (Errno::EBUSY | Errno::EAGAIN)) => last = errno,
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(last.into())
    }
}
