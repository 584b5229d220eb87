//! The index of a change: the path set entries that it reaches.

use std::collections::HashMap;

use roaring::RoaringBitmap;

use super::effect::Cause;
use crate::plan::reach::{Reach, Touch};
use crate::source::patch::{self, Link, Touched};
use crate::source::{EntryKind, split};

/// The entries that a change reaches, of any path set.
pub(super) struct ChangeIndex {
    /// Entries that it reaches in every tree.
    pub certain: RoaringBitmap,
    /// For each of these, the most direct cause, and the index of the changed path.
    pub causes: HashMap<u32, (Cause, usize)>,
    /// Entries that it reaches in some trees.
    pub conditional: RoaringBitmap,
    pub conditions: Vec<Condition>,
}

/// An entry that a changed path reaches if the recorded tree answers a question with yes.
pub(super) struct Condition {
    pub entry: u32,
    /// The index of the changed path.
    pub change: usize,
    pub question: Question,
}

/// A question about the recorded tree.
pub(super) enum Question {
    /// Is the path a symbolic link?
    Link,
    /// Is this directory added or removed with the path?
    Dir(Vec<u8>),
}

impl ChangeIndex {
    pub fn new(reach: &Reach, change: &[Touched]) -> Self {
        let mut index = Self {
            certain: RoaringBitmap::new(),
            causes: HashMap::new(),
            conditional: RoaringBitmap::new(),
            conditions: Vec::new(),
        };
        for (at, touched) in change.iter().enumerate() {
            index.add(reach, at, touched);
        }
        index
    }

    fn add(&mut self, reach: &Reach, index: usize, touched: &Touched) {
        use patch::Touch::{Added, Content, Mode, Removed, Replaced, Unknown};
        let path = &*touched.path;
        let link = touched.link == Link::Yes;
        let (added_or_removed, named) = match touched.how {
            Added | Removed | Unknown => (true, true),
            Replaced => (false, true),
            Mode => (false, true),
            Content => (false, link),
        };
        let touch = Touch {
            path,
            content: true,
            name: named,
            added: matches!(touched.how, Added | Removed | Replaced | Unknown),
            link,
        };
        for id in reach.touched(touch) {
            self.add_certain(reach, index, path, id);
        }
        let below = reach.below(path);
        let is_dir = !below.is_empty() || reach.find(EntryKind::Names, path).is_some();
        for id in
            below.into_iter().chain(reach.find(EntryKind::Names, path).filter(|_| touched.how != Content))
        {
            self.add_certain(reach, index, path, id);
        }
        if is_dir && touched.how == Unknown {
            // Nothing is known of the directory's content: any name may be new in it.
            for id in reach.all_searched() {
                self.add_certain(reach, index, path, id);
            }
        }
        let mut condition = |entry: Option<u32>, question: Question| {
            if let Some(entry) = entry {
                self.conditional.insert(entry);
                self.conditions.push(Condition { entry, change: index, question });
            }
        };
        let (mut dir, _) = split(path);
        if touched.link == Link::Unknown || touched.link == Link::No && touched.how == Unknown {
            condition(reach.find(EntryKind::Links, b""), Question::Link);
            condition(reach.find(EntryKind::Names, dir), Question::Link);
        }
        // A change does not name the directories that are added or removed with their files.
        while added_or_removed && !dir.is_empty() {
            let above = split(dir).0;
            condition(reach.find(EntryKind::Names, above), Question::Dir(dir.to_vec()));
            dir = above;
        }
    }

    fn add_certain(&mut self, reach: &Reach, change: usize, path: &[u8], id: u32) {
        let Some((kind, entry)) = reach.entry(id) else { return };
        self.certain.insert(id);
        let cause = cause_of(kind, entry, path);
        let best = self.causes.entry(id).or_insert((cause, change));
        *best = (*best).min((cause, change));
    }
}

/// How a change at `path` reaches an entry.
fn cause_of(kind: EntryKind, entry: &[u8], path: &[u8]) -> Cause {
    let holds = |outer: &[u8], inner: &[u8]| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    match kind {
        EntryKind::Searched if !holds(entry, path) && !holds(path, entry) => Cause::Namesake,
        EntryKind::File | EntryKind::Searched => Cause::File,
        EntryKind::Names => Cause::Name,
        EntryKind::Tree => Cause::Tree,
        EntryKind::Links => Cause::Link,
    }
}
