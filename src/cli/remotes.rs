//! The remotes of a project, with the secrets that let kiln in, and the key that signs what it pushes.

use std::collections::BTreeMap;
use std::path::Path;

use super::exit::{Exit, Failure};
use super::terminal::Terminal;
use crate::remote::{Address, Line, PublicKey, Remotes, Secret, Settings, SigningKey, Trust, open};
use crate::spec::model::{RemoteCache, SecretFrom, Spec};

/// The largest file that a token can be in, in bytes.
const MAX_TOKEN: usize = 64 * 1024;

/// What the project says of remotes. None of them has been asked yet.
pub(super) fn remotes(spec: &Spec, terminal: &Terminal) -> Result<Remotes, Failure> {
    let keys = public_keys(spec)?;
    let lines = spec.project.remotes.iter().map(|remote| line(remote, spec, &keys, terminal));
    Ok(Remotes::new(lines.collect::<Result<_, _>>()?))
}

/// The keys whose signatures count.
pub(super) fn public_keys(spec: &Spec) -> Result<Vec<PublicKey>, Failure> {
    let keys = spec.project.keys.iter().map(|key| PublicKey::parse(key));
    keys.collect::<Result<_, _>>()
        .map_err(|error| Failure::new(Exit::Spec, format!("graph.ron, `keys`: {error}")))
}

/// Tells what was learnt of them that the user should hear of.
pub(super) fn tell(remotes: &Remotes, terminal: &Terminal) {
    for warning in remotes.warnings() {
        terminal.warning(&warning);
    }
}

/// The key that signs what is pushed. `None` where the spec names none, or where this machine does not have it: then
/// nothing is pushed to where signatures count, and the reason is told.
pub(super) fn signing_key(spec: &Spec) -> Result<Result<SigningKey, String>, Failure> {
    let Some(from) = &spec.project.sign else {
        return Ok(Err("graph.ron has no `sign`, which says where the signing key is".to_owned()));
    };
    let bad =
        |error: &dyn std::fmt::Display| Failure::new(Exit::Environment, format!("the signing key: {error}"));
    match from {
        SecretFrom::Env(name) => match variable(name) {
            Some(text) => SigningKey::parse(&text).map(Ok).map_err(|error| bad(&error)),
            None => Ok(Err(format!("the signing key is not here: {name} is not set"))),
        },
        SecretFrom::File(path) => {
            let path = spec.root.join(path);
            if !path.exists() {
                return Ok(Err(format!("the signing key is not here: there is no {}", path.display())));
            }
            SigningKey::read(&path).map(Ok).map_err(|error| bad(&error))
        }
    }
}

fn line(remote: &RemoteCache, spec: &Spec, keys: &[PublicKey], terminal: &Terminal) -> Result<Line, Failure> {
    let name = &remote.name;
    let failed =
        |error: &dyn std::fmt::Display| Failure::new(Exit::Environment, format!("remote {name}: {error}"));
    let path = |path: &Path| spec.root.join(path);
    let settings = Settings {
        address: address(&remote.url, &spec.root),
        instance: remote.instance.clone(),
        token: remote
            .token
            .as_ref()
            .map(|from| secret(from, &spec.root))
            .transpose()
            .map_err(|why| failed(&why))?
            .flatten(),
        user: remote.user.clone(),
        ca: remote.ca.as_ref().map(|ca| path(ca)),
        identity: remote
            .certificate
            .as_ref()
            .zip(remote.certificate_key.as_ref())
            .map(|(certificate, key)| (path(certificate), path(key))),
        timeout: remote.timeout,
    };
    if let (Some(_), None, true) = (&remote.token, &settings.token, remote.write) {
        terminal.note(&format!("remote {name}: its token is not here, so it is asked without one"));
    }
    let mut line = Line::new(name, open(&settings).map_err(|error| failed(&error))?, remote.timeout);
    line.instance.clone_from(&remote.instance);
    line.trust = if remote.unsigned { Trust::AsItIs } else { Trust::Signed(keys.to_vec()) };
    line.write = remote.write;
    line.kept = remote.kept;
    line.continued = remote.continued;
    Ok(line)
}

/// The address that a URL means; the spec has checked how it begins.
fn address(url: &str, root: &Path) -> Address {
    if let Some(path) = url.strip_prefix("dir:") {
        Address::Dir(root.join(path.strip_prefix("//").unwrap_or(path)))
    } else if url.starts_with("http") {
        Address::Http(url.to_owned())
    } else {
        Address::Grpc(url.to_owned())
    }
}

/// A secret; `None` where this machine does not have it.
pub(super) fn secret(from: &SecretFrom, root: &Path) -> Result<Option<Secret>, String> {
    let secret = match from {
        SecretFrom::Env(name) => variable(name).map(Secret::new),
        SecretFrom::File(path) if !root.join(path).exists() => None,
        SecretFrom::File(path) => {
            let read = Secret::read(&root.join(path), MAX_TOKEN);
            Some(read.map_err(|error| format!("the secret in {error}"))?.trimmed())
        }
    };
    Ok(secret.filter(|secret| !secret.reveal().is_empty()))
}

/// The private keys that sign modules; why one is not here, otherwise.
pub(super) fn module_keys(spec: &Spec) -> BTreeMap<String, Result<Secret, String>> {
    let key = |from: &SecretFrom| {
        secret(from, &spec.root)?.ok_or_else(|| match from {
            SecretFrom::Env(name) => format!("the private key is not here: {name} is not set"),
            SecretFrom::File(path) => format!("the private key is not here: there is no {}", path.display()),
        })
    };
    spec.project.module_keys.iter().map(|(name, of)| (name.clone(), key(&of.key))).collect()
}

/// An environment variable. An empty one is none: so a CI gives its secrets to those who may not have them.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}
