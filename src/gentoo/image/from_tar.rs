//! A stage3's tarball as an image, without a tree between the two.
//!
//! The archive passes by here on its way to the program that packs it, and each entry is looked at: what no
//! stage3 holds is refused. Nothing is made on the host but the image, so that owners, device nodes and capabilities are
//! right without any privilege, and packing goes on while the archive is decompressed, which is what takes the time.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Stdio};

use super::archive::{ArchiveError, Contents, Limits, bad};
use super::entry::{Entries, Entry, Kind};
use super::pack::{command, finish, temporary};
use super::stream::{Stages, decompressed};
use super::{ImageError, root_time};

/// How much may come before the root's own entry, in bytes: its headers.
const MAX_HEAD: usize = 2 << 20;

/// Why a tarball could not be made into an image.
#[derive(Debug, thiserror::Error)]
pub enum FromTarError {
    /// The tarball's fault.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// This machine's.
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// Packs what a `.tar.xz` holds as an image at `to`. The same archive gives the same image. Nothing is at `to` before it is
/// whole.
pub fn from_tar_xz(
    archive: impl Read + Send,
    to: &Path,
    limits: Limits,
    processors: usize,
) -> Result<Contents, FromTarError> {
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

fn run(mut stream: Stages, to: &Path, limits: Limits, processors: usize) -> Result<Contents, FromTarError> {
    let (head, [mode, uid, gid, time]) = root(&mut stream)?;
    let mut packer = command(Path::new("-"), to, processors);
    packer.args(["-tar", "-root-mode", &format!("{mode:o}"), "-root-uid", &uid.to_string()]);
    packer.args(["-root-gid", &gid.to_string(), "-noI"]);
    packer.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let failed = |source| ImageError::Program { program: "mksquashfs", source, package: "squashfs-tools" };
    let mut child = packer.spawn().map_err(failed)?;
    let input = child.stdin.take().expect("it is piped");
    let said = child.stderr.take().expect("it is piped");
    // Its words are read meanwhile, as it would wait for a reader.
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
    // Where the program ended early, that is why the walk could not go on.
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

/// Mode, owner, group and time of the root's directory, which tar has as the first entry and the program leaves out; and
/// what has been read of the stream.
fn root(stream: &mut Stages) -> Result<(Vec<u8>, [i64; 4]), ArchiveError> {
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

/// What is read is kept.
struct Head<'a> {
    from: &'a mut Stages,
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

/// What is read is handed on.
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

fn walk<R: Read>(mut tee: Tee<R>, limits: Limits) -> Result<Contents, ArchiveError> {
    let mut archive = tar::Archive::new(&mut tee);
    let mut entries = Entries::new(&mut archive).map_err(ArchiveError::Archive)?;
    let (mut seen, mut done, mut buffer) = (HashMap::new(), Contents::default(), vec![0; 256 << 10]);
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
    // Behind the end of the archive, pixz, which Gentoo packs with, has an index of it. That is read, so that the file is known to
    // be whole, and packed by nobody: the program has ended by then, or will.
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

/// Whether an entry is where it could be in a tree: below directories, and once.
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
