//! Reading a bundle: as a remote that takes nothing.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;

use super::{BLOB, BlobRecord, BundleError, ENTRY, EntryRecord, HEADER, Header, Stored};
use crate::digest::Digest;
use crate::remote::wire::WINDOW_LOG;
use crate::remote::{FormatError, Name, Remote, RemoteError};

/// An open bundle. Entries and blobs are read from the file when they are asked for.
#[derive(Debug)]
pub struct Bundle {
    path: PathBuf,
    file: File,
    length: u64,
    /// By key, each with the place where it starts.
    entries: Vec<(EntryRecord, u64)>,
    /// By name, each with the place where it starts.
    blobs: Vec<(BlobRecord, u64)>,
}

impl Bundle {
    /// Opens a bundle. All of it is there then; whether that is damaged is seen when it is read.
    pub fn open(path: &Path) -> Result<Self, BundleError> {
        let failed = |error| BundleError::io(path, error);
        let wrong = |error| BundleError::format(path, error);
        // Without O_NONBLOCK, opening a FIFO would wait for a writer.
        let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(failed)?;
        let stat = file.metadata().map_err(failed)?;
        if !stat.is_file() {
            return Err(wrong(FormatError::Other { what: "bundle" }));
        }
        let mut start = [0; HEADER];
        let has = read_start(&file, &mut start).map_err(failed)?;
        if has < HEADER {
            // A file of another kind is no cut bundle.
            let ours = super::Format::Bundle.header();
            return Err(if start[..has.min(6)] == ours[..has.min(6)] {
                BundleError::Truncated { path: path.to_owned(), has: stat.len(), wants: HEADER as u64 }
            } else {
                wrong(FormatError::Other { what: "bundle" })
            });
        }
        let header = Header::decode(&start).map_err(wrong)?;
        if stat.len() < header.length {
            return Err(BundleError::Truncated {
                path: path.to_owned(),
                has: stat.len(),
                wants: header.length,
            });
        }
        if stat.len() > header.length {
            return Err(wrong(FormatError::Damaged("something comes behind its end")));
        }
        let (entries, blobs) = read_index(&file, path, &header)?;
        Ok(Self { path: path.to_owned(), file, length: header.length, entries, blobs })
    }

    /// The keys of its entries, in their order.
    pub fn entries(&self) -> impl Iterator<Item = &Digest> {
        self.entries.iter().map(|(entry, _)| &entry.key)
    }

    /// The names of its blobs, in their order.
    pub fn blobs(&self) -> impl Iterator<Item = &Name> {
        self.blobs.iter().map(|(blob, _)| &blob.name)
    }

    /// Reads all of it, and sees that everything is what it was when it was put in. `done` is told how many bytes of blobs
    /// were gone through.
    pub fn verify(&self, done: &mut dyn FnMut(u64)) -> Result<(), BundleError> {
        for (entry, at) in &self.entries {
            self.read_entry(entry, *at).map_err(|error| self.judge(error, *at))?;
        }
        for (blob, at) in &self.blobs {
            let mut hashing = Hashing { hasher: blake3::Hasher::new(), done };
            self.copy(blob, *at, 0, &mut hashing).map_err(|error| self.judge(error, *at))?;
            if hashing.hasher.finalize().as_bytes() != blob.name.blake3.as_bytes() {
                return Err(
                    self.judge(Broken::Content(format!("{} has other content", blob.name.blake3)), *at)
                );
            }
        }
        Ok(())
    }

    fn judge(&self, broken: Broken, at: u64) -> BundleError {
        match broken {
            Broken::Content(what) => {
                BundleError::Damaged { path: self.path.clone(), at, length: self.length, what }
            }
            Broken::Read(error) | Broken::Write(error) => BundleError::io(&self.path, error),
        }
    }

    /// The same, for those who take it for a remote.
    fn answer(&self, broken: Broken, at: u64) -> RemoteError {
        match broken {
            Broken::Content(_) => RemoteError::Nonsense(self.judge(broken, at).to_string()),
            Broken::Read(error) | Broken::Write(error) => RemoteError::Local(error),
        }
    }

