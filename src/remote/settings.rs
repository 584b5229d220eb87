//! Where a remote is, and how to get in.

use std::path::PathBuf;
use std::time::Duration;

use super::secret::Secret;

/// All that is needed to reach a remote.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it is.
    pub address: Address,
    /// Which of a server's caches: REAPI's instance name, or a path below the address. Empty for the only one.
    pub instance: String,
    /// Shown to the server to be let in.
    pub token: Option<Secret>,
    /// A user's name, for servers that want a password (then the token is that) rather than a bearer token.
    pub user: Option<String>,
    /// A PEM file with the authorities to believe, instead of the system's.
    pub ca: Option<PathBuf>,
    /// PEM files with a certificate and its key, for servers that want one.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// How long to wait for an answer, and for more of one.
    pub timeout: Duration,
}

/// Where a remote is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `dir:PATH`.
    Dir(PathBuf),
    /// `http://` or `https://`.
    Http(String),
    /// `grpc://` or `grpcs://`.
    Grpc(String),
}
