//! Verification: runs nodes again from nothing, and compares their outputs with the recorded ones.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::error::SessionError;
use super::view::View;
use crate::digest::Digest;
use crate::exec::event::Event;
use crate::exec::{Cancel, OutputComparison, Unverifiable, Verification, result_to_compare, verify};
use crate::graph::{NodeId, NodeKind};
use crate::kinds::AllKinds;
use crate::report::{Comparison, VerifiedNode, VerifiedOutput, difference};
use crate::store::{Artifact, BlobError, Outcome, Store, StoreError, remove_tree};

/// What is verified, and how.
#[derive(Debug)]
pub struct VerifyRequest<'a> {
    /// Whether nodes were named: those without a result are then reported.
    pub has_targets: bool,
    /// Only results that were built by continuing and are not verified; those that have waited longest first.
    pub continued: bool,
    /// The time within which runs have to end. The first node runs in any case.
    pub budget: Option<Duration>,
    /// The number of cores to use.
    pub jobs: usize,
    /// The directory in which outputs are kept.
    pub keep: Option<&'a Path>,
}

/// The outcome of a verification.
#[derive(Debug)]
pub struct VerifyReport {
    /// The nodes that were considered, dependencies first.
    pub nodes: Vec<VerifiedNode>,
    /// The number of nodes that were selected to run.
    pub selected: usize,
    /// The number of these that the budget left no time for.
    pub left: usize,
}

impl VerifyRequest<'_> {
    /// Verifies the nodes of a view.
    pub fn run(
        &self,
        view: &View<'_>,
        kinds: &AllKinds<'_>,
        cancel: &Cancel,
        emit: &mut dyn FnMut(&Event),
    ) -> Result<VerifyReport, SessionError> {
        let View { graph, context, plan, .. } = view;
        let store = context.store;
        // A blob that has been removed since is noticed, and reported, when it is compared.
        view.claim()?;
        let unverified = store.unverified()?;
        let since = |id: NodeId| plan.strong_key(id).and_then(|key| unverified.get(&key));
        let mut selected: Vec<NodeId> = Vec::new();
        let mut nodes: BTreeMap<usize, VerifiedNode> = BTreeMap::new();
        for (at, &id) in plan.nodes().iter().enumerate().filter(|(_, id)| view.is_selected(**id)) {
            if self.continued && since(id).is_none() {
                continue;
            }
            match result_to_compare(context, graph, plan, id, kinds) {
                Ok(_) => selected.push(id),
                // An expansion point stands for its boots.
                Err(Unverifiable::NoAction) if matches!(graph.node(id).kind, NodeKind::Expansion(_)) => {}
                Err(Unverifiable::NeverRan) if !self.has_targets => {}
                Err(why) => {
                    nodes.insert(at, not_compared(graph.name(id), why));
                }
            }
        }
        if self.continued {
            selected.sort_by_key(|&id| since(id));
        }
        let verified = verify(context, graph, plan, &selected, self.jobs, self.budget, kinds, emit, cancel)?;
        for one in &verified {
            let at = plan.nodes().iter().position(|&id| id == one.node).expect("it was planned");
            nodes.insert(at, compare_outputs(store, graph.name(one.node), one, self.keep)?);
            match plan.strong_key(one.node).filter(|key| unverified.contains_key(key)) {
                Some(key) if one.is_same() && is_recorded(store, &key, one)? => store.mark_verified(&key)?,
                // Continuing in the directory that led to a wrong result would lead to more of them.
                Some(_) if one.outcome.is_cacheable() => store.drop_kept_of(graph.name(one.node))?,
                _ => {}
            }
        }
        context.save();
        let (selected, left) = (selected.len(), selected.len() - verified.len());
        Ok(VerifyReport { nodes: nodes.into_values().collect(), selected, left })
    }
}

