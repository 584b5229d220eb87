//! Whether an address has what it should.

use std::error::Error;
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, CONTENT_LENGTH};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};

use super::Unserved;
use crate::net::{is_loopback, provide_cryptography};

/// Asks for the head of what is there.
pub(super) fn check(url: &str, size: u64, timeout: Duration) -> Result<(), Unserved> {
    let url = Url::parse(url).map_err(|error| Unserved::Address(error.to_string()))?;
    let client = client(&url).map_err(|error| Unserved::Address(said(&error)))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Unserved::Address(error.to_string()))?;
    let head = async {
        let request = client.head(url).header(ACCEPT_ENCODING, "identity").send();
        match tokio::time::timeout(timeout, request).await {
            Ok(answer) => answer.map_err(|error| Unserved::Unreachable(said(&error.without_url()))),
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

/// A client that shows nothing and follows nothing.
fn client(url: &Url) -> reqwest::Result<Client> {
    provide_cryptography();
    let mut builder = Client::builder()
        .redirect(Policy::none())
        .referer(false)
        .user_agent(concat!("kiln/", env!("CARGO_PKG_VERSION")));
    if is_loopback(url) {
        builder = builder.no_proxy();
    }
    if url.scheme() == "http" {
        // Nobody shows a certificate: a machine without authorities can do without them.
        builder = builder.tls_certs_only(std::iter::empty());
    }
    builder.build()
}

/// The last cause of an error: the ones before it say that a request failed.
fn said(error: &reqwest::Error) -> String {
    let mut last: &dyn Error = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}
