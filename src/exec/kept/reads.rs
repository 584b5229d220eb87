//! What was read of a source tree, as far as changes of the tree concern it.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::time::SystemTime;

use super::case::Case;
use crate::exec::discover::Use;
use crate::source::{Change, ChangeKind, EntryKind, EntryType, Reads, Snapshot, split};

/// What was read of a tree. Where nothing tells, everything was.
pub(super) struct ReadOf<'a> {
    /// `None`: all of it, as far as is known.
    files: Option<HashSet<&'a [u8]>>,
    /// Directories of which the names count.
    listed: HashSet<&'a [u8]>,
    /// Names that files were looked for by.
    searched: HashSet<&'a [u8]>,
    /// Directories of which all was read, as far as is known.
    trees: HashSet<&'a [u8]>,
}

impl<'a> ReadOf<'a> {
    /// `made`: names of what was made, such as generated headers, which may have been searched for as well.
    pub(super) fn new(reads: &'a Reads, made: &'a HashSet<Vec<u8>>) -> Self {
        let Reads::Only(entries) = reads else {
            let (listed, searched, trees) = (HashSet::new(), HashSet::new(), HashSet::new());
            return Self { files: None, listed, searched, trees };
        };
        let paths = |wanted: fn(EntryKind) -> bool| -> HashSet<&[u8]> {
            entries.iter().filter(|entry| wanted(entry.kind)).map(|entry| &*entry.path).collect()
        };
        let files = paths(|kind| matches!(kind, EntryKind::File | EntryKind::Searched));
        let searched = files.iter().map(|path| split(path).1).chain(made.iter().map(Vec::as_slice)).collect();
        let trees = paths(|kind| kind == EntryKind::Tree);
        Self { files: Some(files), listed: paths(|kind| kind == EntryKind::Names), searched, trees }
    }

    fn contains(&self, path: &[u8]) -> bool {
        self.files.as_ref().is_none_or(|files| files.contains(path)) || self.is_below_tree(path)
    }

    /// Whether it counts which names there are in the directory that a path is in.
    fn lists(&self, path: &[u8]) -> bool {
        self.files.is_none() || self.listed.contains(split(path).0) || self.is_below_tree(path)
    }

    fn is_below_tree(&self, path: &[u8]) -> bool {
        let mut above = path;
        while !self.trees.is_empty() && !above.is_empty() {
            if self.trees.contains(above) {
                return true;
            }
            above = split(above).0;
        }
        self.trees.contains(&b""[..])
    }

    /// What a change is to a run that would continue.
    pub(super) fn case(&self, change: &Change, used_for: impl Fn(&[u8]) -> Use) -> Case {
        let path = change.path.as_os_str().as_bytes();
        match &change.kind {
            ChangeKind::Content { .. } if self.contains(path) => of_use(used_for(path)),
            ChangeKind::Content { .. } => Case::Unread,
            ChangeKind::Mode { .. } if self.contains(path) || self.lists(path) => Case::Mode,
            ChangeKind::Mode { .. } => Case::Unread,
            ChangeKind::Added(EntryType::File | EntryType::Dir)
            | ChangeKind::Removed(EntryType::File | EntryType::Dir)
                if self.lists(path) || self.contains(path) =>
            {
                Case::Name
            }
            ChangeKind::Added(EntryType::Dir) | ChangeKind::Removed(EntryType::Dir) => Case::Unread,
            ChangeKind::Added(EntryType::File) | ChangeKind::Removed(EntryType::File) => {
                if self.searched.contains(split(path).1) { Case::Namesake } else { Case::Unread }
            }
            ChangeKind::Added(EntryType::Symlink | EntryType::Special(_))
            | ChangeKind::Removed(EntryType::Symlink | EntryType::Special(_))
            | ChangeKind::Target { .. }
            | ChangeKind::Type { .. } => Case::Link,
        }
    }

