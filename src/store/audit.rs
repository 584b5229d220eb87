//! Looking after the cache: every blob is hashed, every row is read, and what is damaged is put aside or deleted, so that
//! it is a miss from now on rather than in the middle of a build.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::PathBuf;

use rayon::prelude::*;
use rusqlite::Connection;

use super::cas::hash_file;
use super::error::{At, StoreError};
use super::inventory::{BlobFile, Thing};
use super::path_sets::{has_all_entries, read};
use super::rows::Rows;
use super::runs::digest_of;
use super::{Altered, Store, make_dir};
use crate::digest::Digest;
use crate::source::Listing;

/// What was looked at, and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// How many blobs there are.
    pub blobs: u64,
    /// How many bytes of them were hashed.
    pub hashed: u64,
    /// How many results, listings and path sets were read.
    pub rows: u64,
    /// How many unpacked sources were looked at.
    pub sources: u64,
    /// What was damaged.
    pub damage: Vec<Damage>,
}

/// Something that was not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// A blob with another content than its name says.
    #[error("blob {digest} has another content; it is now {}", moved_to.display())]
    Blob {
        /// Its name.
        digest: Digest,
        /// Where it is kept as evidence.
        moved_to: PathBuf,
    },
    /// A file that no blob can be.
    #[error("{} is no blob; it is now {}", path.display(), moved_to.display())]
    Stray {
        /// Where it was.
        path: PathBuf,
        /// Where it is now.
        moved_to: PathBuf,
    },
    /// A listing that does not have its digest.
    #[error("listing {0} is damaged, and was deleted")]
    Listing(Digest),
    /// A path set that can't be read, or names entries that are not there.
    #[error("path set {0} is damaged, and was deleted")]
    PathSet(Digest),
    /// A result that can't be read.
    #[error("result {0} can't be read, and was deleted")]
    Result(Digest),
    /// A result of which something is gone.
    #[error("result {strong_key} has lost {}, and was deleted", lost.join(", "))]
    Incomplete {
        /// Its key.
        strong_key: Digest,
        /// The outputs that are not there, or not all of them.
        lost: Vec<String>,
    },
    /// An unpacked source that is not what was unpacked.
    #[error("{}", altered(_0))]
    Source(Altered),
    /// The index itself.
    #[error("the index: {0}")]
    Index(String),
}

fn altered(source: &Altered) -> String {
    let Altered { name, now } = source;
    let what = match now {
        Ok(_) => "holds something else than what was unpacked there".to_owned(),
        Err(why) => format!("can't be read: {why}"),
    };
    format!("source tree {name} {what}; it is put right when it is used next")
}

