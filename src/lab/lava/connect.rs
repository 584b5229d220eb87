//! How a lab is reached, and what lets us in.

use std::path::Path;
use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, ClientBuilder, Url};

use super::{LavaError, Settings, Token};
use crate::net::{chain, is_loopback, provide_cryptography};

/// How long a connection is kept that nothing is asked over. Short, as web servers in front of a LAVA close theirs after a
/// second or two: a submission that meets such an end could not be told from one that arrived.
const IDLE: Duration = Duration::from_secs(1);

/// The lab's address, with the slash that makes it one to start from.
pub(super) fn base(address: &str) -> Result<Url, LavaError> {
    let wrong = |why: &str| mistake(format!("{address:?} is no address of a lab: {why}"));
    let mut url = Url::parse(address).map_err(|error| wrong(&error.to_string()))?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => return Err(wrong("the token would be sent for everybody to read; use https")),
        _ => return Err(wrong("it begins with https:// (or http:// on this machine)")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(mistake("an address of a lab holds no user and no password".to_owned()));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("it ends before any ? and #"));
    }
    let path = format!("{}/", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

/// A client that believes what the settings say, and follows nothing.
pub(super) fn client(url: &Url, settings: &Settings) -> Result<Client, LavaError> {
    provide_cryptography();
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
            let wrong = |error| mistake(format!("{}: {}", ca.display(), chain(&error)));
            let certificates = Certificate::from_pem_bundle(&read(ca)?).map_err(wrong)?;
            begin().tls_certs_only(certificates).build()
        }
        // Without encryption a machine without authorities will do.
        None if url.scheme() == "http" => begin().build().or_else(|_| believes_nobody(begin())),
        None => begin().build(),
    };
    built.map_err(|error| mistake(format!("no client for {url}: {}", chain(&error))))
}

fn believes_nobody(builder: ClientBuilder) -> reqwest::Result<Client> {
    builder.tls_certs_only(std::iter::empty()).build()
}

/// What a request shows to be let in. LAVA reads the scheme `Token` alone, and takes any other for nobody.
pub(super) fn authorization(token: &Token) -> Result<HeaderValue, LavaError> {
    if token.reveal().is_empty() {
        return Err(mistake("the token is empty".to_owned()));
    }
    let mut value = HeaderValue::try_from(format!("Token {}", token.reveal())).map_err(|_| {
        mistake("the token holds what no token can: a line break, perhaps, at its end".to_owned())
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// The bytes of a file that the settings name.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, LavaError> {
    std::fs::read(path).map_err(|error| mistake(format!("{}: {error}", path.display())))
}

pub(super) fn mistake(text: String) -> LavaError {
    LavaError::Settings(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_ends_with_a_slash_and_keeps_where_the_lab_is_mounted() {
        assert_eq!(base("https://lava.example").unwrap().as_str(), "https://lava.example/");
        assert_eq!(base("https://lava.example/lab//").unwrap().as_str(), "https://lava.example/lab/");
        assert_eq!(base("http://127.0.0.1:28000/").unwrap().as_str(), "http://127.0.0.1:28000/");
        assert!(base("http://[::1]:1/").is_ok());
    }

    #[test]
    fn an_address_is_refused_that_would_tell_the_token_or_is_none() {
        for wrong in
            ["http://lava.example/", "ftp://lava.example/", "lava.example", "https://lava.example/?a=b"]
        {
            assert!(matches!(base(wrong), Err(LavaError::Settings(_))), "{wrong}");
        }
        let error = base("https://user:s3cret@lava.example/").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cret"));
    }

    #[test]
    fn a_token_is_sent_as_lava_wants_it_and_shown_to_nobody() {
        let value = authorization(&Token::new("abc".to_owned())).unwrap();
        assert_eq!(value.to_str().unwrap(), "Token abc");
        assert!(!format!("{value:?}").contains("abc"));
        assert!(authorization(&Token::new("abc\n".to_owned())).is_err());
        assert!(authorization(&Token::new(String::new())).is_err());
    }
}
