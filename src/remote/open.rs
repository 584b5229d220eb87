//! The remote of some settings, and what is wrong with them: no server is asked anything before it is used.

use std::fs;
use std::path::Path;

use reqwest::Url;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::dir::DirRemote;
use super::http::HttpRemote;
use super::{Address, Remote, RemoteError, Settings};
use crate::net::is_loopback;

/// The largest file with certificates or a key that is read, in bytes: the system's own bundle has a quarter of that.
const MAX_PEM: u64 = 1 << 20;

/// The remote that is at an address. Nothing is asked of it yet; what is wrong with the settings shows at once.
pub fn open(settings: &Settings) -> Result<Box<dyn Remote>, RemoteError> {
    check_instance(&settings.instance)?;
    match &settings.address {
        Address::Dir(path) => {
            if path.as_os_str().is_empty() {
                return Err(mistake("`dir:` needs the path of a directory"));
            }
            Ok(Box::new(DirRemote::new(path, &settings.instance)))
        }
        Address::Http(address) => {
            let url = checked(address, settings, &[("http", false), ("https", true)])?;
            Ok(Box::new(HttpRemote::new(url, settings)?))
        }
        Address::Grpc(address) => open_grpc(address, settings),
    }
}

#[cfg(feature = "grpc")]
fn open_grpc(address: &str, settings: &Settings) -> Result<Box<dyn Remote>, RemoteError> {
    let url = checked(address, settings, &[("grpc", false), ("grpcs", true)])?;
    if !matches!(url.path(), "" | "/") {
        return Err(mistake(format!(
            "{address} has a path; which of a server's caches is meant goes into `instance`"
        )));
    }
    Ok(Box::new(super::grpc::GrpcRemote::new(&url, settings)?))
}

#[cfg(not(feature = "grpc"))]
fn open_grpc(address: &str, settings: &Settings) -> Result<Box<dyn Remote>, RemoteError> {
    checked(address, settings, &[("grpc", false), ("grpcs", true)])?;
    Err(mistake("this kiln speaks no gRPC; build it with `cargo build --features grpc`"))
}

/// A mistake in the settings.
pub(super) fn mistake(text: impl Into<String>) -> RemoteError {
    RemoteError::Settings(text.into())
}

/// The content of a file that the settings name.
fn read_pem(path: &Path) -> Result<Vec<u8>, RemoteError> {
    let failed =
        |error: &dyn std::fmt::Display| mistake(format!("{} can't be read: {error}", path.display()));
    let stat = fs::metadata(path).map_err(|error| failed(&error))?;
    if !stat.is_file() || stat.len() > MAX_PEM {
        return Err(failed(&"it is no file of PEM"));
    }
    fs::read(path).map_err(|error| failed(&error))
}

/// The certificates of a file that the settings name, as PEM.
pub(super) fn read_certificates(path: &Path) -> Result<Vec<u8>, RemoteError> {
    let pem = read_pem(path)?;
    let wrong = |what: String| mistake(format!("{}: {what}", path.display()));
    let mut none = true;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        certificate.map_err(|error| wrong(format!("it holds no certificate: {error}")))?;
        none = false;
    }
    if none { Err(wrong("it holds no certificate in PEM".to_owned())) } else { Ok(pem) }
}

/// The private key of a file that the settings name, as PEM.
pub(super) fn read_key(path: &Path) -> Result<Vec<u8>, RemoteError> {
    let pem = read_pem(path)?;
    // What was wrong with it might tell of the key.
    PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|_| mistake(format!("{}: it holds no private key in PEM", path.display())))?;
    Ok(pem)
}

/// An address of one of these schemes; with each, whether what is sent is encrypted.
fn checked(address: &str, settings: &Settings, schemes: &[(&str, bool)]) -> Result<Url, RemoteError> {
    let names: Vec<_> = schemes.iter().map(|(scheme, _)| format!("{scheme}://")).collect();
    let scheme =
        address.split_once("://").and_then(|(start, _)| schemes.iter().find(|(name, _)| *name == start));
    let Some((scheme, encrypted)) = scheme else {
        return Err(mistake(format!("the address must begin with {}", names.join(" or "))));
    };
    // Known schemes have known rules for hosts. What follows `@` is the only part that is shown of a wrong one.
    let shown = |address: &str| match address.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://...@{host}"),
        None => address.to_owned(),
    };
    let known = if *encrypted { "https" } else { "http" };
    let url = Url::parse(&format!("{known}{}", &address[scheme.len()..]))
        .map_err(|error| mistake(format!("{} is no address: {error}", shown(address))))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(mistake(format!(
            "{} holds a user or a password, which would show in logs: give the user as `user`, and the password \
             through an environment variable, as the token",
            shown(address)
        )));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(mistake(format!("{address} has a `?` or `#`: the address must be a plain path")));
    }
    let plain = !encrypted;
    if plain && settings.token.is_some() && !is_loopback(&url) {
        return Err(mistake(format!(
            "the token for {address} would be sent for everybody to read: use {}",
            names.last().map_or("", String::as_str)
        )));
    }
    if plain && (settings.identity.is_some() || settings.ca.is_some()) {
        return Err(mistake(format!(
            "{address} is not encrypted, so that certificates are of no use: use {}",
            names.last().map_or("", String::as_str)
        )));
    }
    Ok(url)
}

