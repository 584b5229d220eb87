//! Projects, the latest state of their nodes, and the record of their runs.

use std::collections::HashMap;
use std::fmt;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row};
use serde::{Deserialize, Serialize};

use super::artifact::Artifact;
use super::cas::Blob;
use super::error::{At, StoreError};
use super::{Batch, Store, codec};
use crate::digest::Digest;

/// How many durations the expected one is taken from.
const RECENT: usize = 5;

/// A project in this cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProjectId(pub(super) i64);

/// A recorded run. Ids rise and are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub(super) i64);

impl RunId {
    /// The run that a result comes from which was imported: one of another machine, of which nothing is known here.
    pub const ELSEWHERE: Self = Self(0);
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It did what it should.
    Pass,
    /// It did not, and would not next time.
    Fail,
    /// Something around it failed: another try may well pass.
    Infra,
    /// It was not run, as something it needs failed.
    Skipped,
    /// It was stopped.
    Cancelled,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Outcome {
    /// Whether it says something of the action, so that it need not run again.
    pub const fn is_cacheable(self) -> bool {
        matches!(self, Self::Pass | Self::Fail)
    }

    /// Its name, in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Infra => "infra",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }

    /// The outcome of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Pass, Self::Fail, Self::Infra, Self::Skipped, Self::Cancelled]
            .into_iter()
            .find(|outcome| outcome.as_str() == name)
    }
}

/// The latest state of a node: what makes it fresh if nothing has changed since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeState {
    /// The run it comes from.
    pub run: RunId,
    /// How that ended.
    pub outcome: Outcome,
    /// All that was declared then.
    pub action_key: Digest,
    /// What was read then; see [`Store::path_set`]. None where it is not known.
    pub path_set: Option<Digest>,
    /// The key its result is under. None where it has none.
    pub strong_key: Option<Digest>,
    /// Kept encoded: of 100,000 nodes a plan opens those it is asked for.
    record: Box<[u8]>,
}

/// What a node left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// By output name.
    pub outputs: Vec<(String, Artifact)>,
    /// What was put in the output directory.
    pub placed: Vec<Placed>,
    /// The digest of each input that is a tree, by its name: in the very same ones the node is fresh without a look at
    /// what it read of them.
    pub trees: Vec<(String, Digest)>,
}

impl NodeState {
    /// A state to be kept.
    pub fn new(run: RunId, outcome: Outcome, action_key: Digest, record: &NodeRecord) -> Self {
        let record = codec::encode(record).into_boxed_slice();
        Self { run, outcome, action_key, path_set: None, strong_key: None, record }
    }

    /// What the node left behind. `None` where it can't be read: the node is then not fresh.
    pub fn record(&self) -> Option<NodeRecord> {
        codec::decode(&self.record)
    }
}

/// A file as it was when kiln put it in the output directory: one `lstat` tells whether it still is that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// From the output directory.
    pub path: String,
    /// What was put there.
    pub artifact: Artifact,
    size: u64,
    mtime_ns: i64,
    ctime_ns: i64,
    ino: u64,
}

impl Placed {
    /// What is there now, by a `stat` that was taken after it was put there.
    pub fn new(path: String, artifact: Artifact, stat: &Metadata) -> Self {
        let (size, mtime_ns, ctime_ns, ino) = fingerprint(stat);
        Self { path, artifact, size, mtime_ns, ctime_ns, ino }
    }

    /// Whether it is still what was put there. Nothing can set the ctime back but the clock.
    pub fn is_untouched(&self, stat: &Metadata) -> bool {
        (self.size, self.mtime_ns, self.ctime_ns, self.ino) == fingerprint(stat)
    }
}

fn fingerprint(stat: &Metadata) -> (u64, i64, i64, u64) {
    let nanoseconds = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
    let mtime = nanoseconds(stat.mtime(), stat.mtime_nsec());
    let ctime = nanoseconds(stat.ctime(), stat.ctime_nsec());
    (stat.size(), mtime, ctime, stat.ino())
}

/// One run of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The node's name.
    pub node: String,
    /// All that was declared.
    pub action_key: Digest,
    /// What it read; see [`Store::path_set`]. None where it is not known.
    pub path_set: Option<Digest>,
    /// The key its result is under. None where it has none.
    pub strong_key: Option<Digest>,
    /// How it ended.
    pub outcome: Outcome,
    /// When it began.
    pub started: SystemTime,
    /// How long it took.
    pub duration: Duration,
    /// The CPU time it used.
    pub cpu: Duration,
    /// The most memory it had, in bytes.
    pub max_rss: u64,
    /// Why it ran, as JSON.
    pub reasons: String,
    /// All that its keys were made of, so that the next run can tell what differs. Opaque here.
    pub manifest: Option<Vec<u8>>,
    /// Its log, where there is one.
    pub log: Option<Blob>,
    /// The process number of the kiln that ran it.
    pub pid: u32,
    /// Whether it continued in the output directory of an earlier run.
    pub continued: bool,
}

