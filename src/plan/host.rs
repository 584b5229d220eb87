//! What an action declares of the host: the parts of its key, which are what its steps see.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::manifest::{Val, What};
use super::world::{PlanError, World};
use crate::digest::Digest;
use crate::graph::Action;
use crate::host::{self, Closure, HostEntry, ToolError};
use crate::spec::model::HostRef;
use crate::spec::root::Root;

/// What a step with the host's network reads besides: where names are looked up, and whose certificates count.
const NETWORK: [&str; 4] = [
    "/etc/resolv.conf",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// What runs the scripts that stand for the programs of a root.
const SHELL: &str = "sh";

/// A part of the host that an action declares.
#[derive(Debug)]
pub struct HostPart {
    /// What is declared.
    pub what: What,
    /// What it is now; `None`: it is not there, and the action does without.
    pub found: Option<(Digest, Arc<Closure>)>,
}

impl HostPart {
    /// For the key.
    pub(super) fn value(&self) -> Val {
        self.found.as_ref().map_or(Val::Absent, |(digest, _)| Val::Digest(*digest))
    }
}

impl World<'_> {
    /// All that an action declares of the host, part by part.
    pub fn host_parts(&self, action: &Action, node: &str) -> Result<Vec<HostPart>, PlanError> {
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
                    part(What::Library(name.clone()), closure)
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

    /// All of it together: what the action's steps see of the host.
    pub fn closure(&self, action: &Action, node: &str) -> Result<Closure, PlanError> {
        let mut all = Closure::default();
        for (_, closure) in self.host_parts(action, node)?.iter().filter_map(|part| part.found.as_ref()) {
            all.extend(closure);
        }
        Ok(all)
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
        Ok(HostPart { what: What::Tool(program.to_owned()), found })
    }

    fn path_part(&self, path: &Path, node: &str) -> Result<HostPart, PlanError> {
        Ok(part(What::Host(path.to_owned()), self.host_path(path, node)?))
    }

    fn library(
        &self,
        name: &str,
        compilers: &[String],
        dirs: &[PathBuf],
        node: &str,
    ) -> Result<Arc<Closure>, PlanError> {
        let key = (name.to_owned(), compilers.to_vec(), dirs.to_vec());
        self.remembered_library(key, || {
            host::library(name, compilers, dirs, self.files())
                .map_err(|source| PlanError::Tool { node: node.to_owned(), source })
        })
    }
}

/// A part of which absence is told by nothing being there.
fn part(what: What, closure: Arc<Closure>) -> HostPart {
    let is_there = closure.entries().any(|(_, entry)| *entry != HostEntry::Absent);
    HostPart { what, found: is_there.then(|| (closure.digest(), closure)) }
}
