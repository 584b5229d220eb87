//! Deleting rows: those of what was chosen to go, and those that nothing leads to any more.

use std::collections::HashSet;

use roaring::RoaringBitmap;
use rusqlite::Connection;

use super::StoredReads;
use super::choice::{Chosen, What};
use super::objects::Objects;
use super::path_sets::read;
use super::rows::Rows;
use super::runs::{digest_of, optional_digest_of};
use crate::digest::Digest;

/// Deletes what goes, in the transaction under way. `objects` knows what is needed from then on, `others` are digests
/// among which there are path sets that nothing in the index leads to.
pub(super) fn forget<'a>(
    index: &Connection,
    rows: &Rows,
    chosen: &Chosen,
    objects: &Objects<'_>,
    others: impl Iterator<Item = &'a Digest>,
) -> rusqlite::Result<()> {
    let mut actions: HashSet<Digest> = HashSet::new();
    let mut gone = HashSet::new();
    {
        let mut result = index.prepare_cached("DELETE FROM result WHERE strong_key = ?1")?;
        let mut log = index.prepare_cached("UPDATE run SET log = NULL, log_size = NULL WHERE id = ?1")?;
        for what in &chosen.gone {
            match *what {
                What::Result(at) => {
                    gone.insert(at);
                    result.execute([rows.results[at].strong_key.as_bytes()])?;
                }
                What::Log(at) => _ = log.execute([rows.runs[at].id])?,
                What::Kept(_) | What::Source(_) | What::Damaged(_) | What::Unreachable(_) => {}
            }
        }
        for strong_key in &rows.unreadable {
            result.execute([strong_key.as_bytes()])?;
        }
        let mut run = index.prepare_cached("DELETE FROM run WHERE id = ?1")?;
        for id in &rows.old_runs {
            run.execute([id])?;
        }
        let mut used = index.prepare_cached("UPDATE result SET used = ?2 WHERE strong_key = ?1")?;
        for (what, time) in &chosen.from_the_future {
            if let What::Result(at) = *what {
                used.execute((rows.results[at].strong_key.as_bytes(), time))?;
            }
        }
    }
    let left = rows.results.iter().enumerate().filter(|(at, _)| !gone.contains(at));
    actions.extend(left.map(|(_, result)| result.action_key));
    delete_unless(index, "candidate", "action_key", |key| actions.contains(key))?;
    delete_unless(index, "listing", "digest", |digest| objects.needs_listing(digest))?;
    // Worked out again where it is asked for: this only keeps the table from growing for ever.
    let unlinked: HashSet<Digest> = chosen.blobs.iter().map(|blob| blob.digest).collect();
    delete_unless(index, "sha256", "digest", |digest| {
        !unlinked.contains(digest) && objects.blob(digest).is_some()
    })?;
    let mut sets: HashSet<Digest> = others.copied().collect();
    for sql in ["SELECT path_set FROM candidate", "SELECT path_set FROM node", "SELECT path_set FROM run"] {
        let mut select = index.prepare_cached(sql)?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            sets.extend(optional_digest_of(row, 0)?);
        }
    }
    if delete_unless(index, "path_set", "digest", |digest| sets.contains(digest))? > 0 {
        delete_entries(index)?;
    }
    Ok(())
}

/// Deletes the rows of a table whose digest is not among those that stay. How many.
fn delete_unless(
    index: &Connection,
    table: &str,
    column: &str,
    stays: impl Fn(&Digest) -> bool,
) -> rusqlite::Result<usize> {
    let mut gone = Vec::new();
    {
        let mut select = index.prepare_cached(&format!("SELECT DISTINCT {column} FROM {table}"))?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let digest = digest_of(row, 0)?;
            if !stays(&digest) {
                gone.push(digest);
            }
        }
    }
    let mut delete = index.prepare_cached(&format!("DELETE FROM {table} WHERE {column} = ?1"))?;
    for digest in &gone {
        delete.execute([digest.as_bytes()])?;
    }
    Ok(gone.len())
}

/// Deletes the entries that no path set names.
fn delete_entries(index: &Connection) -> rusqlite::Result<()> {
    let mut named = RoaringBitmap::new();
    let mut sets = Vec::new();
    {
        let mut select = index.prepare_cached("SELECT digest FROM path_set")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            sets.push(digest_of(row, 0)?);
        }
    }
    for digest in sets {
        for (_, reads) in read(index, &digest)?.into_iter().flat_map(|set| set.inputs) {
            if let StoredReads::Only(ids) = reads {
                named |= ids;
            }
        }
    }
    let mut gone: Vec<i64> = Vec::new();
    {
        let mut select = index.prepare_cached("SELECT id FROM entry")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            if !u32::try_from(id).is_ok_and(|id| named.contains(id)) {
                gone.push(id);
            }
        }
    }
    let mut delete = index.prepare_cached("DELETE FROM entry WHERE id = ?1")?;
    for id in gone {
        delete.execute([id])?;
    }
    Ok(())
}
