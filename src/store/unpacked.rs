//! Source trees that kiln unpacked, and what they hold.
//!
//! A tree is not believed by its name: its record says which listing it came to when it was unpacked, and whoever uses the
//! tree compares. The record is written before the tree gets its name, so that a tree without one is never whole.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use super::Store;
use super::error::{At, StoreError};
use crate::digest::Digest;
use crate::source::{Snapshot, SnapshotOptions};

/// What a record begins with.
const HEAD: &str = "kiln unpacked 1 ";

/// An unpacked source that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Altered {
    /// Its name below `sources/`.
    pub name: Digest,
    /// What it holds now, or why that can't be told.
    pub now: Result<Digest, String>,
}

impl Store {
    /// Where kiln unpacks the source of that name.
    pub fn source_dir(&self, name: &Digest) -> PathBuf {
        self.home.join("sources").join(name.to_string())
    }

    /// The digest of the tree that was unpacked under that name; `None` where none was, or where that is not known.
    pub fn unpacked_tree(&self, name: &Digest) -> Result<Option<Digest>, StoreError> {
        let path = self.source_record(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.strip_prefix(HEAD).and_then(|hex| hex.trim_end().parse().ok())),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => Ok(None),
            Err(error) => Err(StoreError::io(&path, error)),
        }
    }

    /// Records the digest of the tree that is unpacked under that name. When this returns, the record survives a power
    /// cut.
    pub fn record_unpacked(&self, name: &Digest, tree: &Digest) -> Result<(), StoreError> {
        let path = self.source_record(name);
        let temp = self.session.temp_path();
        let written = File::create(&temp).and_then(|mut file| {
            writeln!(file, "{HEAD}{tree}")?;
            file.sync_all()
        });
        written.at(&temp)?;
        fs::rename(&temp, &path).at(&path)
    }

    /// Reads every unpacked source, and gives how many there are with those that are not what they were. `quick`:
    /// files whose stat is what it was are not read.
    pub(super) fn audit_unpacked(&self, quick: bool) -> Result<(u64, Vec<Altered>), StoreError> {
        let (mut count, mut altered) = (0, Vec::new());
        for source in self.sources()? {
            let Some(recorded) = self.unpacked_tree(&source.name)? else { continue };
            count += 1;
            let root = self.source_dir(&source.name);
            let cache = self.tree_cache(&root);
            let options = SnapshotOptions { cache_file: quick.then_some(&*cache), ignore: &[] };
            let now = Snapshot::take(&root, &options).map(|snapshot| snapshot.digest());
            let now = now.map_err(|error| error.to_string());
            // It may have been collected meanwhile.
            if now != Ok(recorded) && root.exists() {
                altered.push(Altered { name: source.name, now });
            }
        }
        Ok((count, altered))
    }

    /// Where the stats of the files of a source tree are remembered.
    pub fn tree_cache(&self, root: &std::path::Path) -> PathBuf {
        self.stat_dir().join(Digest::of_bytes(root.as_os_str().as_encoded_bytes()).short())
    }

    pub(super) fn source_record(&self, name: &Digest) -> PathBuf {
        self.home.join("sources").join(format!(".tree-{name}"))
    }
}
