//! Keys that sign modules.

use std::path::PathBuf;

use super::SecretFrom;
use super::form::{Form, Of, Plain};

/// `(certificate: "keys/modules.pem", key: Env("MODULE_KEY"))`.
#[derive(Clone, Debug)]
pub struct ModuleKey<F: Form = Plain> {
    /// The certificate in PEM, a file of the project: the public part, which decides what signatures are.
    pub certificate: Of<F, PathBuf>,
    /// Where the private key is.
    pub key: SecretFrom,
}
