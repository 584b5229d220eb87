//! Classifies a change of a source tree by what a run read of the tree.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::time::SystemTime;

use super::change_class::ChangeClass;
use crate::exec::discover::FileUse;
use crate::source::{Change, ChangeKind, EntryKind, EntryType, Reads, Snapshot, split};

/// The reads of a run in a tree.
pub(super) struct TreeReads<'a> {
    /// `None`: all files count as read.
    files: Option<HashSet<&'a [u8]>>,
    /// Directories whose names count.
    listed: HashSet<&'a [u8]>,
    /// The names of files that were searched for.
    searched: HashSet<&'a [u8]>,
    /// Directories that count as read whole.
    trees: HashSet<&'a [u8]>,
}

impl<'a> TreeReads<'a> {
    /// `made`: names of files that the run made, such as generated headers. They may have been searched for in the tree, too.
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

    /// Whether the names in the directory of a path count.
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

    /// The class of a change.
    pub(super) fn case(&self, change: &Change, used_for: impl Fn(&[u8]) -> FileUse) -> ChangeClass {
        let path = change.path.as_os_str().as_bytes();
        match &change.kind {
            ChangeKind::Content { .. } if self.contains(path) => class_of_use(used_for(path)),
            ChangeKind::Content { .. } => ChangeClass::Unread,
            ChangeKind::Mode { .. } if self.contains(path) || self.lists(path) => ChangeClass::Mode,
            ChangeKind::Mode { .. } => ChangeClass::Unread,
            ChangeKind::Added(EntryType::File | EntryType::Dir)
            | ChangeKind::Removed(EntryType::File | EntryType::Dir)
                if self.lists(path) || self.contains(path) =>
            {
                ChangeClass::Name
            }
            ChangeKind::Added(EntryType::Dir) | ChangeKind::Removed(EntryType::Dir) => ChangeClass::Unread,
            ChangeKind::Added(EntryType::File) | ChangeKind::Removed(EntryType::File) => {
                if self.searched.contains(split(path).1) {
                    ChangeClass::Namesake
                } else {
                    ChangeClass::Unread
                }
            }
            ChangeKind::Added(EntryType::Symlink | EntryType::Special(_))
            | ChangeKind::Removed(EntryType::Symlink | EntryType::Special(_))
            | ChangeKind::Target { .. }
            | ChangeKind::Type { .. } => ChangeClass::Link,
        }
    }

    /// The newest time of the files that were read and have not changed.
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

/// The class of a change of content, by the use of the file.
pub(super) const fn class_of_use(used_for: FileUse) -> ChangeClass {
    match used_for {
        FileUse::Compiled => ChangeClass::Compiled,
        FileUse::Program => ChangeClass::Program,
        FileUse::Makefile => ChangeClass::Makefile,
        FileUse::Other => ChangeClass::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::source::PathEntry;

    fn case(reads: &Reads, path: &str, kind: ChangeKind) -> ChangeClass {
        let made = HashSet::from([b"made.h".to_vec()]);
        let used_for = |path: &[u8]| if path.ends_with(b".c") { FileUse::Compiled } else { FileUse::Other };
        TreeReads::new(reads, &made).case(&Change { path: path.into(), kind }, used_for)
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
            ("lib/a.c", content(), ChangeClass::Compiled),
            ("include/a.h", content(), ChangeClass::Other),
            ("lib/b.c", content(), ChangeClass::Unread),
            ("scripts/x/y", content(), ChangeClass::Other),
            ("lib/a.c", mode(), ChangeClass::Mode),
            ("lib/b.c", mode(), ChangeClass::Mode),
            ("net/b.c", mode(), ChangeClass::Unread),
            ("lib/b.c", new.clone(), ChangeClass::Name),
            ("lib/b.c", gone.clone(), ChangeClass::Name),
            ("lib/new", ChangeKind::Added(EntryType::Dir), ChangeClass::Name),
            ("lib/new/b.h", new.clone(), ChangeClass::Unread),
            ("scripts/x/new", new.clone(), ChangeClass::Name),
            ("net/b.c", new.clone(), ChangeClass::Unread),
            ("net/new", ChangeKind::Removed(EntryType::Dir), ChangeClass::Unread),
            ("net/a.h", new.clone(), ChangeClass::Namesake),
            ("net/a.h", gone, ChangeClass::Namesake),
            ("net/made.h", new.clone(), ChangeClass::Namesake),
            ("net/link", ChangeKind::Added(EntryType::Symlink), ChangeClass::Link),
            ("net/b.c", ChangeKind::Type { old: EntryType::File, new: EntryType::Dir }, ChangeClass::Link),
        ] {
            assert_eq!(case(&reads, path, kind.clone()), expected, "{path} {kind:?}");
        }
        for (path, kind, expected) in [
            ("net/b.c", content(), ChangeClass::Compiled),
            ("net/b.c", mode(), ChangeClass::Mode),
            ("net/new", new, ChangeClass::Name),
        ] {
            assert_eq!(case(&Reads::Whole, path, kind), expected, "{path}");
        }
    }
}
