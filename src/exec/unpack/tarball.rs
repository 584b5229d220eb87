//! Writes the files of a tarball.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufReader, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};
use tar::EntryType;

use super::error::At;
use super::tree::{FileWriter, Written, make_dir, time};
use super::{UnpackError, Unpacking};
use crate::digest::Digest;
use crate::source::{MAX_DEPTH, TreeBuilder};
use crate::spec::model::TarballDigest;

impl Unpacking<'_> {
    /// Writes the files of a tarball to the directory `to`, without the first `strip` components of their paths.
    pub(super) fn tarball(
        &self,
        path: &Path,
        digest: &TarballDigest,
        strip: u32,
        to: &Path,
    ) -> Result<Written, UnpackError> {
        check(path, digest)?;
        let reader = decompressed(path).at(path)?;
        let tree = self.extract(reader, path, to, strip as usize)?;
        Ok(Written { tree, notes: Vec::new() })
    }

    /// Extracts files, directories and symlinks. Names in an archive are not trusted: none may lead out of the tree, by itself or
    /// through a link that came before.
    fn extract(
        &self,
        reader: impl Read,
        archive: &Path,
        to: &Path,
        strip: usize,
    ) -> Result<TreeBuilder, UnpackError> {
        let mut tree = TreeBuilder::default();
        let mut dirs = Vec::new();
        let mut tar = tar::Archive::new(reader);
        for entry in tar.entries().at(archive)? {
            self.check_cancelled()?;
            let mut entry = entry.at(archive)?;
            let name = entry.path().at(archive)?.into_owned();
            let refuse = |problem| UnpackError::Entry {
                from: archive.to_owned(),
                entry: name.display().to_string(),
                problem,
            };
            let kind = entry.header().entry_type();
            if matches!(kind, EntryType::XGlobalHeader | EntryType::XHeader) {
                continue;
            }
            if !(kind.is_file() || kind.is_dir() || kind.is_symlink() || kind.is_hard_link()) {
                return Err(refuse("is a special file"));
            }
            let path = stripped(&name, strip).ok_or_else(|| refuse("leads out of the tree"))?;
            if path.as_os_str().is_empty() {
                continue;
            }
            if path.components().count() > MAX_DEPTH {
                return Err(refuse("is too many directories deep"));
            }
            let parent = path.parent().unwrap_or(Path::new(""));
            // This needs no look at the disk: no directory on the way is a link.
            tree.dir(parent).map_err(|_| refuse("passes through a symlink or a file"))?;
            make_dirs(to, parent).at(archive)?;
            let at = to.join(&path);
            let modified =
                time(entry.header().mtime().ok().and_then(|time| time.try_into().ok()).unwrap_or(0));
            if kind.is_dir() {
                tree.dir(&path).map_err(|_| refuse("is a directory in the place of a file"))?;
                make_dirs(to, &path).at(archive)?;
                dirs.push((at, modified));
                continue;
            }
            // A later entry of the same name replaces an earlier one.
            match fs::remove_file(&at) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(_) => return Err(refuse("is in the place of a directory")),
                Ok(()) => {}
            }
            let added = if kind.is_symlink() {
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                let target = OsStr::from_bytes(&target);
                symlink(target, &at).at(&at)?;
                tree.symlink(&path, target)
            } else if kind.is_hard_link() {
                let target = entry.link_name().at(archive)?.unwrap_or_default().into_owned();
                let target =
                    stripped(&target, strip).ok_or_else(|| refuse("is a hard link out of the tree"))?;
                let (real, root) = (fs::canonicalize(to.join(&target)).ok(), fs::canonicalize(to).at(to)?);
                let real = real.filter(|real| real.starts_with(&root) && real.is_file());
                let real = real.ok_or_else(|| refuse("is a hard link out of the tree"))?;
                let executable = is_executable(&real).at(&real)?;
                let file = File::open(&real).at(&real)?;
                let (size, digest) = copy(file, &at, executable, modified).at(&at)?;
                tree.file(&path, executable, size, digest)
            } else {
                let executable = entry.header().mode().at(archive)? & 0o111 != 0;
                let (size, digest) = copy(&mut entry, &at, executable, modified).at(&at)?;
                tree.file(&path, executable, size, digest)
            };
            added.map_err(|_| refuse("passes through a symlink or a file"))?;
        }
        // Last: writing into a directory changes its time.
        for (dir, modified) in dirs {
            File::open(&dir).and_then(|dir| dir.set_modified(modified)).at(&dir)?;
        }
        Ok(tree)
    }
}

