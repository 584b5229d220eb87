//! Rows of the index that name blobs, listings or path sets: what a collection starts from.

use std::collections::HashSet;

use rusqlite::{Connection, Row};

use super::gc::RUNS_PER_NODE;
use super::results::read_result;
use super::runs::{NodeRecord, digest_of, optional_digest_of};
use super::{Artifact, codec};
use crate::digest::Digest;
use crate::source::{Kind, Listing};

/// All results, and all runs that have a log.
pub(super) struct Rows {
    pub results: Vec<ResultRow>,
    /// Those on record that have a log.
    pub runs: Vec<RunRow>,
    /// Runs that are no more to be on record.
    pub old_runs: Vec<i64>,
    /// Results that can't be read: nothing but misses.
    pub unreadable: Vec<Digest>,
}

/// A result.
pub(super) struct ResultRow {
    pub strong_key: Digest,
    pub action_key: Digest,
    pub outputs: Vec<(String, Artifact)>,
    pub log: Option<Digest>,
    pub run: i64,
    pub used: i64,
}

/// A run.
pub(super) struct RunRow {
    pub id: i64,
    pub started: i64,
    pub log: Option<Digest>,
}

impl Rows {
    /// Reads them all. Records of nodes and manifests are left where they are.
    pub fn read(index: &Connection) -> rusqlite::Result<Self> {
        let mut rows =
            Self { results: Vec::new(), runs: Vec::new(), old_runs: Vec::new(), unreadable: Vec::new() };
        rows.read_results(index)?;
        rows.read_runs(index)?;
        Ok(rows)
    }

    fn read_results(&mut self, index: &Connection) -> rusqlite::Result<()> {
        let mut select = index.prepare_cached(
            "SELECT action_key, outcome, outputs, log, log_size, run, continued, verified, remote, strong_key, used
             FROM result",
        )?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let strong_key = digest_of(row, 9)?;
            let Some(result) = codec::row(read_result(row))? else {
                self.unreadable.push(strong_key);
                continue;
            };
            self.results.push(ResultRow {
                strong_key,
                action_key: result.action_key,
                outputs: result.outputs,
                log: result.log.map(|log| log.digest),
                run: result.run.0,
                used: codec::row(row.get(10).map(Some))?.unwrap_or(0),
            });
        }
        Ok(())
    }

    fn read_runs(&mut self, index: &Connection) -> rusqlite::Result<()> {
        let mut meant: HashSet<i64> = self.results.iter().map(|result| result.run).collect();
        let mut nodes = index.prepare_cached("SELECT run FROM node")?;
        let mut runs = nodes.query([])?;
        while let Some(row) = runs.next()? {
            meant.insert(row.get(0)?);
        }
        let mut select = index.prepare_cached(
            "SELECT id, started, log, project, node FROM run ORDER BY project, node, id DESC",
        )?;
        let mut rows = select.query([])?;
        let (mut of, mut count) = (None, 0);
        while let Some(row) = rows.next()? {
            let node: (i64, String) = (row.get(3)?, row.get(4)?);
            count = if of.as_ref() == Some(&node) { count + 1 } else { 1 };
            of = Some(node);
            let id: i64 = row.get(0)?;
            if count > RUNS_PER_NODE && !meant.contains(&id) {
                self.old_runs.push(id);
            } else if let Some(log) = optional_digest_of(row, 2)? {
                self.runs.push(RunRow { id, started: row.get(1)?, log: Some(log) });
            }
        }
        Ok(())
    }
}

/// The trees that the latest states of all nodes were made from. `in_manifest` gives those of the run of each: where its
/// result was taken for a tree that is another one by now, an explanation starts from that of the run.
pub(super) fn trees_of_nodes(
    index: &Connection,
    in_manifest: &dyn Fn(&[u8]) -> Vec<Digest>,
) -> rusqlite::Result<HashSet<Digest>> {
    let mut trees = HashSet::new();
    let mut select = index
        .prepare_cached("SELECT node.record, run.manifest FROM node LEFT JOIN run ON run.id = node.run")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        if let Some(record) = blob(row, 0)?.and_then(codec::decode::<NodeRecord>) {
            trees.extend(record.trees.into_iter().map(|(_, tree)| tree));
        }
        if let Some(manifest) = blob(row, 1)? {
            trees.extend(in_manifest(manifest));
        }
    }
    Ok(trees)
}

fn blob<'a>(row: &'a Row<'_>, column: usize) -> rusqlite::Result<Option<&'a [u8]>> {
    Ok(row.get_ref(column)?.as_blob_or_null().ok().flatten())
}

/// The newest rows that have been looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Newest {
    result: i64,
    run: i64,
}

impl Newest {
    /// Those that there are now.
    pub fn read(index: &Connection) -> rusqlite::Result<Self> {
        let newest = |sql| index.query_row(sql, [], |row| row.get::<_, Option<i64>>(0));
        Ok(Self {
            result: newest("SELECT max(rowid) FROM result")?.unwrap_or(0),
            run: newest("SELECT max(id) FROM run")?.unwrap_or(0),
        })
    }
}

/// The blobs of what has been claimed, and of what has been recorded since.
pub(super) fn needed_since(
    index: &Connection,
    newest: &mut Newest,
    claimed: &[Digest],
) -> rusqlite::Result<HashSet<Digest>> {
    let mut needed: HashSet<Digest> = claimed.iter().copied().collect();
    let mut trees: Vec<Digest> = claimed.to_vec();
    let mut select = index.prepare_cached("SELECT rowid, outputs, log FROM result WHERE rowid > ?1")?;
    let mut rows = select.query([newest.result])?;
    while let Some(row) = rows.next()? {
        newest.result = newest.result.max(row.get(0)?);
        needed.extend(optional_digest_of(row, 2)?);
        let outputs = blob(row, 1)?.and_then(codec::decode::<Vec<(String, Artifact)>>);
        for (_, artifact) in outputs.unwrap_or_default() {
            match artifact {
                Artifact::File { digest, .. } => _ = needed.insert(digest),
                Artifact::Tree { digest, .. } => trees.push(digest),
                Artifact::Absent => {}
            }
        }
    }
    let mut select = index.prepare_cached("SELECT id, log FROM run WHERE id > ?1")?;
    let mut rows = select.query([newest.run])?;
    while let Some(row) = rows.next()? {
        newest.run = newest.run.max(row.get(0)?);
        needed.extend(optional_digest_of(row, 1)?);
    }
    let mut seen = HashSet::new();
    let mut select = index.prepare_cached("SELECT bytes FROM listing WHERE digest = ?1")?;
    while let Some(tree) = trees.pop() {
        if !seen.insert(tree) {
            continue;
        }
        let mut rows = select.query([tree.as_bytes()])?;
        let Some(row) = rows.next()? else { continue };
        let Some(Ok(listing)) = blob(row, 0)?.map(Listing::decode) else { continue };
        for entry in listing.entries() {
            match entry.kind {
                Kind::File { digest, .. } => _ = needed.insert(digest),
                Kind::Dir { digest } => trees.push(digest),
                Kind::Symlink { .. } | Kind::Special(_) => {}
            }
        }
    }
    Ok(needed)
}
