//! A change of a source, as a user describes it: two commits, a patch, or a list of paths.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::error::SessionError;
use crate::host::git;
use crate::source::patch::{self, Link, Touched};
use crate::spec::model::{Origin, Spec};

/// The source of this name; without a name, the only one.
pub fn changed_source<'a>(asked: Option<&'a str>, spec: &'a Spec) -> Result<&'a str, SessionError> {
    let names: Vec<&str> = spec.project.sources.keys().map(String::as_str).collect();
    let known = || format!("sources: {}", names.join(", "));
    match (asked, names.as_slice()) {
        (Some(asked), names) if names.contains(&asked) => Ok(asked),
        (Some(asked), _) => Err(SessionError::request(format!("there is no source {asked:?}")).help(known())),
        (None, [only]) => Ok(only),
        (None, []) => Err(SessionError::request("the project has no source")),
        (None, _) => Err(SessionError::request("which source changes?").help(known())),
    }
}

/// Where a change is described.
#[derive(Debug)]
pub enum ChangeFrom {
    /// Two commits of the source's repository: `A..B`.
    Range(String),
    /// The text of a patch, the number of leading path components to strip, and the patch's name for messages.
    Patch {
        /// The text.
        text: Vec<u8>,
        /// The number of components.
        strip: usize,
        /// The name.
        name: String,
    },
    /// A list of paths, each ended by a newline or a NUL.
    List(Vec<u8>),
}

impl ChangeFrom {
    /// The changed paths of a source.
    pub fn paths(&self, source: &str, spec: &Spec) -> Result<Vec<Touched>, SessionError> {
        let change = match self {
            Self::Range(range) => {
                let declared = &spec.project.sources[source];
                let is_archive = matches!(declared.origin, Origin::Tarball { .. });
                let root = (!is_archive).then_some(&declared.path).ok_or_else(|| {
                    SessionError::request(format!("{source} is a tarball, which has no commits"))
                        .help("--patch and --files work without")
                })?;
                if !range.contains("..") {
                    return Err(SessionError::request(format!("{range:?} is no range"))
                        .help("two commits, as in v6.1..v6.2"));
                }
                let diff = git::raw_diff(root, range).map_err(|message| {
                    let repository = root.display();
                    SessionError::request(format!("git diff of {range} in {repository}: {message}"))
                })?;
                patch::of_raw_diff(&diff).map_err(SessionError::request)?
            }
            Self::Patch { text, strip, name } => patch::of_patch(text, *strip)
                .map_err(|error| SessionError::request(format!("{name}: {error}")))?,
            Self::List(list) => listed(list, source, spec)?,
        };
        let outside = |touched: &&Touched| touched.path.split(|&byte| byte == b'/').any(|name| name == b"..");
        match change.iter().find(outside) {
            Some(touched) => Err(outside_of(source, &touched.path)),
            None => Ok(change),
        }
    }
}

fn outside_of(source: &str, path: &[u8]) -> SessionError {
    let path = String::from_utf8_lossy(path);
    SessionError::request(format!("{path} is not in {source}"))
        .help("names are relative to the source's root")
}

/// The paths of a list. Whether a present file is a link is read from the tree, as a list does not say it.
fn listed(names: &[u8], source: &str, spec: &Spec) -> Result<Vec<Touched>, SessionError> {
    let absolute = |name: &&[u8]| name.starts_with(b"/") || name.starts_with(b"\"/");
    if let Some(name) = names.split(|&byte| byte == 0 || byte == b'\n').find(absolute) {
        return Err(outside_of(source, name));
    }
    let mut change = patch::of_list(names);
    if let Some(root) = spec.project.sources[source].in_place() {
        for touched in &mut change {
            let path = root.join(OsStr::from_bytes(&touched.path));
            if let Ok(now) = path.symlink_metadata() {
                touched.link = if now.is_symlink() { Link::Yes } else { Link::No };
            }
        }
    }
    Ok(change)
}
