//! The address and the credentials of a lab.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

/// The settings of a lab's client.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its address, as in a browser, without `api/v0.2/`. http is only accepted for loopback.
    pub url: String,
    /// The token's user. Verified with the lab.
    pub user: String,
    /// The token.
    pub token: Token,
    /// How long to wait for a response, and for more of one.
    pub timeout: Duration,
    /// A PEM file with trusted authorities, instead of the system's.
    pub ca: Option<PathBuf>,
    /// The address of its event stream (`ws://` or `wss://`).
    pub events: Option<String>,
}

/// A LAVA token. It is never printed, and wiped on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// Wraps a token.
    pub fn new(token: String) -> Self {
        Self(Zeroizing::new(token))
    }

    /// The token's text.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}
