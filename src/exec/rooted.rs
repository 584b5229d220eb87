//! A root in an action's sandbox: its images, and the programs that stand in for a cross compiler.
//!
//! In a whole root, all that steps find is the root's own. Otherwise they find this machine's programs, the root at
//! [`ROOT`], and at [`TOOLCHAIN`] scripts that run its compiler and binutils through qemu-user, which looks for their loader
//! and libraries there (`QEMU_LD_PREFIX`). Which files those programs are was found out inside the root: Gentoo's lead there
//! by absolute links, which mean something else out here.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::sandbox::{Access, Images, Mount, RunAs, SandboxSpec, Shown};
use super::stage::{StageError, WorkDir};
use crate::graph::{Action, Input, NodeId, Root};
use crate::host;
use crate::plan::{Outputs, World};
use crate::spec::roots::TOOLCHAIN;
use crate::store::Artifact;

/// Where steps see a root of which they run some programs.
const ROOT: &str = "/kiln/root";

/// What of a root is not to be found by those of its programs that run outside of it.
const NOT_ROOTS: [&str; 6] = ["dev", "proc", "sys", "run", "tmp", "var/tmp"];

/// What gcc looks for beside itself, in the directory below [`TOOLCHAIN`] that it is told to look in first. With its own
/// names for them it would end up at this machine's.
const BESIDE_GCC: [&str; 3] = ["as", "ld", "ld.bfd"];

/// A gcc of which kbuild finds plugins makes it build plugins of its own, by the host's compiler, for one that can't load them.
const NO_PLUGINS: &str = "[ \"$1\" != -print-file-name=plugin ] || { echo plugin; exit; }\n";

/// What there is to know of a root from inside: what its packages' node makes as `about`.
#[derive(Debug, Deserialize)]
struct About {
    /// The compiler's version: `13.2.1`.
    version: String,
    /// Program -> its file, as the root sees it, without links.
    programs: BTreeMap<String, PathBuf>,
}

/// Whether an input is of the root that steps run in, and no directory or file among others.
pub(super) fn is_of_root(input: &str) -> bool {
    input == Root::FILES || input == Root::ABOUT
}

/// Puts an action's root into its sandbox.
pub(super) fn furnish(
    world: &World<'_>,
    action: &Action,
    root: &Root,
    outputs_of: &dyn Fn(NodeId) -> Outputs,
    work: &WorkDir,
    spec: &mut SandboxSpec,
) -> Result<(), StageError> {
    let layers = layers(world, action, outputs_of, Root::FILES)?;
    if root.is_whole() {
        spec.root = super::sandbox::Root::Images(Images { layers, writable: None });
        spec.run_as = RunAs::User { id: root.user };
        return Ok(());
    }
    let Some((_, Input::Output { node, output })) = input(action, Root::ABOUT) else {
        return Err(absent(Root::ABOUT));
    };
    let path = file(world, outputs_of, *node, output, Root::ABOUT)?;
    let bytes = fs::read(&path).map_err(|source| StageError::Io { path: path.clone(), source })?;
    let about: About = serde_json::from_slice(&bytes)
        .map_err(|error| StageError::Io { path, source: io::Error::other(error) })?;
    let scripts = work.root().join("toolchain");
    write_scripts(&scripts, action, root, &about)?;
    // qemu-user looks for every file in the root first: there, devices open nothing, and nobody's temporary files are.
    spec.mask.extend(NOT_ROOTS.map(|dir| Path::new(ROOT).join(dir)));
    spec.shown.push(Shown { images: Images { layers, writable: None }, to: ROOT.into() });
    spec.mounts.push(Mount { from: scripts, to: TOOLCHAIN.into(), access: Access::ReadOnly });
    Ok(())
}

/// The images of an input that is a root, where they are in the cache.
pub(super) fn layers(
    world: &World<'_>,
    action: &Action,
    outputs_of: &dyn Fn(NodeId) -> Outputs,
    name: &str,
) -> Result<Vec<PathBuf>, StageError> {
    let Some((_, Input::Root { layers, .. })) = input(action, name) else { return Err(absent(name)) };
    layers.iter().map(|(node, output)| file(world, outputs_of, *node, output, name)).collect()
}

fn input<'a>(action: &'a Action, name: &str) -> Option<&'a (Arc<str>, Input)> {
    action.inputs.iter().find(|(input, _)| &**input == name)
}

fn absent(input: &str) -> StageError {
    StageError::Absent { input: input.to_owned() }
}

/// The file of another node's output.
fn file(
    world: &World<'_>,
    outputs_of: &dyn Fn(NodeId) -> Outputs,
    node: NodeId,
    output: &str,
    input: &str,
) -> Result<PathBuf, StageError> {
    let outputs = outputs_of(node);
    let artifact: Option<Artifact> =
        outputs.iter().find(|(name, _)| name == output).map(|(_, artifact)| *artifact);
    world.file_of(&artifact.ok_or_else(|| absent(input))?).map_err(|source| {
        if source.is_miss() {
            StageError::Lost { node, input: input.to_owned(), source }
        } else {
            StageError::Blob(source)
        }
    })
}

/// Writes what runs a root's programs from outside.
fn write_scripts(dir: &Path, action: &Action, root: &Root, about: &About) -> Result<(), StageError> {
    let beside = dir.join("beside");
    fs::create_dir_all(&beside).map_err(|source| StageError::Io { path: beside.clone(), source })?;
    let in_root = |program: &Path| format!("{ROOT}{}", program.display());
    for (name, program) in &about.programs {
        // gcc is told where to look for its assembler and linker; which compiler it is, the mode says.
        let command = match (name.as_str(), &root.compiler) {
            ("gcc", Some(gcc)) => {
                format!("{} -B{TOOLCHAIN}beside/", same_version(gcc, action, root, about)?)
            }
            ("gcc", None) => format!("{} -B{TOOLCHAIN}beside/", in_root(program)),
            _ => in_root(program),
        };
        let plugins = if name == "gcc" { NO_PLUGINS } else { "" };
        let script = format!("#!/bin/sh\n{plugins}QEMU_LD_PREFIX={ROOT} exec {command} \"$@\"\n");
        write_script(&dir.join(name), &script)?;
        if BESIDE_GCC.contains(&name.as_str()) {
            // gcc hands on where their loader and libraries are.
            let link = beside.join(name);
            symlink(in_root(program), &link).map_err(|source| StageError::Io { path: link, source })?;
        }
    }
    Ok(())
}

fn write_script(path: &Path, script: &str) -> Result<(), StageError> {
    let written =
        fs::write(path, script).and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)));
    written.map_err(|source| StageError::Io { path: path.to_owned(), source })
}

/// This machine's compiler, if it is of the same version as the root's.
fn same_version<'a>(
    gcc: &'a str,
    action: &Action,
    root: &Root,
    about: &About,
) -> Result<&'a str, StageError> {
    let found = host::version(gcc, &action.tool_path);
    if found.as_deref() == Some(&about.version) {
        return Ok(gcc);
    }
    Err(StageError::OtherCompiler {
        root: root.name.to_string(),
        theirs: about.version.clone(),
        compiler: gcc.to_owned(),
        ours: found.unwrap_or_else(|| "of no version that it tells".to_owned()),
    })
}
