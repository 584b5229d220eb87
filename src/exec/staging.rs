//! Staging: copies an action's inputs, and describes its sandbox.
//!
//! In the sandbox, an action's paths do not depend on where the project or the cache is.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::canonical;
use super::context::artifact_of;
use super::host_files::files_of;
use super::limits;
use super::resources::JobServer;
use super::sandbox::{Access, Images, Mount, Root, SandboxSpec, SecretFile, Shown, Step, SystemCalls};
use super::sandbox_paths::{OUTPUT, sandbox_path};
use super::secrets;
use super::staging_error::StagingError;
use super::toolchain_root;
use super::work_dir::WorkDir;
use crate::digest::Digest;
use crate::graph::{Action, Bindings, Input, NodeId, Value};
use crate::host::FIXED_DIRS;
use crate::plan::{BuildContext, Outputs, ProjectPath};
use crate::source::{Snapshot, SnapshotOptions};
use crate::spec;
use crate::store::{Artifact, BlobError};

/// The environment of every step, beside `PATH`, unless the rule sets these itself. The last three make programs repeatable:
/// hash tables of Perl and Python, and programs that take their date from
/// [SOURCE_DATE_EPOCH](https://reproducible-builds.org/docs/source-date-epoch/), here the time of staged files.
const FIXED_ENVIRONMENT: [(&str, &str); 6] = [
    ("HOME", "/tmp"),
    ("LC_ALL", "C"),
    ("TZ", "UTC"),
    ("PERL_HASH_SEED", "0"),
    ("PYTHONHASHSEED", "0"),
    ("SOURCE_DATE_EPOCH", "315532800"),
];

/// Stages the inputs in the work directory, and describes the sandbox. `argv` replaces the rule's steps.
pub(super) fn stage_inputs(
    build: &BuildContext<'_>,
    name: &str,
    action: &Action,
    outputs_of: &dyn Fn(NodeId) -> Outputs,
    work: &WorkDir,
    argv: Option<Vec<Vec<OsString>>>,
    jobserver: &JobServer,
) -> Result<SandboxSpec, StagingError> {
    let mut spec = SandboxSpec { network: action.rule.decl.sandbox.network, ..confined(action) };
    let mut bindings = action.bindings.clone();
    bindings.0.insert("out".to_owned(), Value::Text(OUTPUT.to_owned()));
    spec.mounts.push(mount(work.out(), OUTPUT.into(), Access::ReadWrite));
    spec.root = Root::Host(files_of(&build.host.closure(action, name)?));
    if let Some(root) = &action.root {
        toolchain_root::mount_toolchain_root(build, action, root, outputs_of, work, &mut spec)?;
    }
    for (input, declared) in action.inputs.iter().filter(|(input, _)| !toolchain_root::is_root_input(input)) {
        let inside = sandbox_path(input);
        bindings.0.insert(format!("in.{input}"), Value::Text(inside.display().to_string()));
        let from = match declared {
            Input::Source { name, .. } => {
                let tree = build.sources.tree(name)?;
                let root = absolute(&tree.root)?;
                if action.rule.decl.discovers(input) {
                    // Tracing needs the tree itself, and copying a kernel tree takes long.
                    spec.mask.extend(tree.ignore.iter().map(|entry| inside.join(entry)));
                    root
                } else {
                    let copy = copy(work, input, &root, tree.ignore)?;
                    let as_decided = found_in(&copy)?.digest == build.sources.snapshot(name)?.digest();
                    as_decided
                        .then_some(copy)
                        .ok_or_else(|| StagingError::Changed(format!("source {name}")))?
                }
            }
            Input::Layers(_) => {
                let layers = toolchain_root::layers(build, action, outputs_of, input)?;
                let writable = Some(work.writable(input)?);
                spec.shown.push(Shown { images: Images { layers, writable }, to: inside });
                continue;
            }
            Input::File(path) => {
                let copy = copy(work, input, &absolute(&build.spec.root.join(path))?, &[])?;
                let as_decided = found_in(&copy)? == build.project_files.get(path, "")?;
                as_decided.then_some(copy).ok_or_else(|| StagingError::Changed(path.display().to_string()))?
            }
            Input::ModuleKey(None) => continue,
            Input::ModuleKey(Some(name)) => {
                let content =
                    secrets::signing_key(build, name, build.project_files.certificate(name, input)?);
                let content =
                    content.map_err(|source| StagingError::Key { input: input.to_string(), source })?;
                spec.secrets.push(SecretFile::new(inside, content));
                continue;
            }
            Input::Concat { files, lines } => concat(build, &work.inputs().join(&**input), files, lines)?,
            Input::Output(output) => {
                let to = work.inputs().join(&**input);
                match artifact_of(outputs_of, output) {
                    None | Some(Artifact::Absent) if action.does_without(input) => continue,
                    None | Some(Artifact::Absent) => {
                        return Err(StagingError::Absent { input: input.to_string() });
                    }
                    Some(artifact) => {
                        build.artifacts().fetch(&artifact).map_err(BlobError::from)?;
                        build.store.place(&artifact, &to).map_err(|source| {
                            if source.is_miss() {
                                StagingError::Lost { node: output.node, input: input.to_string(), source }
                            } else {
                                StagingError::Blob(source)
                            }
                        })?;
                    }
                }
                canonical::settle(&to).map_err(|source| StagingError::Io { path: to.clone(), source })?;
                to
            }
        };
        spec.mounts.push(mount(from, inside, Access::ReadOnly));
    }
    let cwd = PathBuf::from(OUTPUT);
    let argv = match argv {
        Some(argv) => argv,
        None => rule_steps(action, &bindings)?,
    };
    spec.steps = argv.into_iter().map(|argv| Step { argv, cwd: cwd.clone() }).collect();
    spec.env = environment(action, &bindings)?;
    if action.rule.decl.resources.jobserver {
        spec.env.push(("MAKEFLAGS".into(), jobserver.makeflags.clone().into()));
        spec.inherit.clone_from(&jobserver.inherit);
    }
    Ok(spec)
}

