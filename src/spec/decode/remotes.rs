//! Caches elsewhere, and where secrets are.

use std::path::PathBuf;
use std::time::Duration;

use super::{Context, Decode, Fields};
use crate::spec::diagnostic::{Diagnostic, SECRET};
use crate::spec::model::{RemoteCache, SecretFrom};
use crate::spec::syntax::{Node, NodeKind};

/// How long an answer may take where the spec does not say.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Decode for RemoteCache {
    const EXPECTED: &'static str = "a remote: `(name: .., url: ..)`";
    const PLURAL: &'static str = "remotes";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let mut fields = Fields::of(node, Self::EXPECTED, context)?;
        let name = fields.required("name", context);
        let url = fields.required("url", context);
        let instance = fields.or_default("instance", context);
        let write = fields.optional("write", context).unwrap_or(false);
        let kept = fields.optional("kept", context).unwrap_or(false);
        let continued = fields.optional("continued", context).unwrap_or(false);
        let unsigned = fields.optional("unsigned", context).unwrap_or(false);
        let token = fields.optional("token", context);
        let user = fields.optional("user", context);
        let ca = fields.optional("ca", context);
        let certificate = fields.optional("certificate", context);
        let certificate_key = fields.optional("certificate_key", context);
        let timeout = fields.optional("timeout", context).unwrap_or(TIMEOUT);
        fields.finish(context);
        let (name, url) = name.zip(url)?;
        Some(Self {
            name,
            url,
            instance,
            write,
            kept,
            continued,
            unsigned,
            token,
            user,
            ca,
            certificate,
            certificate_key,
            timeout,
        })
    }
}

impl Decode for SecretFrom {
    const EXPECTED: &'static str = "`Env(\"NAME\")` or `File(\"path\")`";
    const PLURAL: &'static str = "places of secrets";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let node = node.unwrapped();
        let (name, items) = match &node.kind {
            NodeKind::Tuple { name: Some(name), items } => (name, items),
            // Without the place, which would show it: this may be the log of a CI.
            NodeKind::Str(_) => {
                let message = "a secret does not belong into the spec: `token` and `sign` are `Env(\"NAME\")` or \
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
