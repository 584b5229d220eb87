//! TLS: its provider of cryptography, addresses that do not need it, and errors about certificates.

use std::error::Error;
use std::io;
use std::net::IpAddr;

use reqwest::Url;

/// Gives the process its provider of cryptography. Where one has been chosen before, it is this one too.
pub fn install_crypto_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Whether what is sent to an address stays on this machine.
pub fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Why a server's certificate was not believed, if that is what an error comes from.
pub fn certificate_error(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error @ rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
            return Some(error.to_string());
        }
        // What an I/O error is made of is not what it comes from.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = inner.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known_by_all_its_names() {
        for (address, is) in [
            ("http://localhost:1/", true),
            ("http://127.0.0.1/", true),
            ("http://127.1.2.3/", true),
            ("http://[::1]:1/", true),
            ("http://127.0.0.1.example/", false),
            ("http://192.0.2.1/", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(address).unwrap()), is, "{address}");
        }
    }

    #[test]
    fn a_certificate_is_found_to_be_the_reason() {
        let wrong = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let wrapped = io::Error::other(io::Error::other(wrong));
        assert_eq!(certificate_error(&wrapped).as_deref(), Some("invalid peer certificate: UnknownIssuer"));
        assert_eq!(certificate_error(&io::Error::other(rustls::Error::DecryptError)), None);
    }
}
