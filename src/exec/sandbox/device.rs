//! A file as a block device.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use nix::errno::Errno;

use super::raw;

// From <linux/loop.h>.
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

/// How often another process may take the device that was free a moment ago.
const TRIES: usize = 64;

/// `struct loop_config`, with `struct loop_info64` in it.
#[repr(C)]
pub(super) struct Config {
    fd: u32,
    block_size: u32,
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
    reserved: [u64; 8],
}

/// A loop device that goes when it is closed and nothing is mounted from it any more.
pub(super) struct Device {
    pub(super) path: PathBuf,
    /// Keeps it until it is mounted.
    _open: File,
}

impl Device {
    /// A read-only device of a file.
    pub(super) fn of(image: &File) -> io::Result<Self> {
        let control = File::options().read(true).write(true).open("/dev/loop-control")?;
        let mut last = Errno::EBUSY;
        for _ in 0..TRIES {
            let number = raw::free_loop_device(&control)?;
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let device = File::open(&path)?;
            match raw::configure_loop_device(&device, &Config::read_only(image)) {
                Ok(()) => return Ok(Self { path, _open: device }),
                Err(errno @ (Errno::EBUSY | Errno::EAGAIN)) => last = errno,
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(last.into())
    }
}

impl Config {
    fn read_only(image: &File) -> Self {
        Self {
            fd: image.as_raw_fd().cast_unsigned(),
            block_size: 0,
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            size_limit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR,
            file_name: [0; 64],
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
            reserved: [0; 8],
        }
    }
}

// What the kernel takes 304 bytes of.
const _: () = assert!(size_of::<Config>() == 304);
