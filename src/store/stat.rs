//! Figures of the cache: what is in it, and whose it is.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::SystemTime;

use rusqlite::Connection;

use super::error::StoreError;
use super::inventory::Inventory;
use super::objects::Objects;
use super::rows::{ResultRow, Rows};
use super::{Artifact, Store, times};
use crate::digest::Digest;

/// The cache in figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    /// All that counts towards its bound, in bytes on disk.
    pub total: u64,
    /// By sort: how many, and how many bytes. What several need counts once, for the first of these.
    pub parts: Vec<(Part, u64, u64)>,
    /// By node, largest first.
    pub nodes: Vec<NodeFigures>,
    /// How many bytes of results are needed by the plan at hand.
    pub needed: u64,
    /// How many bytes the file system has left.
    pub free: u64,
}

/// What a part of the cache is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Outputs that are files.
    Files,
    /// Files of outputs that are trees.
    Trees,
    /// Logs.
    Logs,
    /// Kept output directories.
    Kept,
    /// Unpacked sources.
    Sources,
    /// The index.
    Index,
    /// What was not what it should be.
    Damaged,
    /// Blobs that nothing names.
    Unreachable,
    /// What running kilns are at work with, and digests of files. It counts towards no bound.
    Working,
}

/// The results of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFigures {
    /// The project's directory.
    pub project: PathBuf,
    /// The node's name.
    pub node: String,
    /// How many results.
    pub results: u64,
    /// How many bytes they have, those included that others have too.
    pub bytes: u64,
    /// When one of them was last used.
    pub used: SystemTime,
}

impl Store {
    /// Counts all that is there. `needed` are the strong keys that the plan at hand goes by.
    pub fn figures(&self, needed: &HashSet<Digest>) -> Result<Figures, StoreError> {
        let inventory = self.inventory()?;
        let free = self.free()?;
        self.read_index(|index| {
            let rows = Rows::read(index)?;
            let mut count = Count::new(index, &inventory);
            count.results(&rows)?;
            let nodes = count.nodes(&rows, &names(index)?);
            let of_plan =
                rows.results.iter().zip(&count.roots).filter(|(row, _)| needed.contains(&row.strong_key));
            let of_plan: Vec<u32> = of_plan.flat_map(|(_, roots)| roots).copied().collect();
            let needed = count.room(&of_plan);
            Ok(Figures { total: inventory.total(), parts: count.parts(), nodes, needed, free })
        })
    }
}

/// Projects and nodes of all runs.
pub(super) fn names(index: &Connection) -> rusqlite::Result<HashMap<i64, (PathBuf, String)>> {
    let mut select = index.prepare_cached(
        "SELECT run.id, project.root, run.node FROM run JOIN project ON project.id = run.project",
    )?;
    let mut rows = select.query([])?;
    let mut names = HashMap::new();
    while let Some(row) = rows.next()? {
        let root = row.get_ref(1)?.as_blob().map(OsStr::from_bytes).unwrap_or_default();
        names.insert(row.get(0)?, (PathBuf::from(root), row.get(2)?));
    }
    Ok(names)
}

struct Count<'a> {
    inventory: &'a Inventory,
    objects: Objects<'a>,
    /// By result, what it consists of.
    roots: Vec<Vec<u32>>,
    /// By blob, for what it is counted.
    part: Vec<Option<Part>>,
}

impl<'a> Count<'a> {
    fn new(index: &'a Connection, inventory: &'a Inventory) -> Self {
        let part = vec![None; inventory.blobs.len()];
        Self { inventory, objects: Objects::new(index, &inventory.blobs), roots: Vec::new(), part }
    }

    fn results(&mut self, rows: &Rows) -> rusqlite::Result<()> {
        let (mut files, mut trees, mut logs) = (Vec::new(), Vec::new(), Vec::new());
        for result in &rows.results {
            let roots = self.roots_of(result, &mut files, &mut trees)?;
            logs.extend(result.log.and_then(|log| self.objects.blob(&log)));
            self.roots.push(roots);
        }
        logs.extend(rows.runs.iter().filter_map(|run| self.objects.blob(&run.log?)));
        for (part, roots) in [(Part::Files, files), (Part::Trees, trees), (Part::Logs, logs)] {
            for blob in self.objects.blobs_below(&roots) {
                self.part[blob as usize].get_or_insert(part);
            }
        }
        Ok(())
    }

    fn roots_of(
        &mut self,
        result: &ResultRow,
        files: &mut Vec<u32>,
        trees: &mut Vec<u32>,
    ) -> rusqlite::Result<Vec<u32>> {
        let mut roots = Vec::new();
        for (_, artifact) in &result.outputs {
            let Some(id) = self.objects.artifact(artifact)? else { continue };
            roots.push(id);
            match artifact {
                Artifact::Tree { .. } => trees.push(id),
                Artifact::File { .. } | Artifact::Absent => files.push(id),
            }
        }
        roots.extend(result.log.and_then(|log| self.objects.blob(&log)));
        Ok(roots)
    }

    /// On disk, each blob once.
    fn room(&self, roots: &[u32]) -> u64 {
        let blobs = self.objects.blobs_below(roots).into_iter();
        blobs.map(|blob| self.inventory.blobs[blob as usize].room).sum()
    }

    fn nodes(&self, rows: &Rows, names: &HashMap<i64, (PathBuf, String)>) -> Vec<NodeFigures> {
        let mut of: BTreeMap<&(PathBuf, String), (u64, i64, Vec<u32>)> = BTreeMap::new();
        for (result, roots) in rows.results.iter().zip(&self.roots) {
            let Some(name) = names.get(&result.run) else { continue };
            let (count, used, all) = of.entry(name).or_default();
            *count += 1;
            *used = result.used.max(*used);
            all.extend_from_slice(roots);
        }
        let mut nodes: Vec<NodeFigures> = of
            .into_iter()
            .map(|((project, node), (results, used, roots))| NodeFigures {
                project: project.clone(),
                node: node.clone(),
                results,
                bytes: self.room(&roots),
                used: times::time(used),
            })
            .collect();
        nodes.sort_by_key(|node| std::cmp::Reverse(node.bytes));
        nodes
    }

    fn parts(&self) -> Vec<(Part, u64, u64)> {
        let mut parts: BTreeMap<Part, (u64, u64)> = BTreeMap::new();
        let mut add = |part, bytes| {
            let (count, sum) = parts.entry(part).or_default();
            *count += 1;
            *sum += bytes;
        };
        for (part, blob) in self.part.iter().zip(&self.inventory.blobs) {
            add(part.unwrap_or(Part::Unreachable), blob.room);
        }
        let inventory = self.inventory;
        inventory.kept.iter().for_each(|kept| add(Part::Kept, kept.bytes));
        inventory.sources.iter().for_each(|source| add(Part::Sources, source.room));
        inventory.damaged.iter().chain(&inventory.strays).for_each(|thing| add(Part::Damaged, thing.room));
        add(Part::Index, inventory.index);
        let partial = inventory.partial.iter().map(|thing| thing.room).sum::<u64>();
        add(Part::Working, inventory.working.saturating_add(partial));
        parts.into_iter().map(|(part, (count, bytes))| (part, count, bytes)).collect()
    }
}
