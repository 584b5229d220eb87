//! Remotes: their names, their addresses, and what they are to be believed for.

use std::collections::BTreeMap;

use super::Checker;
use crate::spec::diagnostic::{Diagnostic, SECRET, Span};

/// The schemes of remote addresses.
const SCHEMES: &[&str] = &["dir:", "http://", "https://", "grpc://", "grpcs://"];

impl Checker<'_, '_> {
    pub(super) fn remotes(&mut self) {
        let project = &self.spec.project;
        let mut names: BTreeMap<&str, Span> = BTreeMap::new();
        for remote in project.remotes.iter().map(|remote| &remote.value) {
            let name = &remote.name;
            if let Some(first) = names.insert(&name.value, name.span) {
                let message = format!("there are two remotes `{}`", name.value);
                let diagnostic = Diagnostic::error("duplicate-name", message);
                self.push(diagnostic.label(name.span, "again").label(first, "first here"));
            }
            if !SCHEMES.iter().any(|scheme| remote.url.value.starts_with(scheme)) {
                let diagnostic = Diagnostic::error("bad-address", "that is no address of a remote");
                let label = format!("expected one that begins with {}", SCHEMES.join(", "));
                self.push(diagnostic.label(remote.url.span, label));
            } else if has_password(&remote.url.value) {
                // Without the place, which would show it.
                let message = format!("the address of remote `{}` holds a user or a password", name.value);
                let help = "write `user: \"NAME\", token: Env(\"NAME_OF_VARIABLE\")` instead";
                self.push(Diagnostic::error(SECRET, message).help(help));
            }
            if remote.certificate.is_some() != remote.certificate_key.is_some() {
                let message = "`certificate` and `certificate_key` go together";
                self.push(Diagnostic::error("missing-field", message).label(name.span, "only one is given"));
            }
            if !remote.unsigned && project.keys.is_empty() {
                let message = format!("nothing that remote `{}` has can count", name.value);
                let help = "list the public keys of who pushes to it in `keys` (`kiln cache keygen` makes one), or \
                            write `unsigned: true` if whoever can write to it may decide what your kernels are";
                let diagnostic = Diagnostic::lint("no-keys", message);
                self.push(diagnostic.label(name.span, "no `keys` are listed").help(help));
            }
        }
    }
}

/// Whether an address has a part before `@` in the place of the host.
pub(super) fn has_password(url: &str) -> bool {
    let host = url.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or_default());
    host.is_some_and(|host| host.contains('@'))
}
