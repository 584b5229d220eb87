//! Control groups: one for each sandbox, below one for each kiln.
//!
//! A kiln's group is `kiln.PID.N` beside or below the group that kiln is in. It is locked as long as its kiln lives, so
//! whoever can lock it may remove it: the next kiln does that for one that was killed.

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

use super::table::{Kind, place};
use super::{Exceeded, Grouped, Limits, Means};

const PREFIX: &str = "kiln.";

/// The controllers of version 2 that sandboxes need.
const CONTROLLERS: [&str; 2] = ["memory", "pids"];
const ENABLE: &str = "+memory +pids";

/// How many names are tried for a kiln's group.
const TRIES: u32 = 1000;

/// The groups of this kiln: one of version 2, or one for each controller of version 1 that there is, or none.
#[derive(Debug)]
pub(in super::super) struct Cgroups {
    parents: Vec<Parent>,
    next: AtomicU64,
}

#[derive(Debug)]
struct Parent {
    kind: Kind,
    dir: PathBuf,
    _lock: Flock<File>,
}

impl Cgroups {
    /// Makes this kiln's groups, where it may.
    pub(in super::super) fn find() -> Self {
        let unified = place(Kind::Unified).ok().flatten().and_then(|place| {
            let above = place.own.ancestors().take_while(|dir| dir.starts_with(&place.top));
            above
                .filter(|dir| is_delegated(dir, *dir == place.top))
                .find_map(|dir| Parent::new(Kind::Unified, dir))
        });
        let parents = match unified {
            Some(parent) => vec![parent],
            None => [Kind::Memory, Kind::Processes]
                .into_iter()
                .filter_map(|kind| Parent::new(kind, &place(kind).ok()??.own))
                .collect(),
        };
        Self { parents, next: AtomicU64::new(0) }
    }

