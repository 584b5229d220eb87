//! The project's lock file, for the kinds that download from mirrors.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use crate::gentoo::ebuilds::EbuildTree;
use crate::gentoo::lock::{Lock, LockedStage3};
use crate::gentoo::lock_file;
use crate::gentoo::names::Stage3;
use crate::graph::Action;
use crate::plan::PlanError;
use crate::spec::model::Spec;

/// `kiln.lock`, read once a run, so that a run does not see two states of it.
pub(in crate::kinds) struct ProjectLock<'a> {
    spec: &'a Spec,
    lock: OnceLock<Result<Lock, String>>,
}

impl<'a> ProjectLock<'a> {
    pub(in crate::kinds) const fn new(spec: &'a Spec) -> Self {
        Self { spec, lock: OnceLock::new() }
    }

    /// The locked build of a stage3, or a message that says how to lock one.
    pub(in crate::kinds) fn stage3(&self, stage3: &Stage3) -> Result<&LockedStage3, String> {
        let name = stage3.name();
        self.lock()?.get(stage3).ok_or_else(|| {
            format!("no build of the stage3 {name} is locked: `kiln update {name}` asks the mirrors for the latest")
        })
    }

    /// The locked ebuild tree, or a message that says how to lock one.
    pub(in crate::kinds) fn ebuilds(&self) -> Result<&EbuildTree, String> {
        self.lock()?.ebuilds().ok_or_else(|| {
            "no tree of ebuilds is locked: `kiln update ebuilds` asks the mirrors for the latest".to_owned()
        })
    }

    fn lock(&self) -> Result<&Lock, String> {
        let read = || lock_file::read(&self.spec.root).map_err(|error| error.to_string());
        self.lock.get_or_init(read).as_ref().map_err(Clone::clone)
    }
}

/// A message for each stage3 and ebuild tree that roots need and that is not locked.
pub fn unlocked(spec: &Spec) -> Vec<String> {
    let lock = ProjectLock::new(spec);
    let stage3s: BTreeSet<_> = spec.project.roots.values().map(|root| &root.stage3).collect();
    let stage3s = stage3s.into_iter().filter_map(|stage3| lock.stage3(stage3).err());
    let ebuilds = takes_ebuilds(spec).then(|| lock.ebuilds().err()).flatten();
    ebuilds.into_iter().chain(stage3s).collect()
}

/// Whether any root builds packages from an ebuild tree of the mirrors.
pub fn takes_ebuilds(spec: &Spec) -> bool {
    let takes = |gentoo| spec.project.roots.values().any(|root| root.takes_ebuilds(gentoo));
    spec.project.gentoo.as_ref().is_some_and(takes)
}

/// The plan error for a root's node that needs something that is not locked.
pub(in crate::kinds) fn not_locked(action: &Action, message: String) -> PlanError {
    PlanError::MissingRequirement {
        node: format!("{}:{}", action.rule.name, action.bindings.text_of("root")),
        message,
    }
}
