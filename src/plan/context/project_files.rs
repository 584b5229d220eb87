//! Files and directories of the project, each hashed once per run.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::digest::Digest;
use crate::plan::error::PlanError;
use crate::source::FileDigests;
use crate::spec::model::Spec;

/// A file or directory of the project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProjectPath {
    /// The digest of the file's content, or of the directory's listing.
    pub digest: Digest,
    /// Whether it is an executable file.
    pub executable: bool,
}

/// The files and directories of a project that actions read.
pub struct ProjectFiles<'a> {
    spec: &'a Spec,
    files: Arc<FileDigests>,
    paths: Mutex<HashMap<PathBuf, ProjectPath>>,
}

impl<'a> ProjectFiles<'a> {
    pub(super) fn new(spec: &'a Spec, files: Arc<FileDigests>) -> Self {
        Self { spec, files, paths: Mutex::default() }
    }

    /// A file or directory as it was when this run first looked. `path` is relative to the project.
    pub fn get(&self, path: &Path, node: &str) -> Result<ProjectPath, PlanError> {
        if let Some(known) = self.paths.lock().expect("no panic while held").get(path) {
            return Ok(*known);
        }
        let noted = self.files.note_links(&self.spec.root.join(path));
        noted.map_err(|source| PlanError::File { node: node.to_owned(), path: path.to_owned(), source })?;
        let found = self.current(path, node)?;
        self.paths.lock().expect("no panic while held").insert(path.to_owned(), found);
        Ok(found)
    }

    /// A file or directory as it is now.
    pub fn current(&self, path: &Path, node: &str) -> Result<ProjectPath, PlanError> {
        let absolute = self.spec.root.join(path);
        let metadata = std::fs::metadata(&absolute);
        if metadata.as_ref().is_ok_and(std::fs::Metadata::is_dir) {
            let snapshot = self
                .files
                .tree(&absolute)
                .map_err(|source| PlanError::Source { name: path.display().to_string(), source })?;
            return Ok(ProjectPath { digest: snapshot.digest(), executable: false });
        }
        let executable = metadata.is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0);
        let digest = self.files.digest(&absolute).map_err(|source| PlanError::File {
            node: node.to_owned(),
            path: path.to_owned(),
            source,
        })?;
        Ok(ProjectPath { digest, executable })
    }

    /// Whether a file or directory was not the same all the time since this run first looked.
    pub fn has_changed(&self, path: &Path) -> bool {
        let then = self.paths.lock().expect("no panic while held").get(path).copied();
        then.is_none()
            || self.current(path, "").ok() != then
            || self.files.was_disturbed(&self.spec.root.join(path))
    }

    /// The certificate of a module signing key: a file of the project.
    pub fn certificate(&self, key: &str, node: &str) -> Result<&'a Path, PlanError> {
        let found = self.spec.project.module_keys.get(key);
        found.map(|found| found.certificate.as_path()).ok_or_else(|| PlanError::MissingRequirement {
            node: node.to_owned(),
            message: format!("graph.ron has no key of modules {key:?}: declare it in `module_keys`"),
        })
    }
}
