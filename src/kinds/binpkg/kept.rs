//! Packages that are kept from one run to the next, for all roots of one stage3's name.
//!
//! ```text
//! gentoo/packages/arm64-openrc/packages/DATE/   what emerge sees as its binary packages, in the stage3 of a date
//! gentoo/packages/arm64-openrc/sources/         what packages are made from
//! gentoo/packages/arm64-openrc/refused/         packages that were not what they should be, to be looked at
//! ```
//!
//! A stage3 begins with what there is of those before it. What was made in a later one may want later libraries than it has, and
//! Portage would not see that.
//!
//! Builds run with power over the first two, so that nothing there is believed: each package is looked at before the next
//! run may see it.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::libc::{O_NOATIME, O_NOFOLLOW};

use crate::gentoo::dated::Date;
use crate::gentoo::portage::gpkg;
use crate::gentoo::signed::Keyring;

/// The most that is kept for a stage3's name, in bytes.
const MOST: u64 = 2 << 30;

/// How deep packages lie: `DATE/CATEGORY/NAME/FILE`.
const DEPTH: usize = 5;

/// Of how many stage3s packages are kept.
const DATES: usize = 3;

/// Packages of the format GPKG, which say themselves what they hold.
const GPKG: &str = ".gpkg.tar";

/// Those of the format XPAK, which can't.
const XPAK: [&str; 2] = [".xpak", ".tbz2"];

/// What says which packages there are, as it is and compressed.
const INDEX: [&str; 2] = ["Packages", "Packages.gz"];

/// Something that can't be done there.
#[derive(Debug, thiserror::Error)]
#[error("kept packages: {}: {source}", path.display())]
pub(super) struct KeptError {
    path: PathBuf,
    source: io::Error,
}

/// What is kept. Whoever has it has locked it.
pub(super) struct Kept {
    dir: PathBuf,
    /// That of the stage3.
    date: Date,
}

/// A file there.
struct Found {
    path: PathBuf,
    stat: Metadata,
}

impl Kept {
    /// What is kept for the stage3 of a date.
    pub(super) fn open(dir: &Path, date: &Date) -> Result<Self, KeptError> {
        let kept = Self { dir: dir.to_owned(), date: date.clone() };
        for dir in [kept.dates(), kept.sources(), kept.refused()] {
            fs::create_dir_all(&dir).map_err(at(&dir))?;
        }
        kept.begin()?;
        Ok(kept)
    }

