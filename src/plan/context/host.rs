//! The host inputs of actions: programs, files and libraries of this machine, each found once per run.

use std::collections::HashMap;
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::digest::Digest;
use crate::graph::Action;
use crate::host::binfmt::{self, Machine};
use crate::host::{self, Closure, HostEntry, ToolError, ToolIdentity};
use crate::plan::error::PlanError;
use crate::plan::manifest::FieldKind;
use crate::source::FileDigests;
use crate::spec::model::HostRef;
use crate::spec::root::Root;

/// The files that steps with the host's network read besides: the resolver's configuration and CA certificates.
const NETWORK: [&str; 4] = [
    "/etc/resolv.conf",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// The interpreter of the scripts that stand in for programs of a root.
const SHELL: &str = "sh";

/// A part of the host that an action declares.
#[derive(Debug)]
pub struct HostPart {
    /// The declaration.
    pub kind: FieldKind,
    /// Its present digest and files; `None` if it is absent and the action can do without.
    pub found: Option<(Digest, Arc<Closure>)>,
}

impl HostPart {
    /// A part that is absent if its closure has no entry.
    fn of_closure(kind: FieldKind, closure: Arc<Closure>) -> Self {
        let is_there = closure.entries().any(|(_, entry)| *entry != HostEntry::Absent);
        Self { kind, found: is_there.then(|| (closure.digest(), closure)) }
    }
}

/// A library by name, the compilers that find it, and the directories in which these are looked up first.
type LibraryKey = (String, Vec<String>, Vec<PathBuf>);

/// The host inputs of a run. A result that was found once stays the same for the run.
pub struct HostInputs {
    files: Arc<FileDigests>,
    tools: Mutex<HashMap<(String, PathBuf), Arc<ToolIdentity>>>,
    paths: Mutex<HashMap<PathBuf, Arc<Closure>>>,
    libraries: Mutex<HashMap<LibraryKey, Arc<Closure>>>,
}

impl HostInputs {
    pub(super) fn new(files: Arc<FileDigests>) -> Self {
        Self { files, tools: Mutex::default(), paths: Mutex::default(), libraries: Mutex::default() }
    }

    /// All that an action declares of the host, part by part.
    pub fn parts(&self, action: &Action, node: &str) -> Result<Vec<HostPart>, PlanError> {
        let mut parts = Vec::new();
        for tool in &action.tools {
            parts.push(self.tool_part(&tool.program, tool.optional, &action.tool_path, node)?);
        }
        let runs_scripts = action.root.as_ref().is_some_and(|root| !Root::is_whole(root));
        if runs_scripts && action.tools.iter().all(|tool| tool.program != SHELL) {
            parts.push(self.tool_part(SHELL, false, &action.tool_path, node)?);
        }
        let compilers: Vec<String> = action.tools.iter().map(|tool| tool.program.clone()).collect();
        for declared in &action.host {
            parts.push(match declared {
                HostRef::Path(path) => self.path_part(path, node)?,
                HostRef::Library(name) => {
                    let closure = self.library(name, &compilers, &action.tool_path, node)?;
                    HostPart::of_closure(FieldKind::Library(name.clone()), closure)
                }
            });
        }
        let is_on_host = action.root.as_ref().is_none_or(|root| !root.is_whole());
        if action.rule.decl.sandbox.network && is_on_host {
            for path in NETWORK {
                parts.push(self.path_part(Path::new(path), node)?);
            }
        }
        Ok(parts)
    }

    /// All of these parts in one closure: the files of the host that the action's steps see.
    pub fn closure(&self, action: &Action, node: &str) -> Result<Closure, PlanError> {
        let mut all = Closure::default();
        for (_, closure) in self.parts(action, node)?.iter().filter_map(|part| part.found.as_ref()) {
            all.extend(closure);
        }
        Ok(all)
    }

    /// A host input of an action that was not the same all the time since this run first looked, such as a compiler that
    /// was upgraded during a build.
    pub fn changed(&self, action: &Action) -> Option<String> {
        let emulator = action.machine.and_then(|machine| self.emulator(machine, "").ok());
        let emulator = emulator.and_then(|path| self.path(&path, "").ok());
        let Ok(mut then) = self.closure(action, "") else {
            return Some("what it needs of this machine".to_owned());
        };
        if let Some(emulator) = emulator {
            then.extend(&emulator);
        }
        then.changed(&self.files).map(|path| path.display().to_string())
    }

    /// A host program with all that it loads.
    pub fn tool(&self, program: &str, dirs: &[PathBuf], node: &str) -> Result<Arc<ToolIdentity>, PlanError> {
        let key = (program.to_owned(), dirs.iter().collect());
        first_found(&self.tools, key, || {
            ToolIdentity::resolve(program, dirs, &self.files).map_err(|source| tool_error(node, source))
        })
    }

    /// The emulator that runs the programs of a foreign machine.
    pub fn emulator(&self, machine: &str, node: &str) -> Result<PathBuf, PlanError> {
        let missing = |message: String| PlanError::MissingRequirement { node: node.to_owned(), message };
        let machine =
            Machine::named(machine).ok_or_else(|| missing(format!("QEMU knows no machine {machine}")))?;
        let handler = binfmt::handler(&machine).map_err(|error| missing(error.to_string()))?;
        Ok(handler.interpreter)
    }

    /// A file or directory of the host, present or absent.
    pub fn path(&self, path: &Path, node: &str) -> Result<Arc<Closure>, PlanError> {
        first_found(&self.paths, path.to_owned(), || {
            host::closure_of(path, &self.files).map_err(|source| tool_error(node, source))
        })
    }

    fn library(
        &self,
        name: &str,
        compilers: &[String],
        dirs: &[PathBuf],
        node: &str,
    ) -> Result<Arc<Closure>, PlanError> {
        let key = (name.to_owned(), compilers.to_vec(), dirs.to_vec());
        first_found(&self.libraries, key, || {
            host::library(name, compilers, dirs, &self.files).map_err(|source| tool_error(node, source))
        })
    }

    fn tool_part(
        &self,
        program: &str,
        optional: bool,
        dirs: &[PathBuf],
        node: &str,
    ) -> Result<HostPart, PlanError> {
        let found = match self.tool(program, dirs, node) {
            Ok(tool) => Some((tool.digest, Arc::clone(&tool.closure))),
            Err(PlanError::Tool { source: ToolError::Missing { .. }, .. }) if optional => None,
            Err(error) => return Err(error),
        };
        Ok(HostPart { kind: FieldKind::Tool(program.to_owned()), found })
    }

    fn path_part(&self, path: &Path, node: &str) -> Result<HostPart, PlanError> {
        Ok(HostPart::of_closure(FieldKind::Host(path.to_owned()), self.path(path, node)?))
    }
}

fn tool_error(node: &str, source: ToolError) -> PlanError {
    PlanError::Tool { node: node.to_owned(), source }
}

/// The value of `key`. Of several threads that look for it at once, the first to finish decides.
fn first_found<K: Eq + Hash, V>(
    known: &Mutex<HashMap<K, Arc<V>>>,
    key: K,
    find: impl FnOnce() -> Result<V, PlanError>,
) -> Result<Arc<V>, PlanError> {
    if let Some(value) = known.lock().expect("no panic while held").get(&key) {
        return Ok(Arc::clone(value));
    }
    let value = Arc::new(find()?);
    let mut known = known.lock().expect("no panic while held");
    Ok(Arc::clone(known.entry(key).or_insert(value)))
}