impl Store {
    /// The project in that directory. Several may share a cache; each has its own nodes and runs, and all share the
    /// results.
    pub fn project(&self, root: &Path) -> Result<ProjectId, StoreError> {
        let root = std::fs::canonicalize(root).reading(root)?;
        let root = root.as_os_str().as_bytes();
        let find = |index: &Connection| {
            index.query_row("SELECT id FROM project WHERE root = ?1", [root], |row| row.get(0)).optional()
        };
        if let Some(id) = self.read_index(find)? {
            return Ok(ProjectId(id));
        }
        self.batch(|batch| {
            batch.write(|index| {
                index.execute("INSERT OR IGNORE INTO project (root) VALUES (?1)", [root])?;
                index.query_row("SELECT id FROM project WHERE root = ?1", [root], |row| row.get(0))
            })
        })
        .map(ProjectId)
    }

    /// The latest states of all nodes of a project, by name, in one go. States that can't be read are left out.
    pub fn load_nodes(&self, project: ProjectId) -> Result<HashMap<String, NodeState>, StoreError> {
        self.read_index(|index| {
            let count: i64 =
                index.query_row("SELECT count(*) FROM node WHERE project = ?1", [project.0], |row| row.get(0))?;
            let mut nodes = HashMap::with_capacity(usize::try_from(count).unwrap_or(0));
            let mut select = index.prepare_cached(
                "SELECT run, outcome, action_key, path_set, strong_key, record, name FROM node WHERE project = ?1",
            )?;
            let mut rows = select.query([project.0])?;
            while let Some(row) = rows.next()? {
                if let Some(state) = codec::row(read_node(row))? {
                    nodes.insert(row.get(6)?, state);
                }
            }
            Ok(nodes)
        })
    }

    /// The latest state of one node.
    pub fn node(&self, project: ProjectId, name: &str) -> Result<Option<NodeState>, StoreError> {
        let found = self.read_index(|index| {
            index
                .prepare_cached(
                    "SELECT run, outcome, action_key, path_set, strong_key, record FROM node
                     WHERE project = ?1 AND name = ?2",
                )?
                .query_row((project.0, name), |row| codec::row(read_node(row)))
                .optional()
        })?;
        Ok(found.flatten())
    }

    /// How long each node of a project is expected to take: the median of its last five passing runs.
    pub fn durations(&self, project: ProjectId) -> Result<HashMap<String, Duration>, StoreError> {
        self.read_index(|index| {
            let mut durations = HashMap::new();
            let mut select = index.prepare_cached("SELECT name, recent FROM duration WHERE project = ?1")?;
            let mut rows = select.query([project.0])?;
            while let Some(row) = rows.next()? {
                if let Some(expected) = Recent::decode(row.get_ref(1)?.as_blob()?).expected() {
                    durations.insert(row.get(0)?, expected);
                }
            }
            Ok(durations)
        })
    }

    /// The runs of a node, newest first.
    pub fn runs(&self, project: ProjectId, node: &str, limit: u32) -> Result<Vec<(RunId, Run)>, StoreError> {
        self.read_index(|index| {
            let mut select = index.prepare_cached(
                "SELECT id, node, action_key, strong_key, outcome, started, duration, cpu, max_rss, reasons, manifest,
                        log, log_size, pid, path_set, continued
                 FROM run WHERE project = ?1 AND node = ?2 ORDER BY id DESC LIMIT ?3",
            )?;
            let rows = select.query_and_then((project.0, node, limit), read_run)?;
            rows.filter_map(Result::transpose).collect()
        })
    }

    /// One run.
    pub fn run(&self, id: RunId) -> Result<Option<Run>, StoreError> {
        let found = self.read_index(|index| {
            index
                .prepare_cached(
                    "SELECT id, node, action_key, strong_key, outcome, started, duration, cpu, max_rss, reasons,
                            manifest, log, log_size, pid, path_set, continued
                     FROM run WHERE id = ?1",
                )?
                .query_row([id.0], |row| codec::row(read_run(row)))
                .optional()
        })?;
        Ok(found.flatten().map(|(_, run)| run))
    }
}

