//! Turns events into names.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::PipeReader;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::gettid;

use super::group::{Event, Group, Queue};
use super::links::single_names;
use super::names::{Names, is_directory};
use super::{Trace, TraceError};
use crate::exec::sandbox::parse_mounts;

/// How many events of one mount are read before the other mounts, and the request to stop, are looked at.
const TURN: usize = 256;

/// After this many events of hard links, the tree is searched for their other names.
const MANY: usize = 1000;

/// Marked mounts, and what was opened below them.
#[derive(Debug)]
pub(super) struct Reader {
    watches: Vec<Watch>,
    names: Vec<Names>,
    /// What is moved from now on has a later time than this.
    since: TimeSpec,
    /// Threads of ours that searched a mount: their own opens are not counted.
    searchers: Vec<i32>,
    /// Keeps the mounts in place after the sandbox has ended.
    _namespace: File,
}

/// A marked mount.
#[derive(Debug)]
struct Watch {
    group: Group,
    /// The index of the names: those of the mount, or of the mount that it lies below.
    names: usize,
    /// The number of events of files with several names.
    linked: usize,
    /// Files that have only one of their names in the tree, once the tree was searched.
    single: HashSet<(u64, u64)>,
}

impl Reader {
    /// Marks the mounts, and those below them.
    pub(super) fn open(root: &Path, mounts: &[PathBuf], queue: Queue) -> Result<Self, TraceError> {
        let process = root.parent().unwrap_or(root);
        let of_process = |name: &str| {
            let path = process.join(name);
            move |source| TraceError::Sandbox { path, source }
        };
        let namespace = File::open(process.join("ns/mnt")).map_err(of_process("ns/mnt"))?;
        let table = fs::read(process.join("mountinfo")).map_err(of_process("mountinfo"))?;
        let host = File::open(root).map_err(of_process("root"))?;
        let mark = |path: &Path| {
            let path = path.to_owned();
            move |source| TraceError::Mark { path, source }
        };

        let mut names = Vec::new();
        for mount in mounts {
            names.push(Names::new(mount.clone(), &root.join(below(mount))).map_err(mark(mount))?);
        }
        // Where two mounts have the same path, the upper one is listed later.
        let table: BTreeMap<_, _> =
            parse_mounts(&table).map(|mounted| (mounted.path, mounted.ours)).collect();
        if let Some(path) = mounts.iter().find(|&path| !table.contains_key(path)) {
            return Err(TraceError::NotMounted { path: path.clone() });
        }
        let mut watches = Vec::new();
        for (path, ours) in &table {
            let owner = (0..mounts.len())
                .filter(|&index| path.starts_with(&mounts[index]))
                .max_by_key(|&index| mounts[index].as_os_str().len());
            // A mount of the sandbox's own below a mount is a mask.
            let Some(names) = owner.filter(|&owner| !ours || *path == mounts[owner]) else { continue };
            let group = Group::new(queue)
                .and_then(|group| group.watch_mount(&host, below(path)).map(|()| group))
                .map_err(|errno| mark(path)(errno.into()))?;
            watches.push(Watch { group, names, linked: 0, single: HashSet::new() });
        }
        let since = moment().map_err(|errno| TraceError::Thread { source: errno.into() })?;
        Ok(Self { watches, names, since, searchers: Vec::new(), _namespace: namespace })
    }

    /// Reads events until the other end of `stop` is closed.
    pub(super) fn follow(&mut self, stop: &PipeReader) -> Result<(), TraceError> {
        loop {
            let groups = self.watches.iter().map(|watch| watch.group.as_fd());
            let mut fds: Vec<_> = std::iter::once(stop.as_fd())
                .chain(groups)
                .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
                .collect();
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(TraceError::Thread { source: errno.into() }),
            }
            // Reading an event reports the group's error.
            let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
            if ready[0] {
                return Ok(());
            }
            for watch in (0..self.watches.len()).filter(|&watch| ready[watch + 1]) {
                for _ in 0..TURN {
                    if !self.step(watch, true)? {
                        break;
                    }
                }
            }
        }
    }

    /// Reads the remaining events, and returns the trace.
    pub(super) fn trace(mut self) -> Result<Trace, TraceError> {
        for watch in 0..self.watches.len() {
            while self.step(watch, false)? {}
        }
        let mounts =
            self.names.into_iter().map(|names| names.trusted(self.since)).collect::<Result<_, _>>()?;
        Ok(Trace { mounts })
    }

    /// Takes one event of a mount, if there is one. With `search`, this thread was started before the steps: no event of a step
    /// has its thread number.
    pub(super) fn step(&mut self, watch: usize, search: bool) -> Result<bool, TraceError> {
        let Watch { group, names, linked, single } = &mut self.watches[watch];
        let names = &mut self.names[*names];
        let lost = |source| TraceError::Read { path: names.mount().to_owned(), source };
        let file = match group.next().map_err(lost)? {
            Some(Event::Open(_, thread)) if self.searchers.contains(&thread) => return Ok(true),
            Some(Event::Open(file, _)) => file,
            Some(Event::Overflow) => return Err(TraceError::Overflow),
            None => return Ok(false),
        };
        let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).map_err(lost)?;
        let stat = fstat(&file).map_err(|errno| lost(errno.into()))?;
        names.add(path.as_os_str(), &stat)?;
        if !is_directory(&stat) && stat.st_nlink > 1 {
            *linked += 1;
            if search && *linked == MANY {
                self.searchers.push(gettid().as_raw());
                // If the search fails, all of these files count as having several names.
                *single = single_names(&names.root()).unwrap_or_default();
            }
        }
        if is_directory(&stat) || stat.st_nlink == 1 || single.contains(&(stat.st_dev, stat.st_ino)) {
            // If this fails, there are more events, and the same names.
            let _ = group.ignore(file.as_fd());
        }
        Ok(true)
    }
}

/// A path below the sandbox's root.
fn below(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// The present, returned when the clock of file systems has passed it: that clock ticks a few hundred times a second.
fn moment() -> nix::Result<TimeSpec> {
    let now = clock_gettime(ClockId::CLOCK_REALTIME)?;
    // A tick is at most 10 ms. If it takes longer, the clock was set back.
    for _ in 0..100 {
        if clock_gettime(ClockId::CLOCK_REALTIME_COARSE)? > now {
            break;
        }
        thread::sleep(Duration::from_micros(500));
    }
    Ok(now)
}
