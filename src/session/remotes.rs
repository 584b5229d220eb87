//! The remotes of a project, as its spec configures them.

use std::path::Path;

use super::error::SessionError;
use super::secrets::Secrets;
use crate::remote::{Address, Line, PublicKey, Remotes, Settings, Trust, open};
use crate::spec::model::{RemoteCache, Spec};

/// Opens the remotes of a project. None of them is contacted yet. Messages that the user should see are added to `notes`.
pub(super) fn open_remotes(
    spec: &Spec,
    secrets: Secrets<'_>,
    notes: &mut Vec<String>,
) -> Result<Remotes, SessionError> {
    let keys = public_keys(spec)?;
    let remotes = spec.project.remotes.iter();
    let remotes = remotes.map(|remote| open_remote(remote, spec, &keys, secrets, notes));
    Ok(Remotes::new(remotes.collect::<Result<_, _>>()?))
}

/// The public keys whose signatures count.
pub fn public_keys(spec: &Spec) -> Result<Vec<PublicKey>, SessionError> {
    let keys = spec.project.keys.iter().map(|key| PublicKey::parse(key));
    keys.collect::<Result<_, _>>()
        .map_err(|error| SessionError::request(format!("graph.ron, `keys`: {error}")))
}

fn open_remote(
    remote: &RemoteCache,
    spec: &Spec,
    keys: &[PublicKey],
    secrets: Secrets<'_>,
    notes: &mut Vec<String>,
) -> Result<Line, SessionError> {
    let name = &remote.name;
    let failed = |error: &dyn std::fmt::Display| SessionError::environment(format!("remote {name}: {error}"));
    let path = |path: &Path| spec.root.join(path);
    let token = remote.token.as_ref().map(|from| secrets.read(from)).transpose();
    let certificate = remote.certificate.as_ref().zip(remote.certificate_key.as_ref());
    let settings = Settings {
        address: address(&remote.url, &spec.root),
        instance: remote.instance.clone(),
        token: token.map_err(|why| failed(&why))?.flatten(),
        user: remote.user.clone(),
        ca: remote.ca.as_ref().map(|ca| path(ca)),
        identity: certificate.map(|(certificate, key)| (path(certificate), path(key))),
        timeout: remote.timeout,
    };
    if remote.token.is_some() && settings.token.is_none() && remote.write {
        notes.push(format!("remote {name}: its token is not here, so it is asked without one"));
    }
    let mut opened = Line::new(name, open(&settings).map_err(|error| failed(&error))?, remote.timeout);
    opened.instance.clone_from(&remote.instance);
    opened.trust = if remote.unsigned { Trust::AsItIs } else { Trust::Signed(keys.to_vec()) };
    opened.write = remote.write;
    opened.kept = remote.kept;
    opened.continued = remote.continued;
    Ok(opened)
}

/// The address of a URL. The spec has checked its scheme.
fn address(url: &str, root: &Path) -> Address {
    if let Some(path) = url.strip_prefix("dir:") {
        Address::Dir(root.join(path.strip_prefix("//").unwrap_or(path)))
    } else if url.starts_with("http") {
        Address::Http(url.to_owned())
    } else {
        Address::Grpc(url.to_owned())
    }
}
