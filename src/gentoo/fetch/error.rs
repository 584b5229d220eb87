//! What can go wrong with mirrors, and what of it may pass.

use std::io;
use std::path::{Path, PathBuf};

use crate::net::Late;

/// Why something did not come.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// A mirror's address is none.
    #[error("the mirror {address:?} can't be used: {problem}")]
    Address {
        /// As it was written, without what may be secret.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
    /// No mirror has it as it should be.
    #[error("no mirror gives {path}: {}", problems.join("; "))]
    Mirrors {
        /// What was asked for, relative to a mirror's root.
        path: String,
        /// What each of them did, the first first.
        problems: Vec<String>,
    },
    /// It can't be kept here.
    #[error("{}: {source}", path.display())]
    Local {
        /// The file.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
    /// Whoever watched ended it. What has come is kept for the next time.
    #[error("it was cancelled")]
    Cancelled,
}

impl FetchError {
    pub(super) fn local(path: &Path, source: io::Error) -> Self {
        Self::Local { path: path.to_owned(), source }
    }

    pub(super) fn mirrors(path: &str, problems: Vec<Noted>) -> Self {
        let problems = problems.into_iter().map(|(_, mirror, problem)| format!("{mirror}: {problem}"));
        Self::Mirrors { path: path.to_owned(), problems: problems.collect() }
    }
}

/// What a mirror did.
#[derive(Debug, thiserror::Error)]
pub enum MirrorProblem {
    /// It was not reached.
    #[error("it can't be reached: {0}")]
    Unreachable(String),
    /// Nothing came for as long.
    #[error("nothing came for {0} s")]
    Silent(u64),
    /// What comes, comes too slowly.
    #[error("it is slower than {0} bytes a second")]
    Slow(u64),
    /// The connection ended early.
    #[error("the connection broke off after {0} bytes")]
    BrokeOff(u64),
    /// It does not have it. Mirrors keep the last few builds.
    #[error(
        "it does not have the file (mirrors keep the last few builds and trees: `kiln update` takes later ones)"
    )]
    Missing,
    /// It sends us elsewhere.
    #[error("it redirects to {0}, which is not followed: name that mirror if it is one")]
    Redirect(String),
    /// Another answer than those expected.
    #[error("it answers {0}")]
    Status(u16),
    /// A page for people, from a portal or an error handler.
    #[error("it answers with a page (text/html) instead of the file")]
    Page,
    /// It has a file of another size.
    #[error("its file has {found} bytes where there should be {wanted}")]
    Size {
        /// What it announces.
        found: u64,
        /// What there should be.
        wanted: u64,
    },
    /// It sends more than it announced, or than anybody reads.
    #[error("it sends more than {0} bytes")]
    TooMuch(u64),
    /// An answer that makes no sense.
    #[error("{0}")]
    Nonsense(&'static str),
    /// What came is not what it should be.
    #[error("{0}")]
    Content(String),
}

impl From<Late> for MirrorProblem {
    fn from(late: Late) -> Self {
        match late {
            Late::Silent(time) => Self::Silent(time.as_secs()),
            Late::Slow(pace) => Self::Slow(pace),
        }
    }
}

impl MirrorProblem {
    /// Whether another try may help.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Silent(_) | Self::BrokeOff(_) => true,
            Self::Status(status) => *status >= 500 || *status == 429,
            _ => false,
        }
    }
}

/// A mirror by its place in the list and its address, and its last problem.
pub(super) type Noted = (usize, String, MirrorProblem);

/// Notes a mirror's problem in place of an earlier one.
pub(super) fn note(problems: &mut Vec<Noted>, index: usize, mirror: &str, problem: MirrorProblem) {
    match problems.iter_mut().find(|(other, ..)| *other == index) {
        Some(noted) => noted.2 = problem,
        None => problems.push((index, mirror.to_owned(), problem)),
    }
}
