//! `module_keys`.

use super::{Context, Decode, Fields};
use crate::spec::declared::ModuleKey;
use crate::spec::diagnostic::Diagnostic;
use crate::spec::model::SecretFrom;
use crate::spec::syntax::Node;

impl Decode for ModuleKey {
    const EXPECTED: &'static str = "a key of modules: `(certificate: \"FILE\", key: ..)`";
    const PLURAL: &'static str = "keys of modules";

    fn decode(node: &Node<'_>, context: &mut Context) -> Option<Self> {
        let mut fields = Fields::of(node, Self::EXPECTED, context)?;
        let certificate = fields.required("certificate", context);
        let key = fields.required("key", context);
        fields.finish(context);
        if let Some(SecretFrom::File(path)) = &key
            && path.as_os_str().as_encoded_bytes().starts_with(b"pkcs11:")
        {
            let message =
                "a PKCS#11 token can't sign modules here: its content is in no key, and steps can't reach it";
            let diagnostic = Diagnostic::error("bad-value", message).label(node.span, "it names a token");
            return context.report(diagnostic.help("export the key to a file, or have it in a variable"));
        }
        certificate.zip(key).map(|(certificate, key)| Self { certificate, key })
    }
}