    fn read_entry(&self, entry: &EntryRecord, at: u64) -> Result<Vec<u8>, Broken> {
        let mut bytes = vec![0; entry.length as usize];
        match self.file.read_exact_at(&mut bytes, at) {
            Ok(()) if Digest::of_bytes(&bytes) == entry.sum => Ok(bytes),
            Ok(()) => Err(Broken::Content(format!("the entry {} has other content", entry.key))),
            Err(error) => Err(Broken::reading(error)),
        }
    }

    /// Writes a blob from `offset` on.
    fn copy(&self, blob: &BlobRecord, at: u64, offset: u64, to: &mut dyn Write) -> Result<(), Broken> {
        let section = |skip| Section { file: &self.file, at: at + skip, left: blob.length - skip };
        match blob.stored {
            Stored::AsItIs => {
                let mut from = BufReader::with_capacity(128 << 10, section(offset));
                pass_on(&mut from, 0, blob.name.size - offset, to)
            }
            Stored::Zstd => {
                let decoder = zstd::Decoder::new(section(0)).map_err(Broken::Read)?;
                let mut decoder = decoder.single_frame();
                decoder.window_log_max(WINDOW_LOG).map_err(Broken::Read)?;
                let mut from = BufReader::with_capacity(128 << 10, decoder);
                // A frame can't be entered but at its start.
                pass_on(&mut from, offset, blob.name.size - offset, to)
            }
        }
    }

    fn find(&self, blob: &Name) -> Option<&(BlobRecord, u64)> {
        // By the digest that counts: what servers call it may not be known.
        let at = self.blobs.partition_point(|(other, _)| other.name.blake3 < blob.blake3);
        let same = self.blobs[at..].iter().take_while(|(other, _)| other.name.blake3 == blob.blake3);
        same.into_iter().find(|(other, _)| other.name.size == blob.size)
    }
}

impl Remote for Bundle {
    fn entry(&self, key: &Digest) -> Result<Option<Vec<u8>>, RemoteError> {
        let Ok(found) = self.entries.binary_search_by_key(key, |(entry, _)| entry.key) else {
            return Ok(None);
        };
        let (entry, at) = &self.entries[found];
        self.read_entry(entry, *at).map(Some).map_err(|error| self.answer(error, *at))
    }

    fn put_entry(&self, _: &Digest, _: &[u8], _: &[Name]) -> Result<(), RemoteError> {
        Err(takes_nothing())
    }

    fn missing(&self, blobs: &[Name]) -> Result<Vec<Name>, RemoteError> {
        Ok(blobs.iter().filter(|blob| self.find(blob).is_none()).copied().collect())
    }

    fn get(&self, blob: &Name, offset: u64, to: &mut dyn Write) -> Result<(), RemoteError> {
        let (found, at) = self.find(blob).ok_or(RemoteError::Missing)?;
        if offset > blob.size {
            return Err(RemoteError::Refused("it does not have so many bytes".to_owned()));
        }
        self.copy(found, *at, offset, to).map_err(|error| self.answer(error, *at))
    }

    fn put(&self, _: &Name, _: &mut File) -> Result<(), RemoteError> {
        Err(takes_nothing())
    }

    fn put_several(&self, _: &[(Name, Vec<u8>)]) -> Result<(), RemoteError> {
        Err(takes_nothing())
    }
}

fn takes_nothing() -> RemoteError {
    RemoteError::Refused("a bundle is written once: `kiln cache export` makes another".to_owned())
}

/// What can go wrong with a part.
enum Broken {
    /// It is not what was written.
    Content(String),
    /// The file can't be read.
    Read(io::Error),
    /// What was read can't be passed on.
    Write(io::Error),
}

impl Broken {
    /// The system's errors have a number; the others are the decoder's, or an end that comes early.
    fn reading(error: io::Error) -> Self {
        if error.raw_os_error().is_some() {
            return Self::Read(error);
        }
        Self::Content("it ends early, or can't be decompressed".to_owned())
    }
}

