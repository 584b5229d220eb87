//! Checks that a URL serves a file.

use std::error::Error;
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, CONTENT_LENGTH};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};

use super::Unserved;
use crate::net::{install_crypto_provider, is_loopback};

/// Sends a HEAD request, and compares status and length.
pub(super) fn check(url: &str, size: u64, timeout: Duration) -> Result<(), Unserved> {
    let url = Url::parse(url).map_err(|error| Unserved::Address(error.to_string()))?;
    let client = client(&url).map_err(|error| Unserved::Address(last_cause(&error)))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Unserved::Address(error.to_string()))?;
    let head = async {
        let request = client.head(url).header(ACCEPT_ENCODING, "identity").send();
        match tokio::time::timeout(timeout, request).await {
            Ok(answer) => answer.map_err(|error| Unserved::Unreachable(last_cause(&error.without_url()))),
            Err(_) => Err(Unserved::Slow(timeout.as_secs())),
        }
    };
    let answer = runtime.block_on(head)?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND | StatusCode::GONE => return Err(Unserved::Missing),
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => return Err(Unserved::Forbidden),
        status if status.is_redirection() => return Err(Unserved::Redirected(status.as_u16())),
        status => return Err(Unserved::Status(status.as_u16())),
    }
    let length = answer.headers().get(CONTENT_LENGTH);
    let found = length.and_then(|length| length.to_str().ok()?.parse().ok());
    if found == Some(size) { Ok(()) } else { Err(Unserved::Length { expected: size, found }) }
}

/// A client without credentials that follows no redirects.
fn client(url: &Url) -> reqwest::Result<Client> {
    install_crypto_provider();
    let mut builder = Client::builder()
        .redirect(Policy::none())
        .referer(false)
        .user_agent(concat!("kiln/", env!("CARGO_PKG_VERSION")));
    if is_loopback(url) {
        builder = builder.no_proxy();
    }
    if url.scheme() == "http" {
        // http needs no certificate authorities, so a machine without any will do.
        builder = builder.tls_certs_only(std::iter::empty());
    }
    builder.build()
}

/// The last cause of an error; the others only say that a request failed.
fn last_cause(error: &reqwest::Error) -> String {
    let mut last: &dyn Error = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}
