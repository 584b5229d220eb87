//! Keys that sign modules.

use std::path::PathBuf;

use super::SecretFrom;
use crate::spec::diagnostic::Spanned;

/// `(certificate: "keys/modules.pem", key: Env("MODULE_KEY"))`.
#[derive(Clone, Debug)]
pub struct ModuleKey {
    /// The certificate in PEM, a file of the project: the public part, which decides what signatures are.
    pub certificate: Spanned<PathBuf>,
    /// Where the private key is.
    pub key: SecretFrom,
}
