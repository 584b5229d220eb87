//! Control groups: one for each sandbox, below one for each kiln process.
//!
//! The group of a process is `kiln.PID.N`, beside or below the group that the process is in. It is locked as long as the process
//! lives: the next kiln process removes groups that it can lock.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::unistd::{AccessFlags, access};

use super::table::{Hierarchy, place};
use super::{Exceeded, Grouped, Limits, Means};

const PREFIX: &str = "kiln.";

/// The controllers of version 2 that sandboxes need.
const CONTROLLERS: [&str; 2] = ["memory", "pids"];
const ENABLE: &str = "+memory +pids";

/// How many names are tried for the group of a process.
const TRIES: u32 = 1000;

/// The groups of this process: one of version 2, or one for each available controller of version 1, or none.
#[derive(Debug)]
pub(in super::super) struct Cgroups {
    parents: Vec<Parent>,
    next: AtomicU64,
}

#[derive(Debug)]
struct Parent {
    kind: Hierarchy,
    dir: PathBuf,
    _lock: Flock<File>,
}

impl Cgroups {
    /// Makes the groups of this process, where it may.
    pub(in super::super) fn find() -> Self {
        let unified = place(Hierarchy::Unified).ok().flatten().and_then(|place| {
            let above = place.own.ancestors().take_while(|dir| dir.starts_with(&place.top));
            above
                .filter(|dir| is_delegated(dir, *dir == place.top))
                .find_map(|dir| Parent::new(Hierarchy::Unified, dir))
        });
        let parents = match unified {
            Some(parent) => vec![parent],
            None => [Hierarchy::Memory, Hierarchy::Processes]
                .into_iter()
                .filter_map(|kind| Parent::new(kind, &place(kind).ok()??.own))
                .collect(),
        };
        Self { parents, next: AtomicU64::new(0) }
    }

    /// What enforces the limits of memory and of processes.
    pub(super) fn means(&self) -> (Means, Means) {
        let means = |kind| {
            let mut kinds = self.parents.iter().map(|parent| parent.kind);
            match kinds.find(|found| *found == Hierarchy::Unified || *found == kind) {
                Some(Hierarchy::Unified) => Means::Cgroup2,
                Some(_) => Means::Cgroup1,
                None => Means::Rlimit,
            }
        };
        (means(Hierarchy::Memory), means(Hierarchy::Processes))
    }

    /// Makes the groups of a sandbox.
    pub(in super::super) fn group(&self, limits: &Limits) -> io::Result<Group> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut group = Group { parts: Vec::new(), out_of_memory: None };
        for parent in &self.parents {
            let dir = parent.dir.join(number.to_string());
            fs::create_dir(&dir).map_err(at(&dir))?;
            group.parts.push(Part { kind: parent.kind, dir });
        }
        for part in &group.parts {
            part.limit(limits)?;
        }
        if let Some(memory) = group.parts.iter().find(|part| part.kind == Hierarchy::Memory) {
            group.out_of_memory = Some(memory.watch()?);
        }
        Ok(group)
    }
}

/// Whether groups below `dir` can have the controllers, and processes from below `dir` can be moved there.
fn is_delegated(dir: &Path, is_top: bool) -> bool {
    let enabled = || {
        let text = fs::read_to_string(dir.join("cgroup.subtree_control")).unwrap_or_default();
        CONTROLLERS.iter().all(|wanted| text.split_whitespace().any(|found| found == *wanted))
    };
    // Only the root group may have both controllers for children and processes.
    if is_top && !enabled() {
        let _ = fs::write(dir.join("cgroup.subtree_control"), ENABLE);
    }
    enabled() && access(&dir.join("cgroup.procs"), AccessFlags::W_OK).is_ok()
}

impl Parent {
    fn new(kind: Hierarchy, dir: &Path) -> Option<Self> {
        sweep(dir);
        let pid = process::id();
        for number in 0..TRIES {
            let own = dir.join(format!("{PREFIX}{pid}.{number}"));
            match fs::create_dir(&own) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                result => result.ok()?,
            }
            // Another kiln process may have removed it, taking it for a leftover.
            let Some(lock) = locked(&own) else { continue };
            let parent = Self { kind, dir: own, _lock: lock };
            if kind == Hierarchy::Unified {
                fs::write(parent.dir.join("cgroup.subtree_control"), ENABLE).ok()?;
            }
            return Some(parent);
        }
        None
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        remove(&self.dir);
    }
}

/// Removes the groups of kiln processes that have ended.
fn sweep(dir: &Path) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let left = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
    for entry in left {
        if let Some(_lock) = locked(&entry.path()) {
            remove(&entry.path());
        }
    }
}

/// Removes a group and its children. A group with processes stays until the next time.
fn remove(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
    let _ = fs::remove_dir(dir);
}

/// Locks a directory, if it still exists.
fn locked(dir: &Path) -> Option<Flock<File>> {
    let lock = Flock::lock(File::open(dir).ok()?, FlockArg::LockExclusiveNonblock).ok()?;
    let (held, there) = (lock.metadata().ok()?, fs::metadata(dir).ok()?);
    ((held.dev(), held.ino()) == (there.dev(), there.ino())).then_some(lock)
}

