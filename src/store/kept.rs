//! Kept output directories: `kept/KEY/` holds what a build left, for the next one to go on from.
//!
//! A directory comes here and goes from here whole, by one rename of `kept/KEY`: whoever has renamed it has it, and
//! whoever dies before or after leaves it either here as it was, or in a session that is swept. What is on its way is
//! in the session's own directory.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::HashSet;
use std::fs::{self, DirBuilder, DirEntry, File, Metadata, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::error::{At, StoreError};
use super::session::remove_any;
use super::{Store, codec};
use crate::digest::{Digest, Domain, Hasher};

/// A kept output directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// What it is kept under.
    pub key: Digest,
    /// The node that left it.
    pub node: String,
    /// How much room it takes on disk.
    pub bytes: u64,
    /// When it was last kept.
    pub used: SystemTime,
}

/// The file `about`: what is to be known of a kept directory without looking through it.
#[derive(Serialize, Deserialize)]
struct About {
    key: Digest,
    node: String,
    bytes: u64,
    /// Nanoseconds since 1970: finer than the times of the index, as it tells which is the older.
    used: u64,
    /// The digest of the file `record`.
    record: Digest,
    /// The path sets and trees that the record speaks of: it is worth nothing without them.
    needs: Vec<Digest>,
    /// What the files of the directory were when it was kept: see [`Survey`].
    files: Digest,
}

impl From<About> for Kept {
    fn from(about: About) -> Self {
        let used = UNIX_EPOCH + Duration::from_nanos(about.used);
        Self { key: about.key, node: about.node, bytes: about.bytes, used }
    }
}

