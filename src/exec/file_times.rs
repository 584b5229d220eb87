//! The modification times that make compares.
//!
//! make runs a recipe when a prerequisite is newer than its target. In a kept output directory that must be true exactly for
//! files whose content has changed, whatever a checkout or a restore did to file times: see [`super::incremental`].

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

/// The time of all staged files: older than what is built from them, and the same in every run. 1980-01-01 is the earliest
/// time that every archive format can express.
const STAGED: Duration = Duration::from_hours(87_648);

/// The distance between two different times.
const STEP: Duration = Duration::from_micros(1);

/// The time of all staged files.
pub(super) fn staged() -> SystemTime {
    SystemTime::UNIX_EPOCH + STAGED
}

/// Moves the times of all files below `dir` past `base`, in their order: equal times stay equal, and none is in the future.
/// Returns false where that is impossible: `base` is too close to the present or in the future, or the file system does not keep
/// times that precisely.
pub(super) fn move_past(dir: &Path, base: SystemTime) -> io::Result<bool> {
    let mut times = Vec::new();
    each(dir, &mut |path, stat| {
        if !stat.is_dir() {
            times.push((stat.modified()?, path.to_owned()));
        }
        Ok(())
    })?;
    if !is_exact(dir)? {
        return Ok(false);
    }
    times.sort_unstable();
    let (Some((oldest, _)), Some((newest, _))) = (times.first(), times.last()) else { return Ok(true) };
    let now = SystemTime::now();
    // Files from the future stay where a clock was set back: files made now would be older.
    if *oldest > base && *newest < now {
        return Ok(true);
    }
    let steps = u32::try_from(times.len()).map_err(io::Error::other)? + 1;
    if base + STEP * steps >= now {
        return Ok(false);
    }
    let mut at = base;
    let mut last = None;
    for (time, path) in &times {
        if last != Some(*time) {
            at += STEP;
            last = Some(*time);
        }
        set(path, at)?;
    }
    Ok(true)
}

/// Whether the file system of `dir` keeps times as precisely as [`STEP`]: some keep seconds.
fn is_exact(dir: &Path) -> io::Result<bool> {
    let probe = tempfile::NamedTempFile::new_in(dir)?;
    let time = SystemTime::UNIX_EPOCH + STAGED + STEP;
    set(probe.path(), time)?;
    Ok(fs::metadata(probe.path())?.modified()? == time)
}

/// Sets the time of a file, or of a link itself.
pub(super) fn set(path: &Path, time: SystemTime) -> io::Result<()> {
    let time = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let time = TimeSpec::from_duration(time);
    utimensat(AT_FDCWD, path, &time, &time, UtimensatFlags::NoFollowSymlink)?;
    Ok(())
}

/// Calls `visit` with a path and everything below it, the entries of a directory before the directory.
pub(super) fn each(
    path: &Path,
    visit: &mut dyn FnMut(&Path, &fs::Metadata) -> io::Result<()>,
) -> io::Result<()> {
    let stat = fs::symlink_metadata(path)?;
    if stat.is_dir() {
        let entries: Vec<PathBuf> =
            fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        for entry in entries {
            each(&entry, visit)?;
        }
    }
    visit(path, &stat)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(dir: &Path, name: &str, seconds: u64) {
        let path = dir.join(name);
        fs::write(&path, "").unwrap();
        set(&path, SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    }

    fn time(dir: &Path, name: &str) -> SystemTime {
        fs::metadata(dir.join(name)).unwrap().modified().unwrap()
    }

    #[test]
    fn times_keep_their_order_and_end_up_between_the_base_and_now() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        fs::create_dir(dir.join("sub")).unwrap();
        for (name, seconds) in [("a", 5), ("sub/b", 3), ("c", 5), ("d", 9)] {
            at(dir, name, seconds);
        }
        let base = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        assert!(move_past(dir, base).unwrap());
        assert!(time(dir, "sub/b") > base);
        assert!(time(dir, "a") > time(dir, "sub/b"));
        assert_eq!(time(dir, "a"), time(dir, "c"));
        assert!(time(dir, "d") > time(dir, "a"));
        assert!(time(dir, "d") < base + Duration::from_secs(1));
    }

    #[test]
    fn times_that_are_past_the_base_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        at(dir.path(), "a", 5);
        assert!(move_past(dir.path(), SystemTime::UNIX_EPOCH + Duration::from_secs(4)).unwrap());
        assert_eq!(time(dir.path(), "a"), SystemTime::UNIX_EPOCH + Duration::from_secs(5));
    }

    #[test]
    fn files_from_the_future_are_brought_back() {
        let dir = tempfile::tempdir().unwrap();
        at(dir.path(), "a", 5);
        set(&dir.path().join("a"), SystemTime::now() + Duration::from_hours(1)).unwrap();
        at(dir.path(), "b", 2000);
        let base = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        assert!(move_past(dir.path(), base).unwrap());
        assert!(time(dir.path(), "a") > time(dir.path(), "b"));
        assert!(time(dir.path(), "a") < base + Duration::from_secs(1));
    }

    #[test]
    fn nothing_is_moved_into_the_future() {
        let dir = tempfile::tempdir().unwrap();
        at(dir.path(), "a", 5);
        assert!(!move_past(dir.path(), SystemTime::now() + Duration::from_mins(1)).unwrap());
        assert_eq!(time(dir.path(), "a"), SystemTime::UNIX_EPOCH + Duration::from_secs(5));
    }
}
