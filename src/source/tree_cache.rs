//! The stat cache of a tree, as one file.
//!
//! ```text
//! payload = ignored names | file systems | stat of the root | node
//! node    = digest | number of entries | names | record... | node of each directory among them...
//! ```
//!
//! Fixed little-endian fields, so that the 80,000 records of a kernel tree load in a few milliseconds. Only the
//! machine that wrote it can use it (inode numbers), so there is one version and no migration: see [`envelope`].

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::digest::Digest;

use super::envelope::{self, ColdReason, Magic};
use super::file_system::{Believed, Settled};
use super::listing::{Special, put_bytes, take, take_bytes};
use super::stat::Stat;
use super::tree::{Body, Name, Node, Record, Tree};
use super::walk::MAX_DEPTH;

const MAGIC: Magic = *b"kilnts\0\x02";

/// Reads the cache at `path`, if it was written with the same entries ignored.
pub(super) fn load(path: &Path, ignore: &[&str]) -> Result<Tree, ColdReason> {
    let sealed = envelope::read(path, MAGIC)?;
    let mut rest = sealed.payload();
    if take_bytes(&mut rest) != Some(&ignored(ignore)) {
        return Err(ColdReason::OtherOptions);
    }
    // The checksum was right, so this cannot fail, short of a bug that wrote it: nothing to be brave about.
    tree(&mut rest).filter(|_| rest.is_empty()).ok_or(ColdReason::Damaged)
}

pub(super) fn save(path: &Path, ignore: &[&str], tree: &Tree) -> io::Result<()> {
    let counts = tree.top.counts;
    let entries = counts.files + counts.dirs + counts.symlinks + counts.specials;
    // Enough for names of usual length, so that the buffer is not copied as it grows.
    let mut out = Vec::with_capacity(usize::try_from(entries * 104).unwrap_or(0));
    put_bytes(&mut out, &ignored(ignore));
    let on: Vec<u8> = tree.on.ids().iter().flat_map(|id| *id.as_bytes()).collect();
    put_bytes(&mut out, &on);
    put_stat(&mut out, &tree.stat, tree.settled);
    put_node(&mut out, &tree.top);
    envelope::write(path, MAGIC, &out)
}

fn ignored(names: &[&str]) -> Vec<u8> {
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    sorted.join("/").into_bytes()
}

fn put_stat(out: &mut Vec<u8>, stat: &Stat, settled: Settled) {
    out.push(match settled {
        Settled::No => 0,
        Settled::OnThisMount => 1,
        Settled::Always => 2,
    });
    for field in [stat.dev, stat.ino, stat.size, stat.mtime.cast_unsigned(), stat.ctime.cast_unsigned()] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    out.extend_from_slice(&stat.mode.to_le_bytes());
}

fn put_node(out: &mut Vec<u8>, node: &Node) {
    out.extend_from_slice(node.digest.as_bytes());
    let count = u32::try_from(node.records.len()).expect("fewer entries than bytes of names");
    out.extend_from_slice(&count.to_le_bytes());
    put_bytes(out, &node.names);
    for record in &node.records {
        out.extend_from_slice(&record.name.len.to_le_bytes());
        put_stat(out, &record.stat, record.settled);
        match &record.body {
            Body::File(digest) => {
                out.push(b'f');
                out.extend_from_slice(digest.as_bytes());
            }
            Body::Dir => out.push(b'd'),
            Body::Symlink(target) => {
                out.push(b'l');
                put_bytes(out, target);
            }
            Body::Special(special) => out.push(special.tag()),
        }
    }
    for child in &node.children {
        put_node(out, child);
    }
}

fn tree(rest: &mut &[u8]) -> Option<Tree> {
    let (ids, rest_of_ids) = take_bytes(rest)?.as_chunks::<32>();
    if !rest_of_ids.is_empty() {
        return None;
    }
    let on = Believed::new(ids.iter().map(|id| Digest::from_bytes(*id)).collect());
    let (stat, settled) = stat(rest)?;
    Some(Tree { stat, settled, top: node(rest, 0)?, on })
}

fn stat(rest: &mut &[u8]) -> Option<(Stat, Settled)> {
    // One bound check for all fields: this runs for every file of the tree, every time.
    let all = take::<45>(rest)?;
    let word = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&all[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    let stat = Stat {
        dev: word(1),
        ino: word(9),
        size: word(17),
        mtime: word(25).cast_signed(),
        ctime: word(33).cast_signed(),
        mode: u32::from_le_bytes([all[41], all[42], all[43], all[44]]),
    };
    let settled = match all[0] {
        0 => Settled::No,
        1 => Settled::OnThisMount,
        2 => Settled::Always,
        _ => return None,
    };
    Some((stat, settled))
}

fn node(rest: &mut &[u8], depth: usize) -> Option<Arc<Node>> {
    if depth > MAX_DEPTH {
        return None;
    }
    let digest = Digest::from_bytes(take(rest)?);
    let count = u32::from_le_bytes(take(rest)?) as usize;
    let names: Box<[u8]> = take_bytes(rest)?.into();
    // An entry has a name, so a damaged number cannot ask for more memory than the file accounts for.
    if count > names.len() {
        return None;
    }
    let mut records = Vec::with_capacity(count);
    let mut next = 0;
    let mut dirs = 0;
    for _ in 0..count {
        let name = Name { start: next, len: u16::from_le_bytes(take(rest)?) };
        let end = next as usize + usize::from(name.len);
        if names.get(end) != Some(&0) {
            return None;
        }
        next = u32::try_from(end + 1).ok()?;
        let (stat, settled) = stat(rest)?;
        let body = match take::<1>(rest)?[0] {
            b'f' => Body::File(Digest::from_bytes(take(rest)?)),
            b'd' => {
                dirs += 1;
                Body::Dir
            }
            b'l' => Body::Symlink(take_bytes(rest)?.into()),
            tag => Body::Special(Special::from_tag(tag)?),
        };
        records.push(Record { name, settled, stat, body });
    }
    let mut children = Vec::with_capacity(dirs);
    for _ in 0..dirs {
        children.push(node(rest, depth + 1)?);
    }
    Some(Arc::new(Node::with_digest(digest, names, records.into(), children.into())))
}
