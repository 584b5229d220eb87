//! Whether the inputs of a run stayed the same from the decision to run it until its end.
//!
//! Inputs that are copied for a run are checked as they are copied (`stage.rs`): steps see what the key holds, whatever
//! becomes of the original. All others are used where they are: source trees of which a rule discovers what is read, images,
//! tools and files of the host. The decision looked at each of them and noted its stat. At the end all that the run's path set
//! names is looked at again. A result is recorded only if content, inode numbers and times are still those of the
//! decision, so neither a file that changed and changed back, nor an edit between the decision and the first read goes
//! unnoticed.
//!
//! Times tell changes apart that are a tick of the file system's clock apart. So a run does not begin in the tick in which
//! the newest of its inputs was changed last.

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

use super::act::Task;
use super::kept::Continued;
use super::rooted;
use super::sandbox::{Prepared, parse_mounts};
use super::stage::inside;
use crate::digest::Digest;
use crate::graph::Input;
use crate::plan::manifest::{Tree, What};
use crate::plan::{World, strong_key};
use crate::source::{DisturbedBy, PathEntry, PathSet, Reads, States, disturbance};

/// No file system's clock is slower than this, unless this host's was set back.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Why a run can't be recorded.
#[derive(Debug)]
pub(super) enum Changed {
    /// An input is something else now.
    Content(String),
    /// An input holds what it held, and was something else for a time, as far as its inode and times tell.
    Meanwhile(String),
    /// The names in a directory are those that they were, and one came or went for a time.
    Names(String),
    /// It may change at any moment, and leave no trace.
    Written(String),
    /// It can't be told.
    Unknown(String),
}

impl fmt::Display for Changed {
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

/// Where a run's inputs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inputs {
    /// Copied for the run, but for source trees of which its rule discovers what is read.
    Staged,
    /// Read where they are.
    InPlace,
}

/// Waits until any change of an input gives it other times than it had when the run was decided on: a moment, if anything
/// was changed just before, or a few seconds, if its file system counts in seconds.
pub(super) fn wait_for_clock(world: &World<'_>, task: &Task<'_>) {
    let sources: Vec<&str> = task.basis.manifest.trees().iter().filter_map(source_of).collect();
    let Ok(until) = u64::try_from(world.racy_until(&sources)) else { return };
    let until = SystemTime::UNIX_EPOCH + Duration::from_nanos(until);
    if let Ok(left) = until.duration_since(SystemTime::now()) {
        sleep(left.min(LONGEST_WAIT));
    }
}

fn source_of(tree: &Tree) -> Option<&str> {
    match &tree.what {
        What::Source { source, .. } => Some(source),
        _ => None,
    }
}

/// The key of the result, if what was read is what it was when the run was decided on, and was nothing else since.
pub(super) fn key_if_unchanged(
    world: &World<'_>,
    task: &Task<'_>,
    inputs: Inputs,
    set: &PathSet,
) -> Result<Digest, Changed> {
    let unknown = |error: &dyn fmt::Display| Changed::Unknown(error.to_string());
    let in_place = |input: &str| inputs == Inputs::InPlace || task.action.rule.rule.discovers(input);
    if let Some(path) = task.action.inputs.iter().find_map(|(_, input)| changed_file(world, input, inputs)) {
        return Err(Changed::Content(path));
    }
    let mut before = BTreeMap::new();
    for tree in task.basis.manifest.trees() {
        let states = world.states(tree).map_err(|error| unknown(&error))?;
        if let (Some(source), Some(reads), true) =
            (source_of(tree), set.reads(&tree.input), in_place(&tree.input))
        {
            source_unchanged(world, source, reads, &states)?;
        }
        before.insert(tree.input.as_str(), Arc::new(states));
    }
    if let Some(image) = changed_image(world, task) {
        return Err(Changed::Content(image));
    }
    if let Some(what) = world.changed_on_host(task.action) {
        return Err(Changed::Content(what));
    }
    let key = strong_key(&task.basis.keys.action, set, &|input| before.get(input).cloned());
    key.ok_or_else(|| unknown(&"kiln itself failed here: a path set names an input that there is not"))
}