/// A specification with the confinement that an action's rule asks for, and no steps.
pub(super) fn confined(action: &Action) -> SandboxSpec {
    let system_calls = match action.rule.decl.sandbox.system_calls {
        spec::model::SystemCalls::Filtered => SystemCalls::Filtered,
        spec::model::SystemCalls::Unfiltered => SystemCalls::Unfiltered,
    };
    let resources = &action.rule.decl.resources;
    SandboxSpec {
        system_calls,
        limits: limits::limits(resources),
        tmp_size: Some(limits::tmp_size(resources)),
        ..SandboxSpec::default()
    }
}

fn rule_steps(action: &Action, bindings: &Bindings) -> Result<Vec<Vec<OsString>>, StagingError> {
    let mut steps = Vec::with_capacity(action.rule.decl.steps.len());
    for step in &action.rule.decl.steps {
        let mut argv = Vec::with_capacity(step.len());
        for argument in step {
            argv.extend(bindings.list(argument)?.into_iter().map(OsString::from));
        }
        steps.push(argv);
    }
    Ok(steps)
}

/// The environment: the fixed variables, then the rule's.
fn environment(action: &Action, bindings: &Bindings) -> Result<Vec<(OsString, OsString)>, StagingError> {
    let mut path = String::new();
    for dir in action.tool_path.iter() {
        path.push_str(&dir.to_string_lossy());
        path.push(':');
    }
    path.push_str(&FIXED_DIRS.join(":"));
    let fixed = [("PATH", path.as_str())].into_iter().chain(FIXED_ENVIRONMENT);
    let mut env: Vec<(OsString, OsString)> = fixed.map(|(name, value)| (name.into(), value.into())).collect();
    for (name, value) in &action.rule.decl.env {
        env.retain(|(fixed, _)| fixed != name.as_str());
        env.push((name.into(), bindings.text(value)?.into()));
    }
    Ok(env)
}

/// Copies an input to the work directory, in its canonical form.
fn copy(work: &WorkDir, input: &str, from: &Path, ignore: &[&str]) -> Result<PathBuf, StagingError> {
    let to = work.inputs().join(input);
    let copied = canonical::copy(from, &to, ignore);
    copied.map_err(|source| StagingError::Copy { input: input.to_owned(), source })?;
    Ok(to)
}

/// The digest of a copy. It is compared with the decision's, so that steps see what the key says, whatever happens to the
/// original meanwhile.
fn found_in(copy: &Path) -> Result<ProjectPath, StagingError> {
    let failed = |source| StagingError::Io { path: copy.to_owned(), source };
    let stat = fs::metadata(copy).map_err(failed)?;
    if stat.is_dir() {
        let snapshot = Snapshot::take(copy, &SnapshotOptions::default());
        let snapshot = snapshot.map_err(|error| failed(io::Error::other(error)))?;
        return Ok(ProjectPath { digest: snapshot.digest(), executable: false });
    }
    let digest = fs::File::open(copy).and_then(|mut file| Digest::of_reader(&mut file)).map_err(failed)?.0;
    Ok(ProjectPath { digest, executable: stat.permissions().mode() & 0o111 != 0 })
}

fn concat(
    build: &BuildContext<'_>,
    to: &Path,
    files: &[PathBuf],
    lines: &[String],
) -> Result<PathBuf, StagingError> {
    let io_error = |path: &Path| {
        let path = path.to_owned();
        move |source| StagingError::Io { path, source }
    };
    let mut file = fs::File::create(to).map_err(io_error(to))?;
    for path in files {
        let decided = build.project_files.get(path, "")?.digest;
        let path = build.spec.root.join(path);
        let bytes = fs::read(&path).map_err(io_error(&path))?;
        if Digest::of_bytes(&bytes) != decided {
            return Err(StagingError::Changed(path.display().to_string()));
        }
        file.write_all(&bytes).map_err(io_error(to))?;
        if bytes.last().is_some_and(|&last| last != b'\n') {
            file.write_all(b"\n").map_err(io_error(to))?;
        }
    }
    for line in lines {
        writeln!(file, "{line}").map_err(io_error(to))?;
    }
    canonical::settle(to).map_err(io_error(to))?;
    Ok(to.to_owned())
}

fn absolute(path: &Path) -> Result<PathBuf, StagingError> {
    fs::canonicalize(path).map_err(|source| StagingError::Io { path: path.to_owned(), source })
}

const fn mount(from: PathBuf, to: PathBuf, access: Access) -> Mount {
    Mount { from, to, access }
}
