//! Kept output directories on their way: a machine without any state goes on where another one ended.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::client::Remotes;
use super::entry::{KeptEntry, kept_key};
use super::keys::SigningKey;
use super::pack::{MAX_BLOB, Pack};
use super::push::{Content, PushError, made, put_entry};
use super::sealed::Sealed;
use super::{Name, Sha256, paths};
use crate::digest::Digest;
use crate::source::{Listing, PathSet};
use crate::store::{Blob, BlobError, Store, StoreError, both_digests, pack_dir, remove_tree, unpack_dir};

/// A kept directory that is to be sent.
pub struct OutgoingKept<'a> {
    /// What it is kept under.
    pub key: Digest,
    /// The node that left it.
    pub node: &'a str,
    /// What its builder has to know to go on from it.
    pub record: &'a [u8],
    /// What was read for it.
    pub path_set: &'a PathSet,
    /// The digests of the trees that it was made from.
    pub trees: &'a [Digest],
    /// The directory, archived.
    pub archive: &'a Archive,
    /// How much room it takes on disk.
    pub bytes: u64,
}

impl Remotes {
    /// Brings the newest kept directory of that key from the first remote that has one, to `to`, where nothing is yet.
    /// Gives the record that it was kept with. `None` for anything that is wrong with it: it can be made again.
    pub fn take_kept(&self, store: &Store, key: &Digest, to: &Path) -> Option<Vec<u8>> {
        (0..self.lines.len())
            .filter(|&line| self.lines[line].kept)
            .find_map(|line| self.take_from(store, line, key, to))
    }

    fn take_from(&self, store: &Store, line: usize, key: &Digest, to: &Path) -> Option<Vec<u8>> {
        let of = &self.lines[line];
        let open = |bytes: &[u8]| KeptEntry::open(&Sealed::decode(bytes)?, key, &of.instance, &of.trust);
        let opened = self.entry(line, &kept_key(key), |bytes| Some(open(bytes)))?;
        let entry = match opened {
            Ok(opened) => opened.entry,
            Err(error) => {
                self.warn(format!("remote {}: a kept directory does not count: {error}", of.name));
                return None;
            }
        };
        let set =
            paths::decode(&self.small_blob(line, &entry.path_set, paths::MAX_BLOB)?, &entry.path_set_digest)
                .ok()?;
        let pack = Pack::decode_listings(&self.small_blob(line, &entry.listings, MAX_BLOB)?).ok()?;
        let transfer = self.meter.begin(entry.archive.size);
        self.fetch_one(store, line, &entry.archive, &transfer).ok()?;
        drop(transfer);
        store.claim(&pack.roots).ok()?;
        let listings: Vec<(Digest, &Listing)> =
            pack.listings.iter().map(|listing| (listing.digest(), listing)).collect();
        store
            .batch(|batch| {
                batch.put_listings(listings.iter().map(|(digest, listing)| (digest, listing.bytes())))?;
                batch.put_path_set(&set)
            })
            .ok()?;
        let archive = Blob { digest: entry.archive.blake3, size: entry.archive.size };
        // Blocks on disk may be fewer than bytes, in files with holes.
        let most = entry.bytes.saturating_mul(4).saturating_add(1 << 30);
        let unpacked = unpack_dir(store.open_blob(&archive).ok()?, to, most);
        // It is the directory now; a later one is another archive.
        store.drop_blob(&archive.digest);
        if let Err(error) = unpacked {
            self.warn(format!("remote {}: a kept directory can't be unpacked: {error}", of.name));
            let _ = remove_tree(to);
            return None;
        }
        Some(entry.record)
    }

    /// Sends a kept directory to one of them, in place of an older one.
    pub fn push_kept(
        &self,
        store: &Store,
        line: usize,
        outgoing: &OutgoingKept<'_>,
        key: Option<&SigningKey>,
    ) -> Result<u64, PushError> {
        let to = &self.lines[line];
        let lost = |error| PushError::Blob { output: "what was kept".to_owned(), error };
        let Archive { name: archive, path, .. } = outgoing.archive;
        let listing = |digest: &Digest| store.listing(digest).map_err(BlobError::from);
        let pack = Pack::of_listings(outgoing.trees.iter().copied(), listing).map_err(lost)?;
        let pack = pack.ok_or_else(|| lost(BlobError::Missing))?;
        let mut given = vec![(*archive, Content::File(path.clone()))];
        let path_set = made(paths::encode(outgoing.path_set), &mut given);
        let listings = made(pack.encode(), &mut given);
        let entry = KeptEntry {
            instance: to.instance.clone(),
            key: outgoing.key,
            node: outgoing.node.to_owned(),
            record: outgoing.record.to_vec(),
            path_set,
            path_set_digest: outgoing.path_set.digest(),
            listings,
            archive: *archive,
            bytes: outgoing.bytes,
        };
        entry.check().map_err(PushError::Unfit)?;
        let names = entry.names();
        let bytes = self.send(store, line, &names, &given)?;
        put_entry(to, &kept_key(&outgoing.key), &entry.seal(key), &names)?;
        Ok(bytes)
    }
}

/// An archived directory, in a file that goes with this.
pub struct Archive {
    name: Name,
    path: PathBuf,
    dir: PathBuf,
}

impl Archive {
    /// Archives a directory.
    pub fn of(store: &Store, kept: &Path) -> Result<Self, StoreError> {
        let dir = store.fresh_work_dir("archive")?;
        let path = dir.join("archive");
        let made = archive(kept, &path).map_err(|error| StoreError::io(&path, error));
        let name = made.inspect_err(|_| {
            let _ = remove_tree(&dir);
        })?;
        Ok(Self { name, path, dir })
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        // What can't be removed now goes with the session.
        let _ = remove_tree(&self.dir);
    }
}

fn archive(kept: &Path, path: &Path) -> io::Result<Name> {
    pack_dir(kept, File::create_new(path)?)?;
    let (Blob { digest, size }, sha256) = both_digests(File::open(path)?)?;
    Ok(Name { blake3: digest, sha256: Sha256(sha256), size })
}