/// Segments that mean something in a remote's own paths: `ac`, `cas` and `tmp` in ours, the others in resource names of
/// the Remote Execution API.
const TAKEN: &[&str] = &[
    "ac",
    "cas",
    "tmp",
    "blobs",
    "uploads",
    "actions",
    "actionResults",
    "operations",
    "capabilities",
    "compressed-blobs",
];

/// An instance is a path of plain names.
fn check_instance(instance: &str) -> Result<(), RemoteError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let wrong = |segment: &str| {
        segment.is_empty()
            || segment.starts_with('.')
            || !segment.chars().all(plain)
            || TAKEN.contains(&segment)
    };
    match instance.split('/').find(|segment| wrong(segment)) {
        Some(segment) if !instance.is_empty() => Err(mistake(format!(
            "instance {instance:?}: {segment:?} can't be part of it; it is made of letters, digits, `-`, `_` and `.`, \
             with `/` in between, and none of {}",
            TAKEN.join(", ")
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::remote::Secret;

    fn settings(address: &str) -> Settings {
        let address = match address.split_once(':') {
            Some(("dir", path)) => Address::Dir(path.into()),
            Some(("grpc" | "grpcs", _)) => Address::Grpc(address.to_owned()),
            _ => Address::Http(address.to_owned()),
        };
        Settings {
            address,
            instance: String::new(),
            token: None,
            user: None,
            ca: None,
            identity: None,
            timeout: Duration::from_secs(5),
        }
    }

    fn mistake_of(settings: &Settings) -> String {
        match open(settings) {
            Err(RemoteError::Settings(text)) => text,
            Err(error) => panic!("another error: {error}"),
            Ok(_) => panic!("{:?} was taken", settings.address),
        }
    }

    #[test]
    fn addresses_that_are_none_are_told_before_anything_is_asked() {
        for (address, said) in [
            ("dir:", "needs the path"),
            ("ftp://host/", "must begin with http:// or https://"),
            ("http://", "is no address"),
            ("http://host:99999/", "is no address"),
            ("http://host/cache?x=1", "plain path"),
            ("grpc:host", "must begin with grpc:// or grpcs://"),
        ] {
            let text = mistake_of(&settings(address));
            assert!(text.contains(said), "{address}: {text}");
        }
    }

    #[test]
    #[cfg(feature = "grpc")]
    fn a_path_is_no_instance() {
        assert!(mistake_of(&settings("grpc://127.0.0.1:1/main")).contains("`instance`"));
    }

    #[test]
    #[cfg(not(feature = "grpc"))]
    fn a_kiln_without_grpc_says_how_to_get_it() {
        assert!(mistake_of(&settings("grpc://127.0.0.1:1")).contains("--features grpc"));
    }

    #[test]
    fn passwords_in_addresses_are_refused_and_not_repeated() {
        for address in ["http://me:s3cret@host/", "grpcs://s3cret@host", "http://me:s3cret@host:99999/"] {
            let text = mistake_of(&settings(address));
            assert!(!text.contains("s3cret"), "{text}");
        }
    }

    #[test]
    fn a_token_is_sent_in_the_open_to_this_machine_alone() {
        let with_token =
            |address| Settings { token: Some(Secret::new("s3cret".to_owned())), ..settings(address) };
        for address in ["http://10.0.0.1/", "http://localhost.example/", "grpc://[2001:db8::1]:1"] {
            let text = mistake_of(&with_token(address));
            assert!(text.contains("everybody") && !text.contains("s3cret"), "{text}");
        }
        for address in ["http://127.0.0.1:1/", "http://localhost/", "http://[::1]:1/"] {
            assert!(open(&with_token(address)).is_ok(), "{address}");
        }
    }

    #[test]
    fn an_instance_can_lead_nowhere_else() {
        for instance in ["..", "a/../b", "/a", "a/", "a//b", "a b", "ac", "x/blobs", ".hidden"] {
            let text = mistake_of(&Settings { instance: instance.to_owned(), ..settings("dir:/tmp/x") });
            assert!(text.contains("instance"), "{text}");
        }
        assert!(open(&Settings { instance: "pr/17".to_owned(), ..settings("dir:/tmp/x") }).is_ok());
    }

    #[test]
    fn files_that_cannot_be_read_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let no_pem = dir.path().join("no.pem");
        fs::write(&no_pem, "not a certificate").unwrap();
        let addresses: &[&str] = if cfg!(feature = "grpc") {
            &["https://127.0.0.1:1/", "grpcs://127.0.0.1:1"]
        } else {
            &["https://127.0.0.1:1/"]
        };
        for address in addresses {
            for ca in [dir.path().join("absent.pem"), no_pem.clone()] {
                let text = mistake_of(&Settings { ca: Some(ca.clone()), ..settings(address) });
                assert!(text.contains(&ca.display().to_string()), "{text}");
            }
            let identity = Some((no_pem.clone(), no_pem.clone()));
            let text = mistake_of(&Settings { identity, ..settings(address) });
            assert!(text.contains("no.pem"), "{text}");
        }
    }
}
