//! A project with its cache.

use std::sync::Arc;

use super::error::SessionError;
use super::remotes::open_remotes;
use super::secrets::Secrets;
use super::targets::select_one;
use crate::graph::{Graph, expand};
use crate::remote::Remotes;
use crate::spec::model::{Lab, Spec};
use crate::store::{ProjectId, Store, Warning};

/// A project with its cache.
pub struct Project {
    /// The spec.
    pub spec: Arc<Spec>,
    /// The cache.
    pub store: Store,
    variable: fn(&str) -> Option<String>,
}

impl Project {
    /// Opens the cache of a project. `variable` reads an environment variable.
    pub fn open(spec: Arc<Spec>, variable: fn(&str) -> Option<String>) -> Result<Self, SessionError> {
        let store = Store::open(&spec.root.join(&spec.project.cache.path))?;
        Ok(Self { spec, store, variable })
    }

    /// The warnings of the cache that concern this project. One without labs has lost no jobs.
    pub fn warnings(&self) -> impl Iterator<Item = &Warning> {
        let has_labs = has_lava_labs(&self.spec);
        let warnings = self.store.warnings().iter();
        warnings.filter(move |warning| has_labs || !matches!(warning, Warning::JournalLost { .. }))
    }

    /// Fails if labs may have jobs that the cache has lost: they would be submitted twice.
    pub fn check_jobs_are_known(&self) -> Result<(), SessionError> {
        let lost = |warning: &Warning| matches!(warning, Warning::JournalLost { .. });
        if !self.warnings().any(lost) {
            return Ok(());
        }
        let message = "nothing is built, as labs may have jobs that would be submitted twice";
        let help =
            "look for them on the labs' pages, under names that begin with `kiln lava:`, then build again";
        Err(SessionError::environment(message).help(help))
    }

    /// The secrets of the project.
    pub fn secrets(&self) -> Secrets<'_> {
        Secrets::new(&self.spec.root, self.variable)
    }

    /// The remotes of the project. Messages that the user should see are added to `notes`.
    pub fn remotes(&self, notes: &mut Vec<String>) -> Result<Remotes, SessionError> {
        open_remotes(&self.spec, self.secrets(), notes)
    }

    /// The graph, not expanded.
    pub fn graph(&self) -> Result<Graph, SessionError> {
        Ok(expand(Arc::clone(&self.spec))?)
    }

    /// The project's id in the store.
    pub fn id(&self) -> Result<ProjectId, SessionError> {
        Ok(self.store.project(&self.spec.root)?)
    }

    /// The name of the single node with a recorded run that a target means.
    pub fn recorded_node(&self, target: &str) -> Result<String, SessionError> {
        let id = self.id()?;
        if !self.store.runs(id, target, 1)?.is_empty() {
            return Ok(target.to_owned());
        }
        // A glob, or a boot, which is not in the graph before it is expanded.
        let nodes = self.store.load_nodes(id)?;
        let matcher = globset::Glob::new(target).map_err(SessionError::request)?.compile_matcher();
        let mut names: Vec<&str> =
            nodes.keys().map(String::as_str).filter(|name| matcher.is_match(name)).collect();
        names.sort_unstable();
        match names.as_slice() {
            [name] => Ok((*name).to_owned()),
            [] => {
                select_one(target, &self.graph()?)?;
                Err(SessionError::request(format!("{target} has not run yet")))
            }
            several => {
                Err(SessionError::request(format!("{target:?} is several nodes")).help(several.join(", ")))
            }
        }
    }
}

/// Whether a project has LAVA labs.
pub(super) fn has_lava_labs(spec: &Spec) -> bool {
    spec.project.labs.values().any(|lab| matches!(lab, Lab::Lava(_)))
}
