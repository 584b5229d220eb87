//! The table of changes of a source tree: with which of them a run may continue in a kept output directory. docs/rules.md
//! shows the same table, and a test compares both.
//!
//! The principle: between two runs in a directory, only content may change that compilations read. Makefiles, scripts,
//! programs, names, the configuration and the tools are the same, so make visits the same targets, and the records of each
//! compilation say whether it is out of date.

use std::fmt;

/// A class of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::exec) enum ChangeClass {
    /// Nothing read the file.
    Unread,
    /// Only times have changed.
    #[cfg(test)]
    Times,
    /// Content that only compilations read.
    Compiled,
    /// Content of a makefile.
    Makefile,
    /// Content that is the source of a program that runs during the build.
    Program,
    /// Content of anything else.
    Other,
    /// A name is new or gone in a directory whose names count.
    Name,
    /// A file is new or gone, and has a name that was searched for.
    Namesake,
    /// A file has become executable, or is no longer.
    Mode,
    /// A link, or a change to another type of file.
    Link,
    /// A time that nothing can be newer than.
    Incomparable,
}

/// What a change means for the next run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::exec) enum Decision {
    /// It has no effect.
    Ignored,
    /// The run continues, and rebuilds what is affected.
    Continues,
    /// The run starts with an empty directory.
    FromScratch,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ignored => "makes no difference",
            Self::Continues => "continues",
            Self::FromScratch => "starts from nothing",
        })
    }
}

impl ChangeClass {
    /// What it means for the next run.
    pub(super) const fn decision(self) -> Decision {
        match self {
            #[cfg(test)]
            Self::Times => Decision::Ignored,
            Self::Unread => Decision::Ignored,
            Self::Compiled => Decision::Continues,
            Self::Makefile
            | Self::Program
            | Self::Other
            | Self::Name
            | Self::Namesake
            | Self::Mode
            | Self::Link
            | Self::Incomparable => Decision::FromScratch,
        }
    }

    /// What has happened to the path.
    pub(super) const fn what(self) -> &'static str {
        match self {
            #[cfg(test)]
            Self::Times => "has another time",
            Self::Unread | Self::Compiled | Self::Makefile | Self::Program | Self::Other => "changed",
            Self::Name | Self::Namesake => "is new or gone",
            Self::Mode => "has another mode",
            Self::Link => "is or was a link, or another kind of file",
            Self::Incomparable => "has a time in the future",
        }
    }

    /// Why the decision is what it is.
    pub(super) const fn why(self) -> &'static str {
        match self {
            Self::Unread => "no step has seen it",
            #[cfg(test)]
            Self::Times => "kiln sets the times that make compares",
            Self::Compiled => "kbuild's records name it for each object that was compiled from it",
            Self::Makefile => "kbuild does not compare every recipe, and keeps what has no rule any more",
            Self::Program => "kbuild does not always make again what it has made",
            Self::Other => "kbuild does not know it as a prerequisite everywhere",
            Self::Name => "`wildcard`, `find` and `__has_include` ask for names, and keep no record",
            Self::Namesake => "it may be found first, and a search keeps no record",
            Self::Mode => "make does not look at modes",
            Self::Link => "kbuild's records name what a link led to, and not the link",
            Self::Incomparable => "nothing that is made now would be newer",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ChangeClass;

    /// The rows of docs/rules.md, in their order.
    const ROWS: [(&str, ChangeClass); 11] = [
        ("a file that nothing read changes, is new or gone, where no names count", ChangeClass::Unread),
        ("times of files change, to old ones, equal ones or newer ones", ChangeClass::Times),
        ("content of a file that only compilations of kernel code read", ChangeClass::Compiled),
        ("content of a makefile that was read (`Makefile*`, `Kbuild*`, `*.mk`)", ChangeClass::Makefile),
        (
            "content of anything below `scripts` or `tools`, or of the sources of any other program that the build runs",
            ChangeClass::Program,
        ),
        ("content of anything else that was read, such as tables and data", ChangeClass::Other),
        (
            "a file or directory is new or gone in a directory whose names count: it was read, or something in it was",
            ChangeClass::Name,
        ),
        (
            "a file is new or gone elsewhere, with the name of one that was read or made",
            ChangeClass::Namesake,
        ),
        (
            "a file becomes executable, or ceases to be, that was read or is in such a directory",
            ChangeClass::Mode,
        ),
        (
            "a symbolic link is new, gone or leads elsewhere; a file becomes a directory, or the reverse",
            ChangeClass::Link,
        ),
        (
            "a file that was read has a time in the future; the cache's file system keeps coarse times",
            ChangeClass::Incomparable,
        ),
    ];

    #[test]
    fn the_documentation_has_this_very_table() {
        let docs = include_str!("../../../docs/rules.md");
        let (_, section) = docs.split_once("\n## Continuing\n").expect("there is a section");
        let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
        let rows: Vec<&str> = section.lines().filter(|line| line.starts_with('|')).skip(2).collect();
        let ours = ROWS.map(|(what, case)| format!("| {what} | {} | {} |", case.decision(), case.why()));
        assert_eq!(rows, ours);
    }
}
