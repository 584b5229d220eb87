//! Source trees from tarballs and commits.
//!
//! A tree is unpacked beside its place and renamed into it when it is complete and its digest is right: a directory
//! that is there is whole.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest as _, Sha256};

use crate::host::git;
use crate::spec::model::{Source, TarballDigest};
use crate::store::{Store, StoreError, remove_tree};

/// Why a source tree can't be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnpackError {
    /// Reading the archive, or writing the tree.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// Not what the spec says it is.
    #[error("{} has digest {found}, and the spec says {wanted}; nothing was unpacked", path.display())]
    Digest { path: PathBuf, found: String, wanted: String },
    /// An entry that would end up outside, or that no source tree has.
    #[error("{}: entry {entry} {problem}; nothing was unpacked", path.display())]
    Entry { path: PathBuf, entry: String, problem: &'static str },
    /// git.
    #[error("{}: {message}", path.display())]
    Git { path: PathBuf, message: String },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes the tree of a source at `root`.
pub(super) fn unpack(store: &Store, project: &Path, origin: &Source, root: &Path) -> Result<(), UnpackError> {
    let temp = store.fresh_work_dir("unpack")?;
    let tree = temp.join("tree");
    let made = make(project, origin, &tree).and_then(|()| {
        let io_error = |source| UnpackError::Io { path: root.to_owned(), source };
        fs::create_dir_all(root.parent().unwrap_or(root)).map_err(io_error)?;
        match fs::rename(&tree, root) {
            // Another kiln was faster, with the same content.
            Err(error) if root.is_dir() && error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            renamed => renamed.map_err(io_error),
        }
    });
    let _ = remove_tree(&temp);
    made?;
    Ok(store.measure_again()?)
}

fn make(project: &Path, origin: &Source, tree: &Path) -> Result<(), UnpackError> {
    match origin {
        Source::Dir { .. } => unreachable!("a directory is there already"),
        Source::Tarball { path, digest, strip } => {
            let path = project.join(&path.value);
            let io_error = |source| UnpackError::Io { path: path.clone(), source };
            check(&path, &digest.value)?;
            let reader = decompressed(&path).map_err(io_error)?;
            extract(reader, &path, tree, *strip)
        }
        Source::Git { path, rev } => {
            let path = project.join(&path.value);
            let rev = rev.as_ref().map_or("HEAD", |rev| &rev.value);
            let git_error = |message| UnpackError::Git { path: path.clone(), message };
            let commit = git::commit(&path, rev).map_err(git_error)?;
            let mut child = Command::new("git")
                .arg("-C")
                .arg(&path)
                .args(["archive", "--format=tar", &commit])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .map_err(|error| git_error(error.to_string()))?;
            let mut output = child.stdout.take().expect("it is piped");
            let extracted = extract(&mut output, &path, tree, 0);
            // An archive ends before what it is padded with: git is not to die of a pipe that nobody reads.
            let _ = io::copy(&mut output, &mut io::sink());
            drop(output);
            let status = child.wait().map_err(|error| git_error(error.to_string()))?;
            extracted?;
            if status.success() { Ok(()) } else { Err(git_error(format!("git archive: {status}"))) }
        }
    }
}

/// The digest comes first, in a pass of its own: nothing of a tarball that is not the right one is looked at.
fn check(path: &Path, wanted: &TarballDigest) -> Result<(), UnpackError> {
    let io_error = |source| UnpackError::Io { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(io_error)?;
    let hex = |bytes: &[u8]| bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    let (found, wanted) = match wanted {
        TarballDigest::Sha256(wanted) => {
            let mut hasher = Sha256::new();
            io::copy(&mut file, &mut hasher).map_err(io_error)?;
            (format!("sha256:{}", hex(&hasher.finalize())), format!("sha256:{}", hex(wanted)))
        }
        TarballDigest::Blake3(wanted) => {
            let (found, _) = crate::digest::Digest::of_reader(file).map_err(io_error)?;
            (format!("blake3:{found}"), format!("blake3:{wanted}"))
        }
    };
    if found == wanted { Ok(()) } else { Err(UnpackError::Digest { path: path.to_owned(), found, wanted }) }
}

/// Compression is told by the first bytes, not by the name.
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

/// Extracts files, directories and symlinks. The names of others' archives are not to be trusted: none may lead out
/// of the tree, by itself or through a link that came before.
fn extract(reader: impl Read, archive: &Path, tree: &Path, strip: u32) -> Result<(), UnpackError> {
    let io_error = |source| UnpackError::Io { path: archive.to_owned(), source };
    fs::create_dir_all(tree).map_err(io_error)?;
    let mut tar = tar::Archive::new(reader);
    tar.set_preserve_permissions(false);
    tar.set_preserve_mtime(true);
    for entry in tar.entries().map_err(io_error)? {
        let mut entry = entry.map_err(io_error)?;
        let name = entry.path().map_err(io_error)?.into_owned();
        let refuse = |problem| UnpackError::Entry {
            path: archive.to_owned(),
            entry: name.display().to_string(),
            problem,
        };
        let kind = entry.header().entry_type();
        if matches!(kind, tar::EntryType::XGlobalHeader | tar::EntryType::XHeader) {
            continue;
        }
        if !(kind.is_file() || kind.is_dir() || kind.is_symlink() || kind.is_hard_link()) {
            return Err(refuse("is a special file"));
        }
        if name.components().any(|part| matches!(part, Component::ParentDir | Component::RootDir)) {
            return Err(refuse("leads out of the tree"));
        }
        let relative: PathBuf =
            name.components().filter(|part| *part != Component::CurDir).skip(strip as usize).collect();
        if relative.as_os_str().is_empty() {
            continue;
        }
        if kind.is_hard_link() {
            let target = entry.link_name().map_err(io_error)?.unwrap_or_default().into_owned();
            let target: PathBuf =
                target.components().filter(|part| *part != Component::CurDir).skip(strip as usize).collect();
            let inside = target.components().all(|part| matches!(part, Component::Normal(_)));
            let real = fs::canonicalize(tree.join(&target)).ok();
            let root = fs::canonicalize(tree).map_err(io_error)?;
            if !inside || !real.is_some_and(|real| real.starts_with(&root)) {
                return Err(refuse("is a hard link out of the tree"));
            }
            through_no_link(tree, &relative).map_err(|()| refuse("passes through a symlink"))?;
            fs::copy(tree.join(&target), tree.join(&relative)).map_err(io_error)?;
            continue;
        }
        through_no_link(tree, &relative).map_err(|()| refuse("passes through a symlink"))?;
        let to = tree.join(&relative);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(io_error)?;
        }
        entry.unpack(&to).map_err(io_error)?;
    }
    Ok(())
}

/// Sees that no directory on the way to an entry is a symlink.
fn through_no_link(tree: &Path, relative: &Path) -> Result<(), ()> {
    let mut at = tree.to_owned();
    let parents = relative.parent().into_iter().flat_map(Path::components);
    for part in parents {
        at.push(part);
        if fs::symlink_metadata(&at).is_ok_and(|stat| stat.is_symlink()) {
            return Err(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::spec::diagnostic::{FileId, Span, Spanned};

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
        std::fs::write(dir.path().join("archive"), bytes).unwrap();
        let span = Span { file: FileId(0), start: 0, end: 0 };
        let digest = TarballDigest::Blake3(crate::digest::Digest::of_bytes(bytes));
        let origin = Source::Tarball {
            path: Spanned { value: "archive".into(), span },
            digest: Spanned { value: digest, span },
            strip,
        };
        let root = dir.path().join("tree");
        let made = unpack(&store, dir.path(), &origin, &root).map(|()| root);
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
            assert!(!dir.path().join("tree").exists(), "{index}");
            assert!(!dir.path().join("evil").exists(), "{index}");
        }
        assert!(!Path::new("/tmp/kiln-evil").exists());
    }

    #[test]
    fn a_truncated_archive_leaves_nothing() {
        let whole = Archive::new().file("a", &[b'x'; 5000]).bytes();
        let (dir, made) = unpacked(&whole[..2000], 0);
        assert!(matches!(made, Err(UnpackError::Io { .. })));
        assert!(!dir.path().join("tree").exists());
    }

    #[test]
    fn hard_links_become_files() {
        let archive = Archive::new().file("t/a", b"x").entry(tar::EntryType::Link, "t/b", "t/a", b"");
        let (_dir, root) = unpacked(&archive.bytes(), 1);
        assert_eq!(fs::read(root.unwrap().join("b")).unwrap(), b"x");
    }
}
