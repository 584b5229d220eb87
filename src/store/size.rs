//! How large the cache is, without a walk over it: a number that is measured once and kept up from then on.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use nix::sys::statvfs::statvfs;

use super::Store;
use super::error::{At, StoreError};
use super::gc::Limits;

/// Blobs take room in units of this on most file systems.
const UNIT: u64 = 4096;

/// The most that is read of the file with the number.
const LONGEST: u64 = 32;

impl Store {
    /// Whether the cache has come over a bound of size or of free room, as far as can be told without looking at all of
    /// it. Age is for the next collection: it alone makes none necessary.
    pub fn is_over(&self, limits: &Limits) -> Result<bool, StoreError> {
        if limits.free.is_some_and(|wanted| self.free().is_ok_and(|free| free < wanted)) {
            return Ok(true);
        }
        match limits.size {
            Some(limit) => Ok(self.size()? > limit),
            None => Ok(false),
        }
    }

    /// How much room the file system has left for us, in bytes.
    pub(super) fn free(&self) -> Result<u64, StoreError> {
        let stat = statvfs(&self.home).map_err(std::io::Error::from).at(&self.home)?;
        Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
    }

    /// How large the file system is, in bytes.
    pub fn file_system(&self) -> Result<u64, StoreError> {
        let stat = statvfs(&self.home).map_err(std::io::Error::from).at(&self.home)?;
        Ok(stat.blocks().saturating_mul(stat.fragment_size()))
    }

    /// How large the cache is by now, in bytes: measured where that is not known.
    pub(super) fn size(&self) -> Result<u64, StoreError> {
        let things = match self.settle(0)? {
            Some(known) => known,
            None => {
                let measured = self.inventory()?.counted();
                self.settle_at(measured, None)?;
                measured
            }
        };
        let kept = self.kept()?.iter().fold(0_u64, |sum, kept| sum.saturating_add(kept.bytes));
        Ok(things.saturating_add(kept).saturating_add(self.index_size()))
    }

    /// Takes note of a new blob.
    pub(super) fn added(&self, bytes: u64) {
        self.added.fetch_add(bytes.next_multiple_of(UNIT), Ordering::Relaxed);
    }

    /// Takes note that something came that has yet to be measured.
    pub fn measure_again(&self) -> Result<(), StoreError> {
        let path = self.size_path();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(StoreError::io(&path, error)),
            _ => Ok(()),
        }
    }

    /// Adds what this session has put, and takes off what was taken away; gives the sum, if it is known.
    pub(super) fn settle(&self, less: u64) -> Result<Option<u64>, StoreError> {
        let path = self.size_path();
        let mut file = match File::options().read(true).write(true).open(&path) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
                return Ok(None);
            }
            file => file.at(&path)?,
        };
        file.lock().at(&path)?;
        let mut text = String::new();
        let read = (&mut file).take(LONGEST).read_to_string(&mut text);
        let Some(before) = read.ok().and_then(|_| text.trim().parse::<u64>().ok()) else { return Ok(None) };
        let added = self.added.swap(0, Ordering::Relaxed);
        let now = before.saturating_add(added).saturating_sub(less);
        if now != before {
            file.rewind().and_then(|()| file.set_len(0)).and_then(|()| writeln!(file, "{now}")).at(&path)?;
        }
        Ok(Some(now))
    }

    /// Makes what was measured the number that is kept up, and adds what came since it was `before`.
    pub(super) fn settle_at(&self, measured: u64, before: Option<u64>) -> Result<(), StoreError> {
        let since = match (before, self.settle(0)?) {
            (Some(before), Some(now)) => now.saturating_sub(before),
            _ => 0,
        };
        let path = self.size_path();
        let temp = self.session.temp_path();
        fs::write(&temp, format!("{}\n", measured.saturating_add(since))).at(&temp)?;
        fs::rename(&temp, &path).at(&path)
    }

    /// The index with its log.
    pub(super) fn index_size(&self) -> u64 {
        let of = |name: &str| fs::metadata(self.home.join(name)).map_or(0, |stat| stat.len());
        of("index.sqlite").saturating_add(of("index.sqlite-wal")).saturating_add(of("index.sqlite-shm"))
    }

    fn size_path(&self) -> PathBuf {
        self.home.join("size")
    }
}
