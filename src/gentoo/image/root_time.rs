//! Sets the modification time of an image's root directory.
//!
//! mksquashfs 4.5 ignores `-root-time` for archives and uses the current time, so equal archives would give different images.
//! The superblock names the root inode, and the inode table is stored uncompressed for this purpose.
//! (Format: `Documentation/filesystems/squashfs.rst` and `fs/squashfs/squashfs_fs.h` of Linux.)

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// The magic number of squashfs, "hsqs", little-endian.
const MAGIC: u32 = 0x7371_7368;

/// Offsets in the superblock: the reference of the root inode, and the start of the inode table.
const ROOT_INODE: u64 = 32;
const INODE_TABLE: u64 = 64;

/// Tables consist of blocks of this size. Each has a two-byte header with its stored length and this bit if it is
/// uncompressed.
const BLOCK: u64 = 8192;
const UNCOMPRESSED: u16 = 1 << 15;

/// The offset of the time in an inode, after type, mode, owner and group.
const TIME: u64 = 8;

/// Sets the time of the root directory, in seconds since 1970.
pub(super) fn set(image: &File, time: u32) -> io::Result<()> {
    let unknown = || io::Error::other("the image is not as mksquashfs makes them");
    let number = |at| {
        let mut bytes = [0; 8];
        image.read_exact_at(&mut bytes, at).map(|()| u64::from_le_bytes(bytes))
    };
    let mut magic = [0; 4];
    image.read_exact_at(&mut magic, 0)?;
    if u32::from_le_bytes(magic) != MAGIC {
        return Err(unknown());
    }
    let (root, table) = (number(ROOT_INODE)?, number(INODE_TABLE)?);
    let block = table.checked_add(root >> 16).ok_or_else(unknown)?;
    for (byte, value) in (0..).zip(time.to_le_bytes()) {
        let mut at = (root & 0xffff) + TIME + byte;
        let mut block = block;
        if at >= BLOCK {
            block = block.checked_add(BLOCK + 2).ok_or_else(unknown)?;
            at -= BLOCK;
        }
        let mut head = [0; 2];
        image.read_exact_at(&mut head, block)?;
        let head = u16::from_le_bytes(head);
        if head & UNCOMPRESSED == 0 || u64::from(head & !UNCOMPRESSED) <= at {
            return Err(unknown());
        }
        image.write_all_at(&[value], block + 2 + at)?;
    }
    Ok(())
}