    /// By what memory and processes are limited.
    pub(super) fn means(&self) -> (Means, Means) {
        let means = |kind| {
            let mut kinds = self.parents.iter().map(|parent| parent.kind);
            match kinds.find(|found| *found == Kind::Unified || *found == kind) {
                Some(Kind::Unified) => Means::Cgroup2,
                Some(_) => Means::Cgroup1,
                None => Means::Rlimit,
            }
        };
        (means(Kind::Memory), means(Kind::Processes))
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
        if let Some(memory) = group.parts.iter().find(|part| part.kind == Kind::Memory) {
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
    // The top alone may have controllers for others and processes of its own.
    if is_top && !enabled() {
        let _ = fs::write(dir.join("cgroup.subtree_control"), ENABLE);
    }
    enabled() && access(&dir.join("cgroup.procs"), AccessFlags::W_OK).is_ok()
}

impl Parent {
    fn new(kind: Kind, dir: &Path) -> Option<Self> {
        sweep(dir);
        let pid = process::id();
        for number in 0..TRIES {
            let own = dir.join(format!("{PREFIX}{pid}.{number}"));
            match fs::create_dir(&own) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                result => result.ok()?,
            }
            // Another kiln may have taken it for one that is left over, and have removed it.
            let Some(lock) = locked(&own) else { continue };
            let parent = Self { kind, dir: own, _lock: lock };
            if kind == Kind::Unified {
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

/// Removes the groups of kilns that are gone.
fn sweep(dir: &Path) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let left = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
    for entry in left {
        if let Some(_lock) = locked(&entry.path()) {
            remove(&entry.path());
        }
    }
}

/// Removes a group and those in it. What still has processes stays, for the next sweep.
fn remove(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
    let _ = fs::remove_dir(dir);
}

/// Locks a directory that is still there.
fn locked(dir: &Path) -> Option<Flock<File>> {
    let lock = Flock::lock(File::open(dir).ok()?, FlockArg::LockExclusiveNonblock).ok()?;
    let (held, there) = (lock.metadata().ok()?, fs::metadata(dir).ok()?);
    ((held.dev(), held.ino()) == (there.dev(), there.ino())).then_some(lock)
}

/// The groups of one sandbox, as init joins them.
#[derive(Debug)]
pub(in super::super) struct Groups(Vec<File>);

impl Groups {
    pub(in super::super) fn new(entrances: Vec<OwnedFd>) -> Self {
        Self(entrances.into_iter().map(File::from).collect())
    }

    /// Moves this process into them, and all that it will start.
    pub(in super::super) fn enter(mut self) -> io::Result<()> {
        self.0.iter_mut().try_for_each(|entrance| entrance.write_all(b"0"))
    }
}

/// The groups of one sandbox. Dropping it removes them; by then its processes have to be gone.
#[derive(Debug)]
pub(in super::super) struct Group {
    parts: Vec<Part>,
    /// Counts how often the limit of memory was reached (version 1).
    out_of_memory: Option<EventFd>,
}

#[derive(Debug)]
struct Part {
    kind: Kind,
    dir: PathBuf,
}

impl Group {
    /// What a process writes `0` to, to join. Who may be in the group is decided by who opened these.
    pub(in super::super) fn entrances(&self) -> io::Result<Vec<OwnedFd>> {
        let open = |part: &Part| {
            let path = part.dir.join("cgroup.procs");
            File::options().write(true).open(&path).map(OwnedFd::from).map_err(at(&path))
        };
        self.parts.iter().map(open).collect()
    }

    pub(in super::super) fn grouped(&self) -> Grouped {
        let has = |kind| self.parts.iter().any(|part| part.kind == Kind::Unified || part.kind == kind);
        Grouped { memory: has(Kind::Memory), processes: has(Kind::Processes) }
    }

    /// What the processes in it ran into.
    pub(in super::super) fn exceeded(&self) -> Option<Exceeded> {
        self.parts.iter().find_map(|part| match part.kind {
            Kind::Unified => {
                if part.event("memory.events.local", "oom") > 0 {
                    Some(Exceeded::Memory)
                } else if part.event("pids.events", "max") > 0 {
                    Some(Exceeded::Processes)
                } else {
                    (part.event("memory.events", "oom_kill") > 0).then_some(Exceeded::MachineMemory)
                }
            }
            Kind::Memory if part.event("memory.oom_control", "oom_kill") == 0 => None,
            Kind::Memory => {
                let own = self.out_of_memory.as_ref().is_some_and(|events| events.read().is_ok());
                Some(if own { Exceeded::Memory } else { Exceeded::MachineMemory })
            }
            Kind::Processes => (part.event("pids.events", "max") > 0).then_some(Exceeded::Processes),
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for part in &self.parts {
            // What can't go now goes with the kiln's group, or by the next kiln.
            let _ = fs::remove_dir(&part.dir);
        }
    }
}

impl Part {
    fn limit(&self, limits: &Limits) -> io::Result<()> {
        let memory = limits.memory.map(|bytes| bytes.to_string());
        let processes = limits.processes.map(|count| count.to_string());
        let (memory_file, swap_file) = match self.kind {
            Kind::Unified => ("memory.max", Some(("memory.swap.max", "0".to_owned()))),
            // Memory and swap together.
            Kind::Memory => {
                ("memory.limit_in_bytes", memory.clone().map(|bytes| ("memory.memsw.limit_in_bytes", bytes)))
            }
            Kind::Processes => ("", None),
        };
        if let Some(bytes) = memory.filter(|_| self.kind != Kind::Processes) {
            self.write(memory_file, &bytes)?;
            // Where swap is not counted, it is not limited either.
            if let Some((file, value)) = swap_file {
                let _ = self.write(file, &value);
            }
        }
        if self.kind == Kind::Unified {
            // All of the sandbox goes, and not just what happens to be largest. From Linux 4.19 on.
            let _ = self.write("memory.oom.group", "1");
        }
        match processes.filter(|_| self.kind != Kind::Memory) {
            Some(count) => self.write("pids.max", &count),
            None => Ok(()),
        }
    }

    fn write(&self, file: &str, value: &str) -> io::Result<()> {
        let path = self.dir.join(file);
        fs::write(&path, value).map_err(at(&path))
    }

    /// Has it counted how often processes run into the limit of memory of this very group (version 1).
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
        // Too many groups; the name of what is full is not in the kernel's answer.
        let what = if error.raw_os_error() == Some(Errno::ENOSPC as i32) {
            " (too many control groups?)"
        } else {
            ""
        };
        io::Error::new(error.kind(), format!("{path}: {error}{what}"))
    }
}
