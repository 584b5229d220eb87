//! What lies in the cache's directories, and how much room it takes. One walk, and the index is not asked.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::error::{At, StoreError};
use super::kept::Survey;
use super::{Kept, Store, times};
use crate::digest::Digest;

/// All that there is.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    /// Sorted by digest.
    pub blobs: Vec<BlobFile>,
    /// Files below `cas/` that can be no blob.
    pub strays: Vec<Thing>,
    /// What has come so far of blobs from elsewhere.
    pub partial: Vec<Thing>,
    /// Blobs that were set aside, and indexes.
    pub damaged: Vec<Thing>,
    /// Source trees that kiln unpacked.
    pub sources: Vec<Source>,
    pub kept: Vec<Kept>,
    /// The index.
    pub index: u64,
    /// What belongs to running kilns, and what is known of files.
    pub working: u64,
}

/// A file of the content-addressed store.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlobFile {
    pub digest: Digest,
    /// On disk, in bytes.
    pub room: u64,
    /// When it was put, in milliseconds since 1970.
    pub put: i64,
}

/// Something that is only there to be looked at.
#[derive(Clone, Debug)]
pub(super) struct Thing {
    pub path: PathBuf,
    pub room: u64,
    pub put: i64,
}

/// A source tree.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub name: Digest,
    pub room: u64,
    pub used: i64,
}

impl Inventory {
    /// What only a walk can measure, in bytes.
    pub fn counted(&self) -> u64 {
        let blobs = self.blobs.iter().map(|blob| blob.room);
        let things = self.things().map(|thing| thing.room);
        blobs.chain(things).chain(self.sources.iter().map(|source| source.room)).fold(0, u64::saturating_add)
    }

    /// What nothing in the index names, in one order: set aside, stray, partial.
    pub fn things(&self) -> impl Iterator<Item = &Thing> {
        self.damaged.iter().chain(&self.strays).chain(&self.partial)
    }

    /// All of it, but for what belongs to running kilns.
    pub fn total(&self) -> u64 {
        let kept = self.kept.iter().fold(0_u64, |sum, kept| sum.saturating_add(kept.bytes));
        self.counted().saturating_add(kept).saturating_add(self.index)
    }
}

impl Store {
    /// Looks through all directories.
    pub(super) fn inventory(&self) -> Result<Inventory, StoreError> {
        let cas = self.home.join("cas");
        let mut dirs = Vec::new();
        let mut inventory =
            Inventory { kept: self.kept()?, index: self.index_size(), ..Inventory::default() };
        for entry in fs::read_dir(&cas).at(&cas)? {
            let entry = entry.at(&cas)?;
            let path = entry.path();
            let name = entry.file_name();
            if name == "damaged" {
                inventory.damaged = things(&path)?;
            } else if name.len() == 2 && path.is_dir() {
                dirs.push(path);
            } else if let Ok(stat) = entry.metadata() {
                inventory.strays.push(thing(path, &stat));
            }
        }
        dirs.sort_unstable();
        let found: Vec<_> = dirs.par_iter().map(|dir| blobs(dir)).collect::<Result<_, _>>()?;
        for (blobs, strays) in found {
            inventory.blobs.extend(blobs);
            inventory.strays.extend(strays);
        }
        for thing in things(&self.home)? {
            let name = thing.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with("index.sqlite.damaged-") {
                inventory.damaged.push(thing);
            }
        }
        let partial = self.home.join("partial");
        if partial.is_dir() {
            inventory.partial = things(&partial)?;
        }
        inventory.sources = self.sources()?;
        for dir in ["tmp", "work", "stat", "logs", "locks"] {
            inventory.working = inventory.working.saturating_add(room_now(&self.home.join(dir)));
        }
        Ok(inventory)
    }

    /// The source trees that kiln made: what a user has put there has another name.
    pub(super) fn sources(&self) -> Result<Vec<Source>, StoreError> {
        let dir = self.home.join("sources");
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.at(&dir)?,
        };
        let mut names: Vec<Digest> = Vec::new();
        for entry in entries {
            let entry = entry.at(&dir)?;
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            names.extend(entry.file_name().to_string_lossy().parse::<Digest>().ok().filter(|_| is_dir));
        }
        let measured = names.into_par_iter().map(|name| {
            let path = self.source_dir(&name);
            let used = fs::metadata(self.source_mark(&name)).or_else(|_| fs::metadata(&path));
            let used = used.and_then(|stat| stat.modified()).map_or(0, times::of);
            Source { name, room: room_now(&path), used }
        });
        Ok(measured.collect())
    }
}

/// Room of a directory in which others may be at work.
fn room_now(dir: &Path) -> u64 {
    Survey::of(dir).map_or(0, |survey| survey.bytes)
}

fn blobs(dir: &Path) -> Result<(Vec<BlobFile>, Vec<Thing>), StoreError> {
    let (mut blobs, mut strays) = (Vec::new(), Vec::new());
    let prefix = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for entry in fs::read_dir(dir).at(dir)? {
        let entry = entry.at(dir)?;
        let stat = match entry.metadata() {
            // Another collection was faster.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            stat => stat.at(&entry.path())?,
        };
        let name = entry.file_name();
        let digest =
            name.to_str().filter(|name| name.starts_with(&prefix)).and_then(|name| name.parse().ok());
        match digest {
            Some(digest) if stat.is_file() => {
                let put = stat.modified().map_or(0, times::of);
                blobs.push(BlobFile { digest, room: stat.blocks().saturating_mul(512), put });
            }
            _ => strays.push(thing(entry.path(), &stat)),
        }
    }
    blobs.sort_unstable_by_key(|blob| blob.digest);
    Ok((blobs, strays))
}

fn things(dir: &Path) -> Result<Vec<Thing>, StoreError> {
    let mut things = Vec::new();
    for entry in fs::read_dir(dir).at(dir)? {
        let entry = entry.at(dir)?;
        if let Ok(stat) = entry.metadata() {
            things.push(thing(entry.path(), &stat));
        }
    }
    Ok(things)
}

fn thing(path: PathBuf, stat: &Metadata) -> Thing {
    let room = if stat.is_dir() { room_now(&path) } else { stat.blocks().saturating_mul(512) };
    Thing { path, room, put: stat.modified().map_or(0, times::of) }
}
