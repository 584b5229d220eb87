//! Prepares an action's sandbox, and traces its reads where the rule asks for that.

use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::context::{RunContext, Task};
use super::discover::Discovery;
use super::free_memory;
use super::sandbox::{MemoryTree, Mount, Output, Prepared, SandboxError, SandboxSpec};
use super::sandbox_paths::sandbox_path;
use super::trace::Tracer;
use super::tree_copy::{self, CopyError};
use crate::plan::manifest::TreeInput;
use crate::plan::{PlanError, Tracing};
use crate::source::{Snapshot, SnapshotOptions, SourceError};

/// Why a sandbox can't be prepared.
#[derive(Debug, thiserror::Error)]
pub(super) enum PrepareError {
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A tree to copy.
struct Copied<'a> {
    snapshot: Arc<Snapshot>,
    ignored: &'a [&'a str],
    /// The tree itself.
    from: PathBuf,
    /// The path of the copy in the sandbox.
    to: PathBuf,
    /// Files that replace files of the tree: their paths outside, and in the tree.
    replaced: Vec<(PathBuf, PathBuf)>,
}

/// Prepares a sandbox in which nothing runs yet. `output` opens the file that steps write to.
pub(super) fn prepare<'a>(
    context: &RunContext<'_>,
    task: &'a Task<'_>,
    spec: &SandboxSpec,
    output: &dyn Fn() -> io::Result<Output>,
) -> Result<(Prepared, Discovery<'a>), PrepareError> {
    let discovery = Discovery::new(context.build, &task.action.rule.decl, &task.key_inputs.manifest);
    let inputs = discovery.to_trace();
    let untraced = |discovery: Discovery<'a>, why: Option<String>| {
        let prepared = context.sandbox.prepare(spec, output()?)?;
        let discovery = match why {
            Some(why) => discovery.untraced(why),
            None => discovery,
        };
        Ok((prepared, discovery))
    };
    match &context.build.tracing {
        Ok(_) if inputs.is_empty() => untraced(discovery, None),
        Ok(Tracing::Mounts) => {
            let prepared = context.sandbox.prepare(spec, output()?)?;
            let mounts: Vec<PathBuf> = inputs.iter().map(|input| sandbox_path(input)).collect();
            let tracer = Tracer::start(&prepared.root(), &mounts).map_err(|error| error.to_string());
            Ok((prepared, discovery.traced(inputs, tracer)))
        }
        Ok(Tracing::Copies) => {
            let (with_copies, copied) = in_memory(context, task, spec, &inputs)?;
            if let Err(why) = fits(&copied) {
                return untraced(discovery, Some(why));
            }
            let mut prepared = match context.sandbox.prepare(&with_copies, output()?) {
                Ok(prepared) => prepared,
                // What prevents tracing does not prevent the run.
                Err(error @ SandboxError::Setup { .. }) => {
                    return untraced(discovery, Some(error.to_string()));
                }
                Err(error) => return Err(error.into()),
            };
            let memory = prepared.take_memory();
            for (copied, memory) in copied.iter().zip(&memory) {
                fill(copied, &PathBuf::from(format!("/proc/self/fd/{}", memory.root.as_raw_fd())))?;
            }
            let trees = copied.into_iter().map(|copied| copied.to).zip(memory).collect();
            let tracer = Tracer::start_on_copies(trees).map_err(|error| error.to_string());
            Ok((prepared, discovery.traced(inputs, tracer)))
        }
        Err(why) => untraced(discovery, (!inputs.is_empty()).then(|| why.clone())),
    }
}

/// The sandbox with these inputs as trees in memory, and what is to be copied to them.
fn in_memory<'a>(
    context: &'a RunContext<'_>,
    task: &Task<'_>,
    spec: &SandboxSpec,
    inputs: &[&str],
) -> Result<(SandboxSpec, Vec<Copied<'a>>), PrepareError> {
    let mut spec = spec.clone();
    let mut copied = Vec::new();
    for input in inputs {
        let to = sandbox_path(input);
        let (below, others): (Vec<Mount>, Vec<Mount>) =
            spec.mounts.drain(..).partition(|mount| mount.to.starts_with(&to));
        spec.mounts = others;
        spec.mask.retain(|path| !path.starts_with(&to));
        let (tree, over): (Vec<Mount>, Vec<Mount>) = below.into_iter().partition(|mount| mount.to == to);
        let Some(Mount { from, .. }) = tree.into_iter().next() else {
            return Err(
                io::Error::other(format!("kiln itself failed here: there is no {}", to.display())).into()
            );
        };
        let source = task.key_inputs.manifest.tree(input).and_then(TreeInput::source);
        let (snapshot, ignored) = match source {
            Some(source) => (
                Arc::clone(context.build.sources.snapshot(source)?),
                context.build.sources.tree(source)?.ignore,
            ),
            None => (Arc::new(Snapshot::take(&from, &SnapshotOptions::default())?), &[][..]),
        };
        let replaced = over
            .into_iter()
            .filter_map(|mount| Some((mount.from, mount.to.strip_prefix(&to).ok()?.to_owned())));
        let replaced: Vec<_> = replaced.collect();
        // Includes room for replaced files, and for the file system itself.
        let size = tree_copy::room(&snapshot) + replaced_room(&replaced)? + (64 << 20);
        spec.memory.push(MemoryTree { to: to.clone(), size });
        copied.push(Copied { snapshot, ignored, from, to, replaced });
    }
    Ok((spec, copied))
}

fn replaced_room(replaced: &[(PathBuf, PathBuf)]) -> io::Result<u64> {
    replaced.iter().map(|(from, _)| Ok(from.metadata()?.len().next_multiple_of(free_memory::PAGE))).sum()
}

/// Whether the copies take at most half of the available memory: the build needs some, too.
fn fits(copied: &[Copied<'_>]) -> Result<(), String> {
    let room: u64 = copied.iter().map(|copied| tree_copy::room(&copied.snapshot)).sum();
    match free_memory::available() {
        Some(left) if room <= left / 2 => Ok(()),
        Some(left) => Err(format!(
            "a copy of its trees takes {} MiB, and {} MiB of memory are free",
            room >> 20,
            left >> 20
        )),
        None => Err("the kernel does not tell how much memory is free".to_owned()),
    }
}

fn fill(copied: &Copied<'_>, root: &Path) -> Result<(), CopyError> {
    tree_copy::copy(&copied.snapshot, &copied.from, copied.ignored, root)?;
    copied.replaced.iter().try_for_each(|(from, path)| tree_copy::replace(from, &root.join(path)))
}
