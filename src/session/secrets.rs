//! The secrets that the spec names: tokens, and private keys. Each is in a file or an environment variable.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::SessionError;
use crate::lab::lava::Token;
use crate::remote::{Secret, SigningKey};
use crate::spec::model::{LavaLab, SecretFrom, Spec};

/// The largest file that a token is read from, in bytes.
const MAX_TOKEN: usize = 64 * 1024;

/// Reads the secrets of a project.
#[derive(Clone, Copy)]
pub struct Secrets<'a> {
    root: &'a Path,
    variable: fn(&str) -> Option<String>,
}

impl<'a> Secrets<'a> {
    /// The secrets of the project at `root`. `variable` reads an environment variable.
    pub const fn new(root: &'a Path, variable: fn(&str) -> Option<String>) -> Self {
        Self { root, variable }
    }

    /// An environment variable. An empty one counts as unset: a CI sets those that a job may not have to nothing.
    fn variable(&self, name: &str) -> Option<String> {
        (self.variable)(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// A secret; `None` if this machine does not have it.
    pub fn read(&self, from: &SecretFrom) -> Result<Option<Secret>, String> {
        let secret = match from {
            SecretFrom::Env(name) => self.variable(name).map(Secret::new),
            SecretFrom::File(path) if !self.root.join(path).exists() => None,
            SecretFrom::File(path) => {
                let read = Secret::read(&self.root.join(path), MAX_TOKEN);
                Some(read.map_err(|error| format!("the secret in {error}"))?.trimmed())
            }
        };
        Ok(secret.filter(|secret| !secret.reveal().is_empty()))
    }

    /// A secret, or why this machine does not have it; `name` is its name in that message.
    fn require(&self, from: &SecretFrom, name: &str) -> Result<Secret, String> {
        self.read(from)?.ok_or_else(|| match from {
            SecretFrom::Env(variable) => format!("{name} is not here: {variable} is not set"),
            SecretFrom::File(path) => format!("{name} is not here: there is no {}", path.display()),
        })
    }

    /// The token of a LAVA lab.
    pub fn lab_token(&self, lab: &LavaLab) -> Result<Token, String> {
        Ok(Token::new(self.require(&lab.token, "its token")?.reveal().to_owned()))
    }

    /// The private keys that sign modules, by name; or why one is not available.
    pub fn module_keys(&self, spec: &Spec) -> BTreeMap<String, Result<Secret, String>> {
        let keys = spec.project.module_keys.iter();
        keys.map(|(name, key)| (name.clone(), self.require(&key.key, "the private key"))).collect()
    }

    /// The key that signs pushed results. The inner error says why there is none: the spec names none, or this machine does
    /// not have it. Results are then not pushed to remotes that require signatures.
    pub fn signing_key(&self, spec: &Spec) -> Result<Result<SigningKey, String>, SessionError> {
        let Some(from) = &spec.project.sign else {
            return Ok(Err("graph.ron has no `sign`, which says where the signing key is".to_owned()));
        };
        let invalid =
            |error: &dyn std::fmt::Display| SessionError::environment(format!("the signing key: {error}"));
        match from {
            SecretFrom::Env(name) => match self.variable(name) {
                Some(text) => SigningKey::parse(&text).map(Ok).map_err(|error| invalid(&error)),
                None => Ok(Err(format!("the signing key is not here: {name} is not set"))),
            },
            SecretFrom::File(path) => {
                let path = self.root.join(path);
                if !path.exists() {
                    return Ok(Err(format!("the signing key is not here: there is no {}", path.display())));
                }
                SigningKey::read(&path).map(Ok).map_err(|error| invalid(&error))
            }
        }
    }
}
