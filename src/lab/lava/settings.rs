//! Where a lab is, and how to get in.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

/// All that is needed to talk to a lab.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its address, as one would type it into a browser: what stands before `api/v0.2/`. Not encrypted only on loopback.
    pub url: String,
    /// Whose token it is. The lab is asked whether that is so.
    pub user: String,
    /// Shown to the lab to be let in.
    pub token: Token,
    /// How long to wait for an answer, and for more of one.
    pub timeout: Duration,
    /// A PEM file with the authorities to believe, instead of the system's.
    pub ca: Option<PathBuf>,
    /// Where it tells of events (`ws://` or `wss://`).
    pub events: Option<String>,
}

/// A token of LAVA. It is never shown, and wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// Takes a token in.
    pub fn new(token: String) -> Self {
        Self(Zeroizing::new(token))
    }

    /// The token, for the one who needs it.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}
