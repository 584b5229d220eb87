//! Kept output directories on their way: a machine without any state goes on where another one ended.

use std::fs::File;
use std::path::Path;

use super::client::Remotes;
use super::entry::{KeptEntry, kept_key};
use super::keys::SigningKey;
use super::pack::Pack;
use super::push::{PushError, made, send};
use super::sealed::Sealed;
use super::{Name, RemoteError, Sha256, paths};
use crate::digest::Digest;
use crate::source::{Listing, PathSet};
use crate::store::{Blob, BlobError, Store, StoreError, pack_dir, remove_tree, unpack_dir};

/// The largest pack of the listings of source trees, in bytes.
const MAX_LISTINGS: u64 = 128 << 20;

/// The largest path set, in bytes.
const MAX_PATH_SET: u64 = 64 << 20;

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
    pub archive: Blob,
    /// How much room it takes on disk.
    pub bytes: u64,
}

impl Remotes {
    /// Whether kept directories may come from one of them.
    pub fn have_kept(&self) -> bool {
        self.lines.iter().any(|line| line.kept && line.is_on())
    }

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
            paths::decode(&self.small_blob(line, &entry.path_set, MAX_PATH_SET)?, &entry.path_set_digest)
                .ok()?;
        let pack = Pack::decode_listings(&self.small_blob(line, &entry.listings, MAX_LISTINGS)?).ok()?;
        self.fetch_one(store, line, &entry.archive).ok()?;
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
        let failed = |error| PushError::Remote { remote: to.name.clone(), error };
        let lost = |error| PushError::Blob { output: "what was kept".to_owned(), error };
        let Blob { digest, size } = outgoing.archive;
        let sha256 = Sha256(store.sha256(&digest, size).map_err(lost)?);
        let archive = Name { blake3: digest, sha256, size };
        let listing = |digest: &Digest| store.listing(digest).map_err(BlobError::from);
        let pack = Pack::of_listings(outgoing.trees.iter().copied(), listing).map_err(lost)?;
        let pack = pack.ok_or_else(|| lost(BlobError::Missing))?;
        let mut small = Vec::new();
        let path_set = made(paths::encode(outgoing.path_set), &mut small);
        let listings = made(pack.encode(), &mut small);
        let entry = KeptEntry {
            instance: to.instance.clone(),
            key: outgoing.key,
            node: outgoing.node.to_owned(),
            record: outgoing.record.to_vec(),
            path_set,
            path_set_digest: outgoing.path_set.digest(),
            listings,
            archive,
            bytes: outgoing.bytes,
        };
        entry.check().map_err(|why| failed(RemoteError::Refused(why.to_owned())))?;
        let names = entry.names();
        let missing = self.missing(line, &names).map_err(failed)?;
        let bytes = send(store, to, &missing, &small)?;
        let sealed = entry.seal(key).encode();
        to.ask(|remote| remote.put_entry(&kept_key(&outgoing.key), &sealed, &names)).map_err(failed)?;
        Ok(bytes)
    }
}

/// Archives a directory into the store.
pub fn archive_dir(store: &Store, dir: &Path) -> Result<Blob, StoreError> {
    let path = store.fresh_work_dir("archive")?.join("archive");
    let io_error = |source| StoreError::io(&path, source);
    pack_dir(dir, File::create_new(&path).map_err(io_error)?).map_err(io_error)?;
    let blob = store.put_file(&path)?;
    let _ = remove_tree(path.parent().unwrap_or(&path));
    Ok(blob)
}
