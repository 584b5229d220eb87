//! The control groups of this process.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A hierarchy of control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hierarchy {
    /// Version 2, with all controllers.
    Unified,
    /// The memory controller of version 1.
    Memory,
    /// The controller of process numbers of version 1.
    Processes,
}

impl Hierarchy {
    /// Its controller's name in version 1.
    const fn controller(self) -> Option<&'static str> {
        match self {
            Self::Unified => None,
            Self::Memory => Some("memory"),
            Self::Processes => Some("pids"),
        }
    }
}

/// Where a hierarchy is mounted, and the group of this process in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CgroupPath {
    pub(super) top: PathBuf,
    pub(super) own: PathBuf,
}

/// The group of this process in a hierarchy; `None` where that is not mounted.
pub(super) fn place(kind: Hierarchy) -> io::Result<Option<CgroupPath>> {
    let (mounts, groups) =
        (fs::read_to_string("/proc/self/mountinfo")?, fs::read_to_string("/proc/self/cgroup")?);
    Ok(find(kind, &mounts, &groups))
}

fn find(kind: Hierarchy, mounts: &str, groups: &str) -> Option<CgroupPath> {
    let (root, top) = mounts.lines().find_map(|line| mounted(kind, line))?;
    let group = groups.lines().find_map(|line| group(kind, line))?;
    // In a container, the mount may show a part of the hierarchy, with the container's own group as its root.
    let below = Path::new(group).strip_prefix(root).ok();
    let own = below.map_or_else(|| PathBuf::from(top), |below| Path::new(top).join(below));
    Some(CgroupPath { top: top.into(), own })
}

/// The root and the path of a mount, if it is of this hierarchy.
fn mounted(kind: Hierarchy, line: &str) -> Option<(&str, &str)> {
    let (before, after) = line.split_once(" - ")?;
    let mut after = after.split(' ');
    let (file_system, options) = (after.next()?, after.nth(1)?);
    let fits = match kind.controller() {
        None => file_system == "cgroup2",
        Some(name) => file_system == "cgroup" && options.split(',').any(|option| option == name),
    };
    let mut before = before.split(' ').skip(3);
    let place = (before.next()?, before.next()?);
    fits.then_some(place)
}

/// The group in a line of /proc/self/cgroup, if it is of this hierarchy.
fn group(kind: Hierarchy, line: &str) -> Option<&str> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, path) = (fields.next()?, fields.next()?);
    let fits = match kind.controller() {
        None => controllers.is_empty(),
        Some(name) => controllers.split(',').any(|controller| controller == name),
    };
    fits.then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /docker/ab /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    const GROUPS: &str = "8:pids:/\n4:memory:/docker/ab/c:d\n2:cpu,cpuacct:/x\n0::/user.slice\n";

    fn place(top: &str, own: &str) -> CgroupPath {
        CgroupPath { top: top.into(), own: own.into() }
    }

    #[test]
    fn groups_are_found_below_their_mounts() {
        assert_eq!(
            find(Hierarchy::Memory, MOUNTS, GROUPS),
            Some(place("/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/c:d"))
        );
        assert_eq!(
            find(Hierarchy::Unified, MOUNTS, GROUPS),
            Some(place("/sys/fs/cgroup/unified", "/sys/fs/cgroup/unified/user.slice"))
        );
        assert_eq!(find(Hierarchy::Processes, MOUNTS, GROUPS), None);
    }
}
