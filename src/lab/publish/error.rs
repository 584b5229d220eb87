//! Why something can't be published.

use std::io;
use std::path::PathBuf;

/// Why something can't be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A name that can't be a part of an address as it is.
    #[error("{name:?} can't be published: use letters, digits and `._-+,@=` in names, and not first a dot")]
    Name {
        /// It.
        name: String,
    },
    /// A file is not what it should be.
    #[error("{} holds other bytes than were to be published: SHA-256 {found}, not {expected}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What it should hash to.
        expected: String,
        /// What it does.
        found: String,
    },
    /// What was published is not to be had at its address.
    #[error("{url} is not served: {why}; see `publish` in graph.ron, which says that {} is there", dir.display())]
    Unserved {
        /// The address.
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

/// Why an address does not have what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unserved {
    /// Nothing answers.
    #[error("nothing answers ({0}); is the web server running? `kiln serve` is one")]
    Unreachable(String),
    /// It does not answer in time.
    #[error("no answer within {0} s")]
    Slow(u64),
    /// It has no such file.
    #[error(
        "the web server has no such file, so that it serves another directory, or this one at another address"
    )]
    Missing,
    /// It must not, or can't, read the file.
    #[error("the web server may not read it: let its user into the directory and all above it")]
    Forbidden,
    /// It sends us elsewhere.
    #[error("the web server answers with a redirect (status {0}); give the address that it redirects to")]
    Redirected(u16),
    /// It answers otherwise.
    #[error("the web server answers with status {0}")]
    Status(u16),
    /// What it has is of another length.
    #[error("the web server has {} there, not {expected} bytes", length(*.found))]
    Length {
        /// How long it is.
        expected: u64,
        /// What the server says; `None`: nothing.
        found: Option<u64>,
    },
    /// It can't be asked at all.
    #[error("{0}")]
    Address(String),
}

fn length(found: Option<u64>) -> String {
    found.map_or_else(
        || "something of a length that it does not tell".to_owned(),
        |found| format!("{found} bytes"),
    )
}
