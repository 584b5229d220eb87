//! Checks that the inputs of a run stayed the same from the decision to its end.
//!
//! Inputs that are staged are checked when they are copied (`staging.rs`): steps see what the key says, whatever happens to
//! the originals. All others are used in place: source trees whose reads are discovered, images, tools and files of the host. The
//! decision has recorded their inode numbers and times. At the end of the run, everything that its path set names is looked at
//! again. A result is recorded only if content, inode numbers and times are those of the decision. So a file that changed and
//! changed back does not go unnoticed, nor does an edit between the decision and the first read.
//!
//! Two changes within one tick of a file system's clock have the same time. So a run does not start within the tick in which
//! its newest input was changed.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use super::context::Task;
use super::incremental::IncrementalState;
use super::sandbox::{Prepared, parse_mounts};
use super::sandbox_paths::sandbox_path;
use super::toolchain_root;
use crate::digest::Digest;
use crate::graph::Input;
use crate::plan::manifest::TreeInput;
use crate::plan::{BuildContext, strong_key};
use crate::source::{DisturbedBy, PathEntry, PathSet, Reads, States, disturbance};

/// No file system has a coarser clock, unless the clock of the host was set back.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Why a run can't be recorded.
#[derive(Debug)]
pub(super) enum InputChanged {
    /// The content of an input has changed.
    Content(String),
    /// The content of an input is the same, but its inode number or times say that it was another meanwhile.
    Meanwhile(String),
    /// The names in a directory are the same, but one of them came or went meanwhile.
    Names(String),
    /// A file is open for writing: it may change at any moment without a trace.
    Written(String),
    /// The state of an input can't be determined.
    Unknown(String),
}

impl fmt::Display for InputChanged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let again = "nothing is recorded; run kiln again";
        match self {
            Self::Content(what) => write!(f, "{what} changed while this ran: {again}"),
            Self::Meanwhile(what) => write!(
                f,
                "{what} changed while this ran, and has its old content again (or its mode, times or hard links \
                 were changed): {again}"
            ),
            Self::Names(what) => {
                write!(
                    f,
                    "{what} changed while this ran: a name in this directory came and went, or a mode there was changed: \
                     {again}"
                )
            }
            Self::Written(what) => {
                write!(
                    f,
                    "{what} is open for writing in another program, and may change at any moment: {again}"
                )
            }
            Self::Unknown(why) => f.write_str(why),
        }
    }
}

/// Where the inputs of a run are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InputAccess {
    /// Staged, except source trees whose reads are discovered.
    Staged,
    /// In place.
    InPlace,
}

/// Waits until a change of any input would give it another time than the decision saw: a moment if an input was changed just
/// now, or a few seconds on a file system with times in seconds.
pub(super) fn wait_for_clock_tick(build: &BuildContext<'_>, task: &Task<'_>) {
    let sources: Vec<&str> = task.key_inputs.manifest.trees().iter().filter_map(TreeInput::source).collect();
    let Ok(until) = u64::try_from(build.sources.racy_until(&sources)) else { return };
    let until = SystemTime::UNIX_EPOCH + Duration::from_nanos(until);
    if let Ok(left) = until.duration_since(SystemTime::now()) {
        sleep(left.min(LONGEST_WAIT));
    }
}

/// The key of the result, if no input that was read has changed since the decision.
pub(super) fn strong_key_if_unchanged(
    build: &BuildContext<'_>,
    task: &Task<'_>,
    inputs: InputAccess,
    set: &PathSet,
) -> Result<Digest, InputChanged> {
    let unknown = |error: &dyn fmt::Display| InputChanged::Unknown(error.to_string());
    let in_place = |input: &str| inputs == InputAccess::InPlace || task.action.rule.decl.discovers(input);
    if let Some(path) = task.action.inputs.iter().find_map(|(_, input)| changed_file(build, input, inputs)) {
        return Err(InputChanged::Content(path));
    }
    let mut before = BTreeMap::new();
    for tree in task.key_inputs.manifest.trees() {
        let states = build.states(tree).map_err(|error| unknown(&error))?;
        if let (Some(source), Some(reads), true) =
            (tree.source(), set.reads(&tree.input), in_place(&tree.input))
        {
            source_unchanged(build, source, reads, &states)?;
        }
        before.insert(tree.input.as_str(), Arc::new(states));
    }
    if let Some(image) = changed_image(build, task) {
        return Err(InputChanged::Content(image));
    }
    if let Some(what) = build.host.changed(task.action) {
        return Err(InputChanged::Content(what));
    }
    let key = strong_key(&task.key_inputs.keys.action, set, &|input| before.get(input).cloned());
    key.ok_or_else(|| unknown(&"kiln itself failed here: a path set names an input that there is not"))
}

