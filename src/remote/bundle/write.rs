//! Making a bundle.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{BlobRecord, BundleError, ENTRY, EntryRecord, HEADER, Header, LEVEL, Stored};
use crate::digest::Digest;
use crate::remote::{MAX_ENTRY, Name};

/// What a bundle is to hold. Blobs are read when it is written.
#[derive(Debug, Default)]
pub struct BundleWriter {
    entries: BTreeMap<Digest, Vec<u8>>,
    blobs: BTreeMap<Name, PathBuf>,
}

impl BundleWriter {
    /// Nothing so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry, in place of an older one of that key.
    pub fn entry(&mut self, key: Digest, bytes: Vec<u8>) -> Result<(), BundleError> {
        if bytes.len() as u64 > MAX_ENTRY {
            return Err(BundleError::EntryTooLarge { length: bytes.len() });
        }
        self.entries.insert(key, bytes);
        Ok(())
    }

    /// Adds a blob, and a file with its content.
    pub fn blob(&mut self, name: Name, content: PathBuf) {
        self.blobs.insert(name, content);
    }

    /// How many bytes all blobs together have.
    pub fn bytes(&self) -> u64 {
        self.blobs.keys().fold(0, |sum, name| sum.saturating_add(name.size))
    }

    /// Writes the bundle, in place of a file of that name, and gives its length. There is never half of one: it is written
    /// under another name beside it, synced, and renamed. `done` is told how many bytes of blobs were taken in, as it
    /// goes on.
    pub fn write(&self, to: &Path, done: &mut dyn FnMut(u64)) -> Result<u64, BundleError> {
        let failed = |error| BundleError::io(to, error);
        let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // As any new file: the umask decides who may read it.
        let mode = Permissions::from_mode(0o666);
        let temp = tempfile::Builder::new().prefix(".kiln-bundle-").permissions(mode).tempfile_in(dir);
        let temp = temp.map_err(failed)?;
        let length = self.fill(temp.as_file(), to, done)?;
        temp.as_file().sync_all().map_err(failed)?;
        temp.persist(to).map_err(|error| failed(error.error))?;
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
        Ok(length)
    }

    fn fill(&self, file: &File, to: &Path, done: &mut dyn FnMut(u64)) -> Result<u64, BundleError> {
        let failed = |error| BundleError::io(to, error);
        let mut index = Vec::with_capacity(16 + self.entries.len() * ENTRY);
        index.extend_from_slice(&(self.entries.len() as u64).to_le_bytes());
        index.extend_from_slice(&(self.blobs.len() as u64).to_le_bytes());

        // What is where is known in the end: the header is written last.
        let mut out = BufWriter::new(file);
        out.write_all(&[0; HEADER]).map_err(failed)?;
        for (key, bytes) in &self.entries {
            out.write_all(bytes).map_err(failed)?;
            let length = u32::try_from(bytes.len()).expect("an entry is small");
            EntryRecord { key: *key, length, sum: Digest::of_bytes(bytes) }.put(&mut index);
        }
        for (name, path) in &self.blobs {
            put_blob(&mut out, name, path, to, done)?.put(&mut index);
        }
        let at = out.stream_position().map_err(failed)?;
        let length = at + index.len() as u64;
        let header = Header { length, index: at, sum: Digest::of_bytes(&index) };
        out.write_all(&index).map_err(failed)?;
        out.rewind().and_then(|()| out.write_all(&header.encode())).map_err(failed)?;
        out.flush().map_err(failed)?;
        Ok(length)
    }
}

fn put_blob(
    out: &mut BufWriter<&File>,
    name: &Name,
    path: &Path,
    to: &Path,
    done: &mut dyn FnMut(u64),
) -> Result<BlobRecord, BundleError> {
    let failed = |error| BundleError::io(to, error);
    let mut content = File::open(path).map_err(|error| BundleError::io(path, error))?;
    let at = out.stream_position().map_err(failed)?;
    let mut encoder = zstd::Encoder::new(&mut *out, LEVEL).map_err(failed)?;
    copy(&mut content, path, &mut encoder, to, name, done)?;
    encoder.finish().map_err(failed)?;
    let length = out.stream_position().map_err(failed)? - at;
    if length < name.size {
        return Ok(BlobRecord { name: *name, stored: Stored::Zstd, length });
    }
    // Once more, and hashed once more: it is another reading of the file.
    out.seek(SeekFrom::Start(at)).map_err(failed)?;
    out.get_ref().set_len(at).map_err(failed)?;
    content.rewind().map_err(|error| BundleError::io(path, error))?;
    copy(&mut content, path, out, to, name, &mut |_| ())?;
    Ok(BlobRecord { name: *name, stored: Stored::AsItIs, length: name.size })
}

/// Copies the content of a blob, and sees that it is that.
fn copy(
    from: &mut File,
    path: &Path,
    out: &mut impl Write,
    to: &Path,
    name: &Name,
    done: &mut dyn FnMut(u64),
) -> Result<(), BundleError> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 128 << 10];
    // One byte more than it has would be seen by its digest.
    let mut from = from.take(name.size.saturating_add(1));
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(BundleError::io(path, error)),
        };
        hasher.update(&buffer[..read]);
        out.write_all(&buffer[..read]).map_err(|error| BundleError::io(to, error))?;
        done(read as u64);
    }
    if hasher.count() != name.size || *hasher.finalize().as_bytes() != *name.blake3.as_bytes() {
        return Err(BundleError::NotTheBlob { path: path.to_owned(), blob: name.blake3 });
    }
    Ok(())
}
