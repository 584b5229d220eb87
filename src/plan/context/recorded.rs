//! The recorded runs of nodes.

use std::time::SystemTime;

use super::BuildContext;
use crate::plan::error::PlanError;
use crate::plan::last_run::LastRun;
use crate::plan::manifest::Manifest;
use crate::source::Provenance;
use crate::store::{Run, RunId, StoreError};

impl BuildContext<'_> {
    /// When the run of a result ended. `None` if unknown: for a result of another machine, or a run that is no longer
    /// recorded.
    pub fn made_at(&self, run: RunId) -> Result<Option<SystemTime>, StoreError> {
        if run == RunId::ELSEWHERE {
            return Ok(None);
        }
        Ok(self.store.run(run)?.map(|run| run.started + run.duration))
    }

    /// The newest run of a node, whatever its outcome.
    pub fn newest_run(&self, node: &str) -> Result<Option<Run>, StoreError> {
        Ok(self.store.runs(self.project, node, 1)?.into_iter().next().map(|(_, run)| run))
    }

    /// The run of a node's last state. Its path set counts from the provenance `least` on.
    pub fn last_run(&self, node: &str, least: Provenance) -> Result<Option<LastRun>, PlanError> {
        let Some(state) = self.previous.get(node) else { return Ok(None) };
        let Some(run) = self.store.run(state.run)? else { return Ok(None) };
        let Some(fields) = run.manifest.as_deref().and_then(Manifest::decode) else { return Ok(None) };
        let path_set = state.path_set.as_ref().map(|digest| self.strong_keys.path_set(digest));
        Ok(Some(LastRun::new(state.outcome, fields, path_set.transpose()?.flatten(), least)))
    }
}
