//! Source trees as they are at hand, for commands that only look into them.

use std::path::PathBuf;

use crate::kinds::AllKinds;
use crate::plan::World;
use crate::spec::model::Spec;
use crate::store::Store;

/// The name and the root of each source tree that is there, and is what the spec says. The cache is opened only for those
/// that kiln unpacks, and none is begun for it.
pub(super) fn trees(spec: &Spec) -> Vec<(String, PathBuf)> {
    let mut trees: Vec<(String, PathBuf)> = Vec::new();
    let mut made = Vec::new();
    for (name, source) in &spec.project.sources {
        match source.in_place() {
            Some(root) => trees.push((name.clone(), root.to_owned())),
            None => made.push(name),
        }
    }
    let home = spec.root.join(&spec.project.cache.path);
    if !made.is_empty()
        && home.join("sources").is_dir()
        && let Ok(store) = Store::open(&home)
    {
        let kinds = AllKinds::new(spec);
        if let Ok(world) = World::new(spec, &store, &kinds, Ok(crate::plan::Tracing::Mounts)) {
            let root = |name: &String| {
                world.source(name).ok()?;
                Some((name.clone(), world.source_tree(name).ok()?.root.clone()))
            };
            trees.extend(made.into_iter().filter_map(root));
        }
    }
    trees.retain(|(_, root)| root.is_dir());
    trees.sort();
    trees
}
