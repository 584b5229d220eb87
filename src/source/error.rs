//! What can be wrong with a source tree.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Mutex;

use nix::errno::Errno;

/// A source tree that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// There is nothing at its path.
    #[error("the source tree {} does not exist", root.display())]
    Missing {
        /// Where it was to be.
        root: PathBuf,
    },
    /// Its path leads to something else.
    #[error("the source tree {} is not a directory", root.display())]
    NotADirectory {
        /// Where it was to be.
        root: PathBuf,
    },
    /// Its path cannot be followed.
    #[error("the source tree {} cannot be opened", root.display())]
    Root {
        /// Where it is.
        root: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Some of what it holds cannot be read.
    #[error("the source tree {} cannot be read{}", root.display(), Problems(problems, *total))]
    Unreadable {
        /// Where it is.
        root: PathBuf,
        /// The first problems, by path.
        problems: Vec<Problem>,
        /// How many there are in all.
        total: usize,
    },
}

/// A file or directory that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where it is, from the tree's root.
    pub path: PathBuf,
    /// What is wrong with it.
    pub kind: ProblemKind,
}

/// What is wrong with a file or directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProblemKind {
    /// This user may not read it.
    Denied {
        /// Whether it is a directory.
        directory: bool,
    },
    /// It turned into something else while it was looked at.
    Changed,
    /// More than [`MAX_DEPTH`](super::walk::MAX_DEPTH) directories deep.
    TooDeep,
    /// Anything else the system refuses.
    Io(String),
}

impl ProblemKind {
    pub(super) fn new(errno: Errno, directory: bool) -> Self {
        match errno {
            Errno::EACCES | Errno::EPERM => Self::Denied { directory },
            Errno::ELOOP | Errno::ENOTDIR | Errno::EISDIR | Errno::ENXIO => Self::Changed,
            other => Self::Io(other.desc().to_owned()),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path =
            if self.path.as_os_str().is_empty() { ".".into() } else { self.path.display().to_string() };
        match &self.kind {
            ProblemKind::Denied { directory: false } => {
                write!(f, "{path}: permission denied (make it readable: chmod u+r, or chown it to this user)")
            }
            ProblemKind::Denied { directory: true } => {
                write!(f, "{path}: permission denied (make the directory readable: chmod u+rx, or chown it)")
            }
            ProblemKind::Changed => {
                write!(
                    f,
                    "{path}: it was replaced while it was read (run again when nothing writes to the tree)"
                )
            }
            ProblemKind::TooDeep => write!(
                f,
                "{path}: more than {} directories deep (is a directory mounted into itself?)",
                super::walk::MAX_DEPTH
            ),
            ProblemKind::Io(why) => write!(f, "{path}: {why} (check the disk and the file system)"),
        }
    }
}

struct Problems<'a>(&'a [Problem], usize);

impl fmt::Display for Problems<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in self.0 {
            write!(f, "\n  {problem}")?;
        }
        match self.1 - self.0.len() {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

/// Collects problems from all threads; keeps the first few by path, so that the report is the same each time.
#[derive(Default)]
pub(super) struct Collector(Mutex<(Vec<Problem>, usize)>);

impl Collector {
    const KEPT: usize = 20;

    pub fn add(&self, problem: Problem) {
        let mut guard = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (kept, total) = &mut *guard;
        *total += 1;
        let at = kept.partition_point(|other| *other < problem);
        if at < Self::KEPT {
            kept.insert(at, problem);
            kept.truncate(Self::KEPT);
        }
    }

    /// All problems, if there were any.
    pub fn into_error(self, root: PathBuf) -> Option<SourceError> {
        let (problems, total) = self.0.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        (total > 0).then_some(SourceError::Unreadable { root, problems, total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_problems_are_reported_and_the_others_counted() {
        let collector = Collector::default();
        for number in (0..50).rev() {
            collector.add(Problem {
                path: format!("dir/{number:02}").into(),
                kind: ProblemKind::Denied { directory: false },
            });
        }
        let text = collector.into_error("/src".into()).unwrap().to_string();
        assert!(
            text.starts_with("the source tree /src cannot be read\n  dir/00: permission denied (make it"),
            "{text}"
        );
        assert!(
            text.contains("dir/19") && !text.contains("dir/20") && text.ends_with("and 30 more"),
            "{text}"
        );
    }
}
