//! The entries of an archive, with the headers that extend them: GNU's long names, and pax.
//!
//! The tar crate would read such headers into memory whatever size they say they have, so they are read here.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use tar::{Archive, EntryType, PaxExtensions};

use super::limits::{ArchiveError, bad};

/// The largest header that extends an entry, in bytes: some attributes, and two names.
const MAX_HEADER: u64 = 1 << 20;

/// The longest path that the kernel takes, and the longest name in one.
const MAX_PATH: usize = 4095;
const MAX_NAME: usize = 255;

/// Extended attributes that control overlayfs: no archive may set them.
const OVERLAY: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Symlink(OsString),
    /// Another name of an entry that came before, by its path in the root.
    HardLink(PathBuf),
    Char(u64, u64),
    Block(u64, u64),
    Fifo,
}

/// An entry whose name leads nowhere but down.
pub(super) struct Entry<'a> {
    /// As the archive has it.
    pub name: Vec<u8>,
    /// Relative to the root; empty for the root itself.
    pub path: PathBuf,
    pub kind: Kind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds and nanoseconds.
    pub modified: (i64, i64),
    pub xattrs: Vec<(OsString, Vec<u8>)>,
    pub size: u64,
    pub content: Box<dyn Read + 'a>,
}

/// What has been said of the next entry.
#[derive(Default)]
struct Said {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    uid: Option<u64>,
    gid: Option<u64>,
    modified: Option<(i64, i64)>,
    size: Option<u64>,
    xattrs: Vec<(OsString, Vec<u8>)>,
}

/// Goes through an archive.
pub(super) struct Entries<'a, R: Read> {
    raw: tar::Entries<'a, R>,
}

impl<'a, R: Read> Entries<'a, R> {
    pub fn new(archive: &'a mut Archive<R>) -> io::Result<Self> {
        Ok(Self { raw: archive.entries()?.raw(true) })
    }

    /// The next entry. What is left of the one before is skipped.
    pub fn next(&mut self) -> Result<Option<Entry<'_>>, ArchiveError> {
        let mut said = Said::default();
        loop {
            let Some(raw) = self.raw.next() else {
                return Ok(None);
            };
            let mut raw = raw.map_err(ArchiveError::Archive)?;
            let name = raw.header().path_bytes().into_owned();
            let kind = raw.header().entry_type();
            let extends = matches!(
                kind,
                EntryType::XHeader
                    | EntryType::XGlobalHeader
                    | EntryType::GNULongName
                    | EntryType::GNULongLink
            );
            if !extends {
                return said.entry(raw).map(Some);
            }
            let size = raw.header().entry_size().map_err(ArchiveError::Archive)?;
            if size > MAX_HEADER {
                return Err(bad(&name, "is a header without bounds"));
            }
            let mut content = Vec::new();
            raw.read_to_end(&mut content).map_err(ArchiveError::Archive)?;
            if content.len() as u64 != size {
                return Err(bad(&name, "is cut off"));
            }
            match kind {
                EntryType::GNULongName => said.path = Some(without_nul(content)),
                EntryType::GNULongLink => said.link = Some(without_nul(content)),
                EntryType::XHeader => said.pax(&content, &name)?,
                // What is to hold for all entries is a comment in practice, and different readers make different things of
                // the rest.
                _ => is_comment(&content, &name)?,
            }
        }
    }
}

