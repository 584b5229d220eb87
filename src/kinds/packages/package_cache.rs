//! Binary packages and sources that are kept between runs, for all roots of one stage3 name.
//!
//! ```text
//! gentoo/packages/arm64-openrc/packages/DATE/   emerge's binary packages, for the stage3 of a date
//! gentoo/packages/arm64-openrc/sources/         sources of packages
//! gentoo/packages/arm64-openrc/refused/         packages that failed verification, for inspection
//! ```
//!
//! A new stage3 starts with the packages of the latest earlier one. Packages of later stage3s are not used: they may need
//! later libraries, which Portage does not check.
//!
//! Builds can write to the first two directories, so each package is verified before the next run uses it.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::libc::{O_NOATIME, O_NOFOLLOW};

use crate::gentoo::date::BuildDate;
use crate::gentoo::portage::gpkg;
use crate::gentoo::signed::Keyring;

/// The most bytes that are kept for one stage3 name.
const MAX_BYTES: u64 = 2 << 30;

/// The depth of packages: `DATE/CATEGORY/NAME/FILE`.
const DEPTH: usize = 5;

/// The number of stage3 dates whose packages are kept.
const DATES: usize = 3;

/// The suffix of GPKG packages, which have a manifest.
const GPKG: &str = ".gpkg.tar";

/// The suffixes of XPAK packages, which have none.
const XPAK: [&str; 2] = [".xpak", ".tbz2"];

/// The names of Portage's package index, plain and compressed.
const INDEX: [&str; 2] = ["Packages", "Packages.gz"];

/// A failed file operation in the cache.
#[derive(Debug, thiserror::Error)]
#[error("kept packages: {}: {source}", path.display())]
pub(super) struct PackageCacheError {
    path: PathBuf,
    source: io::Error,
}

/// The package cache of one stage3. The caller holds its lock.
pub(super) struct PackageCache {
    dir: PathBuf,
    /// The date of the stage3.
    date: BuildDate,
}

/// A file in the cache.
struct CachedFile {
    path: PathBuf,
    stat: Metadata,
}

impl PackageCache {
    /// Opens the cache for the stage3 of a date.
    pub(super) fn open(dir: &Path, date: &BuildDate) -> Result<Self, PackageCacheError> {
        let cache = Self { dir: dir.to_owned(), date: date.clone() };
        for dir in [cache.dates(), cache.sources(), cache.refused()] {
            fs::create_dir_all(&dir).map_err(at(&dir))?;
        }
        cache.begin()?;
        Ok(cache)
    }

    /// Copies the packages of the latest earlier stage3 to a stage3 that has none yet.
    fn begin(&self) -> Result<(), PackageCacheError> {
        let packages = self.packages();
        if packages.is_dir() {
            return Ok(());
        }
        let mut dates = Vec::new();
        for entry in fs::read_dir(self.dates()).map_err(at(&self.dates()))? {
            let entry = entry.map_err(at(&self.dates()))?;
            match entry.file_name().to_str().and_then(|name| name.parse::<BuildDate>().ok()) {
                Some(date) => dates.push(date),
                // An unfinished copy of a killed run, or the layout of an earlier version.
                None => remove(&entry.path()).map_err(at(&entry.path()))?,
            }
        }
        dates.sort_unstable();
        let new = self.dates().join("new");
        fs::create_dir(&new).map_err(at(&new))?;
        if let Some(before) = dates.iter().rev().find(|date| **date < self.date) {
            let before = self.dates().join(before.as_str());
            for CachedFile { path, .. } in files(&before)?.into_iter().filter(|found| found.stat.is_file()) {
                let to = new.join(path.strip_prefix(&before).unwrap_or(&path));
                let dir = to.parent().unwrap_or(&new);
                fs::create_dir_all(dir).and_then(|()| fs::copy(&path, &to)).map_err(at(&to))?;
            }
        }
        fs::rename(&new, &packages).map_err(at(&packages))?;
        for date in dates.iter().rev().skip(DATES - 1) {
            let old = self.dates().join(date.as_str());
            fs::remove_dir_all(&old).map_err(at(&old))?;
        }
        Ok(())
    }

    fn dates(&self) -> PathBuf {
        self.dir.join("packages")
    }

    pub(super) fn packages(&self) -> PathBuf {
        self.dates().join(self.date.as_str())
    }