impl Batch<'_> {
    /// Adds a run to the record. A passing one has its say in the expected duration.
    pub fn record_run(&mut self, project: ProjectId, run: &Run) -> Result<RunId, StoreError> {
        self.write(|index| {
            let id = index
                .prepare_cached(
                    "INSERT INTO run (project, node, action_key, strong_key, outcome, started, duration, cpu, max_rss,
                                      reasons, manifest, log, log_size, pid, path_set, continued)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
                )?
                .insert((
                    project.0,
                    &run.node,
                    run.action_key.as_bytes(),
                    run.strong_key.as_ref().map(Digest::as_bytes),
                    run.outcome.as_str(),
                    run.started.duration_since(UNIX_EPOCH).map_or(0, milliseconds),
                    milliseconds(run.duration),
                    milliseconds(run.cpu),
                    run.max_rss.cast_signed(),
                    &run.reasons,
                    &run.manifest,
                    run.log.as_ref().map(|log| log.digest.as_bytes()),
                    run.log.map(|log| log.size.cast_signed()),
                    run.pid,
                    run.path_set.as_ref().map(Digest::as_bytes),
                    run.continued,
                ))?;
            // What came from elsewhere took no time here, and says nothing of how long it would.
            if run.outcome == Outcome::Pass && !run.duration.is_zero() {
                add_duration(index, project, &run.node, run.duration)?;
            }
            Ok(RunId(id))
        })
    }

    /// Makes this the latest state of a node.
    pub fn set_node(&mut self, project: ProjectId, name: &str, state: &NodeState) -> Result<(), StoreError> {
        self.write(|index| {
            index
                .prepare_cached("INSERT OR REPLACE INTO node VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
                .execute((
                    project.0,
                    name,
                    state.run.0,
                    state.outcome.as_str(),
                    state.action_key.as_bytes(),
                    state.path_set.as_ref().map(Digest::as_bytes),
                    state.strong_key.as_ref().map(Digest::as_bytes),
                    &state.record,
                ))?;
            Ok(())
        })
    }
}

fn add_duration(
    index: &Connection,
    project: ProjectId,
    node: &str,
    duration: Duration,
) -> rusqlite::Result<()> {
    let known: Option<Vec<u8>> = index
        .prepare_cached("SELECT recent FROM duration WHERE project = ?1 AND name = ?2")?
        .query_row((project.0, node), |row| row.get(0))
        .optional()?;
    let mut recent = Recent::decode(known.as_deref().unwrap_or_default());
    recent.add(duration);
    index.prepare_cached("INSERT OR REPLACE INTO duration VALUES (?1, ?2, ?3)")?.execute((
        project.0,
        node,
        recent.encode(),
    ))?;
    Ok(())
}

/// The last few durations, oldest first, in milliseconds.
#[derive(Default)]
struct Recent {
    values: [u32; RECENT],
    count: usize,
}

impl Recent {
    /// Reads as many as are there: damage here costs a wrong estimate, no more.
    fn decode(bytes: &[u8]) -> Self {
        let mut recent = Self::default();
        for chunk in bytes.as_chunks().0.iter().take(RECENT) {
            recent.values[recent.count] = u32::from_le_bytes(*chunk);
            recent.count += 1;
        }
        recent
    }

    fn encode(&self) -> Vec<u8> {
        self.values[..self.count].iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    fn add(&mut self, duration: Duration) {
        if self.count == RECENT {
            self.values.rotate_left(1);
            self.count -= 1;
        }
        self.values[self.count] = u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
        self.count += 1;
    }

    fn expected(&self) -> Option<Duration> {
        let mut sorted = self.values;
        let sorted = &mut sorted[..self.count];
        sorted.sort_unstable();
        sorted.get(self.count / 2).map(|&value| Duration::from_millis(value.into()))
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn duration_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Duration> {
    Ok(Duration::from_millis(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0)))
}

/// A digest in a row. Another length is damage that `SQLite` could not see: a digest that nothing has.
pub(super) fn digest_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Digest> {
    Ok(optional_digest_of(row, column)?.unwrap_or(Digest::from_bytes([0; 32])))
}

pub(super) fn optional_digest_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Digest>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Blob(bytes) => bytes.try_into().ok().map(Digest::from_bytes),
        _ => None,
    })
}

/// A blob in a row: its digest in one column, its size in the next.
pub(super) fn blob_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Blob>> {
    let digest = optional_digest_of(row, column)?;
    let size: Option<i64> = row.get(column + 1)?;
    Ok(digest.zip(size).map(|(digest, size)| Blob { digest, size: size.cast_unsigned() }))
}

fn read_node(row: &Row<'_>) -> rusqlite::Result<Option<NodeState>> {
    let Some(outcome) = Outcome::parse(row.get_ref(1)?.as_str()?) else { return Ok(None) };
    Ok(Some(NodeState {
        run: RunId(row.get(0)?),
        outcome,
        action_key: digest_of(row, 2)?,
        path_set: optional_digest_of(row, 3)?,
        strong_key: optional_digest_of(row, 4)?,
        record: row.get_ref(5)?.as_blob()?.into(),
    }))
}

fn read_run(row: &Row<'_>) -> rusqlite::Result<Option<(RunId, Run)>> {
    let Some(outcome) = Outcome::parse(row.get_ref(4)?.as_str()?) else { return Ok(None) };
    let run = Run {
        node: row.get(1)?,
        action_key: digest_of(row, 2)?,
        path_set: optional_digest_of(row, 14)?,
        strong_key: optional_digest_of(row, 3)?,
        outcome,
        started: UNIX_EPOCH + duration_of(row, 5)?,
        duration: duration_of(row, 6)?,
        cpu: duration_of(row, 7)?,
        max_rss: row.get::<_, i64>(8)?.cast_unsigned(),
        reasons: row.get(9)?,
        manifest: row.get(10)?,
        log: blob_of(row, 11)?,
        pid: row.get(13)?,
        continued: row.get(15)?,
    };
    Ok(Some((RunId(row.get(0)?), run)))
}
