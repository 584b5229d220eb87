//! Converts a stage3's tarball to an image, without unpacking it to disk.
//!
//! The archive is piped to mksquashfs, and each entry is checked on the way: entries that no stage3 has are refused. As
//! nothing is unpacked, owners, device nodes and capabilities are right without privileges.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Stdio};

use super::decompress::{ChunkReader, decompressed};
use super::entry::{Entries, Entry, Kind};
use super::limits::{ArchiveError, ArchiveTotals, Limits, bad};
use super::pack::{command, finish, temporary};
use super::{ImageError, root_time};

/// The most bytes before the end of the root's own entry: its extension headers.
const MAX_HEAD: usize = 2 << 20;

/// Why a tarball could not be converted.
#[derive(Debug, thiserror::Error)]
pub enum FromTarError {
    /// The tarball is bad.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Making the image failed on this machine.
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// Packs the content of a `.tar.xz` as an image at `to`, which appears when it is complete. Equal archives give equal images.
pub fn from_tar_xz(
    archive: impl Read + Send,
    to: &Path,
    limits: Limits,
    processors: usize,
) -> Result<ArchiveTotals, FromTarError> {
    let temporary = temporary(to);
    let packed = decompressed(archive, |stream| run(stream, &temporary, limits, processors));
    let kept = packed.and_then(|contents| {
        let keep = File::open(&temporary).and_then(|file| file.sync_all());
        keep.and_then(|()| fs::rename(&temporary, to)).map_err(ImageError::at("keep", to))?;
        Ok(contents)
    });
    if kept.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    kept
}

fn run(
    mut stream: ChunkReader,
    to: &Path,
    limits: Limits,
    processors: usize,
) -> Result<ArchiveTotals, FromTarError> {
    let (head, [mode, uid, gid, time]) = root(&mut stream)?;
    let mut packer = command(Path::new("-"), to, processors);
    packer.args(["-tar", "-root-mode", &format!("{mode:o}"), "-root-uid", &uid.to_string()]);
    packer.args(["-root-gid", &gid.to_string(), "-noI"]);
    packer.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let failed = |source| ImageError::Program { program: "mksquashfs", source, package: "squashfs-tools" };
    let mut child = packer.spawn().map_err(failed)?;
    let input = child.stdin.take().expect("it is piped");
    let said = child.stderr.take().expect("it is piped");
    // Drain stderr, so that the program can't block on it.
    let said = std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = said.take(1 << 20).read_to_end(&mut text);
        text
    });
    let walked = walk(Tee { from: io::Cursor::new(head).chain(stream), to: Some(input) }, limits);
    if walked.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(failed)?;
    let said = said.join().unwrap_or_default();
    // A program that ended early is the cause of a broken pipe.
    match walked {
        Ok(contents) => {
            finish(Path::new("the tarball"), status, &said)?;
            let image = File::options().read(true).write(true).open(to);
            let time = u32::try_from(time).unwrap_or(u32::MAX);
            image.and_then(|image| root_time::set(&image, time)).map_err(ImageError::at("finish", to))?;
            Ok(contents)
        }
        Err(ArchiveError::Archive(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            Err(finish(Path::new("the tarball"), status, &said)
                .err()
                .map_or(ArchiveError::Archive(error).into(), Into::into))
        }
        Err(error) => Err(error.into()),
    }
}

/// Mode, owner, group and time of the root directory, and the bytes read so far. The root is tar's first entry, which
/// mksquashfs ignores.
fn root(stream: &mut ChunkReader) -> Result<(Vec<u8>, [i64; 4]), ArchiveError> {
    let mut head = Head { from: stream, held: Vec::new() };
    let mut archive = tar::Archive::new(&mut head);
    let mut entries = Entries::new(&mut archive).map_err(ArchiveError::Archive)?;
    let attributes = match entries.next()? {
        Some(entry) if entry.path.as_os_str().is_empty() => {
            [i64::from(entry.mode), i64::from(entry.uid), i64::from(entry.gid), entry.modified.0.max(0)]
        }
        _ => [0o755, 0, 0, 0],
    };
    Ok((head.held, attributes))
}

/// Keeps the bytes that are read.
struct Head<'a> {
    from: &'a mut ChunkReader,
    held: Vec<u8>,
}

impl Read for Head<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.held.extend_from_slice(&buffer[..read]);
        if self.held.len() > MAX_HEAD {
            Err(io::Error::other("it has no entry at its start"))
        } else {
            Ok(read)
        }
    }
}

/// Copies the bytes that are read to the packer.
struct Tee<R> {
    from: R,
    to: Option<ChildStdin>,
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        if let Some(to) = &mut self.to {
            to.write_all(&buffer[..read])?;
        }
        Ok(read)
    }
}

fn walk<R: Read>(mut tee: Tee<R>, limits: Limits) -> Result<ArchiveTotals, ArchiveError> {
    let mut archive = tar::Archive::new(&mut tee);
    let mut entries = Entries::new(&mut archive).map_err(ArchiveError::Archive)?;
    let (mut seen, mut done, mut buffer) = (HashMap::new(), ArchiveTotals::default(), vec![0; 256 << 10]);
    while let Some(mut entry) = entries.next()? {
        done.count(&entry, limits)?;
        fits(&entry, &seen)?;
        let mut left = entry.size;
        while left > 0 {
            let read = entry.content.read(&mut buffer).map_err(ArchiveError::Archive)?;
            if read == 0 {
                return Err(bad(&entry.name, "is cut off"));
            }
            left = left.saturating_sub(read as u64);
        }
        seen.insert(entry.path, entry.kind == Kind::Directory);
    }
    // Gentoo compresses with pixz, which appends an index after the end of the archive. Read it to verify that the file is
    // complete, but do not send it to the packer.
    tee.to = None;
    let mut rest = vec![0; 64 << 10];
    loop {
        match tee.read(&mut rest) {
            Ok(0) => return Ok(done),
            Ok(_) => {}
            Err(error) => return Err(ArchiveError::Archive(error)),
        }
    }
}

/// Refuses entries below non-directories, duplicates, and hard links without a target.
fn fits(entry: &Entry<'_>, seen: &HashMap<PathBuf, bool>) -> Result<(), ArchiveError> {
    let bad = |problem: &str| Err(bad(&entry.name, problem));
    for above in entry.path.ancestors().skip(1) {
        if seen.get(above) == Some(&false) {
            return bad("passes through something that is no directory");
        }
    }
    match (seen.get(&entry.path), &entry.kind) {
        (None, _) | (Some(true), Kind::Directory) => {}
        _ => return bad("is there twice"),
    }
    if let Kind::HardLink(target) = &entry.kind {
        match seen.get(target) {
            Some(false) => {}
            Some(true) => return bad("is a hard link to a directory"),
            None => return bad("is a hard link to what is not there"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
