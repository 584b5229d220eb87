//! The cache, and remote caches.

use std::path::PathBuf;
use std::time::Duration;

use super::form::{Form, Of, Plain};

/// Cache settings.
#[derive(Clone, Debug)]
pub struct CacheSettings {
    /// The cache's home, relative to the project. Default `cache`.
    pub path: PathBuf,
    /// The size limit of kept output directories, in bytes. Default 20 GiB.
    pub kept: u64,
    /// The limits that are enforced after each build.
    pub limit: CacheLimit,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self { path: PathBuf::from("cache"), kept: 20 << 30, limit: CacheLimit::default() }
    }
}

/// The bounds of the cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheLimit {
    /// The size limit in bytes. Default: none.
    pub size: Option<u64>,
    /// The age at which unused entries are removed. Default: none.
    pub age: Option<Duration>,
    /// The bytes of the file system that stay free. Default: 2 GiB, or a twentieth of a small file system.
    pub free: Option<u64>,
}

/// A remote cache: `(name: "ci", url: "https://cache.example/kiln", write: true)`.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct RemoteCache<F: Form = Plain> {
    /// Its name.
    pub name: Of<F, String>,
    /// `dir:PATH`, `http(s)://..` or `grpc(s)://..`.
    pub url: Of<F, String>,
    /// The REAPI instance name. It is part of what is signed. Default: none.
    pub instance: String,
    /// Whether results are pushed to it.
    pub write: bool,
    /// Whether kept output directories go there and come from there, too.
    pub kept: bool,
    /// Whether results go there that were built by continuing, and that no run from nothing has made.
    pub continued: bool,
    /// Whether its results count without a signature.
    pub unsigned: bool,
    /// A bearer token, or the password of the user.
    pub token: Option<SecretFrom>,
    /// A user's name.
    pub user: Option<String>,
    /// A file with the authorities that its certificate must come from. Default: the system's.
    pub ca: Option<Of<F, PathBuf>>,
    /// A file with a certificate of ours, for servers that want one.
    pub certificate: Option<Of<F, PathBuf>>,
    /// The file with that certificate's key.
    pub certificate_key: Option<Of<F, PathBuf>>,
    /// The longest time to wait for an answer. Default 10 s.
    pub timeout: Duration,
}

/// The location of a secret. A secret is never in the spec itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretFrom {
    /// `Env("NAME")`: an environment variable.
    Env(String),
    /// `File("path")`: a file that only its owner can read.
    File(PathBuf),
}
