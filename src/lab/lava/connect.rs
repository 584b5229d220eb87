//! Validates a lab's settings and builds its HTTP client.

use std::path::Path;
use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, ClientBuilder, Url};

use super::{LavaError, Settings, Token};
use crate::net::{install_crypto_provider, is_loopback};
use crate::text::error_chain;

/// How long an idle connection is kept. Web servers in front of LAVA close idle connections after a second or two; a
/// submission over a closing connection could not be distinguished from one that arrived.
const IDLE: Duration = Duration::from_secs(1);

/// The lab's base URL, with a trailing slash.
pub(super) fn base(address: &str) -> Result<Url, LavaError> {
    let wrong = |why: &str| settings_error(format!("{address:?} is no address of a lab: {why}"));
    let mut url = Url::parse(address).map_err(|error| wrong(&error.to_string()))?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => return Err(wrong("the token would be sent for everybody to read; use https")),
        _ => return Err(wrong("it begins with https:// (or http:// on this machine)")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(settings_error("an address of a lab holds no user and no password".to_owned()));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("it ends before any ? and #"));
    }
    let path = format!("{}/", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

/// A client that trusts the authorities of the settings and follows no redirects.
pub(super) fn client(url: &Url, settings: &Settings) -> Result<Client, LavaError> {
    install_crypto_provider();
    let begin = || {
        let builder = Client::builder()
            .connect_timeout(settings.timeout)
            .redirect(Policy::none())
            .referer(false)
            .pool_idle_timeout(IDLE)
            .user_agent(concat!("kiln/", env!("CARGO_PKG_VERSION")));
        if is_loopback(url) { builder.no_proxy() } else { builder }
    };
    let built = match &settings.ca {
        Some(ca) => {
            let wrong = |error| settings_error(format!("{}: {}", ca.display(), error_chain(&error)));
            let certificates = Certificate::from_pem_bundle(&read(ca)?).map_err(wrong)?;
            begin().tls_certs_only(certificates).build()
        }
        // http needs no certificate authorities, so a machine without any will do.
        None if url.scheme() == "http" => begin().build().or_else(|_| trust_nobody(begin())),
        None => begin().build(),
    };
    built.map_err(|error| settings_error(format!("no client for {url}: {}", error_chain(&error))))
}

fn trust_nobody(builder: ClientBuilder) -> reqwest::Result<Client> {
    builder.tls_certs_only(std::iter::empty()).build()
}

/// The authorization header. LAVA only accepts the scheme `Token` and treats any other as anonymous.
pub(super) fn authorization(token: &Token) -> Result<HeaderValue, LavaError> {
    if token.reveal().is_empty() {
        return Err(settings_error("the token is empty".to_owned()));
    }
    let mut value = HeaderValue::try_from(format!("Token {}", token.reveal())).map_err(|_| {
        settings_error("the token holds what no token can: a line break, perhaps, at its end".to_owned())
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Reads a file that the settings name.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, LavaError> {
    std::fs::read(path).map_err(|error| settings_error(format!("{}: {error}", path.display())))
}

pub(super) fn settings_error(text: String) -> LavaError {
    LavaError::Settings(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_a_slash_and_keeps_its_path() {
        assert_eq!(base("https://lava.example").unwrap().as_str(), "https://lava.example/");
        assert_eq!(base("https://lava.example/lab//").unwrap().as_str(), "https://lava.example/lab/");
        assert_eq!(base("http://127.0.0.1:28000/").unwrap().as_str(), "http://127.0.0.1:28000/");
        assert!(base("http://[::1]:1/").is_ok());
    }

    #[test]
    fn unsafe_and_invalid_addresses_are_refused() {
        for wrong in
            ["http://lava.example/", "ftp://lava.example/", "lava.example", "https://lava.example/?a=b"]
        {
            assert!(matches!(base(wrong), Err(LavaError::Settings(_))), "{wrong}");
        }
        let error = base("https://user:s3cret@lava.example/").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cret"));
    }

    #[test]
    fn a_token_uses_lavas_scheme_and_is_hidden_in_debug_output() {
        let value = authorization(&Token::new("abc".to_owned())).unwrap();
        assert_eq!(value.to_str().unwrap(), "Token abc");
        assert!(!format!("{value:?}").contains("abc"));
        assert!(authorization(&Token::new("abc\n".to_owned())).is_err());
        assert!(authorization(&Token::new(String::new())).is_err());
    }
}
