//! What results consist of: blobs, and listings with what is below them. Each knows how many need it.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension};

use super::Artifact;
use super::artifact::MAX_DEPTH;
use super::inventory::BlobFile;
use crate::digest::Digest;
use crate::source::{Kind, Listing};

/// Blobs that lie in the store, and the listings through which they are needed.
pub(super) struct Objects<'a> {
    index: &'a Connection,
    blobs: HashMap<Digest, u32>,
    listings: HashMap<Digest, u32>,
    all: Vec<Object>,
}

struct Object {
    room: u64,
    /// How many need it.
    needed: u32,
    /// Whether it is to be kept as a listing, whatever becomes of the blobs below.
    listed: bool,
    below: Box<[u32]>,
}

impl<'a> Objects<'a> {
    /// The blobs that were found, by their place. None is needed as yet.
    pub fn new(index: &'a Connection, blobs: &[BlobFile]) -> Self {
        let number = |place: usize| u32::try_from(place).expect("fewer than four thousand million files");
        let all = blobs.iter().map(|blob| Object {
            room: blob.room,
            needed: 0,
            listed: false,
            below: Box::default(),
        });
        Self {
            index,
            blobs: blobs.iter().enumerate().map(|(at, blob)| (blob.digest, number(at))).collect(),
            listings: HashMap::new(),
            all: all.collect(),
        }
    }

    /// A blob that was found.
    pub fn blob(&self, digest: &Digest) -> Option<u32> {
        self.blobs.get(digest).copied()
    }

    /// A listing of the index, with all below it.
    pub fn tree(&mut self, digest: &Digest) -> rusqlite::Result<Option<u32>> {
        self.listing(digest, 0)
    }

    /// What an output consists of, as far as it is there.
    pub fn artifact(&mut self, artifact: &Artifact) -> rusqlite::Result<Option<u32>> {
        match artifact {
            Artifact::File { digest, .. } => Ok(self.blob(digest)),
            Artifact::Tree { digest, .. } => self.tree(digest),
            Artifact::Absent => Ok(None),
        }
    }

    /// What is of that digest, of whatever kind.
    pub fn any(&mut self, digest: &Digest) -> rusqlite::Result<Option<u32>> {
        match self.blob(digest) {
            Some(blob) => Ok(Some(blob)),
            None => self.tree(digest),
        }
    }

    fn listing(&mut self, digest: &Digest, depth: usize) -> rusqlite::Result<Option<u32>> {
        if let Some(&known) = self.listings.get(digest) {
            return Ok(Some(known));
        }
        // No tree that deep can be read back.
        if depth > MAX_DEPTH {
            return Ok(None);
        }
        let bytes: Option<Vec<u8>> = self
            .index
            .prepare_cached("SELECT bytes FROM listing WHERE digest = ?1")?
            .query_row([digest.as_bytes()], |row| row.get(0))
            .optional()?;
        let Some(Ok(listing)) = bytes.map(Listing::decode) else { return Ok(None) };
        let mut below = Vec::new();
        for entry in listing.entries() {
            match entry.kind {
                Kind::File { digest, .. } => below.extend(self.blob(&digest)),
                Kind::Dir { digest } => below.extend(self.listing(&digest, depth + 1)?),
                Kind::Symlink { .. } | Kind::Special(_) => {}
            }
        }
        let id = u32::try_from(self.all.len()).expect("fewer than four thousand million of them");
        self.all.push(Object { room: 0, needed: 0, listed: false, below: below.into() });
        self.listings.insert(*digest, id);
        Ok(Some(id))
    }

    /// One more needs it.
    pub fn need(&mut self, id: u32) {
        let object = &mut self.all[id as usize];
        object.needed += 1;
        if object.needed == 1 {
            for at in 0..object.below.len() {
                self.need(self.all[id as usize].below[at]);
            }
        }
    }

    /// The listings of a tree are needed, though not what they list: they tell what differs from another tree.
    pub fn list(&mut self, id: u32) {
        let object = &mut self.all[id as usize];
        if !std::mem::replace(&mut object.listed, true) {
            for at in 0..object.below.len() {
                self.list(self.all[id as usize].below[at]);
            }
        }
    }

    /// One less needs it. How much room that gives, in bytes.
    pub fn release(&mut self, id: u32) -> u64 {
        let object = &mut self.all[id as usize];
        object.needed -= 1;
        if object.needed > 0 {
            return 0;
        }
        let (mut room, below) = (object.room, object.below.len());
        for at in 0..below {
            room += self.release(self.all[id as usize].below[at]);
        }
        room
    }

    /// Whether anyone needs it.
    pub fn is_needed(&self, id: u32) -> bool {
        self.all[id as usize].needed > 0
    }

    /// Whether anyone needs that listing.
    pub fn needs_listing(&self, digest: &Digest) -> bool {
        self.listings.get(digest).is_some_and(|&id| self.is_needed(id) || self.all[id as usize].listed)
    }

    /// All blobs below some objects, each once.
    pub fn blobs_below(&self, roots: &[u32]) -> Vec<u32> {
        let mut seen = HashSet::new();
        let mut left = roots.to_vec();
        let mut blobs = Vec::new();
        while let Some(id) = left.pop() {
            if !seen.insert(id) {
                continue;
            }
            if (id as usize) < self.blobs.len() {
                blobs.push(id);
            }
            left.extend_from_slice(&self.all[id as usize].below);
        }
        blobs
    }
}
