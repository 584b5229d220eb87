//! Caches elsewhere, and where secrets are.

use std::path::PathBuf;
use std::time::Duration;

use super::record::record;
use super::{Context, Decode};
use crate::spec::declared::RemoteCache;
use crate::spec::diagnostic::{Diagnostic, SECRET};
use crate::spec::model::SecretFrom;
use crate::spec::syntax::{Node, SyntaxKind};

/// The default time to wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

record!(RemoteCache, "a remote: `(name: .., url: ..)`", "remotes", {
    name: required,
    url: required,
    instance: default,
    write: default,
    kept: default,
    continued: default,
    unsigned: default,
    token: optional,
    user: optional,
    ca: optional,
    certificate: optional,
    certificate_key: optional,
    timeout: or(TIMEOUT),
});

impl Decode for SecretFrom {
    const EXPECTED: &'static str = "`Env(\"NAME\")` or `File(\"path\")`";
    const PLURAL: &'static str = "places of secrets";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let node = node.unwrapped();
        let (name, items) = match &node.kind {
            SyntaxKind::Tuple { name: Some(name), items } => (name, items),
            // Without the place, which would show it: this may be the log of a CI.
            SyntaxKind::Str(_) => {
                let message = "a secret does not belong in the spec: `token` and `sign` are `Env(\"NAME\")` or \
                               `File(\"path\")`, and one of them is a text";
                return context.report(
                    Diagnostic::error(SECRET, message)
                        .help("take it out, also of the history of the repository, and have it replaced"),
                );
            }
            _ => return context.wrong_type(node, Self::EXPECTED),
        };
        match (name.text, items.as_slice()) {
            ("Env", [variable]) => String::decode(variable, context).map(Self::Env),
            ("File", [path]) => PathBuf::decode(path, context).map(Self::File),
            ("Env" | "File", _) => context.wrong_type(node, Self::EXPECTED),
            _ => context.unknown_variant(name.span, name.text, &["Env", "File"]),
        }
    }
}