/// Whether a clean run made the outputs that are recorded under that key.
fn is_recorded(store: &Store, key: &Digest, verified: &Verification) -> Result<bool, StoreError> {
    let Some(result) = store.result(key)? else { return Ok(false) };
    Ok(verified.outputs.iter().all(|one| result.outputs.contains(&(one.output.clone(), one.clean))))
}

fn not_compared(name: &str, why: Unverifiable) -> VerifiedNode {
    let (result, message) = match why {
        Unverifiable::Stale => (Comparison::Stale, "build it first".to_owned()),
        Unverifiable::NeverRan => (Comparison::Stale, why.to_string()),
        Unverifiable::NoAction
        | Unverifiable::Computed
        | Unverifiable::Builtin
        | Unverifiable::Boot
        | Unverifiable::Failed => (Comparison::Skipped, why.to_string()),
    };
    VerifiedNode {
        name: name.to_owned(),
        result,
        message: Some(message),
        log_tail: Vec::new(),
        duration: None,
        outputs: Vec::new(),
    }
}

/// Compares the outputs of a clean run with the recorded ones. Those that differ are placed side by side, below `keep` or
/// in a temporary directory.
fn compare_outputs(
    store: &Store,
    name: &str,
    verified: &Verification,
    keep: Option<&Path>,
) -> Result<VerifiedNode, SessionError> {
    let file_name = name.replace(['/', ':'], "_");
    let dir = match keep {
        Some(keep) => keep.join(&file_name),
        None => store.fresh_work_dir(&file_name)?,
    };
    let outputs = place_outputs(store, verified, &dir, keep.is_some());
    if keep.is_none() {
        remove_tree(&dir)?;
    }
    let (outputs, lost) = match outputs {
        Ok(outputs) => (outputs, None),
        Err(BlobError::Store(error)) => return Err(error.into()),
        Err(lost) => (Vec::new(), Some(format!("an output is lost from the cache ({lost}): build it again"))),
    };
    let (result, message) = match verified.outcome {
        _ if lost.is_some() => (Comparison::Infra, lost),
        Outcome::Pass if verified.is_same() => (Comparison::Same, None),
        Outcome::Pass => (Comparison::Differs, None),
        Outcome::Fail => (Comparison::Failed, verified.message.clone()),
        Outcome::Cancelled => (Comparison::Infra, Some("interrupted".to_owned())),
        Outcome::Infra | Outcome::Skipped => (Comparison::Infra, verified.message.clone()),
    };
    Ok(VerifiedNode {
        name: name.to_owned(),
        result,
        message,
        log_tail: verified.log_tail.clone(),
        duration: Some(verified.duration),
        outputs,
    })
}

/// Places in `dir` the outputs that differ; with `keep`, every output and the log.
fn place_outputs(
    store: &Store,
    verified: &Verification,
    dir: &Path,
    keep: bool,
) -> Result<Vec<VerifiedOutput>, BlobError> {
    if let (true, Some(log)) = (keep, verified.log) {
        store.place(&Artifact::file(log, false), &dir.join("log"))?;
    }
    verified.outputs.iter().map(|one| place_output(store, one, dir, keep)).collect()
}

fn place_output(
    store: &Store,
    compared: &OutputComparison,
    dir: &Path,
    keep: bool,
) -> Result<VerifiedOutput, BlobError> {
    let in_dir = |which: &str| dir.join(which).join(&compared.output);
    let (recorded, clean) = (in_dir("recorded"), in_dir("clean"));
    if keep || !compared.is_same() {
        store.place(&compared.clean, &clean)?;
    }
    let mut differences = None;
    if !compared.is_same() {
        store.place(&compared.recorded, &recorded)?;
        let found = difference(&recorded, &clean);
        differences = Some(found.map_err(|error| StoreError::io(&recorded, error))?);
    }
    Ok(VerifiedOutput {
        name: compared.output.clone(),
        recorded: compared.recorded.digest(),
        clean: compared.clean.digest(),
        differences,
    })
}