/// A path in an archive without its first components; `None` if it leads out.
fn stripped(path: &Path, strip: usize) -> Option<PathBuf> {
    if path.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
        return None;
    }
    Some(path.components().filter(|part| *part != Component::CurDir).skip(strip).collect())
}

/// Makes a directory and its parents.
fn make_dirs(to: &Path, path: &Path) -> io::Result<()> {
    let mut at = to.to_owned();
    for part in path.components() {
        at.push(part);
        match make_dir(&at) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => made?,
        }
    }
    Ok(())
}

fn copy(mut from: impl Read, to: &Path, executable: bool, modified: SystemTime) -> io::Result<(u64, Digest)> {
    let mut file = FileWriter::create(to, executable)?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return file.finish(modified),
            Ok(count) => file.write(&buffer[..count])?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn is_executable(path: &Path) -> io::Result<bool> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o111 != 0)
}

/// The digest is computed in a pass of its own: nothing of the wrong tarball is parsed.
fn check(path: &Path, wanted: &TarballDigest) -> Result<(), UnpackError> {
    let mut file = File::open(path).at(path)?;
    let hex = |bytes: &[u8]| bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    let (found, wanted) = match wanted {
        TarballDigest::Sha256(wanted) => {
            let mut hasher = Sha256::new();
            io::copy(&mut file, &mut hasher).at(path)?;
            (format!("sha256:{}", hex(&hasher.finalize())), format!("sha256:{}", hex(wanted)))
        }
        TarballDigest::Blake3(wanted) => {
            let (found, _) = Digest::of_reader(file).at(path)?;
            (format!("blake3:{found}"), format!("blake3:{wanted}"))
        }
    };
    if found == wanted { Ok(()) } else { Err(UnpackError::Digest { path: path.to_owned(), found, wanted }) }
}

