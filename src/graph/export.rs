//! Where outputs appear below `out/`.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use super::{Action, NodeId};
use crate::spec::model::{Output, OutputShape};

/// The export paths that nodes have taken.
#[derive(Debug, Default)]
pub(super) struct ExportPaths {
    taken: HashMap<PathBuf, NodeId>,
    /// The directories above those, each with a node that has an output in it. None of them is taken itself.
    above: HashMap<PathBuf, NodeId>,
}

/// A path that another node has taken, or a path inside or above it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub by: NodeId,
    pub path: PathBuf,
}

impl ExportPaths {
    /// Takes a path for a node.
    pub fn take(&mut self, path: PathBuf, id: NodeId) -> Result<(), Taken> {
        if let Some(&by) = self.taken.get(&path).or_else(|| self.above.get(&path)) {
            return Err(Taken { by, path });
        }
        for dir in path.ancestors().skip(1) {
            if let Some(&by) = self.taken.get(dir) {
                return Err(Taken { by, path: dir.to_owned() });
            }
            // The directories above this one were checked when it was entered.
            if self.above.contains_key(dir) {
                break;
            }
            self.above.insert(dir.to_owned(), id);
        }
        self.taken.insert(path, id);
        Ok(())
    }
}

impl Action {
    /// The paths of its outputs below `out/`. Two outputs that are one file, such as the image and the `vmlinux` of an
    /// arch that boots the latter, have one path.
    pub(super) fn export_paths(&self) -> Vec<PathBuf> {
        let outputs = self.rule.decl.outputs.iter();
        let paths = outputs.filter_map(|(name, declared)| {
            let made_at = self.bindings.text(declared.shape.path()).ok();
            Some((self.export_path(name)?, made_at))
        });
        paths.collect::<BTreeSet<_>>().into_iter().map(|(path, _)| path).collect()
    }

    /// The path of an output below `out/`; `None` where it stays in the cache.
    pub fn export_path(&self, output: &str) -> Option<PathBuf> {
        let declared = self.rule.decl.outputs.get(output).filter(|declared| declared.export)?;
        Some(self.export.as_ref()?.join(self.export_name(output, declared)?))
    }

    fn export_name(&self, output: &str, declared: &Output) -> Option<String> {
        if let Some(name) = &declared.name {
            return self.bindings.text(name).ok();
        }
        match &declared.shape {
            OutputShape::File(path) | OutputShape::Report(_, path) => {
                let path = self.bindings.text(path).ok()?;
                Some(path.rsplit('/').next().unwrap_or(&path).to_owned())
            }
            OutputShape::Tree(_) | OutputShape::Glob(_) => Some(output.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_is_taken_twice_or_inside_another() {
        for (first, second, conflict) in [
            ("a/b", "a/c", None),
            ("a/b", "ab/b", None),
            ("a/b", "a/b", Some("a/b")),
            ("a/b", "a/b/c/d", Some("a/b")),
            ("a/b/c", "a", Some("a")),
            ("a/b/c", "a/b", Some("a/b")),
        ] {
            let mut paths = ExportPaths::default();
            paths.take(first.into(), NodeId(0)).unwrap();
            let taken = paths.take(second.into(), NodeId(1)).err();
            let expected = conflict.map(|path| Taken { by: NodeId(0), path: path.into() });
            assert_eq!(taken, expected, "{first} and {second}");
        }
    }
}
