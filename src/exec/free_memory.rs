//! The memory that copies of source trees can use.

use std::fs;
use std::path::{Path, PathBuf};

/// With less memory than this, in bytes, no tree is copied to memory: a kernel tree takes 1.4 GB, and its build needs some too.
pub(super) const MIN_FREE_MEMORY: u64 = 4 << 30;

/// The size of a page, in bytes.
pub(super) const PAGE: u64 = 4096;

/// The memory that this process may use, in bytes; `None` where the kernel does not say.
pub(super) fn total() -> Option<u64> {
    let limits = Cgroup::own().into_iter().filter_map(|group| group.limit());
    limits.chain(meminfo("MemTotal:")).min()
}

/// The memory that is available to this process, in bytes; `None` where the kernel does not say.
pub(super) fn available() -> Option<u64> {
    let left =
        Cgroup::own().into_iter().filter_map(|group| Some(group.limit()?.saturating_sub(group.used()?)));
    left.chain(meminfo("MemAvailable:")).min()
}

fn meminfo(field: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// A control group that may limit memory.
struct Cgroup {
    dir: PathBuf,
    limit: &'static str,
    used: &'static str,
}

impl Cgroup {
    /// The groups of this process, and their ancestors.
    fn own() -> Vec<Self> {
        let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mut groups = Vec::new();
        for line in text.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
            let (roots, limit, used): (&[&str], _, _) = match controllers {
                "" => (&["/sys/fs/cgroup", "/sys/fs/cgroup/unified"], "memory.max", "memory.current"),
                "memory" => (&["/sys/fs/cgroup/memory"], "memory.limit_in_bytes", "memory.usage_in_bytes"),
                _ => continue,
            };
            for root in roots {
                let below = Path::new(root).join(path.trim_start_matches('/'));
                let dirs = below.ancestors().take_while(|dir| dir.starts_with(root));
                groups.extend(dirs.map(|dir| Self { dir: dir.to_owned(), limit, used }));
            }
        }
        groups
    }

    /// The limit; `None` where there is none, or it is not visible here.
    fn limit(&self) -> Option<u64> {
        fs::read_to_string(self.dir.join(self.limit)).ok()?.trim().parse().ok()
    }

    fn used(&self) -> Option<u64> {
        fs::read_to_string(self.dir.join(self.used)).ok()?.trim().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_less_than_what_there_is() {
        let (total, available) = (total().unwrap(), available().unwrap());
        assert!(available > 0 && available <= total, "{available} of {total}");
    }
}
