//! Cache files that are whole, or as good as absent.
//!
//! ```text
//! magic (8 bytes) | BLAKE3 of the payload (32 bytes) | payload
//! ```
//!
//! A cache may be deleted, cut short, overwritten or left behind by another version at any time; all that may ever
//! follow is that work is done again. So reading yields either exactly what was written or a reason why not.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use crate::digest::Digest;

/// What a file must begin with: its purpose and its version.
pub(super) type Magic = [u8; 8];

/// Why a cache was of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColdReason {
    /// There is none yet.
    Absent,
    /// It cannot be read.
    Unreadable(String),
    /// Another version of kiln wrote it.
    OtherVersion,
    /// It is not as it was written.
    Damaged,
    /// It was written with other entries ignored.
    OtherOptions,
}

impl fmt::Display for ColdReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("there is none yet"),
            Self::Unreadable(why) => write!(f, "it cannot be read: {why}"),
            Self::OtherVersion => f.write_str("another version of kiln wrote it"),
            Self::Damaged => f.write_str("it is damaged"),
            Self::OtherOptions => f.write_str("it was written with other entries ignored"),
        }
    }
}

const PAYLOAD: usize = 8 + 32;

/// The bytes of a file, of which the payload is known to be good.
pub(super) struct Sealed(Vec<u8>);

impl Sealed {
    pub fn payload(&self) -> &[u8] {
        &self.0[PAYLOAD..]
    }
}

pub(super) fn read(path: &Path, magic: Magic) -> Result<Sealed, ColdReason> {
    let mut bytes = Vec::new();
    File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).map_err(|error| {
        match error.kind() {
            io::ErrorKind::NotFound => ColdReason::Absent,
            _ => ColdReason::Unreadable(error.to_string()),
        }
    })?;
    // The last two bytes of a magic are its version.
    if bytes.len() < PAYLOAD || bytes[..6] != magic[..6] {
        return Err(ColdReason::Damaged);
    }
    if bytes[..8] != magic {
        return Err(ColdReason::OtherVersion);
    }
    if bytes[8..PAYLOAD] != checksum(&bytes[PAYLOAD..]).as_bytes()[..] {
        return Err(ColdReason::Damaged);
    }
    Ok(Sealed(bytes))
}

/// Replaces the file in one step. Nothing is synced: a file that a crash has cut short fails its checksum.
pub(super) fn write(path: &Path, magic: Magic, payload: &[u8]) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    let mut file = tempfile::Builder::new().prefix(".kiln-cache-").tempfile_in(dir)?;
    file.write_all(&magic)?;
    file.write_all(checksum(payload).as_bytes())?;
    file.write_all(payload)?;
    file.persist(path)?;
    Ok(())
}

/// On all cores: the cache of a kernel tree is some megabytes, and is read before anything else can begin.
fn checksum(payload: &[u8]) -> Digest {
    Digest::from_bytes(*blake3::Hasher::new().update_rayon(payload).finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: Magic = *b"kilnts\0\x01";

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/cache");
        assert_eq!(read(&path, MAGIC).err(), Some(ColdReason::Absent));
        write(&path, MAGIC, b"payload").unwrap();
        assert_eq!(read(&path, MAGIC).ok().unwrap().payload(), b"payload");
        assert_eq!(read(&path, *b"kilnts\0\x02").err(), Some(ColdReason::OtherVersion));
        assert_eq!(read(&path, *b"kilnxx\0\x01").err(), Some(ColdReason::Damaged));
        assert!(matches!(read(dir.path(), MAGIC).err(), Some(ColdReason::Unreadable(_))));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file is left");
        let whole = fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(read(&path, MAGIC).err(), Some(ColdReason::Damaged), "cut at {cut}");
        }
    }
}
