//! A toolchain's root in an action's sandbox: its images, and the programs that replace a cross compiler.
//!
//! With a whole root, steps see only the root's files. Otherwise they see the host's programs, the root at [`ROOT`], and
//! scripts at [`TOOLCHAIN`] that run the root's compiler and binutils through qemu-user, which finds their loader and libraries
//! in the root (`QEMU_LD_PREFIX`). The scripts name the programs' files as they were resolved inside the root: Gentoo's absolute
//! links would lead to other files outside.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::context::artifact_of;
use super::sandbox::{Access, Images, Mount, RunAs, SandboxSpec, Shown};
use super::staging_error::StagingError;
use super::work_dir::WorkDir;
use crate::graph::{Action, Input, NodeId, OutputRef};
use crate::host;
use crate::plan::{BuildContext, Outputs};
use crate::spec::root::{Root, TOOLCHAIN};

/// Where steps see a root that is not the whole root.
const ROOT: &str = "/kiln/root";

/// Directories of a root that its programs must not find when they run outside of it.
const HIDDEN_DIRS: [&str; 6] = ["dev", "proc", "sys", "run", "tmp", "var/tmp"];

/// The programs that gcc looks for in the directory given by `-B`. Under the names that it is built with, it would find the
/// host's.
const BESIDE_GCC: [&str; 3] = ["as", "ld", "ld.bfd"];

/// kbuild builds plugins for a gcc that names a plugin directory: with the host's compiler, for a gcc that can't load them.
const NO_PLUGINS: &str = "[ \"$1\" != -print-file-name=plugin ] || { echo plugin; exit; }\n";

/// What the node of a root's packages records about the root, in its output `about`.
#[derive(Debug, Deserialize)]
struct RootDescription {
    /// The version of gcc: `13.2.1`.
    version: String,
    /// Program -> its file, as a path in the root without links.
    programs: BTreeMap<String, PathBuf>,
}

/// Whether an input belongs to the toolchain's root.
pub(super) fn is_root_input(input: &str) -> bool {
    input == Root::FILES || input == Root::ABOUT
}

/// Puts an action's toolchain root into its sandbox.
pub(super) fn mount_toolchain_root(
    build: &BuildContext<'_>,
    action: &Action,
    root: &Root,
    outputs_of: &dyn Fn(NodeId) -> Outputs,
    work: &WorkDir,
    spec: &mut SandboxSpec,
) -> Result<(), StagingError> {
    let layers = layers(build, action, outputs_of, Root::FILES)?;
    if root.is_whole() {
        spec.root = super::sandbox::Root::Images(Images { layers, writable: None });
        spec.run_as = RunAs::User { id: root.user };
        return Ok(());
    }
    let Some(about) = action.output_read(Root::ABOUT) else {
        return Err(absent(Root::ABOUT));
    };
    let path = file(build, outputs_of, about, Root::ABOUT)?;
    let bytes = fs::read(&path).map_err(|source| StagingError::Io { path: path.clone(), source })?;
    let about: RootDescription = serde_json::from_slice(&bytes)
        .map_err(|error| StagingError::Io { path, source: io::Error::other(error) })?;
    let scripts = work.root().join("toolchain");
    write_scripts(&scripts, action, root, &about)?;
    // qemu-user looks in the root first. Devices don't open there, and `/tmp` is not the sandbox's.
    spec.mask.extend(HIDDEN_DIRS.map(|dir| Path::new(ROOT).join(dir)));
    spec.shown.push(Shown { images: Images { layers, writable: None }, to: ROOT.into() });
    spec.mounts.push(Mount { from: scripts, to: TOOLCHAIN.into(), access: Access::ReadOnly });
    Ok(())
}

/// The paths in the cache of the images of an input that is a root.
pub(super) fn layers(
    build: &BuildContext<'_>,
    action: &Action,
    outputs_of: &dyn Fn(NodeId) -> Outputs,
    name: &str,
) -> Result<Vec<PathBuf>, StagingError> {
    let Some(Input::Layers(layers)) = action.input(name) else { return Err(absent(name)) };
    layers.iter().map(|layer| file(build, outputs_of, layer, name)).collect()
}

fn absent(input: &str) -> StagingError {
    StagingError::Absent { input: input.to_owned() }
}

/// The path in the cache of another node's output.
fn file(
    build: &BuildContext<'_>,
    outputs_of: &dyn Fn(NodeId) -> Outputs,
    output: &OutputRef,
    input: &str,
) -> Result<PathBuf, StagingError> {
    let artifact = artifact_of(outputs_of, output);
    build.artifacts().file(&artifact.ok_or_else(|| absent(input))?).map_err(|source| {
        if source.is_miss() {
            StagingError::Lost { node: output.node, input: input.to_owned(), source }
        } else {
            StagingError::Blob(source)
        }
    })
}

/// Writes the scripts that run a root's programs from outside.
fn write_scripts(
    dir: &Path,
    action: &Action,
    root: &Root,
    about: &RootDescription,
) -> Result<(), StagingError> {
    let beside = dir.join("beside");
    fs::create_dir_all(&beside).map_err(|source| StagingError::Io { path: beside.clone(), source })?;
    let in_root = |program: &Path| format!("{ROOT}{}", program.display());
    for (name, program) in &about.programs {
        // The mode decides whose gcc runs; it is told where its assembler and linker are.
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
            // gcc passes `QEMU_LD_PREFIX` on to them.
            let link = beside.join(name);
            symlink(in_root(program), &link).map_err(|source| StagingError::Io { path: link, source })?;
        }
    }
    Ok(())
}

fn write_script(path: &Path, script: &str) -> Result<(), StagingError> {
    let written =
        fs::write(path, script).and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)));
    written.map_err(|source| StagingError::Io { path: path.to_owned(), source })
}

/// The host's compiler, if it has the version of the root's.
fn same_version<'a>(
    gcc: &'a str,
    action: &Action,
    root: &Root,
    about: &RootDescription,
) -> Result<&'a str, StagingError> {
    let found = host::version(gcc, &action.tool_path);
    if found.as_deref() == Some(&about.version) {
        return Ok(gcc);
    }
    Err(StagingError::OtherCompiler {
        root: root.name.to_string(),
        theirs: about.version.clone(),
        compiler: gcc.to_owned(),
        ours: found.unwrap_or_else(|| "of no version that it tells".to_owned()),
    })
}
