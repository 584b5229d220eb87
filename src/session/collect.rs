//! The limits of the local cache, and the collections that keep it within them.

use std::collections::HashSet;

use super::claims::{needed_by_graph, recorded_trees};
use super::error::SessionError;
use super::project::Project;
use super::targets::Forced;
use super::view::View;
use crate::digest::Digest;
use crate::kinds::AllKinds;
use crate::store::{Collected, Limits, Manner, Needs};

/// The space of the file system that stays free by default: this many bytes, but no more than this fraction of it.
const FREE: u64 = 2 << 30;
const FREE_FRACTION: u64 = 20;

/// The limits of the spec, with the default for free space.
pub fn limits(project: &Project) -> Result<Limits, SessionError> {
    let limit = &project.spec.project.cache.limit;
    let free = match limit.free {
        Some(free) => free,
        None => FREE.min(project.store.file_system()? / FREE_FRACTION),
    };
    Ok(Limits { size: limit.size, age: limit.age, free: Some(free) })
}

/// Removes what is over the limits, least recently used first. What the present graph needs stays, unless `force`; what a
/// running process has claimed always stays.
pub fn collect(
    project: &Project,
    limits: &Limits,
    force: bool,
    dry_run: bool,
) -> Result<Collected, SessionError> {
    let needed = if force { HashSet::new() } else { needed_of_cache(project)? };
    run(project, limits, &needed, Manner { dry_run, in_passing: false })
}

/// The same after a build, if the cache is over its limits. `None` if it is not.
pub fn collect_after_build(project: &Project) -> Result<Option<Collected>, SessionError> {
    let limits = limits(project)?;
    if !project.store.is_over(&limits)? {
        return Ok(None);
    }
    let manner = Manner { dry_run: false, in_passing: true };
    run(project, &limits, &needed_of_cache(project)?, manner).map(Some)
}

fn run(
    project: &Project,
    limits: &Limits,
    needed: &HashSet<Digest>,
    manner: Manner,
) -> Result<Collected, SessionError> {
    let needs = Needs { digests: needed, trees_of: &recorded_trees };
    Ok(project.store.gc(limits, &needs, manner, &|_| {})?)
}

/// What the whole present graph of a project needs of the cache: strong keys and the names of unpacked sources.
pub fn needed_of_cache(project: &Project) -> Result<HashSet<Digest>, SessionError> {
    let kinds = AllKinds::new(&project.spec);
    let view = View::plan(project, &kinds, None, &[], Forced::default())?;
    needed_by_graph(&view.context, &view.graph, &view.plan)
}
