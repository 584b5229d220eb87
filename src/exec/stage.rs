//! Staging: an action's inputs, and the sandbox that it runs in.
//!
//! Inside, an action sees its inputs at `/kiln/in/NAME` and its output directory at `/kiln/out`, whatever they are
//! called outside: what it makes can't depend on where the project or the cache is.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::bounds;
use super::canonical;
use super::host::files_of;
use super::rooted;
use super::sandbox::{
    Access, Images, Mount, Root, SandboxSpec, SecretFile, Shown, Step, SystemCalls, Writable,
};
use super::secrets::{self, KeyError};
use super::tokens::JobServer;
use crate::digest::Digest;
use crate::graph::{Action, Bindings, Input, NodeId, Value};
use crate::host::FIXED_DIRS;
use crate::plan::{Outputs, PlanError, ProjectPath, World};
use crate::source::{Snapshot, SnapshotOptions};
use crate::spec;
use crate::store::{Artifact, BlobError};

const INPUTS: &str = "/kiln/in";
const OUTPUT: &str = "/kiln/out";

/// What every step finds in its environment, beside `PATH`, unless the rule says otherwise. The last three make programs
/// repeatable that would go by the clock or by chance: hash tables of Perl and Python, and whatever takes its date from the
/// [convention](https://reproducible-builds.org/docs/source-date-epoch/) for it, here the time of staged files.
const FIXED_ENVIRONMENT: [(&str, &str); 6] = [
    ("HOME", "/tmp"),
    ("LC_ALL", "C"),
    ("TZ", "UTC"),
    ("PERL_HASH_SEED", "0"),
    ("PYTHONHASHSEED", "0"),
    ("SOURCE_DATE_EPOCH", "315532800"),
];

/// The directories of one run.
#[derive(Debug)]
pub(super) struct WorkDir {
    root: PathBuf,
}

/// Why an action can't be staged.
#[derive(Debug, thiserror::Error)]
pub(super) enum StageError {
    /// A blob is not in the cache, or is damaged: the node that makes it has to run again.
    #[error("input {input}: {source}")]
    Lost {
        /// The node that makes it.
        node: NodeId,
        /// The input.
        input: String,
        /// What is wrong with it.
        source: BlobError,
    },
    /// An input was not made.
    #[error("input {input} was not made by the node it comes from")]
    Absent {
        /// The input.
        input: String,
    },
    /// A blob can't be read for another reason.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The compiler that is to stand for that of a root is another.
    #[error(
        "the root {root} has gcc {theirs}, and {compiler} is {ours}: install the same version, or give the toolchain the \
         mode `Mixed`, which runs the root's own"
    )]
    OtherCompiler {
        /// The root.
        root: String,
        /// Its compiler's version.
        theirs: String,
        /// This machine's compiler.
        compiler: String,
        /// Its version.
        ours: String,
    },
    /// A source tree.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A template.
    #[error(transparent)]
    Bind(#[from] crate::graph::BindError),
    /// A key is not here, or can't be used.
    #[error("input {input}: {source}")]
    Key {
        /// The input.
        input: String,
        /// Why.
        source: KeyError,
    },
    /// An input is not what the run was decided on.
    #[error("{0} changed before this ran: nothing is recorded; run kiln again")]
    Changed(String),
    /// An input can't be copied.
    #[error("input {input}: {source}")]
    Copy {
        /// The input.
        input: String,
        /// What of it, and why.
        source: io::Error,
    },
    /// A file.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl WorkDir {
    /// Lays it out in an empty directory; all but the output directory.
    pub(super) fn new(root: PathBuf) -> Result<Self, StageError> {
        let work = Self { root };
        make_dir(work.inputs())?;
        Ok(work)
    }

    /// Makes an empty output directory.
    pub(super) fn make_out(&self) -> Result<(), StageError> {
        make_dir(self.out())
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn out(&self) -> PathBuf {
        self.root.join("out")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// Makes an empty directory for what comes and goes.
    pub(super) fn make_scratch(&self) -> io::Result<PathBuf> {
        let path = self.root.join("scratch");
        fs::create_dir(&path).map(|()| path)
    }

    /// What watched steps say on standard error.
    pub(super) fn errors(&self) -> PathBuf {
        self.root.join("errors")
    }

    /// Takes what is written to an input that is a root.
    fn writable(&self, input: &str) -> Result<Writable, StageError> {
        let home = self.root.join("written").join(input);
        let writable = Writable { upper: home.join("upper"), work: home.join("work") };
        for dir in [&writable.upper, &writable.work] {
            fs::create_dir_all(dir).map_err(|source| StageError::Io { path: dir.clone(), source })?;
        }
        Ok(writable)
    }

    fn inputs(&self) -> PathBuf {
        self.root.join("in")
    }
}

/// Makes a directory with permissions that steps may see, whatever the umask is.
fn make_dir(path: PathBuf) -> Result<(), StageError> {
    let made = fs::create_dir(&path).and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o755)));
    made.map_err(|source| StageError::Io { path, source })
}