    /// The newest time of what was read and has not changed.
    pub(super) fn newest(&self, snapshot: &Snapshot, unchanged: impl Fn(&[u8]) -> bool) -> SystemTime {
        let mut newest = SystemTime::UNIX_EPOCH;
        let mut add = |path: &[u8]| {
            if unchanged(path)
                && let Some(time) = snapshot.modified(path)
            {
                newest = newest.max(time);
            }
        };
        if let Some(files) = &self.files
            && self.trees.is_empty()
        {
            for path in files {
                add(path);
            }
        } else {
            let _: Option<()> = snapshot.each(|path, _| {
                if self.contains(path) {
                    add(path);
                }
                ControlFlow::Continue(())
            });
        }
        newest
    }
}

/// What other content of a file is, by what it is used for.
pub(super) const fn of_use(used_for: Use) -> Case {
    match used_for {
        Use::Compiled => Case::Compiled,
        Use::Program => Case::Program,
        Use::Makefile => Case::Makefile,
        Use::Other => Case::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::source::PathEntry;

    fn case(reads: &Reads, path: &str, kind: ChangeKind) -> Case {
        let made = HashSet::from([b"made.h".to_vec()]);
        let used_for = |path: &[u8]| if path.ends_with(b".c") { Use::Compiled } else { Use::Other };
        ReadOf::new(reads, &made).case(&Change { path: path.into(), kind }, used_for)
    }

    #[test]
    fn what_a_change_is_depends_on_what_was_read() {
        let entry = |kind, path: &str| PathEntry::new(kind, path.as_bytes());
        let reads = Reads::only(vec![
            entry(EntryKind::File, "lib/a.c"),
            entry(EntryKind::Searched, "include/a.h"),
            entry(EntryKind::Names, ""),
            entry(EntryKind::Names, "lib"),
            entry(EntryKind::Names, "include"),
            entry(EntryKind::Tree, "scripts"),
        ]);
        let content = || ChangeKind::Content { old: Digest::of_bytes(b"1"), new: Digest::of_bytes(b"2") };
        let mode = || ChangeKind::Mode { executable: true };
        let (new, gone) = (ChangeKind::Added(EntryType::File), ChangeKind::Removed(EntryType::File));
        for (path, kind, expected) in [
            ("lib/a.c", content(), Case::Compiled),
            ("include/a.h", content(), Case::Other),
            ("lib/b.c", content(), Case::Unread),
            ("scripts/x/y", content(), Case::Other),
            ("lib/a.c", mode(), Case::Mode),
            ("lib/b.c", mode(), Case::Mode),
            ("net/b.c", mode(), Case::Unread),
            ("lib/b.c", new.clone(), Case::Name),
            ("lib/b.c", gone.clone(), Case::Name),
            ("lib/new", ChangeKind::Added(EntryType::Dir), Case::Name),
            ("lib/new/b.h", new.clone(), Case::Unread),
            ("scripts/x/new", new.clone(), Case::Name),
            ("net/b.c", new.clone(), Case::Unread),
            ("net/new", ChangeKind::Removed(EntryType::Dir), Case::Unread),
            ("net/a.h", new.clone(), Case::Namesake),
            ("net/a.h", gone, Case::Namesake),
            ("net/made.h", new.clone(), Case::Namesake),
            ("net/link", ChangeKind::Added(EntryType::Symlink), Case::Link),
            ("net/b.c", ChangeKind::Type { old: EntryType::File, new: EntryType::Dir }, Case::Link),
        ] {
            assert_eq!(case(&reads, path, kind.clone()), expected, "{path} {kind:?}");
        }
        for (path, kind, expected) in [
            ("net/b.c", content(), Case::Compiled),
            ("net/b.c", mode(), Case::Mode),
            ("net/new", new, Case::Name),
        ] {
            assert_eq!(case(&Reads::Whole, path, kind), expected, "{path}");
        }
    }
}
