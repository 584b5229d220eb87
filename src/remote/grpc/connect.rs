//! A connection to one server: how it is reached, and what lets us in. It is made at first use, and anew after it broke.

use reqwest::Url;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::remote::open::{mistake, read_certificates, read_key};
use crate::remote::{RemoteError, Settings};
use crate::text::error_chain;

/// The server at that URL.
pub(super) fn endpoint(url: &Url, settings: &Settings) -> Result<Endpoint, RemoteError> {
    let wrong =
        |error: tonic::transport::Error| mistake(format!("no client for {url}: {}", error_chain(&error)));
    let endpoint = Endpoint::from_shared(url.origin().ascii_serialization())
        .map_err(wrong)?
        .connect_timeout(settings.timeout)
        .user_agent(concat!("kiln/", env!("CARGO_PKG_VERSION")))
        .map_err(wrong)?;
    if url.scheme() == "http" {
        return Ok(endpoint);
    }
    let mut tls = ClientTlsConfig::new().timeout(settings.timeout);
    tls = match &settings.ca {
        Some(ca) => tls.ca_certificate(Certificate::from_pem(read_certificates(ca)?)),
        None => tls.with_native_roots(),
    };
    if let Some((certificate, key)) = &settings.identity {
        tls = tls.identity(Identity::from_pem(read_certificates(certificate)?, read_key(key)?));
    }
    endpoint.tls_config(tls).map_err(wrong)
}

/// What a request shows to be let in.
pub(super) fn authorization(settings: &Settings) -> Result<Option<MetadataValue<Ascii>>, RemoteError> {
    if settings.user.is_some() {
        return Err(mistake("gRPC servers know bearer tokens, no users: leave `user` out"));
    }
    let Some(token) = &settings.token else { return Ok(None) };
    let mut value = MetadataValue::try_from(format!("Bearer {}", token.reveal()))
        .map_err(|_| mistake("the token holds what no token can: a line break, perhaps, at its end"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}