    pub(super) fn sources(&self) -> PathBuf {
        self.dir.join("sources")
    }

    fn refused(&self) -> PathBuf {
        self.dir.join("refused")
    }

    /// Verifies all packages. Moves bad ones to `refused/` and removes incomplete files of killed runs. With keys, each package
    /// must be signed by one of them. Returns a message for each refused package.
    pub(super) fn check(
        &self,
        keys: Option<&Keyring>,
        now: SystemTime,
    ) -> Result<Vec<String>, PackageCacheError> {
        let mut rejected = Vec::new();
        for CachedFile { path, stat } in files(&self.packages())? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_index = name.starts_with("Packages");
            let why = if !stat.is_file() {
                None
            } else if name.ends_with(GPKG) {
                match open(&path)
                    .map_err(gpkg::GpkgError::from)
                    .and_then(|mut file| gpkg::check(&mut file, keys, now))
                {
                    Ok(_) => continue,
                    Err(error) => Some(error.to_string()),
                }
            } else if XPAK.iter().any(|ending| name.ends_with(ending)) {
                match keys {
                    None => continue,
                    Some(_) => Some("packages of the format XPAK can't be signed".to_owned()),
                }
            } else if is_index {
                continue;
            } else {
                None
            };
            match why {
                Some(why) => {
                    let to = self.refused().join(&name);
                    fs::rename(&path, &to).map_err(at(&path))?;
                    rejected.push(format!("{name}: {why} (it is now {})", to.display()));
                }
                None => fs::remove_file(&path).map_err(at(&path))?,
            }
        }
        if !rejected.is_empty() {
            self.remove_index()?;
        }
        rejected.sort();
        Ok(rejected)
    }

    /// Removes Portage's index: Portage trusts it and would look for removed packages. Without one it makes a new index.
    fn remove_index(&self) -> Result<(), PackageCacheError> {
        for name in INDEX {
            let path = self.packages().join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&path)(error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes the least recently used files until the cache is within its bound. Returns their number.
    pub(super) fn bound(&self) -> Result<usize, PackageCacheError> {
        self.bound_to(MAX_BYTES)
    }

    fn bound_to(&self, most: u64) -> Result<usize, PackageCacheError> {
        let mut all = Vec::new();
        for dir in [self.dates(), self.sources(), self.refused()] {
            all.extend(files(&dir)?);
        }
        let mut size: u64 = all.iter().map(|found| found.stat.len()).sum();
        // The last use is the later of the last read and the last write.
        all.sort_by_key(|found| found.stat.atime().max(found.stat.mtime()));
        let is_index =
            |found: &CachedFile| INDEX.iter().any(|name| found.path.file_name() == Some(OsStr::new(name)));
        let (indexes, all): (Vec<_>, Vec<_>) = all.into_iter().partition(is_index);
        let mut removed = 0;
        for CachedFile { path, stat } in all {
            if size <= most {
                break;
            }
            fs::remove_file(&path).map_err(at(&path))?;
            size -= stat.len();
            removed += 1;
        }
        if removed > 0 {
            // Removed packages may be of any date.
            indexes.iter().try_for_each(|index| fs::remove_file(&index.path).map_err(at(&index.path)))?;
        }
        Ok(removed)
    }
}

fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// All entries below `dir` that are no directories. Links are not followed.
fn files(dir: &Path) -> Result<Vec<CachedFile>, PackageCacheError> {
    let (mut found, mut left) = (Vec::new(), vec![(dir.to_owned(), 0)]);
    while let Some((dir, depth)) = left.pop() {
        for entry in fs::read_dir(&dir).map_err(at(&dir))? {
            let path = entry.map_err(at(&dir))?.path();
            let stat = fs::symlink_metadata(&path).map_err(at(&path))?;
            if !stat.is_dir() {
                found.push(CachedFile { path, stat });
            } else if depth < DEPTH {
                left.push((path, depth + 1));
            }
        }
    }
    Ok(found)
}

/// Opens a file for verification without a change of its access time, which records use.
fn open(path: &Path) -> io::Result<File> {
    let open = |flags| File::options().read(true).custom_flags(flags).open(path);
    // O_NOATIME fails for files of other users.
    open(O_NOFOLLOW | O_NOATIME).or_else(|_| open(O_NOFOLLOW))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> PackageCacheError {
    let path = path.to_owned();
    move |source| PackageCacheError { path, source }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn cache() -> (tempfile::TempDir, PackageCache) {
        let dir = tempfile::tempdir().unwrap();
        let cache = of(&dir, "20250928T170227Z");
        (dir, cache)
    }

    fn of(dir: &tempfile::TempDir, date: &str) -> PackageCache {
        PackageCache::open(dir.path(), &date.parse().unwrap()).unwrap()
    }

    #[test]
    fn a_stage3_starts_with_the_packages_of_earlier_ones() {
        let (dir, cache) = cache();
        let package =
            |cache: &PackageCache, name: &str| cache.packages().join(format!("a/{name}/{name}-1.gpkg.tar"));
        write(&package(&cache, "old"), 10, 0);
        let later = of(&dir, "20251005T170227Z");
        assert!(package(&later, "old").exists());
        write(&package(&later, "new"), 10, 0);
        // As after a revert of the lock file.
        assert!(!package(&of(&dir, "20250928T170227Z"), "new").exists());
        let earlier = of(&dir, "20250921T170227Z");
        assert!(files(&earlier.packages()).unwrap().is_empty());
        fs::create_dir_all(dir.path().join("packages/new/a")).unwrap();
        fs::write(dir.path().join("packages/Packages"), "").unwrap();
        let latest = of(&dir, "20251012T170227Z");
        assert!(package(&latest, "old").exists() && package(&latest, "new").exists());
        assert_eq!(fs::read_dir(dir.path().join("packages")).unwrap().count(), DATES);
    }

    fn write(path: &Path, bytes: usize, age: u64) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, vec![b'x'; bytes]).unwrap();
        let then = SystemTime::now() - Duration::from_secs(age);
        let times = fs::FileTimes::new().set_accessed(then).set_modified(then);
        File::options().write(true).open(path).unwrap().set_times(times).unwrap();
    }

    #[test]
    fn bad_packages_are_refused_and_incomplete_files_removed() {
        let (_dir, cache) = cache();
        let packages = cache.packages();
        write(&packages.join("sys-devel/bc/bc-1-1.gpkg.tar"), 100, 0);
        write(&packages.join("sys-devel/bc/bc-1-2.gpkg.tar.4711"), 100, 0);
        write(&packages.join("sys-devel/bc/bc-1-1.xpak"), 100, 0);
        write(&packages.join("Packages"), 100, 0);
        std::os::unix::fs::symlink("/etc/passwd", packages.join("x.gpkg.tar")).unwrap();
        let rejected = cache.check(None, SystemTime::now()).unwrap();
        assert!(matches!(&rejected[..], [one] if one.starts_with("bc-1-1.gpkg.tar: ")), "{rejected:?}");
        let mut left: Vec<_> = files(&packages).unwrap().into_iter().map(|found| found.path).collect();
        left.sort();
        assert_eq!(left, [packages.join("sys-devel/bc/bc-1-1.xpak")], "an index would name what is gone");
        assert!(cache.refused().join("bc-1-1.gpkg.tar").exists());
    }

    #[test]
    fn the_least_recently_used_files_are_removed() {
        let (_dir, cache) = cache();
        write(&cache.packages().join("a/old/old.gpkg.tar"), 1000, 300);
        write(&cache.packages().join("a/new/new.gpkg.tar"), 1000, 10);
        write(&cache.sources().join("older.tar.xz"), 1000, 400);
        write(&cache.packages().join("Packages"), 100, 1000);
        assert_eq!(cache.bound_to(3100).unwrap(), 0);
        assert_eq!(cache.bound_to(1500).unwrap(), 2);
        assert!(cache.packages().join("a/new/new.gpkg.tar").exists());
        assert!(!cache.packages().join("Packages").exists(), "it would name what is gone");
    }

    #[test]
    fn removing_a_package_removes_the_indexes_of_all_dates() {
        let (dir, cache) = cache();
        write(&cache.packages().join("a/old/old.gpkg.tar"), 1000, 300);
        write(&cache.packages().join("Packages"), 100, 0);
        let later = of(&dir, "20251005T170227Z");
        // Each date has its own copy; the earlier date's is the least recently used.
        assert_eq!(later.bound_to(1500).unwrap(), 1);
        assert!(later.packages().join("a/old/old.gpkg.tar").exists());
        assert!(!cache.packages().join("a/old/old.gpkg.tar").exists());
        assert!(!cache.packages().join("Packages").exists());
    }
}
