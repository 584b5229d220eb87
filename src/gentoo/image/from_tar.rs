//! A stage3's tarball as an image, without a tree between the two.
//!
//! The archive passes by here on its way to the program that packs it, and each entry is looked at: what would be refused in
//! unpacking is refused here. Nothing is made on the host but the image, so that owners, device nodes and capabilities are
//! right without any privilege, and packing goes on while the archive is decompressed, which is what takes the time.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Stdio};

use super::pack::{finish, packer, temporary};
use super::{ImageError, root_time};
use crate::gentoo::unpack::{Entries, Entry, Kind, Limits, Stages, UnpackError, Unpacked, bad, decompressed};

/// How much may come before the root's own entry, in bytes: its headers.
const MAX_HEAD: usize = 2 << 20;

/// Why a tarball could not be made into an image.
#[derive(Debug, thiserror::Error)]
pub enum FromTarError {
    /// The tarball's fault.
    #[error(transparent)]
    Archive(#[from] UnpackError),
    /// This machine's.
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// Packs what a `.tar.xz` holds as an image at `to`. The same archive gives the same image. Nothing is at `to` before it is
/// whole.
pub fn from_tar_xz(
    archive: File,
    to: &Path,
    limits: Limits,
    processors: usize,
) -> Result<Unpacked, FromTarError> {
    let temporary = temporary(to);
    let packed = decompressed(archive, |stream| run(stream, &temporary, limits, processors));
    let kept = packed.and_then(|unpacked| {
        let keep = File::open(&temporary).and_then(|file| file.sync_all());
        keep.and_then(|()| fs::rename(&temporary, to)).map_err(ImageError::at("keep", to))?;
        Ok(unpacked)
    });
    if kept.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    kept
}

fn run(mut stream: Stages, to: &Path, limits: Limits, processors: usize) -> Result<Unpacked, FromTarError> {
    let (head, [mode, uid, gid, time]) = root(&mut stream)?;
    let mut packer = packer(Path::new("-"), to, processors);
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
        Ok(unpacked) => {
            finish(Path::new("the tarball"), status, &said)?;
            let image = File::options().read(true).write(true).open(to);
            let time = u32::try_from(time).unwrap_or(u32::MAX);
            image.and_then(|image| root_time::set(&image, time)).map_err(ImageError::at("finish", to))?;
            Ok(unpacked)
        }
        Err(UnpackError::Archive(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            Err(finish(Path::new("the tarball"), status, &said)
                .err()
                .map_or(UnpackError::Archive(error).into(), Into::into))
        }
        Err(error) => Err(error.into()),
    }
}

/// Mode, owner, group and time of the root's directory, which tar has as the first entry and the program leaves out; and
/// what has been read of the stream.
fn root(stream: &mut Stages) -> Result<(Vec<u8>, [i64; 4]), UnpackError> {
    let mut head = Head { from: stream, held: Vec::new() };
    let mut archive = tar::Archive::new(&mut head);
    let mut entries = Entries::new(&mut archive).map_err(UnpackError::Archive)?;
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

fn walk<R: Read>(mut tee: Tee<R>, limits: Limits) -> Result<Unpacked, UnpackError> {
    let mut archive = tar::Archive::new(&mut tee);
    let mut entries = Entries::new(&mut archive).map_err(UnpackError::Archive)?;
    let (mut seen, mut done, mut buffer) = (HashMap::new(), Unpacked::default(), vec![0; 256 << 10]);
    while let Some(mut entry) = entries.next()? {
        done.count(&entry, limits)?;
        fits(&entry, &seen)?;
        let mut left = entry.size;
        while left > 0 {
            let read = entry.content.read(&mut buffer).map_err(UnpackError::Archive)?;
            if read == 0 {
                return Err(bad(&entry.name, "is cut off"));
            }
            left = left.saturating_sub(read as u64);
        }
        seen.insert(entry.path, entry.kind == Kind::Directory);
    }
    // What is behind the end belongs to the file, and is believed to be padding.
    let mut rest = vec![0; 64 << 10];
    loop {
        match tee.read(&mut rest) {
            Ok(0) => return Ok(done),
            Ok(_) => {}
            Err(error) => return Err(UnpackError::Archive(error)),
        }
    }
}

/// Whether an entry is where it could be in a tree: below directories, and once.
fn fits(entry: &Entry<'_>, seen: &HashMap<PathBuf, bool>) -> Result<(), UnpackError> {
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
mod tests {
    use std::process::Command;

    use super::*;
    use crate::gentoo::image::tests::{apart, mount_small};
    use crate::gentoo::unpack::tests::{Archive, described, hostile, make_root};

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Makes an image of an archive, and gives the directory in which nothing but that is then.
    fn image(archive: &[u8]) -> (tempfile::TempDir, Result<Unpacked, FromTarError>) {
        let dir = tempfile::tempdir().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(archive).unwrap();
        io::Seek::rewind(&mut file).unwrap();
        let made = from_tar_xz(file, &dir.path().join("image"), Limits::default(), 2);
        (dir, made)
    }

    #[test]
    fn an_image_holds_what_the_archive_does() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (root, archive) = (dir.path().join("root"), dir.path().join("root.tar.xz"));
        make_root(&root);
        let status = Command::new("tar")
            .args(["--numeric-owner", "--sort=name", "--xattrs", "--xattrs-include=*", "-C"])
            .arg(&root)
            .arg("-cJf")
            .arg(&archive)
            .arg(".")
            .status()
            .unwrap();
        assert!(status.success());
        let images = ["one", "other"].map(|name| dir.path().join(name));
        for (image, processors) in images.iter().zip([1, 4]) {
            from_tar_xz(File::open(&archive).unwrap(), image, Limits::default(), processors).unwrap();
            // The time of the day is to make no difference.
            std::thread::sleep(std::time::Duration::from_millis(1100));
        }
        assert!(fs::read(&images[0]).unwrap() == fs::read(&images[1]).unwrap());
        let at = dir.path().join("at");
        let unpacked = Command::new("unsquashfs")
            .args(["-quiet", "-no-progress", "-d"])
            .args([&at, &images[0]])
            .status();
        assert!(unpacked.unwrap().success());
        let (ours, theirs) = (described(&at, true), described(&root, true));
        for (path, text) in &theirs {
            assert_eq!(ours.get(path), Some(text), "{}", path.display());
        }
        assert_eq!(ours.len(), theirs.len());
    }

    #[test]
    fn hostile_archives_make_no_image() {
        for (problem, archive) in hostile() {
            let (dir, made) = image(&packed(&archive.bytes()));
            let error = made.expect_err(problem);
            assert!(matches!(error, FromTarError::Archive(UnpackError::Entry { .. })), "{problem}: {error}");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "{problem}");
        }
        let twice = Archive::new().file("f", b"one").file("f", b"two");
        assert!(image(&packed(&twice.bytes())).1.unwrap_err().to_string().contains("there twice"));
    }

    #[test]
    fn what_is_cut_off_makes_no_image() {
        let whole = packed(&Archive::new().dir("./").file("f", &vec![b'x'; 3_000_000]).bytes());
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        for archive in [&whole[..whole.len() / 2], &flipped, b"<html>", b""] {
            let (dir, made) = image(archive);
            assert!(made.is_err());
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        }
        let (dir, made) = image(&whole);
        assert_eq!(made.unwrap().bytes, 3_000_000);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_disk_that_is_full_leaves_no_image() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let mut random = vec![0; 6_000_000];
        File::open("/dev/urandom").unwrap().read_exact(&mut random).unwrap();
        let archive = packed(&Archive::new().dir("./").file("f", &random).bytes());
        let small = tempfile::tempdir().unwrap();
        apart(|| {
            mount_small(small.path());
            let mut file = tempfile::tempfile_in("/var/tmp").unwrap();
            file.write_all(&archive).unwrap();
            io::Seek::rewind(&mut file).unwrap();
            let to = small.path().join("image");
            let error = from_tar_xz(file, &to, Limits::default(), 2).unwrap_err().to_string();
            assert!(error.contains("space"), "{error}");
            assert_eq!(fs::read_dir(small.path()).unwrap().count(), 0);
        });
    }
}
