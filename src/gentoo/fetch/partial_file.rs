//! A partially downloaded file: `NAME.part`, with `NAME.from`, which records the mirror of its bytes.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::error::FetchError;

/// A partial file, locked against other processes.
pub(super) struct PartialFile {
    path: PathBuf,
    from: PathBuf,
    file: File,
}

impl PartialFile {
    /// Opens the partial file of `to`. Waits for other processes that have it open.
    pub fn open(to: &Path) -> io::Result<Self> {
        let path = path(to);
        loop {
            let mut options = File::options();
            let file = options.read(true).write(true).create(true).truncate(false).open(&path)?;
            file.lock()?;
            // The former holder may have finished and renamed the file.
            if same_file(&file, &path)? {
                return Ok(Self { path, from: with_suffix(to, ".from"), file });
            }
        }
    }

    pub fn local(&self, source: io::Error) -> FetchError {
        FetchError::local(&self.path, source)
    }

    /// Writes the present bytes to `sink` and returns their number. A file longer than `whole` is discarded.
    pub fn replay(&mut self, whole: u64, sink: &mut impl Write) -> io::Result<u64> {
        if self.file.metadata()?.len() > whole {
            self.clear()?;
        }
        self.file.rewind()?;
        let mut length = 0;
        let mut buffer = vec![0; 256 << 10];
        loop {
            let read = (&self.file).take(whole - length).read(&mut buffer)?;
            if read == 0 {
                return Ok(length);
            }
            sink.write_all(&buffer[..read])?;
            length += read as u64;
        }
    }

    /// Appends downloaded bytes.
    pub fn append(&mut self, piece: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::End(0))?;
        self.file.write_all(piece)
    }

    /// Discards the present bytes.
    pub fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        match fs::remove_file(&self.from) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The `ETag` of the content, if the bytes came from `url`.
    pub fn etag(&self, url: &str) -> Option<String> {
        let text = fs::read_to_string(&self.from).ok()?;
        let (of, etag) = text.split_once('\n')?;
        (of == url).then(|| etag.trim_end().to_owned())
    }

    /// Records where the bytes come from.
    pub fn set_origin(&self, url: &str, etag: Option<&str>) -> io::Result<()> {
        fs::write(&self.from, format!("{url}\n{}\n", etag.unwrap_or_default()))
    }

    /// Moves the complete file to `to`.
    pub fn finish(&mut self, to: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, to)?;
        let _ = fs::remove_file(&self.from);
        Ok(())
    }

    /// Removes the partial file.
    pub fn remove(&mut self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

/// The path of the partial file of `to`.
pub(super) fn path(to: &Path) -> PathBuf {
    with_suffix(to, ".part")
}

fn with_suffix(to: &Path, ending: &str) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn same_file(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let ours = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
