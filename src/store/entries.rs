//! Entries: every path that an action read, kept once, and known to path sets by its number.

use roaring::RoaringBitmap;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row};

use super::Store;
use super::error::StoreError;
use crate::source::{EntryKind, PathEntry};

/// Every entry of the index by its number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryTable {
    /// All paths, one behind the other, in canonical order: 60,000 of them are no 60,000 allocations.
    paths: Vec<u8>,
    /// Where each path ends, by rank.
    ends: Vec<usize>,
    /// By rank.
    kinds: Vec<EntryKind>,
    by_rank: Vec<u32>,
    ranks: Vec<u32>,
}

impl EntryTable {
    /// Stands in [`EntryTable::ranks`] at numbers that no entry has.
    pub const NO_RANK: u32 = u32::MAX;

    /// How many entries there are.
    pub fn len(&self) -> u32 {
        u32::try_from(self.by_rank.len()).expect("their numbers are no larger")
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_rank.is_empty()
    }

    /// The entry of that number.
    pub fn get(&self, id: u32) -> Option<(EntryKind, &[u8])> {
        self.at_rank(*self.ranks.get(id as usize)?)
    }

    /// The number of an entry: a binary search.
    pub fn find(&self, kind: EntryKind, path: &[u8]) -> Option<u32> {
        let found = self
            .by_rank
            .binary_search_by(|&id| self.get(id).map_or((kind, &[][..]), |e| e).cmp(&(kind, path)));
        found.ok().map(|rank| self.by_rank[rank])
    }

    /// Where each entry stands in the canonical order (kind, then path), which is that of
    /// [`PathSet`](crate::source::PathSet): by number, [`EntryTable::NO_RANK`] where there is no such entry.
    pub fn ranks(&self) -> &[u32] {
        &self.ranks
    }

    /// The numbers of all entries in canonical order.
    pub fn by_rank(&self) -> &[u32] {
        &self.by_rank
    }

    fn at_rank(&self, rank: u32) -> Option<(EntryKind, &[u8])> {
        let rank = rank as usize;
        let end = *self.ends.get(rank)?;
        let start = rank.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some((self.kinds[rank], &self.paths[start..end]))
    }

    /// Adds an entry that comes after all others.
    fn push(&mut self, id: u32, kind: EntryKind, path: &[u8]) {
        let rank = self.len();
        if self.ranks.len() <= id as usize {
            self.ranks.resize(id as usize + 1, Self::NO_RANK);
        }
        self.ranks[id as usize] = rank;
        self.by_rank.push(id);
        self.kinds.push(kind);
        self.paths.extend_from_slice(path);
        self.ends.push(self.paths.len());
    }
}

/// Entries without an index, numbered from 0 in canonical order.
#[cfg(test)]
impl FromIterator<(EntryKind, Vec<u8>)> for EntryTable {
    fn from_iter<I: IntoIterator<Item = (EntryKind, Vec<u8>)>>(entries: I) -> Self {
        let entries: std::collections::BTreeSet<_> = entries.into_iter().collect();
        let mut table = Self::default();
        for (id, (kind, path)) in (0..).zip(entries) {
            table.push(id, kind, &path);
        }
        table
    }
}

impl Store {
    /// All entries. Damaged ones are removed, so that they can be put again, and are left out: a path set that names
    /// one is a miss.
    ///
    /// Path sets that are read later may name entries that were put since, which are not in here: again a miss.
    pub fn entries(&self) -> Result<EntryTable, StoreError> {
        self.read_index(|index| {
            let mut table = EntryTable::default();
            let mut damaged = Vec::new();
            // In the order of the unique index, which holds all that is asked for.
            let mut select =
                index.prepare_cached("SELECT id, kind, path, sum FROM entry ORDER BY kind, path, sum")?;
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                match whole(row)? {
                    Some((id, kind, path)) => table.push(id, kind, path),
                    None => damaged.push(row.get::<_, i64>(0)?),
                }
            }
            for id in damaged {
                index.execute("DELETE FROM entry WHERE id = ?1", [id])?;
            }
            Ok(table)
        })
    }
}

/// An entry, if it is as it was put.
fn whole<'a>(row: &'a Row<'_>) -> rusqlite::Result<Option<(u32, EntryKind, &'a [u8])>> {
    let fields = (row.get_ref(0)?, row.get_ref(1)?, row.get_ref(2)?, row.get_ref(3)?);
    let (ValueRef::Integer(id), ValueRef::Integer(kind), ValueRef::Blob(path), ValueRef::Integer(found)) =
        fields
    else {
        return Ok(None);
    };
    let kind = u8::try_from(kind).ok().and_then(EntryKind::from_number);
    let (Ok(id), Some(kind)) = (u32::try_from(id), kind) else { return Ok(None) };
    Ok((sum(id, kind, path) == found).then_some((id, kind, path)))
}

/// The numbers of these entries; those that are new get one. A damaged entry is not found, and its number not used.
pub(super) fn intern(index: &Connection, entries: &[PathEntry]) -> rusqlite::Result<RoaringBitmap> {
    let mut select = index.prepare_cached("SELECT id, sum FROM entry WHERE kind = ?1 AND path = ?2")?;
    let mut insert =
        index.prepare_cached("INSERT INTO entry (id, kind, path, sum) VALUES (?1, ?2, ?3, ?4)")?;
    let last: Option<i64> = index
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'entry'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    let mut next = last.unwrap_or(0);
    let mut ids = Vec::with_capacity(entries.len());
    for entry in entries {
        let (kind, path) = (entry.kind, &*entry.path);
        let mut rows = select.query((kind as u8, path))?;
        let mut known = None;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            let found: i64 = row.get(1)?;
            known = known.or(u32::try_from(id).ok().filter(|&id| sum(id, kind, path) == found));
        }
        ids.push(match known {
            Some(id) => id,
            None => {
                next += 1;
                let id =
                    u32::try_from(next).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, next))?;
                insert.execute((id, kind as u8, path, sum(id, kind, path)))?;
                id
            }
        });
    }
    ids.sort_unstable();
    let mut ids: RoaringBitmap = ids.into_iter().collect();
    ids.optimize();
    Ok(ids)
}

/// Whether all of these numbers have an entry.
pub(super) fn has_all(index: &Connection, ids: &RoaringBitmap) -> rusqlite::Result<bool> {
    let mut count = index.prepare_cached("SELECT count(*) FROM entry WHERE id BETWEEN ?1 AND ?2")?;
    let mut ids = ids.iter();
    while let Some(range) = ids.next_range() {
        let found: i64 = count.query_row((range.start(), range.end()), |row| row.get(0))?;
        if found != i64::from(range.end() - range.start()) + 1 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Tells a damaged entry: FNV-1a of number, kind and path. Against accidents, which is all that a short sum can be.
fn sum(id: u32, kind: EntryKind, path: &[u8]) -> i64 {
    let head = id.to_le_bytes().into_iter().chain([kind as u8]);
    head.chain(path.iter().copied())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
        .cast_signed()
}
