//! Source trees that are present, for operations that only read them.

use std::path::PathBuf;

use crate::kinds::AllKinds;
use crate::plan::{BuildContext, Tracing};
use crate::spec::model::Spec;
use crate::store::Store;

/// The name and root of each source tree that is present and holds what the spec says, sorted. The cache is opened only for
/// trees that kiln unpacks, and is never created.
pub fn source_roots(spec: &Spec) -> Vec<(String, PathBuf)> {
    let mut roots: Vec<(String, PathBuf)> = Vec::new();
    let mut unpacked = Vec::new();
    for (name, source) in &spec.project.sources {
        match source.in_place() {
            Some(root) => roots.push((name.clone(), root.to_owned())),
            None => unpacked.push(name),
        }
    }
    let home = spec.root.join(&spec.project.cache.path);
    if !unpacked.is_empty()
        && home.join("sources").is_dir()
        && let Ok(store) = Store::open(&home)
    {
        let kinds = AllKinds::new(spec);
        if let Ok(context) = BuildContext::new(spec, &store, &kinds, Ok(Tracing::Mounts)) {
            let root = |name: &String| {
                context.sources.snapshot(name).ok()?;
                Some((name.clone(), context.sources.tree(name).ok()?.root.clone()))
            };
            roots.extend(unpacked.into_iter().filter_map(root));
        }
    }
    roots.retain(|(_, root)| root.is_dir());
    roots.sort();
    roots
}
