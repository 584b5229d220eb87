//! A file that is not whole yet: `NAME.part`, and `NAME.from` beside it, which says what mirror the bytes came from.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::error::FetchError;

/// The part of a file that is there. One process at a time has it open.
pub(super) struct Part {
    path: PathBuf,
    from: PathBuf,
    file: File,
}

impl Part {
    /// Opens what is there of the file that is to be at `to`, waiting for others who are at it.
    pub fn open(to: &Path) -> io::Result<Self> {
        let path = path(to);
        loop {
            let mut options = File::options();
            let file = options.read(true).write(true).create(true).truncate(false).open(&path)?;
            file.lock()?;
            // Whoever had it may have finished, and the name may be gone or new.
            if same_file(&file, &path)? {
                return Ok(Self { path, from: beside(to, ".from"), file });
            }
        }
    }

    pub fn local(&self, source: io::Error) -> FetchError {
        FetchError::local(&self.path, source)
    }

    /// Gives what is there to `sink`, and how much that is. More than the whole is nothing.
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

    /// Appends what comes.
    pub fn append(&mut self, piece: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::End(0))?;
        self.file.write_all(piece)
    }

    /// Forgets what is there.
    pub fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        match fs::remove_file(&self.from) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The mark by which this address's server knows the content that the part is of.
    pub fn mark(&self, url: &str) -> Option<String> {
        let text = fs::read_to_string(&self.from).ok()?;
        let (of, mark) = text.split_once('\n')?;
        (of == url).then(|| mark.trim_end().to_owned())
    }

    /// Notes where the bytes come from.
    pub fn came_from(&self, url: &str, mark: Option<&str>) -> io::Result<()> {
        fs::write(&self.from, format!("{url}\n{}\n", mark.unwrap_or_default()))
    }

    /// Puts the whole file at its place.
    pub fn finish(&mut self, to: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, to)?;
        let _ = fs::remove_file(&self.from);
        Ok(())
    }

    /// Takes the part away, as the whole is there.
    pub fn remove(&mut self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

/// Where the part is of a file that is to be at `to`.
pub(super) fn path(to: &Path) -> PathBuf {
    beside(to, ".part")
}

fn beside(to: &Path, ending: &str) -> PathBuf {
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