impl Store {
    /// Looks at everything. `quick`: blobs are not hashed, of the index only its rows are looked at, and of unpacked sources
    /// only what their stats do not vouch for.
    pub fn audit(&self, quick: bool) -> Result<Audit, StoreError> {
        let inventory = self.inventory()?;
        let mut audit = Audit { blobs: inventory.blobs.len() as u64, ..Audit::default() };
        for stray in &inventory.strays {
            audit.damage.extend(self.put_aside(stray)?);
        }
        if !quick {
            let found: Vec<_> =
                inventory.blobs.par_iter().map(|blob| self.rehash(blob)).collect::<Result<_, _>>()?;
            for (hashed, damage) in found {
                audit.hashed += hashed;
                audit.damage.extend(damage);
            }
            let verdict: String =
                self.read_index(|index| index.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)))?;
            if verdict != "ok" {
                // The next kiln that opens the cache sets the index aside.
                let path = super::schema::suspect_mark(&self.home.join("index.sqlite"));
                File::create(&path).at(&path)?;
                audit.damage.push(Damage::Index(verdict));
                return Ok(audit);
            }
        }
        let (sources, altered) = self.audit_unpacked(quick)?;
        audit.sources = sources;
        audit.damage.extend(altered.into_iter().map(Damage::Source));
        // Entries that are damaged are deleted as they are read: before it is asked which path sets name them.
        self.entries()?;
        self.sweep_kept()?;
        self.batch(|batch| batch.write(|index| rows(index, &mut audit)))?;
        self.incomplete(&mut audit)?;
        Ok(audit)
    }

    /// Results that are not whole are of no use.
    fn incomplete(&self, audit: &mut Audit) -> Result<(), StoreError> {
        let all = self.read_index(Rows::read)?;
        for result in all.results {
            let mut lost = Vec::new();
            for (name, artifact) in &result.outputs {
                if !self.has_artifact(artifact)? {
                    lost.push(name.clone());
                }
            }
            if lost.is_empty() {
                continue;
            }
            // Looked at again: it may be of another's making since then, or have been collected.
            let now = self.result(&result.strong_key)?.filter(|now| now.outputs == result.outputs);
            if now.is_some() {
                self.forget(&result.strong_key)?;
                audit.damage.push(Damage::Incomplete { strong_key: result.strong_key, lost });
            }
        }
        Ok(())
    }

    fn rehash(&self, blob: &BlobFile) -> Result<(u64, Option<Damage>), StoreError> {
        let path = self.blob_path(&blob.digest);
        let mut file = match File::open(&path) {
            // Collected since.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok((0, None)),
            file => file.at(&path)?,
        };
        let (digest, size) = match hash_file(&mut file, &path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok((0, None)),
            hashed => hashed.at(&path)?,
        };
        if digest == blob.digest {
            return Ok((size, None));
        }
        let damage = match self.quarantine(&blob.digest)? {
            super::BlobError::Damaged { moved_to } => Some(Damage::Blob { digest: blob.digest, moved_to }),
            _ => None,
        };
        Ok((size, damage))
    }

    fn put_aside(&self, stray: &Thing) -> Result<Option<Damage>, StoreError> {
        let damaged = self.home.join("cas/damaged");
        make_dir(&damaged)?;
        let name = stray.path.file_name().unwrap_or_default();
        let mut moved_to = damaged.join(name);
        let mut number = 1;
        while moved_to.exists() {
            moved_to = damaged.join(format!("{}.{number}", name.to_string_lossy()));
            number += 1;
        }
        match fs::rename(&stray.path, &moved_to) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            moved => {
                moved.at(&stray.path).map(|()| Some(Damage::Stray { path: stray.path.clone(), moved_to }))
            }
        }
    }
}

/// Reads all rows, and deletes those that are damaged.
fn rows(index: &Connection, audit: &mut Audit) -> rusqlite::Result<()> {
    let all = Rows::read(index)?;
    audit.rows += all.results.len() as u64;
    for strong_key in all.unreadable {
        index.execute("DELETE FROM result WHERE strong_key = ?1", [strong_key.as_bytes()])?;
        audit.damage.push(Damage::Result(strong_key));
    }
    let mut damaged = Vec::new();
    {
        let mut select = index.prepare("SELECT digest, bytes FROM listing")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            audit.rows += 1;
            let digest = digest_of(row, 0)?;
            let listing = row.get_ref(1)?.as_blob().ok().map(Listing::decode);
            if !matches!(listing, Some(Ok(listing)) if listing.digest() == digest) {
                damaged.push(digest);
            }
        }
    }
    for digest in damaged {
        index.execute("DELETE FROM listing WHERE digest = ?1", [digest.as_bytes()])?;
        audit.damage.push(Damage::Listing(digest));
    }
    let mut sets = Vec::new();
    {
        let mut select = index.prepare("SELECT digest FROM path_set")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            sets.push(digest_of(row, 0)?);
        }
    }
    for digest in sets {
        audit.rows += 1;
        let whole = match read(index, &digest)? {
            Some(set) => has_all_entries(index, &set)?,
            None => false,
        };
        if !whole {
            index.execute("DELETE FROM path_set WHERE digest = ?1", [digest.as_bytes()])?;
            audit.damage.push(Damage::PathSet(digest));
        }
    }
    Ok(())
}