/// The groups of one sandbox, for init to join.
#[derive(Debug)]
pub(in super::super) struct Groups(Vec<File>);

impl Groups {
    pub(in super::super) fn new(entrances: Vec<OwnedFd>) -> Self {
        Self(entrances.into_iter().map(File::from).collect())
    }

    /// Moves this process, and all that it will start, into the groups.
    pub(in super::super) fn enter(mut self) -> io::Result<()> {
        self.0.iter_mut().try_for_each(|entrance| entrance.write_all(b"0"))
    }
}

/// The groups of one sandbox. Dropping it removes them; their processes have to be gone by then.
#[derive(Debug)]
pub(in super::super) struct Group {
    parts: Vec<Part>,
    /// Counts how often the memory limit was reached (version 1).
    out_of_memory: Option<EventFd>,
}

#[derive(Debug)]
struct Part {
    kind: Hierarchy,
    dir: PathBuf,
}

impl Group {
    /// Files to which a process writes `0` to join. Whoever opened them decides who may join.
    pub(in super::super) fn entrances(&self) -> io::Result<Vec<OwnedFd>> {
        let open = |part: &Part| {
            let path = part.dir.join("cgroup.procs");
            File::options().write(true).open(&path).map(OwnedFd::from).map_err(at(&path))
        };
        self.parts.iter().map(open).collect()
    }

    pub(in super::super) fn grouped(&self) -> Grouped {
        let has = |kind| self.parts.iter().any(|part| part.kind == Hierarchy::Unified || part.kind == kind);
        Grouped { memory: has(Hierarchy::Memory), processes: has(Hierarchy::Processes) }
    }

    /// The limits that the processes exceeded.
    pub(in super::super) fn exceeded(&self) -> Option<Exceeded> {
        self.parts.iter().find_map(|part| match part.kind {
            Hierarchy::Unified => {
                if part.event("memory.events.local", "oom") > 0 {
                    Some(Exceeded::Memory)
                } else if part.event("pids.events", "max") > 0 {
                    Some(Exceeded::Processes)
                } else {
                    (part.event("memory.events", "oom_kill") > 0).then_some(Exceeded::MachineMemory)
                }
            }
            Hierarchy::Memory if part.event("memory.oom_control", "oom_kill") == 0 => None,
            Hierarchy::Memory => {
                let own = self.out_of_memory.as_ref().is_some_and(|events| events.read().is_ok());
                Some(if own { Exceeded::Memory } else { Exceeded::MachineMemory })
            }
            Hierarchy::Processes => (part.event("pids.events", "max") > 0).then_some(Exceeded::Processes),
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for part in &self.parts {
            // What can't be removed now is removed with the group of this process, or by the next one.
            let _ = fs::remove_dir(&part.dir);
        }
    }
}

impl Part {
    fn limit(&self, limits: &Limits) -> io::Result<()> {
        let memory = limits.memory.map(|bytes| bytes.to_string());
        let processes = limits.processes.map(|count| count.to_string());
        let (memory_file, swap_file) = match self.kind {
            Hierarchy::Unified => ("memory.max", Some(("memory.swap.max", "0".to_owned()))),
            // Memory and swap together.
            Hierarchy::Memory => {
                ("memory.limit_in_bytes", memory.clone().map(|bytes| ("memory.memsw.limit_in_bytes", bytes)))
            }
            Hierarchy::Processes => ("", None),
        };
        if let Some(bytes) = memory.filter(|_| self.kind != Hierarchy::Processes) {
            self.write(memory_file, &bytes)?;
            // Where swap is not counted, it is not limited either.
            if let Some((file, value)) = swap_file {
                let _ = self.write(file, &value);
            }
        }
        if self.kind == Hierarchy::Unified {
            // The whole sandbox is killed, and not only the largest process. From Linux 4.19 on.
            let _ = self.write("memory.oom.group", "1");
        }
        match processes.filter(|_| self.kind != Hierarchy::Memory) {
            Some(count) => self.write("pids.max", &count),
            None => Ok(()),
        }
    }

    fn write(&self, file: &str, value: &str) -> io::Result<()> {
        let path = self.dir.join(file);
        fs::write(&path, value).map_err(at(&path))
    }

    /// Counts how often processes reach the memory limit of this very group (version 1).
    fn watch(&self) -> io::Result<EventFd> {
        let events = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let control = self.dir.join("memory.oom_control");
        let control = File::open(&control).map_err(at(&control))?;
        self.write("cgroup.event_control", &format!("{} {}", events.as_raw_fd(), control.as_raw_fd()))?;
        Ok(events)
    }

    /// A number from a file of lines `NAME NUMBER`.
    fn event(&self, file: &str, name: &str) -> u64 {
        let mut text = String::new();
        let read = File::open(self.dir.join(file)).and_then(|mut file| file.read_to_string(&mut text));
        let count = read.ok().and_then(|_| {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
        });
        count.unwrap_or(0)
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> io::Error {
    let path = path.display().to_string();
    move |error| {
        // Too many groups; the kernel does not say which limit it is.
        let what = if error.raw_os_error() == Some(Errno::ENOSPC as i32) {
            " (too many control groups?)"
        } else {
            ""
        };
        io::Error::new(error.kind(), format!("{path}: {error}{what}"))
    }
}
