//! Opens in copies of trees in memory. Events name directory and entry. Nothing is renamed in a copy: steps see a read-only mount,
//! and kiln has finished writing before they start.

use std::collections::{BTreeSet, HashMap};
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, PipeReader};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::fanotify::{FANOTIFY_METADATA_VERSION, Fanotify, MarkFlags, MaskFlags};
use nix::unistd::read;

use super::handles::{Handle, handle};
use super::{Opened, Trace, TraceError};
use crate::exec::sandbox::Memory;

/// How much is read at once: the queue is bounded, so it has to be emptied quickly.
const BUFFER: usize = 256 * 1024;

/// The sizes of `struct fanotify_event_metadata`, and of an information record before its handle: a header and a file system id.
const METADATA: usize = 24;
const BEFORE_HANDLE: usize = 12;

/// `FAN_EVENT_INFO_TYPE_DFID_NAME`: a directory, and a name in it; `.` for the directory itself.
const DFID_NAME: u8 = 2;

/// The watched copies, in the order of the trace.
#[derive(Debug)]
pub(super) struct Copies(Vec<Copied>);

#[derive(Debug)]
struct Copied {
    /// The path in the sandbox.
    mount: PathBuf,
    root: File,
    group: Fanotify,
    dirs: HashMap<Handle, Box<[u8]>>,
    /// Paths, and whether they are directories.
    seen: BTreeSet<(Box<[u8]>, bool)>,
}

impl Copies {
    /// Starts with these trees, whose content is complete.
    pub(super) fn open(trees: Vec<(PathBuf, Memory)>) -> Result<Self, TraceError> {
        trees
            .into_iter()
            .map(|(mount, memory)| Copied::new(mount, memory))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Reads events until the other end of `stop` is closed.
    pub(super) fn follow(&mut self, stop: &PipeReader) -> Result<(), TraceError> {
        let mut buffer = vec![0; BUFFER];
        loop {
            let mut fds: Vec<_> = std::iter::once(stop.as_fd())
                .chain(self.0.iter().map(|copied| copied.group.as_fd()))
                .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
                .collect();
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(TraceError::Thread { source: errno.into() }),
            }
            let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
            if ready[0] {
                return Ok(());
            }
            for (copied, _) in self.0.iter_mut().zip(&ready[1..]).filter(|(_, ready)| **ready) {
                copied.step(&mut buffer, true)?;
            }
        }
    }

    /// Reads the remaining events, and returns the trace.
    pub(super) fn trace(mut self) -> Result<Trace, TraceError> {
        let mut buffer = vec![0; BUFFER];
        for copied in &mut self.0 {
            while copied.step(&mut buffer, false)? {}
        }
        Ok(Trace { mounts: self.0.into_iter().map(Copied::opened).collect() })
    }
}

impl Copied {
    fn new(mount: PathBuf, Memory { root, events }: Memory) -> Result<Self, TraceError> {
        let of_mount = |source: io::Error| TraceError::Mark { path: mount.clone(), source };
        let root = File::from(root);
        let top = PathBuf::from(format!("/proc/self/fd/{}", root.as_raw_fd()));
        let mut dirs = HashMap::new();
        let mut waiting = vec![PathBuf::new()];
        while let Some(dir) = waiting.pop() {
            let path = CString::new(dir.as_os_str().as_bytes()).map_err(|error| of_mount(error.into()))?;
            let found = handle(&root, &path).map_err(|errno| of_mount(errno.into()))?;
            // Through the descriptor's own mount, which is not watched.
            for entry in fs::read_dir(top.join(&dir)).map_err(of_mount)? {
                let entry = entry.map_err(of_mount)?;
                if entry.file_type().map_err(of_mount)?.is_dir() {
                    waiting.push(dir.join(entry.file_name()));
                }
            }
            dirs.insert(found, dir.as_os_str().as_bytes().into());
        }
        Ok(Self { mount, root, group: group(events), dirs, seen: BTreeSet::new() })
    }

    /// Takes the queued events, as many as the buffer holds. With `ignore`, further opens of the same objects are not reported.
    fn step(&mut self, buffer: &mut [u8], ignore: bool) -> Result<bool, TraceError> {
        let lost = |source| TraceError::Read { path: self.mount.clone(), source };
        let length = match read(&self.group, buffer) {
            Ok(0) | Err(Errno::EAGAIN) => return Ok(false),
            Ok(length) => length,
            Err(Errno::EINTR) => return Ok(true),
            Err(errno) => return Err(lost(errno.into())),
        };
        let mut rest = &buffer[..length];
        while !rest.is_empty() {
            let (event, behind) = Event::split(rest).ok_or_else(|| lost(other_form()))?;
            rest = behind;
            if event.mask.contains(MaskFlags::FAN_Q_OVERFLOW) {
                return Err(TraceError::Overflow);
            }
            let (dir, name) = event.place().ok_or_else(|| lost(other_form()))?;
            let Some(dir) = self.dirs.get(&dir) else {
                return Err(TraceError::Unnamed {
                    path: self.mount.clone(),
                    reason: "it is in a directory that the copy did not have",
                });
            };
            let path: Box<[u8]> = match (&**dir, name) {
                (dir, b".") => dir.into(),
                (b"", name) => name.into(),
                (dir, name) => [dir, b"/", name].concat().into(),
            };
            let is_dir = event.mask.contains(MaskFlags::FAN_ONDIR);
            if self.seen.insert((path.clone(), is_dir)) && ignore {
                self.ignore(&path);
            }
        }
        Ok(true)
    }

