//! Hashing one open file.
//!
//! Files are read, not mapped: a source tree may change at any moment, and a mapped file that is cut short kills
//! the process.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};

use crate::digest::Digest;

/// The size of each thread's buffer. Most files of a source tree fit, and are read and hashed in one go.
const BUFFER: usize = 256 * 1024;

/// From this size on, a file is worth the cores of the other threads.
const LARGE: u64 = 8 * 1024 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The digest of what is left to read in the file, and how many bytes that is. `size` is what its stat says.
pub(super) fn hash_file(mut file: File, size: u64) -> io::Result<(Digest, u64)> {
    if size >= LARGE {
        return hash_large(file);
    }
    SCRATCH.with_borrow_mut(|buffer| {
        buffer.resize(BUFFER, 0);
        let first = fill(&mut file, buffer, size)?;
        // A file that ends within the buffer is hashed in one go, which is the fastest way.
        if first < buffer.len() {
            return Ok((Digest::of_bytes(&buffer[..first]), first as u64));
        }
        let mut hasher = blake3::Hasher::new();
        let mut filled = first;
        while filled > 0 {
            hasher.update(&buffer[..filled]);
            filled = fill(&mut file, buffer, u64::MAX)?;
        }
        Ok((Digest::from_bytes(*hasher.finalize().as_bytes()), hasher.count()))
    })
}

/// Reads until the buffer is full or the file ends. A file that is as long as expected costs a single read: its end
/// is not asked for, since its stat says where that is.
fn fill(file: &mut File, buffer: &mut [u8], expected: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if filled as u64 == expected {
            break;
        }
    }
    Ok(filled)
}

/// Rayon may run other work of this thread while it hashes, so the thread's buffer must not be in use here.
fn hash_large(mut file: File) -> io::Result<(Digest, u64)> {
    let mut buffer = vec![0; 2 * 1024 * 1024];
    let mut hasher = blake3::Hasher::new();
    loop {
        match fill(&mut file, &mut buffer, u64::MAX)? {
            0 => break,
            filled => hasher.update_rayon(&buffer[..filled]),
        };
    }
    Ok((Digest::from_bytes(*hasher.finalize().as_bytes()), hasher.count()))
}

#[cfg(test)]
mod tests {
    use std::io::Seek;

    use super::*;

    #[test]
    fn every_size_has_the_plain_digest() {
        for size in [0, 1, BUFFER - 1, BUFFER, BUFFER + 1, 3 * BUFFER, 9 * 1024 * 1024 + 5] {
            let content: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let mut file = tempfile::tempfile().unwrap();
            io::Write::write_all(&mut file, &content).unwrap();
            // The size a stat told may be wrong by the time the file is read.
            for expected in [size as u64, size as u64 + 7] {
                file.rewind().unwrap();
                let (digest, count) = hash_file(file.try_clone().unwrap(), expected).unwrap();
                assert_eq!((digest, count), (Digest::of_bytes(&content), size as u64));
            }
        }
    }
}