/// Sees to it that a sandbox shows the source trees that the run was decided on, with the mounts below them: a directory
/// on the way may have been moved, or something mounted, since. The kernel lets root alone look into a sandbox; and mount.
pub(super) fn shown_as_decided(
    world: &World<'_>,
    task: &Task<'_>,
    continued: Option<&Continued>,
    prepared: &Prepared,
) -> Result<(), Changed> {
    let root = prepared.root();
    let trees = task.basis.manifest.trees().iter();
    let trees: Vec<(&Tree, &str)> = trees
        .filter(|tree| task.action.rule.rule.discovers(&tree.input))
        .filter_map(|tree| Some((tree, source_of(tree)?)))
        .collect();
    if trees.is_empty() || fs::metadata(&root).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
    {
        return Ok(());
    }
    let unknown =
        |error: &dyn fmt::Display| Changed::Unknown(format!("the sandbox can't be looked at: {error}"));
    let table = fs::read(root.with_file_name("mountinfo")).map_err(|error| unknown(&error))?;
    let mounts: Vec<PathBuf> =
        parse_mounts(&table).filter(|mount| !mount.ours).map(|mount| mount.path).collect();
    for (tree, source) in trees {
        let decided = world.source(source).map_err(|error| unknown(&error))?;
        let top = inside(&tree.input);
        let copies = continued.and_then(|continued| continued.changed.get(&tree.input));
        let below = mounts.iter().filter_map(|mount| mount.strip_prefix(&top).ok());
        for path in below {
            let bytes = path.as_os_str().as_bytes();
            if copies.is_some_and(|copies| copies.contains(bytes)) {
                continue;
            }
            let shown = root.join(top.strip_prefix("/").unwrap_or(&top)).join(path);
            let shown = fs::symlink_metadata(shown).map_err(|error| unknown(&error))?;
            // What is mounted below a directory that is left out is not part of the tree.
            if decided.file_id(bytes).is_some_and(|id| id != (shown.dev(), shown.ino())) {
                let slash = if bytes.is_empty() { "" } else { ": " };
                return Err(Changed::Content(format!("source {source}{slash}{}", path.display())));
            }
        }
    }
    Ok(())
}

/// The file of the project that changed, if the input is of files and one did.
fn changed_file(world: &World<'_>, input: &Input, inputs: Inputs) -> Option<String> {
    let changed = match input {
        // The certificate is read where it is.
        Input::ModuleKey(Some(key)) => {
            let certificate = world.certificate(key, "").ok()?;
            return world.changed(certificate).then(|| certificate.display().to_string());
        }
        _ if inputs == Inputs::Staged => None,
        Input::File(path) => world.changed(path).then_some(path),
        Input::Concat { files, .. } => files.iter().find(|path| world.changed(path)),
        Input::Source { .. } | Input::Output { .. } | Input::Root { .. } | Input::ModuleKey(None) => None,
    };
    changed.map(|path| path.display().to_string())
}

/// The image that changed, of those that are mounted where they are in the cache. Other outputs are copied for a run, and
/// checked as they are.
fn changed_image(world: &World<'_>, task: &Task<'_>) -> Option<String> {
    let roots = task.action.inputs.iter().filter(|(_, input)| matches!(input, Input::Root { .. }));
    let images =
        roots.filter_map(|(input, _)| rooted::layers(world, task.action, task.outputs_of, input).ok());
    let mut images = images.flatten();
    images.find(|image| world.artifact_changed(image)).map(|image| image.display().to_string())
}

fn source_unchanged(world: &World<'_>, source: &str, reads: &Reads, then: &States) -> Result<(), Changed> {
    let named = |path: &[u8]| {
        let slash = if path.is_empty() { "" } else { ": " };
        format!("source {source}{slash}{}", String::from_utf8_lossy(path))
    };
    let before = world.source(source).map_err(|error| Changed::Unknown(error.to_string()))?;
    // One that can't be walked now could be when the run was decided on.
    let now = Arc::new(world.walk(source).map_err(|_| Changed::Content(named(b"")))?);
    if world.source_was_elsewhere(source).map_err(|error| Changed::Unknown(error.to_string()))? {
        return Err(Changed::Meanwhile(named(b"")));
    }
    let disturbed = disturbance(reads, before, &now);
    if let Some(path) = first_difference(reads, then, &States::of(Arc::clone(&now))) {
        // Where all of the tree counts, what differs has another stat too.
        let path = match &disturbed {
            Some(disturbed) if path.is_empty() => &disturbed.path,
            _ => path,
        };
        return Err(Changed::Content(named(path)));
    }
    match disturbed {
        None => Ok(()),
        Some(disturbed) => {
            let named = named(&disturbed.path);
            Err(match disturbed.by {
                DisturbedBy::Stat => Changed::Meanwhile(named),
                DisturbedBy::Names => Changed::Names(named),
                DisturbedBy::Writer => Changed::Written(named),
            })
        }
    }
}

/// The path of the first of these reads that holds something else; empty where all of the tree counts.
fn first_difference<'a>(reads: &'a Reads, then: &States, now: &States) -> Option<&'a [u8]> {
    // Most runs end in the very tree in which they began.
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