    /// Stops reporting opens of an object. If this fails, there are more events, and the same names.
    fn ignore(&self, path: &[u8]) {
        let flags = MarkFlags::FAN_MARK_ADD
            | MarkFlags::FAN_MARK_IGNORED_MASK
            | MarkFlags::FAN_MARK_IGNORED_SURV_MODIFY;
        let path = if path.is_empty() { &b"."[..] } else { path };
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        let _ = self.group.mark(flags, MaskFlags::FAN_OPEN, &self.root, Some(path));
    }

    fn opened(self) -> Opened {
        let mut opened = Opened::default();
        for (path, is_dir) in self.seen {
            if is_dir { &mut opened.dirs } else { &mut opened.files }.push(path);
        }
        opened
    }
}

/// The group that these events come from.
fn group(events: OwnedFd) -> Fanotify {
    // SAFETY: init made this descriptor with `fanotify_init`, and sent it to us. Nobody else has it.
    unsafe { Fanotify::from_raw_fd(events.into_raw_fd()) }
}

fn other_form() -> io::Error {
    io::Error::other("the kernel's events have another form")
}

/// One event.
struct Event<'a> {
    mask: MaskFlags,
    /// The information records.
    records: &'a [u8],
}

impl<'a> Event<'a> {
    /// The first event of some bytes, and the bytes after it; `None` where they have another form.
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let length = number(bytes, 0)? as usize;
        let version = *bytes.get(4)?;
        let metadata = usize::from(u16::from_ne_bytes(bytes.get(6..8)?.try_into().ok()?));
        if version != FANOTIFY_METADATA_VERSION || metadata < METADATA || length < metadata {
            return None;
        }
        let mask = MaskFlags::from_bits_retain(u64::from_ne_bytes(bytes.get(8..16)?.try_into().ok()?));
        Some((Self { mask, records: bytes.get(metadata..length)? }, bytes.get(length..)?))
    }

    /// The directory, and the name in it.
    fn place(&self) -> Option<(Handle, &'a [u8])> {
        let mut rest = self.records;
        while !rest.is_empty() {
            let length = usize::from(u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?));
            let record = rest.get(..length).filter(|record| record.len() >= BEFORE_HANDLE)?;
            rest = &rest[length..];
            if record[0] != DFID_NAME {
                continue;
            }
            let size = number(record, BEFORE_HANDLE)? as usize;
            let kind = number(record, BEFORE_HANDLE + 4)?.cast_signed();
            let start = BEFORE_HANDLE + 8;
            let bytes = record.get(start..start.checked_add(size)?)?.into();
            let name = record.get(start + size..)?.split(|&byte| byte == 0).next()?;
            return (!name.is_empty()).then_some((Handle { kind, bytes }, name));
        }
        None
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(name: &[u8]) -> Vec<u8> {
        let handle = [7_u8; 12];
        let mut record = vec![DFID_NAME, 0, 0, 0];
        record.extend([0; 8]);
        record.extend(12_u32.to_ne_bytes());
        record.extend(1_i32.to_ne_bytes());
        record.extend(handle);
        record.extend(name);
        record.push(0);
        record.resize(record.len().next_multiple_of(4), 0);
        let length = u16::try_from(record.len()).unwrap();
        record[2..4].copy_from_slice(&length.to_ne_bytes());
        let mut event = u32::try_from(METADATA + record.len()).unwrap().to_ne_bytes().to_vec();
        event.extend([FANOTIFY_METADATA_VERSION, 0, 24, 0]);
        event.extend(MaskFlags::FAN_OPEN.bits().to_ne_bytes());
        event.extend((-1_i32).to_ne_bytes());
        event.extend(0_i32.to_ne_bytes());
        [event, record].concat()
    }

    #[test]
    fn events_are_taken_apart() {
        let bytes = [event(b"a.h"), event(b".")].concat();
        let (first, rest) = Event::split(&bytes).unwrap();
        let (dir, name) = first.place().unwrap();
        assert_eq!((dir.kind, &*dir.bytes, name), (1, &[7; 12][..], &b"a.h"[..]));
        let (second, rest) = Event::split(rest).unwrap();
        assert_eq!(second.place().unwrap().1, b".");
        assert!(rest.is_empty());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, cut: prop::sample::Index) {
            if let Some((event, _)) = Event::split(&bytes) {
                let _ = event.place();
            }
            let good = event(b"name");
            let cut = &good[..cut.index(good.len())];
            prop_assert!(Event::split(cut).is_none());
        }
    }
}
