//! Who names something in the cache: why it is kept.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension};

use super::claims::{Claimed, NoClaims};
use super::error::{At, StoreError};
use super::rows::Rows;
use super::stat::names;
use super::{Artifact, Store, times};
use crate::digest::Digest;
use crate::source::{Kind, Listing};

/// What is asked about.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// Whatever has a digest that begins so, in hex: a blob, a tree, a result by its strong key.
    Digest(&'a str),
    /// The results of a node, by its whole name.
    Node(&'a str),
}

/// Who names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keepers {
    /// Blobs of that digest that are there: their sizes in bytes.
    pub blobs: Vec<(Digest, u64)>,
    /// Results that have it.
    pub results: Vec<Keeper>,
    /// Runs whose log it is: project and node, and when it ran.
    pub logs: Vec<(PathBuf, String, SystemTime)>,
    /// Whether a running kiln has claimed it, or a result that has it.
    pub in_use: bool,
}

/// A result that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keeper {
    /// Its key.
    pub strong_key: Digest,
    /// The project and the node that it came from, where that run is on record.
    pub node: Option<(PathBuf, String)>,
    /// The outputs that are it, or have it in them; `log` for its log.
    pub outputs: Vec<String>,
    /// When it was last used.
    pub used: SystemTime,
}

impl Store {
    /// Finds all that names something.
    pub fn keepers(&self, subject: Subject<'_>) -> Result<Keepers, StoreError> {
        let mut claimed = Claimed::default();
        claimed.read(&self.home, &NoClaims::begin(&self.home)?)?;
        let mut keepers = self.read_index(|index| {
            let rows = Rows::read(index)?;
            let names = names(index)?;
            let mut search = Search { index, subject, known: HashMap::new() };
            let mut keepers = Keepers::default();
            for result in &rows.results {
                let node = names.get(&result.run);
                let mut outputs = Vec::new();
                let whole = match subject {
                    Subject::Node(wanted) => node.is_some_and(|(_, name)| name == wanted),
                    Subject::Digest(_) => search.is_meant(&result.strong_key),
                };
                for (name, artifact) in &result.outputs {
                    if whole || search.artifact(artifact)? {
                        outputs.push(name.clone());
                    }
                }
                if result.log.is_some_and(|log| whole || search.is_meant(&log)) {
                    outputs.push("log".to_owned());
                }
                if whole || !outputs.is_empty() {
                    keepers.in_use |= claimed.contains(&result.strong_key);
                    keepers.results.push(Keeper {
                        strong_key: result.strong_key,
                        node: node.cloned(),
                        outputs,
                        used: times::time(result.used),
                    });
                }
            }
            for run in &rows.runs {
                if run.log.is_some_and(|log| search.is_meant(&log))
                    && let Some((project, node)) = names.get(&run.id)
                {
                    keepers.logs.push((project.clone(), node.clone(), times::time(run.started)));
                }
            }
            keepers.in_use |= claimed.iter().any(|digest| search.is_meant(digest));
            Ok(keepers)
        })?;
        if let Subject::Digest(prefix) = subject {
            keepers.blobs = self.blobs_of(prefix)?;
        }
        keepers.results.sort_by_key(|keeper| std::cmp::Reverse(keeper.used));
        Ok(keepers)
    }

    fn blobs_of(&self, prefix: &str) -> Result<Vec<(Digest, u64)>, StoreError> {
        let dir = self.home.join("cas").join(prefix.get(..2).unwrap_or(prefix));
        let mut blobs = Vec::new();
        if !dir.is_dir() {
            return Ok(blobs);
        }
        for entry in fs::read_dir(&dir).at(&dir)? {
            let entry = entry.at(&dir)?;
            let name = entry.file_name();
            if let Some(name) = name.to_str().filter(|name| name.starts_with(prefix))
                && let (Ok(digest), Ok(stat)) = (name.parse(), entry.metadata())
            {
                blobs.push((digest, stat.len()));
            }
        }
        Ok(blobs)
    }
}

struct Search<'a> {
    index: &'a Connection,
    subject: Subject<'a>,
    /// Of each tree whether it has it.
    known: HashMap<Digest, bool>,
}

impl Search<'_> {
    fn is_meant(&self, digest: &Digest) -> bool {
        match self.subject {
            Subject::Digest(prefix) => digest.to_string().starts_with(prefix),
            Subject::Node(_) => false,
        }
    }

    fn artifact(&mut self, artifact: &Artifact) -> rusqlite::Result<bool> {
        match artifact {
            Artifact::File { digest, .. } => Ok(self.is_meant(digest)),
            Artifact::Tree { digest, .. } => self.tree(digest),
            Artifact::Absent => Ok(false),
        }
    }

    fn tree(&mut self, digest: &Digest) -> rusqlite::Result<bool> {
        if let Some(known) = self.known.get(digest) {
            return Ok(*known);
        }
        // No tree can be in itself, but damage can say so.
        self.known.insert(*digest, false);
        let mut found = self.is_meant(digest);
        let bytes: Option<Vec<u8>> = self
            .index
            .prepare_cached("SELECT bytes FROM listing WHERE digest = ?1")?
            .query_row([digest.as_bytes()], |row| row.get(0))
            .optional()?;
        if let Some(Ok(listing)) = bytes.map(Listing::decode) {
            for entry in listing.entries() {
                found |= match entry.kind {
                    Kind::File { digest, .. } => self.is_meant(&digest),
                    Kind::Dir { digest } => self.tree(&digest)?,
                    Kind::Symlink { .. } | Kind::Special(_) => false,
                };
            }
        }
        self.known.insert(*digest, found);
        Ok(found)
    }
}