/// The first bytes name the compression, not the file name.
fn decompressed(path: &Path) -> io::Result<Box<dyn Read>> {
    let mut magic = [0; 6];
    let length = File::open(path)?.read(&mut magic)?;
    let file = BufReader::new(File::open(path)?);
    Ok(match &magic[..length] {
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Box::new(liblzma::read::XzDecoder::new_multi_decoder(file)),
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::with_buffer(file)?),
        _ => Box::new(file),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::exec::Cancel;
    use crate::plan::{SourceTree, Unpacked, UnpackedFrom};
    use crate::source::{Snapshot, SnapshotOptions};
    use crate::store::Store;

    /// An archive with one entry after another; names go in as they are, as the hostile ones must.
    struct Archive(tar::Builder<Vec<u8>>);

    impl Archive {
        fn new() -> Self {
            Self(tar::Builder::new(Vec::new()))
        }

        fn entry(mut self, kind: tar::EntryType, name: &str, target: &str, content: &[u8]) -> Self {
            let mut header = tar::Header::new_gnu();
            let field = &mut header.as_old_mut().name;
            field[..name.len()].copy_from_slice(name.as_bytes());
            let link = &mut header.as_old_mut().linkname;
            link[..target.len()].copy_from_slice(target.as_bytes());
            header.set_entry_type(kind);
            header.set_size(content.len() as u64);
            header.set_mode(0o755);
            header.set_cksum();
            self.0.append(&header, content).unwrap();
            self
        }

        fn file(self, name: &str, content: &[u8]) -> Self {
            self.entry(tar::EntryType::Regular, name, "", content)
        }

        fn link(self, name: &str, target: &str) -> Self {
            self.entry(tar::EntryType::Symlink, name, target, b"")
        }

        fn bytes(self) -> Vec<u8> {
            self.0.into_inner().unwrap()
        }
    }

    /// Unpacks an archive into a fresh place, and yields that place.
    fn unpacked(bytes: &[u8], strip: u32) -> (tempfile::TempDir, Result<PathBuf, UnpackError>) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("cache")).unwrap();
        let path = dir.path().join("archive");
        std::fs::write(&path, bytes).unwrap();
        let root = store.source_dir(&Digest::of_bytes(b"name"));
        let from =
            UnpackedFrom::Tarball { path, digest: TarballDigest::Blake3(Digest::of_bytes(bytes)), strip };
        let unpacked = Some(Unpacked { name: Digest::of_bytes(b"name"), from });
        let tree = SourceTree { root: root.clone(), ignore: &[], unpacked };
        let unpacking = Unpacking { store: &store, threads: 2, cancel: &Cancel::default() };
        let made = unpacking.run("archive", &tree).map(|_| root.clone());
        if made.is_ok() {
            let found = Snapshot::take(&root, &SnapshotOptions::default()).unwrap();
            let recorded = store.unpacked_tree(&Digest::of_bytes(b"name")).unwrap();
            assert_eq!(recorded, Some(found.digest()), "what is there is what was recorded");
        } else {
            assert!(!root.exists());
        }
        (dir, made)
    }

    #[test]
    fn every_compression_gives_the_same_tree() {
        let plain = Archive::new().file("linux/Makefile", b"all:\n").link("linux/link", "Makefile").bytes();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(&plain).unwrap();
        let zstd = zstd::encode_all(plain.as_slice(), 1).unwrap();
        for bytes in [plain, gzip.finish().unwrap(), xz.finish().unwrap(), zstd] {
            let (_dir, root) = unpacked(&bytes, 1);
            let root = root.unwrap();
            assert_eq!(fs::read(root.join("Makefile")).unwrap(), b"all:\n");
            assert_eq!(fs::read_link(root.join("link")).unwrap(), Path::new("Makefile"));
        }
    }

    #[test]
    fn a_tarball_of_another_digest_is_not_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("archive");
        fs::write(&path, b"anything").unwrap();
        let error = check(&path, &TarballDigest::Sha256([7; 32])).unwrap_err().to_string();
        assert!(error.contains("sha256:0707"), "{error}");
        assert!(error.contains("nothing was unpacked"), "{error}");
    }

    #[test]
    fn entries_that_lead_out_are_refused_and_leave_nothing() {
        let hostile = [
            Archive::new().file("../evil", b"x"),
            Archive::new().file("/tmp/kiln-evil", b"x"),
            Archive::new().file("a/../../evil", b"x"),
            Archive::new().link("dir", "/tmp").file("dir/kiln-evil", b"x"),
            Archive::new().link("up", "..").file("up/evil", b"x"),
            Archive::new().entry(tar::EntryType::Link, "hard", "../../etc/passwd", b""),
            Archive::new().link("out", "/etc").entry(tar::EntryType::Link, "hard", "out/passwd", b""),
            Archive::new().entry(tar::EntryType::Char, "null", "", b""),
            Archive::new().entry(tar::EntryType::Fifo, "pipe", "", b""),
        ];
        for (index, archive) in hostile.into_iter().enumerate() {
            let (dir, made) = unpacked(&archive.bytes(), 0);
            let error = made.expect_err("it is hostile");
            assert!(matches!(error, UnpackError::Entry { .. }), "{index}: {error}");
            assert!(!dir.path().join("evil").exists(), "{index}");
        }
        assert!(!Path::new("/tmp/kiln-evil").exists());
    }

    #[test]
    fn a_truncated_archive_leaves_nothing() {
        let whole = Archive::new().file("a", &[b'x'; 5000]).bytes();
        let (_dir, made) = unpacked(&whole[..2000], 0);
        assert!(matches!(made, Err(UnpackError::Io { .. })));
    }

    #[test]
    fn hard_links_become_files() {
        let archive = Archive::new().file("t/a", b"x").entry(tar::EntryType::Link, "t/b", "t/a", b"");
        let (_dir, root) = unpacked(&archive.bytes(), 1);
        assert_eq!(fs::read(root.unwrap().join("b")).unwrap(), b"x");
    }
}
