//! Fanotify: groups, marks, events.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::fanotify::{EventFFlags, FANOTIFY_METADATA_VERSION, Fanotify, InitFlags, MarkFlags, MaskFlags};
use nix::unistd::read;

/// The size of `struct fanotify_event_metadata`.
const EVENT: usize = 24;

/// `FAN_REPORT_FD_ERROR`, since Linux 6.13: an event whose file can't be opened, such as one that is gone from an NFS server,
/// comes with an error in place of the descriptor. Older kernels drop it silently.
const REPORT_FD_ERROR: InitFlags = InitFlags::from_bits_retain(0x2000);

/// The size of a group's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    Unlimited,
    /// The system's setting: 16384 by default.
    #[cfg(test)]
    Bounded,
}

/// A fanotify group: marks, and a queue of events.
#[derive(Debug)]
pub(super) struct Group(Fanotify);

/// An event from the queue.
pub(super) enum Event {
    /// This thread opened this file.
    Open(OwnedFd, i32),
    /// The queue overflowed: events were lost.
    Overflow,
}

impl Group {
    pub(super) fn new(queue: Queue) -> nix::Result<Self> {
        let mut flags = InitFlags::FAN_CLASS_NOTIF
            | InitFlags::FAN_CLOEXEC
            | InitFlags::FAN_NONBLOCK
            | InitFlags::FAN_REPORT_TID
            | InitFlags::FAN_UNLIMITED_MARKS;
        if queue == Queue::Unlimited {
            flags |= InitFlags::FAN_UNLIMITED_QUEUE;
        }
        // Non-blocking: the kernel opens the file again for us, and it may be a pipe.
        let files = EventFFlags::O_RDONLY
            | EventFFlags::O_CLOEXEC
            | EventFFlags::O_LARGEFILE
            | EventFFlags::O_NONBLOCK;
        match Fanotify::init(flags | REPORT_FD_ERROR, files) {
            Err(Errno::EINVAL) => Fanotify::init(flags, files),
            result => result,
        }
        .map(Self)
    }

    /// Reports opens through the mount at a path from now on.
    pub(super) fn watch_mount(&self, dir: impl AsFd, path: &Path) -> nix::Result<()> {
        let flags = MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_MOUNT;
        self.0.mark(flags, MaskFlags::FAN_OPEN | MaskFlags::FAN_ONDIR, dir, Some(path))
    }

    /// Stops reporting opens of this file or directory; opens of a directory's entries are still reported.
    ///
    /// `FAN_MARK_IGNORED_MASK` and not the newer `FAN_MARK_IGNORE` of Linux 6.0: without `FAN_EVENT_ON_CHILD` in a mark, they differ only
    /// in that the older one needs no `FAN_ONDIR`.
    pub(super) fn ignore(&self, file: BorrowedFd) -> nix::Result<()> {
        let flags = MarkFlags::FAN_MARK_ADD
            | MarkFlags::FAN_MARK_IGNORED_MASK
            | MarkFlags::FAN_MARK_IGNORED_SURV_MODIFY;
        self.0.mark(flags, MaskFlags::FAN_OPEN, file, None::<&Path>)
    }

    /// The next event, if there is one.
    ///
    /// One at a time: where the kernel can't make a descriptor for an event that is not the first of a read, it returns the earlier ones
    /// and loses that one silently.
    pub(super) fn next(&self) -> io::Result<Option<Event>> {
        let mut event = [0; EVENT];
        match read(&self.0, &mut event) {
            Ok(EVENT) => parse(event).map(Some),
            Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(Errno::EAGAIN) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Reads `struct fanotify_event_metadata`: length (32 bits), version (8), reserved (8), length of this part (16), mask
/// (64), descriptor (32), thread (32).
fn parse(event: [u8; EVENT]) -> io::Result<Event> {
    let mask = u64::from_ne_bytes(std::array::from_fn(|index| event[8 + index]));
    let [fd, thread] =
        [16, 20].map(|start| i32::from_ne_bytes(std::array::from_fn(|index| event[start + index])));
    if event[4] != FANOTIFY_METADATA_VERSION {
        return Err(io::Error::other("the kernel's events have another form"));
    }
    if MaskFlags::from_bits_retain(mask).contains(MaskFlags::FAN_Q_OVERFLOW) {
        return Ok(Event::Overflow);
    }
    if fd < 0 {
        return Err(io::Error::from_raw_os_error(-fd));
    }
    // SAFETY: the kernel has just opened this descriptor for us, and reports it once.
    Ok(Event::Open(unsafe { OwnedFd::from_raw_fd(fd) }, thread))
}

impl AsFd for Group {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