impl Store {
    /// Moves the kept directory of that key to `to`, on the cache's file system, where nothing is yet; gives the record
    /// that it was kept with. It is the caller's from then on: nobody else can take it. `None` where there is none, and
    /// where it is damaged.
    ///
    /// Where `to` is in a work directory, it goes with that.
    pub fn take_kept(&self, key: &Digest, to: &Path) -> Result<Option<Vec<u8>>, StoreError> {
        // What is on its way is seen by no collection, but what was claimed before it left is.
        if let Ok(Some(about)) = read_about(&self.kept_dir().join(key.to_string()), key) {
            self.claim(&about.needs)?;
        }
        let taken = match self.take_away(&key.to_string()) {
            Ok(Some(taken)) => taken,
            // One of another user's, who shares the cache: none for us.
            Ok(None) | Err(StoreError::NotWritable { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        // Or else a power cut could put it back under its key, and what is written to it from now on as well.
        let kept = self.kept_dir();
        File::open(&kept).and_then(|dir| dir.sync_all()).at(&kept)?;
        let record = match read_about(&taken, key) {
            Ok(Some(about)) if about.is_untouched(&taken) => {
                fs::read(taken.join("record")).ok().filter(|record| Digest::of_bytes(record) == about.record)
            }
            _ => None,
        };
        if record.is_some() {
            rename(&taken.join("out"), to).at(to)?;
        }
        remove_any(&taken).at(&taken)?;
        Ok(record)
    }

    /// Looks at the kept directory of that key, which nobody else can take meanwhile, and at its record. `None` where there
    /// is none.
    pub fn with_kept<T>(
        &self,
        key: &Digest,
        look: impl FnOnce(&Path, &[u8]) -> T,
    ) -> Result<Option<T>, StoreError> {
        let Some(taken) = self.take_away(&key.to_string())? else { return Ok(None) };
        let about = read_about(&taken, key).at(&taken)?;
        let record = fs::read(taken.join("record")).at(&taken)?;
        let is_whole =
            |about: &About| about.record == Digest::of_bytes(&record) && about.is_untouched(&taken);
        let whole = about.as_ref().is_some_and(is_whole);
        let seen = whole.then(|| look(&taken.join("out"), &record));
        // Where another has been kept by now, that is newer.
        if !whole || fs::rename(&taken, self.kept_dir().join(key.to_string())).is_err() {
            remove_any(&taken).at(&taken)?;
        }
        Ok(seen)
    }

    /// Keeps the directory `out` (moved here from elsewhere on the cache's file system) under that key, in place of an
    /// older one, with a record of the caller's; `needs` are the digests of the path sets and trees that the record speaks
    /// of, which are kept as long. Then drops those that were kept longest ago until all take no more than
    /// `limit` bytes; `out` itself is dropped if it alone takes more.
    ///
    /// When this returns, it survives a power cut or is gone: never a record with less than what it speaks of.
    pub fn keep(
        &self,
        key: &Digest,
        node: &str,
        out: &Path,
        record: &[u8],
        needs: &[Digest],
        limit: u64,
    ) -> Result<(), StoreError> {
        let survey = Survey::of(out)?;
        let bytes = survey.bytes.saturating_add(record.len() as u64);
        let staged = self.session.temp_path();
        DirBuilder::new().mode(0o700).create(&staged).at(&staged)?;
        rename(out, &staged.join("out")).at(out)?;
        if bytes <= limit {
            let used = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let about = About {
                key: *key,
                node: node.to_owned(),
                bytes,
                used: u64::try_from(used.as_nanos()).unwrap_or(u64::MAX),
                record: Digest::of_bytes(record),
                needs: needs.to_vec(),
                files: survey.files,
            };
            for (name, bytes) in [("record", record), ("about", &codec::seal(&about))] {
                let path = staged.join(name);
                File::create_new(&path).and_then(|mut file| file.write_all(bytes)).at(&path)?;
            }
            // One for all: a build leaves thousands of files, most of them long on disk.
            let dir = File::open(&staged).at(&staged)?;
            nix::unistd::syncfs(dir).map_err(io::Error::from).at(&staged)?;
            self.give_place(&staged, key)?;
        } else {
            remove_any(&staged).at(&staged)?;
            self.drop_one(&key.to_string())?;
        }
        let mut all = self.sweep_kept()?;
        let mut total = all.iter().fold(0_u64, |total, kept| total.saturating_add(kept.bytes));
        while total > limit
            && let Some(oldest) = all.pop()
        {
            // Used again since we looked, it is not the oldest any more.
            self.drop_if(&oldest.key.to_string(), |found| {
                found.is_some_and(|found| found.used <= oldest.used)
            })?;
            total = total.saturating_sub(oldest.bytes);
        }
        Ok(())
    }

    /// All of them, most recently used first.
    pub fn kept(&self) -> Result<Vec<Kept>, StoreError> {
        self.look(|_| Ok(()))
    }

    /// Drops all of them, and tells how much room that gave.
    pub fn drop_kept(&self) -> Result<u64, StoreError> {
        let mut freed = 0_u64;
        for kept in self.sweep_kept()? {
            if self.drop_one(&kept.key.to_string())? {
                freed = freed.saturating_add(kept.bytes);
            }
        }
        Ok(freed)
    }

    /// Drops those that a node has left.
    pub fn drop_kept_of(&self, node: &str) -> Result<(), StoreError> {
        for kept in self.sweep_kept()?.iter().filter(|kept| kept.node == node) {
            self.drop_one(&kept.key.to_string())?;
        }
        Ok(())
    }

    /// Removes what is no kept directory: half of one, or one that has been tampered with. Gives the others.
    pub(super) fn sweep_kept(&self) -> Result<Vec<Kept>, StoreError> {
        // Asked again: between its name and our look at it, it may have been taken and another have come.
        self.look(|name| self.drop_if(name, |found| found.is_none()))
    }

    /// The kept directories, most recently used first. `unsound` is called with the names of what is none.
    fn look(&self, unsound: impl Fn(&str) -> Result<(), StoreError>) -> Result<Vec<Kept>, StoreError> {
        let dir = self.kept_dir();
        let mut all: Vec<Kept> = Vec::new();
        for entry in fs::read_dir(&dir).at(&dir)? {
            let name = entry.at(&dir)?.file_name();
            let name = name.to_string_lossy();
            let about = match name.parse() {
                Ok(key) => read_about(&dir.join(&*name), &key),
                Err(_) => Ok(None),
            };
            match about {
                Ok(Some(about)) => all.push(about.into()),
                Ok(None) => unsound(&name)?,
                // Another user's.
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
                Err(error) => return Err(StoreError::io(&dir.join(&*name), error)),
            }
        }
        all.sort_unstable_by_key(|kept| Reverse((kept.used, kept.key)));
        Ok(all)
    }

    fn kept_dir(&self) -> PathBuf {
        self.home.join("kept")
    }

    /// Gives what is staged its place, and takes away what is there.
    fn give_place(&self, staged: &Path, key: &Digest) -> Result<(), StoreError> {
        let place = self.kept_dir().join(key.to_string());
        loop {
            match fs::rename(staged, &place) {
                // Another kiln may put one there again at any time.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists | ErrorKind::NotADirectory
                    ) =>
                {
                    self.drop_one(&key.to_string())?;
                }
                result => return result.at(&place),
            }
        }
    }

    /// Removes one, and tells whether it was there.
    fn drop_one(&self, name: &str) -> Result<bool, StoreError> {
        match self.take_away(name)? {
            Some(taken) => remove_any(&taken).at(&taken).map(|()| true),
            None => Ok(false),
        }
    }

    /// The path sets and trees that the records of all kept directories speak of.
    pub(super) fn needs_of_kept(&self) -> Result<Vec<Digest>, StoreError> {
        let dir = self.kept_dir();
        let mut needs = Vec::new();
        for entry in fs::read_dir(&dir).at(&dir)? {
            let name = entry.at(&dir)?.file_name();
            if let Ok(key) = name.to_string_lossy().parse()
                && let Ok(Some(about)) = read_about(&dir.join(&name), &key)
            {
                needs.extend(about.needs);
            }
        }
        Ok(needs)
    }

    /// Removes one that was kept no later than `used`, and tells whether it was there.
    pub(super) fn drop_kept_until(&self, key: &Digest, used: SystemTime) -> Result<bool, StoreError> {
        let dropped = Cell::new(false);
        self.drop_if(&key.to_string(), |found| {
            dropped.set(found.is_some_and(|found| found.used <= used));
            dropped.get()
        })?;
        Ok(dropped.get())
    }

    /// Removes one if what is found there, once nobody else can change it, calls for it.
    fn drop_if(&self, name: &str, wanted: impl Fn(Option<Kept>) -> bool) -> Result<(), StoreError> {
        let Some(taken) = self.take_away(name)? else { return Ok(()) };
        let found = match name.parse() {
            Ok(key) => read_about(&taken, &key).at(&taken)?.map(Kept::from),
            Err(_) => None,
        };
        // Where a third has put one there by now, that is newer.
        if wanted(found) || fs::rename(&taken, self.kept_dir().join(name)).is_err() {
            remove_any(&taken).at(&taken)?;
        }
        Ok(())
    }

    /// Moves one into the session's directory. Of several who try, one gets it.
    fn take_away(&self, name: &str) -> Result<Option<PathBuf>, StoreError> {
        let place = self.kept_dir().join(name);
        let taken = self.session.temp_path();
        match rename(&place, &taken) {
            Ok(()) => Ok(Some(taken)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io(&place, error)),
        }
    }
}

/// What is to be known of a kept directory. `None` where it is not whole; an error where that can't be told.
fn read_about(dir: &Path, key: &Digest) -> io::Result<Option<About>> {
    let missing = |error: &io::Error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory);
    let about = match fs::read(dir.join("about")) {
        Ok(bytes) => codec::unseal::<About>(&bytes).filter(|about| about.key == *key),
        Err(error) if missing(&error) || error.kind() == ErrorKind::IsADirectory => None,
        Err(error) => return Err(error),
    };
    let has = |part: &str, is: fn(&Metadata) -> bool| match fs::symlink_metadata(dir.join(part)) {
        Ok(stat) => Ok(is(&stat)),
        Err(error) if missing(&error) => Ok(false),
        Err(error) => Err(error),
    };
    let whole = has("out", Metadata::is_dir)? && has("record", Metadata::is_file)?;
    Ok(about.filter(|_| whole))
}

impl About {
    /// Whether nobody has changed a file of the directory since it was kept. What is not as it was left is of no use:
    /// a build goes by the times of its files, and by nothing else.
    fn is_untouched(&self, kept: &Path) -> bool {
        Survey::of(&kept.join("out")).is_ok_and(|survey| survey.files == self.files)
    }
}

/// What a look at every file of a tree tells.
pub(super) struct Survey {
    /// How much room it takes on disk; a file with several names in it counts once.
    pub bytes: u64,
    /// The digest of names, sizes, modes, times and inodes. Nothing can set a ctime back but the clock; it changes with
    /// every write, chmod and rename of a file, and not when a directory above is renamed.
    files: Digest,
}

impl Survey {
    pub(super) fn of(dir: &Path) -> Result<Self, StoreError> {
        let mut bytes = 0_u64;
        let mut seen = HashSet::new();
        let mut hasher = Hasher::new(Domain::KeptFiles);
        let mut dirs = vec![PathBuf::new()];
        while let Some(below) = dirs.pop() {
            let at = dir.join(&below);
            let mut entries = fs::read_dir(&at).reading(&at)?.collect::<Result<Vec<_>, _>>().reading(&at)?;
            entries.sort_unstable_by_key(DirEntry::file_name);
            for entry in entries {
                let path = below.join(entry.file_name());
                let stat = entry.metadata().reading(&dir.join(&path))?;
                hasher.bytes(path.as_os_str().as_bytes()).number(stat.mode().into());
                if stat.is_dir() {
                    dirs.push(path);
                } else {
                    for number in [stat.ino(), stat.size()] {
                        hasher.number(number);
                    }
                    for time in [stat.mtime(), stat.mtime_nsec(), stat.ctime(), stat.ctime_nsec()] {
                        hasher.number(time.cast_unsigned());
                    }
                    if stat.nlink() > 1 && !seen.insert((stat.dev(), stat.ino())) {
                        continue;
                    }
                }
                bytes = bytes.saturating_add(stat.blocks().saturating_mul(512));
            }
        }
        Ok(Self { bytes, files: hasher.finish() })
    }
}

/// Renames a directory. Moving one to another parent needs to write to it, for its `..`.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let mode = fs::symlink_metadata(from)?.mode();
            fs::set_permissions(from, Permissions::from_mode(mode | 0o700))?;
            fs::rename(from, to)
        }
        result => result,
    }
}
