//! Collecting: outputs are checked against the rule's declarations, and stored.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use crate::graph::{Action, BindError};
use crate::spec::model::OutputShape;
use crate::store::{Artifact, Store, StoreError};

/// An output that can't be collected.
#[derive(Debug, thiserror::Error)]
pub(super) enum CollectError {
    /// It was not made.
    #[error("output {output} was not made: there is no {path} in the output directory")]
    Missing { output: String, path: String },
    /// It is of another kind.
    #[error("output {output} is not {expected}: {path}")]
    Wrong { output: String, path: String, expected: &'static str },
    /// It can't be read.
    #[error("output {output} can't be read: {path}: {source}")]
    Unreadable { output: String, path: String, source: io::Error },
    /// Its pattern is no glob.
    #[error("output {output}: {source}")]
    Glob { output: String, source: globset::Error },
    /// A template of it can't be expanded.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The cache can't store it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CollectError {
    /// Whether the action is to blame rather than the cache or its disk.
    pub(super) fn is_the_outputs_fault(&self) -> bool {
        match self {
            Self::Store(error) => {
                matches!(error, StoreError::NotKeepable { .. } | StoreError::NotReadable { .. })
            }
            _ => true,
        }
    }
}

/// Stores the outputs that the steps made in the output directory.
pub(super) fn collect(
    store: &Store,
    action: &Action,
    out: &Path,
) -> Result<Vec<(String, Artifact)>, CollectError> {
    let mut outputs = Vec::with_capacity(action.rule.decl.outputs.len());
    for (name, declared) in &action.rule.decl.outputs {
        let output = Declared { name, optional: declared.optional, out, store };
        let artifact = match &declared.shape {
            OutputShape::File(path) => output.file(&action.bindings.text(path)?)?,
            OutputShape::Tree(path) => output.tree(&action.bindings.text(path)?)?,
            OutputShape::Glob(glob) => output.glob(&action.bindings.text(glob)?)?,
            OutputShape::Report(..) => continue,
        };
        outputs.push((name.clone(), artifact));
    }
    Ok(outputs)
}

struct Declared<'a> {
    name: &'a str,
    optional: bool,
    out: &'a Path,
    store: &'a Store,
}

impl Declared<'_> {
    fn file(&self, path: &str) -> Result<Artifact, CollectError> {
        let Some((real, metadata)) = self.find(path)? else { return Ok(Artifact::Absent) };
        if !metadata.is_file() {
            return Err(self.wrong(path, "a file"));
        }
        let executable = metadata.permissions().mode() & 0o100 != 0;
        Ok(Artifact::file(self.store.put_file(&real)?, executable))
    }

    fn tree(&self, path: &str) -> Result<Artifact, CollectError> {
        let Some((real, metadata)) = self.find(path)? else { return Ok(Artifact::Absent) };
        if !metadata.is_dir() {
            return Err(self.wrong(path, "a directory"));
        }
        Ok(self.store.put_tree(&real, &|_| true)?)
    }

    fn glob(&self, pattern: &str) -> Result<Artifact, CollectError> {
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        let matcher = glob
            .map_err(|source| CollectError::Glob { output: self.name.to_owned(), source })?
            .compile_matcher();
        let found = matching(self.out, &matcher)
            .map_err(|source| self.unreadable(&self.out.display().to_string(), source))?;
        if found.is_empty() {
            return if self.optional { Ok(Artifact::Absent) } else { Err(self.missing(pattern)) };
        }
        let wanted: HashSet<&Path> = found.iter().flat_map(|file| file.ancestors()).collect();
        Ok(self.store.put_tree(self.out, &|path| wanted.contains(path))?)
    }

    /// What is at a path, with links followed. The steps have ended, so nothing changes meanwhile. A link that leads out of the
    /// output directory would make a file of the host an output.
    fn find(&self, path: &str) -> Result<Option<(PathBuf, fs::Metadata)>, CollectError> {
        let real = match fs::canonicalize(self.out.join(path)) {
            Ok(real) => real,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return if self.optional { Ok(None) } else { Err(self.missing(path)) };
            }
            Err(source) => return Err(self.unreadable(path, source)),
        };
        let out = fs::canonicalize(self.out).map_err(|source| self.unreadable(path, source))?;
        if !real.starts_with(&out) {
            return Err(self.wrong(path, "inside the output directory"));
        }
        let metadata = fs::metadata(&real).map_err(|source| self.unreadable(path, source))?;
        Ok(Some((real, metadata)))
    }

    fn missing(&self, path: &str) -> CollectError {
        CollectError::Missing { output: self.name.to_owned(), path: path.to_owned() }
    }

    fn wrong(&self, path: &str, expected: &'static str) -> CollectError {
        CollectError::Wrong { output: self.name.to_owned(), path: path.to_owned(), expected }
    }

    fn unreadable(&self, path: &str, source: io::Error) -> CollectError {
        CollectError::Unreadable { output: self.name.to_owned(), path: path.to_owned(), source }
    }
}

/// The regular files below `root` whose relative path matches.
fn matching(root: &Path, matcher: &GlobMatcher) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut dirs = vec![PathBuf::new()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(root.join(&dir))? {
            let entry = entry?;
            let path = dir.join(entry.file_name());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                dirs.push(path);
            } else if kind.is_file() && matcher.is_match(&path) {
                found.push(path);
            }
        }
    }
    Ok(found)
}
