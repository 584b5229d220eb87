//! A client for one server: how it is reached, and what lets us in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Identity, Url};

use crate::net::{install_crypto_provider, is_loopback};
use crate::remote::open::{mistake, read_certificates, read_key};
use crate::remote::{RemoteError, Secret, Settings};
use crate::text::error_chain;

/// A client that trusts and shows what the settings say, and follows nothing by itself.
pub(super) fn client(url: &Url, settings: &Settings) -> Result<Client, RemoteError> {
    install_crypto_provider();
    let mut builder = Client::builder()
        .connect_timeout(settings.timeout)
        .redirect(Policy::none())
        .referer(false)
        .user_agent(concat!("kiln/", env!("CARGO_PKG_VERSION")));
    if is_loopback(url) {
        builder = builder.no_proxy();
    }
    if let Some(ca) = &settings.ca {
        let wrong = |error| mistake(format!("{}: {}", ca.display(), error_chain(&error)));
        let certificates = Certificate::from_pem_bundle(&read_certificates(ca)?).map_err(wrong)?;
        builder = builder.tls_certs_only(certificates);
    } else if url.scheme() == "http" {
        // A machine without authorities can do without them here; with them, a redirect to https may be followed.
        let system = builder.build();
        return system.or_else(|_| plain(settings)).map_err(|error| mistake(error_chain(&error)));
    }
    if let Some((certificate, key)) = &settings.identity {
        let mut pem = read_certificates(certificate)?;
        pem.push(b'\n');
        pem.extend(read_key(key)?);
        let wrong = |error| {
            mistake(format!("{} and {}: {}", certificate.display(), key.display(), error_chain(&error)))
        };
        builder = builder.identity(Identity::from_pem(&pem).map_err(wrong)?);
    }
    builder.build().map_err(|error| mistake(format!("no client for {url}: {}", error_chain(&error))))
}

/// A client that believes nobody, for servers that show nothing.
fn plain(settings: &Settings) -> reqwest::Result<Client> {
    Client::builder()
        .connect_timeout(settings.timeout)
        .redirect(Policy::none())
        .referer(false)
        .tls_certs_only(std::iter::empty())
        .build()
}

/// The address of an instance, with the slash that makes it one to start from.
pub(super) fn base(mut url: Url, instance: &str) -> Url {
    let path = url.path().trim_end_matches('/');
    let path = if instance.is_empty() { format!("{path}/") } else { format!("{path}/{instance}/") };
    url.set_path(&path);
    url
}

/// What a request shows to be let in: a user with a password, or else a bearer token.
pub(super) fn authorization(settings: &Settings) -> Result<Option<HeaderValue>, RemoteError> {
    let token = settings.token.as_ref().map(Secret::reveal);
    let value = match (&settings.user, token) {
        (Some(user), password) => {
            if user.contains(':') {
                return Err(mistake("a user's name can't hold a colon"));
            }
            format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.unwrap_or_default())))
        }
        (None, Some(token)) => format!("Bearer {token}"),
        (None, None) => return Ok(None),
    };
    let mut value = HeaderValue::try_from(value)
        .map_err(|_| mistake("the token holds what no token can: a line break, perhaps, at its end"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}
