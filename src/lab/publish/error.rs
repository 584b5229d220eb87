//! Why a file can't be published.

use std::io;
use std::path::PathBuf;

/// Why a file can't be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A name that needs escapes in a URL.
    #[error("{name:?} can't be published: use letters, digits and `._-+,@=` in names, and not first a dot")]
    Name {
        /// The name.
        name: String,
    },
    /// A file has other content than expected.
    #[error("{} holds other bytes than were to be published: SHA-256 {found}, not {expected}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The expected digest.
        expected: String,
        /// The actual digest.
        found: String,
    },
    /// A published file is not served at its URL.
    #[error("{url} is not served: {why}; see `publish` in graph.ron, which says that {} is there", dir.display())]
    Unserved {
        /// The URL.
        url: String,
        /// The directory.
        dir: PathBuf,
        /// Why.
        why: Unserved,
    },
    /// A file operation failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Why a URL does not serve its file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unserved {
    /// Nothing answers.
    #[error("nothing answers ({0}); is the web server running? `kiln serve` is one")]
    Unreachable(String),
    /// There is no response in time.
    #[error("no answer within {0} s")]
    Slow(u64),
    /// There is no such file.
    #[error(
        "the web server has no such file, so that it serves another directory, or this one at another address"
    )]
    Missing,
    /// The server may not read the file.
    #[error("the web server may not read it: let its user into the directory and all above it")]
    Forbidden,
    /// The server redirects.
    #[error("the web server answers with a redirect (status {0}); give the address that it redirects to")]
    Redirected(u16),
    /// Another status.
    #[error("the web server answers with status {0}")]
    Status(u16),
    /// The file has another length.
    #[error("the web server has {} there, not {expected} bytes", length(*.found))]
    Length {
        /// The expected length.
        expected: u64,
        /// The server's length, if it sends one.
        found: Option<u64>,
    },
    /// The URL is invalid.
    #[error("{0}")]
    Address(String),
}

fn length(found: Option<u64>) -> String {
    found.map_or_else(
        || "something of a length that it does not tell".to_owned(),
        |found| format!("{found} bytes"),
    )
}