impl Said {
    fn pax(&mut self, content: &[u8], name: &[u8]) -> Result<(), ArchiveError> {
        for extension in PaxExtensions::new(content) {
            let extension = extension.map_err(|_| bad(name, "is a header that can't be read"))?;
            let (key, value) = (extension.key_bytes(), extension.value_bytes());
            let number = || {
                let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                number.ok_or_else(|| bad(name, "is a header with a number that is none"))
            };
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"uid" => self.uid = Some(number()?),
                b"gid" => self.gid = Some(number()?),
                b"size" => self.size = Some(number()?),
                b"mtime" => {
                    let time = std::str::from_utf8(value).ok().and_then(time);
                    self.modified =
                        Some(time.ok_or_else(|| bad(name, "is a header with a time that is none"))?);
                }
                _ if key.starts_with(b"LIBARCHIVE.xattr.") => {
                    return Err(bad(name, "has attributes in a form that GNU tar does not read"));
                }
                _ if key.starts_with(b"GNU.sparse") => return Err(bad(name, "is sparse, as no stage3 is")),
                _ => {
                    if let Some(attribute) = key.strip_prefix(b"SCHILY.xattr.") {
                        self.xattrs.push((OsStr::from_bytes(attribute).to_owned(), value.to_vec()));
                    }
                }
            }
        }
        Ok(())
    }

    fn entry<R: Read>(self, raw: tar::Entry<'_, R>) -> Result<Entry<'_>, ArchiveError> {
        let header = raw.header();
        let name = self.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let wrong = |problem: &str| bad(&name, problem);
        let field = |field: io::Result<u64>| field.map_err(|_| wrong("has a header that can't be read"));
        let link = || {
            self.link
                .clone()
                .or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned))
                .unwrap_or_default()
        };
        let device = || match (header.device_major(), header.device_minor()) {
            (Ok(Some(major)), Ok(Some(minor))) => Ok((u64::from(major), u64::from(minor))),
            _ => Err(wrong("is a device without a number")),
        };
        let kind = match header.entry_type() {
            EntryType::Regular | EntryType::Continuous => Kind::File,
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Symlink(OsString::from_vec(link())),
            EntryType::Link => Kind::HardLink(
                inside(&link())
                    .map_err(|problem| bad(&name, &format!("is a hard link whose target {problem}")))?,
            ),
            EntryType::Char => device().map(|(major, minor)| Kind::Char(major, minor))?,
            EntryType::Block => device().map(|(major, minor)| Kind::Block(major, minor))?,
            EntryType::Fifo => Kind::Fifo,
            EntryType::GNUSparse => return Err(wrong("is sparse, as no stage3 is")),
            _ => return Err(wrong("is of an unknown kind")),
        };
        let size = field(header.entry_size())?;
        if self.size.is_some_and(|said| said != size) {
            return Err(wrong("has two sizes"));
        }
        if size > 0 && kind != Kind::File {
            return Err(wrong("has content where none belongs"));
        }
        let path = inside(&name).map_err(|problem| bad(&name, problem))?;
        if path.as_os_str().is_empty() && kind != Kind::Directory {
            return Err(wrong("takes the place of the root"));
        }
        let id = |id: u64| {
            u32::try_from(id)
                .ok()
                .filter(|id| *id != u32::MAX)
                .ok_or_else(|| wrong("has an owner that none can be"))
        };
        let seconds = i64::try_from(field(header.mtime())?).map_err(|_| wrong("has a time that is none"))?;
        Ok(Entry {
            path,
            mode: header.mode().map_err(|_| wrong("has a mode that is none"))? & 0o7777,
            uid: id(self.uid.map_or_else(|| field(header.uid()), Ok)?)?,
            gid: id(self.gid.map_or_else(|| field(header.gid()), Ok)?)?,
            modified: self.modified.unwrap_or((seconds, 0)),
            xattrs: self.xattrs,
            size,
            kind,
            name,
            content: Box::new(raw),
        })
    }
}

/// A name as a path below the root.
fn inside(name: &[u8]) -> Result<PathBuf, &'static str> {
    if name.is_empty() {
        return Err("has no name");
    }
    if name.len() > MAX_PATH {
        return Err("has a name that is too long");
    }
    if name.contains(&0) {
        return Err("has a name with a byte that no name can have");
    }
    let mut path = PathBuf::new();
    for component in Path::new(OsStr::from_bytes(name)).components() {
        match component {
            Component::Normal(part) if part.len() > MAX_NAME => return Err("has a name that is too long"),
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::ParentDir => return Err("leads out of the root (..)"),
            Component::RootDir | Component::Prefix(_) => {
                return Err("leads out of the root (it is absolute)");
            }
        }
    }
    Ok(path)
}

/// `SECONDS.FRACTION`, as pax has it. The fraction counts up, before 1970 too.
fn time(text: &str) -> Option<(i64, i64)> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let nanoseconds: i64 =
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    let seconds: i64 = seconds.parse().ok()?;
    let is_before = text.starts_with('-') && nanoseconds > 0;
    Some(if is_before { (seconds - 1, 1_000_000_000 - nanoseconds) } else { (seconds, nanoseconds) })
}

fn without_nul(mut name: Vec<u8>) -> Vec<u8> {
    if name.last() == Some(&0) {
        name.pop();
    }
    name
}

fn is_comment(content: &[u8], name: &[u8]) -> Result<(), ArchiveError> {
    let is_comment = PaxExtensions::new(content)
        .all(|extension| extension.is_ok_and(|extension| extension.key_bytes() == b"comment"));
    if is_comment { Ok(()) } else { Err(bad(name, "is a header for all entries, as no stage3 has one")) }
}

/// Whether an attribute is one of an overlay's own.
pub(super) fn is_overlays(attribute: &OsStr) -> bool {
    OVERLAY.iter().any(|prefix| attribute.as_bytes().starts_with(prefix))
}
