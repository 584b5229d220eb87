//! Reach: which entries of a path set a change of a tree reaches.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, OnceLock};

use crate::source::{Change, ChangeKind, EntryKind, EntryType, split};
use crate::store::{EntryTable, StoredPathSet, StoredReads};

/// The aspects of a change at one path that matter to a path set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "the aspects are independent")]
pub struct Touch<'a> {
    /// From the tree's root.
    pub path: &'a [u8],
    /// The content of the file, or whether it exists, has or may have changed.
    pub content: bool,
    /// The entry in the listing of its directory has or may have changed.
    pub name: bool,
    /// There is, or may be, a new file.
    pub added: bool,
    /// A symbolic link has or may have been added, removed or changed.
    pub link: bool,
}

impl<'a> Touch<'a> {
    /// The aspects of a difference between two trees.
    pub fn of(change: &'a Change) -> Self {
        let path = change.path.as_os_str().as_bytes();
        let nothing = Self { path, content: false, name: false, added: false, link: false };
        let is_link = |entry: &EntryType| matches!(entry, EntryType::Symlink);
        let is_dir = |entry: &EntryType| matches!(entry, EntryType::Dir);
        match &change.kind {
            ChangeKind::Content { .. } => Self { content: true, ..nothing },
            ChangeKind::Mode { .. } => Self { content: true, name: true, ..nothing },
            ChangeKind::Target { .. } => Self { content: true, name: true, link: true, ..nothing },
            // A removed file may have hidden another of the same name, which a search now finds.
            ChangeKind::Added(entry) | ChangeKind::Removed(entry) => {
                Self { content: true, name: true, added: !is_dir(entry), link: is_link(entry), ..nothing }
            }
            ChangeKind::Type { old, new } => {
                Self { content: true, name: true, added: true, link: is_link(old) || is_link(new), ..nothing }
            }
        }
    }
}

/// Finds the entries that changes reach.
pub struct Reach {
    table: Arc<EntryTable>,
    /// The entries of searched files, by file name.
    searched: OnceLock<HashMap<Box<[u8]>, Vec<u32>>>,
}

impl Reach {
    /// For path sets with entries in this table.
    pub const fn new(table: Arc<EntryTable>) -> Self {
        Self { table, searched: OnceLock::new() }
    }

    /// The entries that a change reaches, of any path set.
    pub fn touched(&self, touch: Touch<'_>) -> Vec<u32> {
        let mut touched = Vec::new();
        let mut add = |kind, path: &[u8]| touched.extend(self.table.find(kind, path));
        if touch.content {
            add(EntryKind::File, touch.path);
            add(EntryKind::Searched, touch.path);
        }
        let (parent, name) = split(touch.path);
        if touch.name {
            add(EntryKind::Names, parent);
        }
        if touch.link {
            add(EntryKind::Links, b"");
        }
        // A path that was looked up as a file may be, or become, a directory; then everything below it counts.
        let mut above = touch.path;
        while !above.is_empty() {
            above = split(above).0;
            add(EntryKind::File, above);
            add(EntryKind::Searched, above);
            add(EntryKind::Tree, above);
        }
        add(EntryKind::Tree, touch.path);
        if touch.added {
            touched.extend(self.searched().get(name).into_iter().flatten());
        }
        touched
    }

    /// The entries below a path, of any path set: for a change of what may be a directory.
    pub fn below(&self, path: &[u8]) -> Vec<u32> {
        let by_rank = self.table.by_rank();
        let first = [path, b"/"].concat();
        let mut below = Vec::new();
        for kind in [EntryKind::File, EntryKind::Searched, EntryKind::Names, EntryKind::Tree] {
            let start = by_rank.partition_point(|&id| {
                self.table.get(id).is_some_and(|(other, path)| (other, path) < (kind, &first[..]))
            });
            below.extend(by_rank[start..].iter().take_while(|&&id| {
                self.table.get(id).is_some_and(|(other, path)| other == kind && path.starts_with(&first))
            }));
        }
        below
    }

    /// The entries of all searched files.
    pub fn all_searched(&self) -> impl Iterator<Item = u32> + '_ {
        self.searched().values().flatten().copied()
    }

    /// The number of an entry.
    pub fn find(&self, kind: EntryKind, path: &[u8]) -> Option<u32> {
        self.table.find(kind, path)
    }

    /// The entry with this number.
    pub fn entry(&self, id: u32) -> Option<(EntryKind, &[u8])> {
        self.table.get(id)
    }

    /// Whether a change reaches an entry of a path set, for any of these inputs.
    pub fn reaches(&self, set: &StoredPathSet, inputs: &[&str], touch: Touch<'_>) -> bool {
        let touched = self.touched(touch);
        set.inputs.iter().filter(|(input, _)| inputs.contains(&input.as_str())).any(
            |(_, reads)| match reads {
                StoredReads::Whole => touch.matters(),
                StoredReads::Only(ids) => touched.iter().any(|id| ids.contains(*id)),
            },
        )
    }

    fn searched(&self) -> &HashMap<Box<[u8]>, Vec<u32>> {
        self.searched.get_or_init(|| {
            let mut searched: HashMap<Box<[u8]>, Vec<u32>> = HashMap::new();
            for &id in self.table.by_rank() {
                if let Some((EntryKind::Searched, path)) = self.table.get(id) {
                    searched.entry(split(path).1.into()).or_default().push(id);
                }
            }
            searched
        })
    }
}

impl Touch<'_> {
    const fn matters(&self) -> bool {
        self.content || self.name || self.link || self.added
    }
}
