//! The reads of recorded runs that a change reaches.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::change_index::{ChangeIndex, Condition, Question};
use super::effect::{Cause, Effect, TouchReason};
use super::recorded_trees::{PathState, RecordedTrees};
use crate::digest::Digest;
use crate::plan::error::PlanError;
use crate::plan::reach::Reach;
use crate::plan::records::Records;
use crate::source::patch::{self, Link, Touched};
use crate::source::{EntryKind, Provenance, split};
use crate::store::{NodeState, StoredReads};

/// The number of paths that a touched node names; the rest are counted.
const NAMED: usize = 10;

/// The entries of one input's reads that a change reaches.
#[derive(Clone, Default)]
struct ReachedReads {
    whole: bool,
    certain: Vec<u32>,
    /// Indexes of conditions. They are checked only if no entry is certain.
    conditions: Vec<usize>,
}

/// The reads that one change reaches. Each path set is read once.
pub(super) struct Reached<'a> {
    records: &'a dyn Records,
    change: &'a [Touched],
    removed: HashSet<&'a [u8]>,
    kept_dirs: HashSet<&'a [u8]>,
    reach: &'a Reach,
    index: ChangeIndex,
    trees: RecordedTrees<'a>,
    path_sets: HashMap<Digest, (Provenance, BTreeMap<String, ReachedReads>)>,
    /// The answers by tree and condition.
    answers: HashMap<(Digest, usize), bool>,
}

impl<'a> Reached<'a> {
    pub fn new(records: &'a dyn Records, reach: &'a Reach, change: &'a [Touched]) -> Self {
        Self {
            records,
            change,
            removed: removed_paths(change),
            kept_dirs: kept_dirs(change),
            reach,
            index: ChangeIndex::new(reach, change),
            trees: RecordedTrees::new(records),
            path_sets: HashMap::new(),
            answers: HashMap::new(),
        }
    }

    /// The effect on a node with this last state, by what it read of these inputs. Its dependencies are left out.
    pub fn effect(
        &mut self,
        state: &NodeState,
        inputs: &[&str],
        least: Provenance,
    ) -> Result<Effect, PlanError> {
        if inputs.is_empty() || self.change.is_empty() {
            return Ok(Effect::Untouched);
        }
        let Some(path_set) = state.path_set else { return Ok(self.by_all(Cause::Whole)) };
        self.read(&path_set)?;
        let (provenance, known) = &self.path_sets[&path_set];
        // This path set does not count here, so the node runs after any change.
        if *provenance < least {
            return Ok(self.by_all(Cause::Whole));
        }
        let mut found = ReachedReads::default();
        for &input in inputs {
            // The rule got this input after the run; the next run reads it.
            let Some(reads) = known.get(input) else { return Ok(self.by_all(Cause::Whole)) };
            if reads.whole {
                return Ok(self.by_all(Cause::Whole));
            }
            found.certain.extend(&reads.certain);
        }
        let mut causes: Vec<(Cause, usize, u32)> = found
            .certain
            .iter()
            .filter_map(|id| self.index.causes.get(id).map(|&(cause, change)| (cause, change, *id)))
            .collect();
        if causes.is_empty() {
            let conditions: Vec<(&str, Vec<usize>)> =
                inputs.iter().map(|&input| (input, known[input].conditions.clone())).collect();
            causes = self.conditional_causes(state, &conditions);
        }
        causes.sort_unstable();
        // Of each changed path, only the most direct cause is named.
        let mut named = HashSet::new();
        causes.retain(|&(_, change, _)| named.insert(change));
        let more = causes.len().saturating_sub(NAMED);
        causes.truncate(NAMED);
        let because: Vec<TouchReason> =
            causes.into_iter().filter_map(|reached| self.reason(reached)).collect();
        Ok(if because.is_empty() { Effect::Untouched } else { Effect::Touched { because, more } })
    }

    /// The effect on a node that every changed path touches.
    pub fn by_all(&self, cause: Cause) -> Effect {
        let because: Vec<TouchReason> =
            self.change.iter().take(NAMED).map(|touched| reason(cause, touched, b"")).collect();
        let more = self.change.len() - because.len();
        if because.is_empty() { Effect::Untouched } else { Effect::Touched { because, more } }
    }

    fn reason(&self, (cause, change, entry): (Cause, usize, u32)) -> Option<TouchReason> {
        let (_, entry) = self.reach.entry(entry)?;
        Some(reason(cause, &self.change[change], entry))
    }