    /// Gives a stage3 that has no packages yet those of the one before it.
    fn begin(&self) -> Result<(), KeptError> {
        let packages = self.packages();
        if packages.is_dir() {
            return Ok(());
        }
        let mut dates = Vec::new();
        for entry in fs::read_dir(self.dates()).map_err(at(&self.dates()))? {
            let entry = entry.map_err(at(&self.dates()))?;
            match entry.file_name().to_str().and_then(|name| name.parse::<Date>().ok()) {
                Some(date) => dates.push(date),
                // One that a killed run was beginning with, or what an earlier kiln had there.
                None => remove(&entry.path()).map_err(at(&entry.path()))?,
            }
        }
        dates.sort_unstable();
        let new = self.dates().join("new");
        fs::create_dir(&new).map_err(at(&new))?;
        if let Some(before) = dates.iter().rev().find(|date| **date < self.date) {
            let before = self.dates().join(before.as_str());
            for Found { path, .. } in files(&before)?.into_iter().filter(|found| found.stat.is_file()) {
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

    /// Looks at all packages. What is not as it should be is put away, and what a run that was killed left half-written is
    /// removed. With keys, a package has to be signed by one of them.
    pub(super) fn check(&self, keys: Option<&Keyring>, now: SystemTime) -> Result<Vec<String>, KeptError> {
        let mut put_away = Vec::new();
        for Found { path, stat } in files(&self.packages())? {
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
                    put_away.push(format!("{name}: {why} (it is now {})", to.display()));
                }
                None => fs::remove_file(&path).map_err(at(&path))?,
            }
        }
        if !put_away.is_empty() {
            self.forget_index()?;
        }
        put_away.sort();
        Ok(put_away)
    }

    /// Portage takes its index for the truth where there is one, and would look for what is gone; where there is none, it makes
    /// one of what is there.
    fn forget_index(&self) -> Result<(), KeptError> {
        for name in INDEX {
            let path = self.packages().join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&path)(error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes what has not been read for longest, down to the bound, and says how much that was.
    pub(super) fn bound(&self) -> Result<usize, KeptError> {
        self.bound_to(MOST)
    }

    fn bound_to(&self, most: u64) -> Result<usize, KeptError> {
        let mut all = Vec::new();
        for dir in [self.dates(), self.sources(), self.refused()] {
            all.extend(files(&dir)?);
        }
        let mut size: u64 = all.iter().map(|found| found.stat.len()).sum();
        // Read or written: what came last stays last.
        all.sort_by_key(|found| found.stat.atime().max(found.stat.mtime()));
        let is_index =
            |found: &Found| INDEX.iter().any(|name| found.path.file_name() == Some(OsStr::new(name)));
        let (indexes, all): (Vec<_>, Vec<_>) = all.into_iter().partition(is_index);
        let mut gone = 0;
        for Found { path, stat } in all {
            if size <= most {
                break;
            }
            fs::remove_file(&path).map_err(at(&path))?;
            size -= stat.len();
            gone += 1;
        }
        if gone > 0 {
            // What goes may be of any date.
            indexes.iter().try_for_each(|index| fs::remove_file(&index.path).map_err(at(&index.path)))?;
        }
        Ok(gone)
    }
}

fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// All that is there but directories. No link is followed.
fn files(dir: &Path) -> Result<Vec<Found>, KeptError> {
    let (mut found, mut left) = (Vec::new(), vec![(dir.to_owned(), 0)]);
    while let Some((dir, depth)) = left.pop() {
        for entry in fs::read_dir(&dir).map_err(at(&dir))? {
            let path = entry.map_err(at(&dir))?.path();
            let stat = fs::symlink_metadata(&path).map_err(at(&path))?;
            if !stat.is_dir() {
                found.push(Found { path, stat });
            } else if depth < DEPTH {
                left.push((path, depth + 1));
            }
        }
    }
    Ok(found)
}

/// That a package is looked at is no use of it, which its time of access would tell of.
fn open(path: &Path) -> io::Result<File> {
    let open = |flags| File::options().read(true).custom_flags(flags).open(path);
    // Files of others can't be opened so.
    open(O_NOFOLLOW | O_NOATIME).or_else(|_| open(O_NOFOLLOW))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> KeptError {
    let path = path.to_owned();
    move |source| KeptError { path, source }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn kept() -> (tempfile::TempDir, Kept) {
        let dir = tempfile::tempdir().unwrap();
        let kept = of(&dir, "20250928T170227Z");
        (dir, kept)
    }

    fn of(dir: &tempfile::TempDir, date: &str) -> Kept {
        Kept::open(dir.path(), &date.parse().unwrap()).unwrap()
    }

    #[test]
    fn a_stage3_begins_with_what_was_made_in_those_before_it() {
        let (dir, kept) = kept();
        let package = |kept: &Kept, name: &str| kept.packages().join(format!("a/{name}/{name}-1.gpkg.tar"));
        write(&package(&kept, "old"), 10, 0);
        let later = of(&dir, "20251005T170227Z");
        assert!(package(&later, "old").exists());
        write(&package(&later, "new"), 10, 0);
        // As of a lock that somebody has taken back.
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
    fn what_is_no_package_is_put_away_and_what_is_half_written_goes() {
        let (_dir, kept) = kept();
        let packages = kept.packages();
        write(&packages.join("sys-devel/bc/bc-1-1.gpkg.tar"), 100, 0);
        write(&packages.join("sys-devel/bc/bc-1-2.gpkg.tar.4711"), 100, 0);
        write(&packages.join("sys-devel/bc/bc-1-1.xpak"), 100, 0);
        write(&packages.join("Packages"), 100, 0);
        std::os::unix::fs::symlink("/etc/passwd", packages.join("x.gpkg.tar")).unwrap();
        let put_away = kept.check(None, SystemTime::now()).unwrap();
        assert!(matches!(&put_away[..], [one] if one.starts_with("bc-1-1.gpkg.tar: ")), "{put_away:?}");
        let mut left: Vec<_> = files(&packages).unwrap().into_iter().map(|found| found.path).collect();
        left.sort();
        assert_eq!(left, [packages.join("sys-devel/bc/bc-1-1.xpak")], "an index would name what is gone");
        assert!(kept.refused().join("bc-1-1.gpkg.tar").exists());
    }

    #[test]
    fn what_was_not_used_for_longest_goes() {
        let (_dir, kept) = kept();
        write(&kept.packages().join("a/old/old.gpkg.tar"), 1000, 300);
        write(&kept.packages().join("a/new/new.gpkg.tar"), 1000, 10);
        write(&kept.sources().join("older.tar.xz"), 1000, 400);
        write(&kept.packages().join("Packages"), 100, 1000);
        assert_eq!(kept.bound_to(3100).unwrap(), 0);
        assert_eq!(kept.bound_to(1500).unwrap(), 2);
        assert!(kept.packages().join("a/new/new.gpkg.tar").exists());
        assert!(!kept.packages().join("Packages").exists(), "it would name what is gone");
    }

    #[test]
    fn an_index_goes_with_what_it_names_whatever_date_that_is_of() {
        let (dir, kept) = kept();
        write(&kept.packages().join("a/old/old.gpkg.tar"), 1000, 300);
        write(&kept.packages().join("Packages"), 100, 0);
        let later = of(&dir, "20251005T170227Z");
        // Each has its own copy, of which that of the earlier one was not used for longer.
        assert_eq!(later.bound_to(1500).unwrap(), 1);
        assert!(later.packages().join("a/old/old.gpkg.tar").exists());
        assert!(!kept.packages().join("a/old/old.gpkg.tar").exists());
        assert!(!kept.packages().join("Packages").exists());
    }
}
