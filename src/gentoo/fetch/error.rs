//! Errors of downloads from mirrors, and which of them are temporary.

use std::io;
use std::path::{Path, PathBuf};

use crate::net::Stall;

/// Why a download failed.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// A mirror's address is invalid.
    #[error("the mirror {address:?} can't be used: {problem}")]
    Address {
        /// The address, without possible secrets.
        address: String,
        /// The problem.
        problem: String,
    },
    /// No mirror has a valid copy.
    #[error("no mirror gives {path}: {}", problems.join("; "))]
    Mirrors {
        /// The requested path, relative to a mirror's root.
        path: String,
        /// The error of each mirror, in order.
        problems: Vec<String>,
    },
    /// A local file operation failed.
    #[error("{}: {source}", path.display())]
    Local {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The caller stopped it. The partial file is kept.
    #[error("it was cancelled")]
    Cancelled,
}

impl FetchError {
    pub(super) fn local(path: &Path, source: io::Error) -> Self {
        Self::Local { path: path.to_owned(), source }
    }

    pub(super) fn mirrors(path: &str, problems: Vec<MirrorFailure>) -> Self {
        let problems = problems.into_iter().map(|(_, mirror, problem)| format!("{mirror}: {problem}"));
        Self::Mirrors { path: path.to_owned(), problems: problems.collect() }
    }
}

/// Why a mirror failed.
#[derive(Debug, thiserror::Error)]
pub enum MirrorProblem {
    /// It can't be reached.
    #[error("it can't be reached: {0}")]
    Unreachable(String),
    /// It sent nothing for this many seconds.
    #[error("nothing came for {0} s")]
    Silent(u64),
    /// It is slower than this many bytes a second.
    #[error("it is slower than {0} bytes a second")]
    Slow(u64),
    /// The connection ended after this many bytes.
    #[error("the connection broke off after {0} bytes")]
    BrokeOff(u64),
    /// It does not have the file. Mirrors keep the last few builds.
    #[error(
        "it does not have the file (mirrors keep the last few builds and trees: `kiln update` takes later ones)"
    )]
    Missing,
    /// It redirects.
    #[error("it redirects to {0}, which is not followed: name that mirror if it is one")]
    Redirect(String),
    /// An unexpected status.
    #[error("it answers {0}")]
    Status(u16),
    /// An HTML page, from a portal or an error handler.
    #[error("it answers with a page (text/html) instead of the file")]
    Page,
    /// It has a file of another size.
    #[error("its file has {found} bytes where there should be {wanted}")]
    Size {
        /// The announced size.
        found: u64,
        /// The expected size.
        wanted: u64,
    },
    /// It sends more than the expected size, or than the limit.
    #[error("it sends more than {0} bytes")]
    TooMuch(u64),
    /// A malformed response.
    #[error("{0}")]
    Malformed(&'static str),
    /// The content is invalid.
    #[error("{0}")]
    Content(String),
}

impl From<Stall> for MirrorProblem {
    fn from(stall: Stall) -> Self {
        match stall {
            Stall::Silent(time) => Self::Silent(time.as_secs()),
            Stall::Slow(rate) => Self::Slow(rate),
        }
    }
}

impl MirrorProblem {
    /// Whether the error is temporary.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Silent(_) | Self::BrokeOff(_) => true,
            Self::Status(status) => *status >= 500 || *status == 429,
            _ => false,
        }
    }
}

/// The index and the address of a mirror, with its last problem.
pub(super) type MirrorFailure = (usize, String, MirrorProblem);

/// Records a mirror's problem in place of an earlier one.
pub(super) fn note(problems: &mut Vec<MirrorFailure>, index: usize, mirror: &str, problem: MirrorProblem) {
    match problems.iter_mut().find(|(other, ..)| *other == index) {
        Some(noted) => noted.2 = problem,
        None => problems.push((index, mirror.to_owned(), problem)),
    }
}