    /// Reads a path set, once. One that is no longer stored has no inputs, which counts as reading all of them whole.
    fn read(&mut self, digest: &Digest) -> Result<(), PlanError> {
        if self.path_sets.contains_key(digest) {
            return Ok(());
        }
        let mut by_input = BTreeMap::new();
        let mut provenance = Provenance::Whole;
        if let Some(set) = self.records.path_set(digest)? {
            provenance = set.provenance;
            for (input, reads) in set.inputs {
                let reached = match reads {
                    StoredReads::Whole => ReachedReads { whole: true, ..ReachedReads::default() },
                    // An entry was recorded after the table was read, or is lost: unknown.
                    StoredReads::Only(ids) if ids.max().is_some_and(|id| self.reach.entry(id).is_none()) => {
                        ReachedReads { whole: true, ..ReachedReads::default() }
                    }
                    StoredReads::Only(ids) => {
                        let certain: Vec<u32> = (&ids & &self.index.certain).iter().collect();
                        let conditions = if certain.is_empty() && !ids.is_disjoint(&self.index.conditional) {
                            let all = self.index.conditions.iter().enumerate();
                            all.filter(|(_, condition)| ids.contains(condition.entry))
                                .map(|(at, _)| at)
                                .collect()
                        } else {
                            Vec::new()
                        };
                        ReachedReads { whole: false, certain, conditions }
                    }
                };
                by_input.insert(input, reached);
            }
        }
        self.path_sets.insert(*digest, (provenance, by_input));
        Ok(())
    }

    /// The causes whose conditions hold in the trees of a run.
    fn conditional_causes(
        &mut self,
        state: &NodeState,
        conditions: &[(&str, Vec<usize>)],
    ) -> Vec<(Cause, usize, u32)> {
        if conditions.iter().all(|(_, conditions)| conditions.is_empty()) {
            return Vec::new();
        }
        let record = state.record();
        let mut causes = Vec::new();
        for (input, conditions) in conditions {
            let trees = record.as_ref().map(|record| &record.trees);
            let tree = trees.and_then(|trees| trees.iter().find(|(name, _)| name == input));
            for &at in conditions {
                let holds = match tree {
                    Some((_, tree)) => self.holds(tree, at),
                    None => true,
                };
                if holds {
                    let Condition { entry, change, ref question } = self.index.conditions[at];
                    let kind = self.reach.entry(entry).map(|(kind, _)| kind);
                    let cause = match (kind, question) {
                        (Some(EntryKind::Links), _) => Cause::Link,
                        _ => Cause::Name,
                    };
                    causes.push((cause, change, entry));
                }
            }
        }
        causes
    }

    /// Whether a condition holds in a tree.
    fn holds(&mut self, tree: &Digest, at: usize) -> bool {
        if let Some(&known) = self.answers.get(&(*tree, at)) {
            return known;
        }
        let Condition { change, ref question, .. } = self.index.conditions[at];
        let touched = &self.change[change];
        let may_add = matches!(touched.how, patch::Touch::Added | patch::Touch::Unknown);
        let may_remove = matches!(touched.how, patch::Touch::Removed | patch::Touch::Unknown);
        let holds = match question {
            Question::Link => match self.trees.at(tree, &touched.path) {
                PathState::Link | PathState::Unknown => true,
                PathState::Nothing | PathState::Dir(_) => may_add && touched.link == Link::Unknown,
                PathState::Other => false,
            },
            Question::Dir(dir) => match self.trees.at(tree, dir) {
                PathState::Dir(_) if self.kept_dirs.contains(&dir[..]) => false,
                PathState::Dir(listing) => may_remove && !self.trees.survives(&listing, dir, &self.removed),
                PathState::Nothing => may_add,
                PathState::Link | PathState::Other | PathState::Unknown => true,
            },
        };
        self.answers.insert((*tree, at), holds);
        holds
    }

    /// Whether a tree has any of the files that the change modifies or removes. Of a path of which the change says nothing
    /// only the first directory is looked up: the file may be new.
    pub fn fits(&mut self, tree: &Digest) -> Option<bool> {
        use patch::Touch::{Added, Unknown};
        let mut fits = None;
        for touched in self.change.iter().filter(|touched| touched.how != Added) {
            let path = match touched.how {
                Unknown => touched.path.split(|&byte| byte == b'/').next().unwrap_or_default(),
                _ => &touched.path,
            };
            match self.trees.at(tree, path) {
                PathState::Nothing => fits = fits.or(Some(false)),
                PathState::Unknown => {}
                PathState::Link | PathState::Dir(_) | PathState::Other => return Some(true),
            }
        }
        fits
    }
}

fn reason(cause: Cause, touched: &Touched, entry: &[u8]) -> TouchReason {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    TouchReason { cause, path: text(&touched.path), change: touched.how.into(), entry: text(entry) }
}

/// The paths that a change removes, or may remove.
fn removed_paths(change: &[Touched]) -> HashSet<&[u8]> {
    use patch::Touch::{Added, Content, Mode, Removed, Replaced, Unknown};
    let may_be_removed = |touched: &&Touched| match touched.how {
        Removed | Unknown => true,
        Added | Content | Mode | Replaced => false,
    };
    change.iter().filter(may_be_removed).map(|touched| &*touched.path).collect()
}

/// The directories that exist after the change because it adds files below them.
fn kept_dirs(change: &[Touched]) -> HashSet<&[u8]> {
    let mut kept = HashSet::new();
    for touched in change.iter().filter(|touched| touched.how == patch::Touch::Added) {
        let mut dir = split(&touched.path).0;
        while !dir.is_empty() && kept.insert(dir) {
            dir = split(dir).0;
        }
    }
    kept
}