/// Brings the inputs into the work directory, and describes the sandbox. `argv`: the steps, where they are not the
/// rule's own.
pub(super) fn stage(
    world: &World<'_>,
    name: &str,
    action: &Action,
    outputs_of: &dyn Fn(NodeId) -> Outputs,
    work: &WorkDir,
    argv: Option<Vec<Vec<OsString>>>,
    jobserver: &JobServer,
) -> Result<SandboxSpec, StageError> {
    let mut spec = SandboxSpec { network: action.rule.rule.sandbox.network, ..confined(action) };
    let mut bindings = action.bindings.clone();
    bindings.0.insert("out".to_owned(), Value::Text(OUTPUT.to_owned()));
    spec.mounts.push(mount(work.out(), OUTPUT.into(), Access::ReadWrite));
    spec.root = Root::Host(files_of(&world.closure(action, name)?));
    if let Some(root) = &action.root {
        rooted::furnish(world, action, root, outputs_of, work, &mut spec)?;
    }
    for (input, declared) in action.inputs.iter().filter(|(input, _)| !rooted::is_of_root(input)) {
        let inside = Path::new(INPUTS).join(&**input);
        bindings.0.insert(format!("in.{input}"), Value::Text(inside.display().to_string()));
        let from = match declared {
            Input::Source { name, .. } => {
                let tree = world.source_tree(name)?;
                let root = absolute(&tree.root)?;
                if action.rule.rule.discovers(input) {
                    // Its opens are watched where it is, and a copy of a kernel tree takes long.
                    spec.mask.extend(tree.ignore.iter().map(|entry| inside.join(entry)));
                    root
                } else {
                    let copy = copy(work, input, &root, tree.ignore)?;
                    let as_decided = found_in(&copy)?.digest == world.source(name)?.digest();
                    as_decided.then_some(copy).ok_or_else(|| StageError::Changed(format!("source {name}")))?
                }
            }
            Input::Root { .. } => {
                let layers = rooted::layers(world, action, outputs_of, input)?;
                let writable = Some(work.writable(input)?);
                spec.shown.push(Shown { images: Images { layers, writable }, to: inside });
                continue;
            }
            Input::File(path) => {
                let copy = copy(work, input, &absolute(&world.spec.root.join(path))?, &[])?;
                let as_decided = found_in(&copy)? == world.project_path(path, "")?;
                as_decided.then_some(copy).ok_or_else(|| StageError::Changed(path.display().to_string()))?
            }
            Input::ModuleKey(None) => continue,
            Input::ModuleKey(Some(name)) => {
                let content = secrets::signing_key(world, name, world.certificate(name, input)?);
                let content =
                    content.map_err(|source| StageError::Key { input: input.to_string(), source })?;
                spec.secrets.push(SecretFile::new(inside, content));
                continue;
            }
            Input::Concat { files, lines } => concat(world, &work.inputs().join(&**input), files, lines)?,
            Input::Output { node, output } => {
                let outputs = outputs_of(*node);
                let artifact =
                    outputs.iter().find(|(name, _)| *name == **output).map(|(_, artifact)| artifact);
                let to = work.inputs().join(&**input);
                match artifact {
                    None | Some(Artifact::Absent) if action.does_without(input) => continue,
                    None | Some(Artifact::Absent) => {
                        return Err(StageError::Absent { input: input.to_string() });
                    }
                    Some(artifact) => {
                        world.bring(artifact).map_err(BlobError::from)?;
                        world.store.place(artifact, &to).map_err(|source| {
                            if source.is_miss() {
                                StageError::Lost { node: *node, input: input.to_string(), source }
                            } else {
                                StageError::Blob(source)
                            }
                        })?;
                    }
                }
                canonical::settle(&to).map_err(|source| StageError::Io { path: to.clone(), source })?;
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
    if action.rule.rule.resources.jobserver {
        spec.env.push(("MAKEFLAGS".into(), jobserver.makeflags.clone().into()));
        spec.inherit.clone_from(&jobserver.inherit);
    }
    Ok(spec)
}

/// A sandbox with the confinement that an action's rule asks for, in which nothing runs yet.
pub(super) fn confined(action: &Action) -> SandboxSpec {
    let system_calls = match action.rule.rule.sandbox.system_calls {
        spec::model::SystemCalls::Filtered => SystemCalls::Filtered,
        spec::model::SystemCalls::Unfiltered => SystemCalls::Unfiltered,
    };
    let resources = &action.rule.rule.resources;
    SandboxSpec {
        system_calls,
        limits: bounds::limits(resources),
        tmp_size: Some(bounds::temporary(resources)),
        ..SandboxSpec::default()
    }
}

/// Where an input is inside the sandbox.
pub fn inside(input: &str) -> PathBuf {
    Path::new(INPUTS).join(input)
}

fn rule_steps(action: &Action, bindings: &Bindings) -> Result<Vec<Vec<OsString>>, StageError> {
    let mut steps = Vec::with_capacity(action.rule.rule.steps.len());
    for step in &action.rule.rule.steps {
        let mut argv = Vec::with_capacity(step.value.len());
        for argument in &step.value {
            argv.extend(bindings.list(&argument.value)?.into_iter().map(OsString::from));
        }
        steps.push(argv);
    }
    Ok(steps)
}

/// The whole environment: fixed, then the rule's.
fn environment(action: &Action, bindings: &Bindings) -> Result<Vec<(OsString, OsString)>, StageError> {
    let mut path = String::new();
    for dir in action.tool_path.iter() {
        path.push_str(&dir.to_string_lossy());
        path.push(':');
    }
    path.push_str(&FIXED_DIRS.join(":"));
    let fixed = [("PATH", path.as_str())].into_iter().chain(FIXED_ENVIRONMENT);
    let mut env: Vec<(OsString, OsString)> = fixed.map(|(name, value)| (name.into(), value.into())).collect();
    for (name, value) in &action.rule.rule.env {
        env.retain(|(fixed, _)| fixed != name.as_str());
        env.push((name.into(), bindings.text(&value.value)?.into()));
    }
    Ok(env)
}

/// Copies what an input is into the work directory, as steps are to see it.
fn copy(work: &WorkDir, input: &str, from: &Path, ignore: &[&str]) -> Result<PathBuf, StageError> {
    let to = work.inputs().join(input);
    let copied = canonical::copy(from, &to, ignore);
    copied.map_err(|source| StageError::Copy { input: input.to_owned(), source })?;
    Ok(to)
}

/// What is in a copy: it is held against what the run was decided on, so that steps see what the key holds, whatever was
/// done to the original, and whatever its file system tells of that.
fn found_in(copy: &Path) -> Result<ProjectPath, StageError> {
    let failed = |source| StageError::Io { path: copy.to_owned(), source };
    let stat = fs::metadata(copy).map_err(failed)?;
    if stat.is_dir() {
        let snapshot = Snapshot::take(copy, &SnapshotOptions::default());
        let snapshot = snapshot.map_err(|error| failed(io::Error::other(error)))?;
        return Ok(ProjectPath { digest: snapshot.digest(), executable: false });
    }
    let digest = fs::File::open(copy).and_then(|mut file| Digest::of_reader(&mut file)).map_err(failed)?.0;
    Ok(ProjectPath { digest, executable: stat.permissions().mode() & 0o111 != 0 })
}

fn concat(world: &World<'_>, to: &Path, files: &[PathBuf], lines: &[String]) -> Result<PathBuf, StageError> {
    let io_error = |path: &Path| {
        let path = path.to_owned();
        move |source| StageError::Io { path, source }
    };
    let mut file = fs::File::create(to).map_err(io_error(to))?;
    for path in files {
        let decided = world.project_path(path, "")?.digest;
        let path = world.spec.root.join(path);
        let bytes = fs::read(&path).map_err(io_error(&path))?;
        if Digest::of_bytes(&bytes) != decided {
            return Err(StageError::Changed(path.display().to_string()));
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

fn absolute(path: &Path) -> Result<PathBuf, StageError> {
    fs::canonicalize(path).map_err(|source| StageError::Io { path: path.to_owned(), source })
}

const fn mount(from: PathBuf, to: PathBuf, access: Access) -> Mount {
    Mount { from, to, access }
}