/// Writes `length` bytes behind the first `skip`, and sees that there are no more.
fn pass_on(
    from: &mut impl BufRead,
    mut skip: u64,
    mut length: u64,
    to: &mut dyn Write,
) -> Result<(), Broken> {
    loop {
        let bytes = match from.fill_buf() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Broken::reading(error)),
        };
        if bytes.is_empty() {
            return if length == 0 && skip == 0 {
                Ok(())
            } else {
                Err(Broken::Content("a blob is shorter than it should be".to_owned()))
            };
        }
        let unread = bytes.len() as u64;
        let skipped = skip.min(unread);
        if unread - skipped > length {
            return Err(Broken::Content("a blob is longer than it should be".to_owned()));
        }
        let wanted = &bytes[usize::try_from(skipped).expect("no more than the buffer has")..];
        to.write_all(wanted).map_err(Broken::Write)?;
        skip -= skipped;
        length -= unread - skipped;
        let taken = bytes.len();
        from.consume(taken);
    }
}

/// A part of the file. Readers do not share a place in it.
struct Section<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(&mut buffer[..wanted], self.at)?;
        self.at += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

struct Hashing<'a> {
    hasher: blake3::Hasher,
    done: &'a mut dyn FnMut(u64),
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        (self.done)(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How much of it there is.
fn read_start(file: &File, start: &mut [u8]) -> io::Result<usize> {
    let mut has = 0;
    while has < start.len() {
        match file.read_at(&mut start[has..], has as u64) {
            Ok(0) => break,
            Ok(read) => has += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(has)
}

type Placed<T> = Vec<(T, u64)>;

fn read_index(
    file: &File,
    path: &Path,
    header: &Header,
) -> Result<(Placed<EntryRecord>, Placed<BlobRecord>), BundleError> {
    let wrong = |why| BundleError::format(path, FormatError::Damaged(why));
    // Hashed before it is looked at, record by record: nothing is made room for that is not in the file.
    let mut hasher = blake3::Hasher::new();
    let section = || Section { file, at: header.index, left: header.length - header.index };
    hasher.update_reader(section()).map_err(|error| BundleError::io(path, error))?;
    if hasher.finalize().as_bytes() != header.sum.as_bytes() {
        return Err(wrong("its index is not what was written"));
    }
    let mut index = BufReader::new(section());
    let counts = (|| Ok((number(&mut index)?, number(&mut index)?)))();
    let (entries, blobs) = counts.map_err(|error| BundleError::io(path, error))?;
    let records = header.length - header.index - 16;
    let lengths = entries.checked_mul(ENTRY as u64).zip(blobs.checked_mul(BLOB as u64));
    if lengths.and_then(|(entries, blobs)| entries.checked_add(blobs)) != Some(records) {
        return Err(wrong("its index has another length"));
    }
    let mut at = HEADER as u64;
    let entries = place(&mut index, entries, &mut at, EntryRecord::decode, |entry| entry.length.into());
    let entries = entries.map_err(|error| error.at(path))?;
    let blobs = place(&mut index, blobs, &mut at, BlobRecord::decode, |blob| blob.length);
    let blobs = blobs.map_err(|error| error.at(path))?;
    if !entries.is_sorted_by(|(a, _), (b, _)| a.key < b.key)
        || !blobs.is_sorted_by(|(a, _), (b, _)| a.name < b.name)
    {
        return Err(wrong("its index is out of order"));
    }
    if at != header.index {
        return Err(wrong("its parts leave a gap, or overlap"));
    }
    Ok((entries, blobs))
}

fn number(from: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Why a record can't be had.
enum BadRecord {
    Io(io::Error),
    Format(FormatError),
}

impl BadRecord {
    fn at(self, path: &Path) -> BundleError {
        match self {
            Self::Io(error) => BundleError::io(path, error),
            Self::Format(error) => BundleError::format(path, error),
        }
    }
}

/// Reads records, and finds where the parts start that they speak of.
fn place<T, const N: usize>(
    index: &mut impl Read,
    count: u64,
    at: &mut u64,
    decode: impl Fn(&[u8; N]) -> Result<T, FormatError>,
    length: impl Fn(&T) -> u64,
) -> Result<Placed<T>, BadRecord> {
    let mut records = Vec::new();
    for _ in 0..count {
        let mut bytes = [0; N];
        index.read_exact(&mut bytes).map_err(BadRecord::Io)?;
        let record = decode(&bytes).map_err(BadRecord::Format)?;
        let start = *at;
        *at = start
            .checked_add(length(&record))
            .ok_or(BadRecord::Format(FormatError::Damaged("its parts have no end")))?;
        records.push((record, start));
    }
    Ok(records)
}