/// Checks that a sandbox shows the source trees of the decision, including the mounts below them: since then, a directory
/// above may have been moved, or something may have been mounted. The kernel lets only root look into a sandbox, or mount.
pub(super) fn check_visible_sources(
    build: &BuildContext<'_>,
    task: &Task<'_>,
    continued: Option<&IncrementalState>,
    prepared: &Prepared,
) -> Result<(), InputChanged> {
    let root = prepared.root();
    let trees = task.key_inputs.manifest.trees().iter();
    let trees: Vec<(&TreeInput, &str)> = trees
        .filter(|tree| task.action.rule.decl.discovers(&tree.input))
        .filter_map(|tree| Some((tree, tree.source()?)))
        .collect();
    if trees.is_empty() || fs::metadata(&root).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
    {
        return Ok(());
    }
    let unknown =
        |error: &dyn fmt::Display| InputChanged::Unknown(format!("the sandbox can't be looked at: {error}"));
    let table = fs::read(root.with_file_name("mountinfo")).map_err(|error| unknown(&error))?;
    let mounts: Vec<PathBuf> =
        parse_mounts(&table).filter(|mount| !mount.ours).map(|mount| mount.path).collect();
    for (tree, source) in trees {
        let decided = build.sources.snapshot(source).map_err(|error| unknown(&error))?;
        let top = sandbox_path(&tree.input);
        let copies = continued.and_then(|continued| continued.changed.get(&tree.input));
        let below = mounts.iter().filter_map(|mount| mount.strip_prefix(&top).ok());
        for path in below {
            let bytes = path.as_os_str().as_bytes();
            if copies.is_some_and(|copies| copies.contains(bytes)) {
                continue;
            }
            let shown = root.join(top.strip_prefix("/").unwrap_or(&top)).join(path);
            let shown = fs::symlink_metadata(shown).map_err(|error| unknown(&error))?;
            // A mount below an ignored directory is not part of the tree.
            if decided.file_id(bytes).is_some_and(|id| id != (shown.dev(), shown.ino())) {
                let slash = if bytes.is_empty() { "" } else { ": " };
                return Err(InputChanged::Content(format!("source {source}{slash}{}", path.display())));
            }
        }
    }
    Ok(())
}

/// The project file that changed, if the input has any.
fn changed_file(build: &BuildContext<'_>, input: &Input, inputs: InputAccess) -> Option<String> {
    let changed = match input {
        // Only the private key is copied: its certificate is read in place.
        Input::ModuleKey(Some(key)) => {
            let certificate = build.project_files.certificate(key, "").ok()?;
            return build.project_files.has_changed(certificate).then(|| certificate.display().to_string());
        }
        _ if inputs == InputAccess::Staged => None,
        Input::File(path) => build.project_files.has_changed(path).then_some(path),
        Input::Concat { files, .. } => files.iter().find(|path| build.project_files.has_changed(path)),
        Input::Source { .. } | Input::Output(_) | Input::Layers(_) | Input::ModuleKey(None) => None,
    };
    changed.map(|path| path.display().to_string())
}

/// The image that changed. Images are mounted from the cache; other outputs are copied, and checked then.
fn changed_image(build: &BuildContext<'_>, task: &Task<'_>) -> Option<String> {
    let roots = task.action.inputs.iter().filter(|(_, input)| matches!(input, Input::Layers(_)));
    let images = roots
        .filter_map(|(input, _)| toolchain_root::layers(build, task.action, task.outputs_of, input).ok());
    let mut images = images.flatten();
    images.find(|image| build.artifacts().was_disturbed(image)).map(|image| image.display().to_string())
}

fn source_unchanged(
    build: &BuildContext<'_>,
    source: &str,
    reads: &Reads,
    then: &States,
) -> Result<(), InputChanged> {
    let named = |path: &[u8]| {
        let slash = if path.is_empty() { "" } else { ": " };
        format!("source {source}{slash}{}", String::from_utf8_lossy(path))
    };
    let before = build.sources.snapshot(source).map_err(|error| InputChanged::Unknown(error.to_string()))?;
    // The tree could be walked when the run was decided.
    let now = Arc::new(build.sources.walk(source).map_err(|_| InputChanged::Content(named(b"")))?);
    if build.sources.was_redirected(source).map_err(|error| InputChanged::Unknown(error.to_string()))? {
        return Err(InputChanged::Meanwhile(named(b"")));
    }
    let disturbed = disturbance(reads, before, &now);
    if let Some(path) = first_difference(reads, then, &States::of(Arc::clone(&now))) {
        // Where all of the tree counts, the first file with another stat is the one to name.
        let path = match &disturbed {
            Some(disturbed) if path.is_empty() => &disturbed.path,
            _ => path,
        };
        return Err(InputChanged::Content(named(path)));
    }
    match disturbed {
        None => Ok(()),
        Some(disturbed) => {
            let named = named(&disturbed.path);
            Err(match disturbed.by {
                DisturbedBy::Stat => InputChanged::Meanwhile(named),
                DisturbedBy::Names => InputChanged::Names(named),
                DisturbedBy::Writer => InputChanged::Written(named),
            })
        }
    }
}

/// The path of the first entry that differs; empty where all of the tree counts.
fn first_difference<'a>(reads: &'a Reads, then: &States, now: &States) -> Option<&'a [u8]> {
    // The fast path: most trees have not changed at all.
    if then.whole() == now.whole() {
        return None;
    }
    match reads {
        Reads::Whole => Some(b""),
        Reads::Only(entries) => {
            let differs = |entry: &&PathEntry| {
                then.of_entry(entry.kind, &entry.path) != now.of_entry(entry.kind, &entry.path)
            };
            entries.iter().find(differs).map(|entry| &*entry.path)
        }
    }
}
