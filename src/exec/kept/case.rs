//! The one table of what changes of a source tree let a run continue in a kept output directory. docs/rules.md shows it,
//! and a test compares the two.
//!
//! What it rests on: between two runs in the same directory nothing but content that compilations read may change.
//! Makefiles, scripts, programs, names, the configuration and the tools are the same, so make walks the same graph of
//! targets, and each compilation that is out of date is known from its record.

use std::fmt;

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::exec) enum Case {
    /// Nothing read it.
    Unread,
    /// Times alone: no change of the tree at all.
    #[cfg(test)]
    Times,
    /// Content that only compilations read.
    Compiled,
    /// Content of a makefile.
    Makefile,
    /// Content of what a program is made from that runs during the build.
    Program,
    /// Content of anything else.
    Other,
    /// A name is new or gone where names count.
    Name,
    /// A file is new or gone that has a name that is looked for.
    Namesake,
    /// A file is executable now, or no more.
    Mode,
    /// A link, or another kind of file.
    Link,
    /// A time that nothing can be newer than.
    Incomparable,
}

/// What it means for the next run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::exec) enum Decision {
    /// It does not count.
    Ignored,
    /// The run continues, and makes anew what is affected.
    Continues,
    /// The run starts with an empty directory.
    FromNothing,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ignored => "makes no difference",
            Self::Continues => "continues",
            Self::FromNothing => "starts from nothing",
        })
    }
}

impl Case {
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
            | Self::Incomparable => Decision::FromNothing,
        }
    }

    /// What is the matter with the path.
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

    /// Why it means that.
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
    use super::Case;

    /// The rows of docs/rules.md, in their order.
    const ROWS: [(&str, Case); 11] = [
        ("a file that nothing read changes, is new or gone, where no names count", Case::Unread),
        ("times of files change, to old ones, equal ones or newer ones", Case::Times),
        ("content of a file that only compilations of kernel code read", Case::Compiled),
        ("content of a makefile that was read (`Makefile*`, `Kbuild*`, `*.mk`)", Case::Makefile),
        (
            "content of anything below `scripts` or `tools`, or of the sources of any other program that the build runs",
            Case::Program,
        ),
        ("content of anything else that was read, such as tables and data", Case::Other),
        (
            "a file or directory is new or gone in a directory whose names count: it was read, or something in it was",
            Case::Name,
        ),
        ("a file is new or gone elsewhere, with the name of one that was read or made", Case::Namesake),
        ("a file becomes executable, or ceases to be, that was read or is in such a directory", Case::Mode),
        (
            "a symbolic link is new, gone or leads elsewhere; a file becomes a directory, or the reverse",
            Case::Link,
        ),
        (
            "a file that was read has a time in the future; the cache's file system keeps coarse times",
            Case::Incomparable,
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
